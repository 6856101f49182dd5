"""Counts the files between a node's `execute` and a method's equation, which is how far a reader has to go."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import dreamsampler

PACK = Path(str(dreamsampler.__file__)).parent
FOLDERS = ("drawings", "guidance", "nodes", "svg")
LIBRARY = "svg"
"""A separate library, which counts as one file: the reader follows the method, not the library."""
TOLD = ("nodes/checks/notes.py", "nodes/host/text.py", "nodes/runs/settings.py")
"""What a node tells its user of a run. Its results go to the page alone, so the reader passes it by."""


class _Arrived(BaseException):
    """Stops the run at the equation."""


def files_until(equation: Callable[..., Any], run: Callable[[], object]) -> list[str]:
    """The files entered before `equation` is called, and its own file, in the order of entry.

    Raises AssertionError if the run never calls it.
    """
    goal, found = equation.__code__, list[str]()

    def follow(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        file = _in_the_pack(frame.f_code.co_filename)
        if file is not None and file not in found:
            found.append(file)
        if frame.f_code is goal:
            raise _Arrived

    sys.setprofile(follow)
    try:
        run()
    except _Arrived:
        return found
    finally:
        sys.setprofile(None)
    raise AssertionError(f"{equation.__qualname__} was never called. These files ran: {found}.")


def _in_the_pack(filename: str) -> str | None:
    """The path of a file in the pack, or the name of the library that contains it."""
    path = Path(filename)
    if not path.is_relative_to(PACK) or path.relative_to(PACK).parts[0] not in FOLDERS:
        return None
    parts = path.relative_to(PACK).parts
    name = LIBRARY if parts[0] == LIBRARY else "/".join(parts)
    return None if name in TOLD else name

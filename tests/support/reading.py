"""How far a reader has to go: the files of the pack that run between a node's `execute` and a method's equation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import dreamsampler

PACK = Path(str(dreamsampler.__file__)).parent
ROOMS = ("drawings", "guidance", "nodes", "svg")
LIBRARY = "svg"
"""A library of its own, which counts as one place however many of its files run: the reader follows the method."""


class _Arrived(BaseException):
    """Ends a run at the equation."""


def files_until(equation: Callable[..., Any], run: Callable[[], object]) -> list[str]:
    """The files entered until `equation` is called, its own included, in the order they are entered.

    Raises AssertionError where a run never gets there.
    """
    goal, found = equation.__code__, list[str]()

    def follow(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        place = _in_the_pack(frame.f_code.co_filename)
        if place is not None and place not in found:
            found.append(place)
        if frame.f_code is goal:
            raise _Arrived

    sys.setprofile(follow)
    try:
        run()
    except _Arrived:
        return found
    finally:
        sys.setprofile(None)
    raise AssertionError(f"{equation.__qualname__} was never called; what ran is in {found}.")


def _in_the_pack(filename: str) -> str | None:
    """The file within the pack, or the library that it is in."""
    path = Path(filename)
    if not path.is_relative_to(PACK) or path.relative_to(PACK).parts[0] not in ROOMS:
        return None
    parts = path.relative_to(PACK).parts
    return LIBRARY if parts[0] == LIBRARY else "/".join(parts)

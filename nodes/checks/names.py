"""Checks of the names of files, for a node's `validate_inputs`."""

from __future__ import annotations

from collections.abc import Callable


def answer(check: Callable[[str], object], name: str | None) -> bool | str:
    """What `validate_inputs` returns: True, or the sentence with which `check` refuses the name.

    `validate_inputs` replaces the host's own check that a name is listed, which refuses files in subfolders and those
    saved after the page loaded. A name that comes from another node is None then, and is checked when the node runs.
    """
    try:
        if name is not None:
            check(name)
    except ValueError as error:
        return str(error)
    return True

"""Smaller ways to do the same, taken where memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import comfy.model_management

log = logging.getLogger("dreamsampler")
Result = TypeVar("Result")


class Ways(Generic[Result]):
    """Does what the first of its ways does, and from then on what the next does each time memory runs out.

    A way is what the user is told when it is taken, and a function. `notes` is where it tells them. Where the last way
    does not fit, the host's own error is raised.
    """

    def __init__(self, ways: Sequence[tuple[str, Callable[..., Result]]], notes: list[str]):
        self._ways, self._notes = list(ways), notes

    @property
    def left(self) -> int:
        """How many ways there are after the present one."""
        return len(self._ways) - 1

    def __call__(self, *arguments: object) -> Result:
        try:
            return self._ways[0][1](*arguments)
        except comfy.model_management.OOM_EXCEPTION:
            if not self.left:
                raise
        del self._ways[0]
        note = self._ways[0][0]
        log.warning(note)
        self._notes.append(note)
        comfy.model_management.soft_empty_cache()
        return self(*arguments)

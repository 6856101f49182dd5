"""Time limits that do not depend on how busy or slow the machine is."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

T = TypeVar("T")
OBJECTS, SECONDS = 100_000, 0.05
"""A number of small objects, and the time to create them on an idle current core."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, which may take so many seconds of an idle core.

    One that takes longer is repeated, as other programs slow down a core for moments.

    Raises:
        AssertionError: It took longer twice.
    """
    for _ in range(2):
        result, elapsed = _timed(call)
        if elapsed < seconds or elapsed / _slowness() < seconds:
            return result
    raise AssertionError(f"It took {elapsed:.2f} s, more than {seconds} s.")


def refused_within(seconds: float, call: Callable[[], object], error: type[Exception], words: str) -> str:
    """The message of the error that a call raises, in so many seconds; `words` is a regular expression it matches."""

    def refuse() -> str:
        with pytest.raises(error, match=words) as refusal:
            call()
        return str(refusal.value)

    return within(seconds, refuse)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """The result of a call and its seconds of processor time."""
    with _uncollected():
        start = time.process_time()
        result = call()
        return result, time.process_time() - start


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave out garbage collection: its time depends on all other objects in the process."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _slowness() -> float:
    """How many times slower this core currently is, memory included. At least 1."""
    objects, elapsed = _timed(lambda: [{"name": str(n), "children": []} for n in range(OBJECTS)])
    assert len(objects) == OBJECTS
    return max(elapsed / SECONDS, 1.0)

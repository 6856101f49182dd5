"""Time limits that do not depend on how busy or slow the machine is."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS, SECONDS = 100_000, 0.05
"""A number of small objects, and the time to create them on an idle current core."""


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
    with _uncollected():
        start = time.process_time()
        objects = [{"name": str(n), "children": []} for n in range(OBJECTS)]
        elapsed = time.process_time() - start
    assert len(objects) == OBJECTS
    return max(elapsed / SECONDS, 1.0)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer than this many seconds of an idle core."""
    before = _slowness()
    with _uncollected():
        start = time.process_time()
        yield
        elapsed = time.process_time() - start
    assert elapsed / max(before, _slowness()) < seconds

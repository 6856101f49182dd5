"""Time limits that do not depend on how busy or slow the machine is."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS, SECONDS = 100_000, 0.05
"""A number of small objects, and the time to create them on an idle current core."""


def _slowness() -> float:
    """How many times slower this core currently is, memory included. At least 1."""
    collects = gc.isenabled()
    gc.disable()  # it would scan everything else in the process
    start = time.process_time()
    objects = [{"name": str(n), "children": []} for n in range(OBJECTS)]
    elapsed = time.process_time() - start
    if collects:
        gc.enable()
    assert len(objects) == OBJECTS
    return max(elapsed / SECONDS, 1.0)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer than this many seconds of an idle core."""
    before = _slowness()
    gc.freeze()  # existing objects are not scanned repeatedly
    try:
        start = time.process_time()
        yield
        elapsed = time.process_time() - start
    finally:
        gc.unfreeze()
    assert elapsed / max(before, _slowness()) < seconds

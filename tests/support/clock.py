"""Time that does not depend on how busy or old the machine is."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS, SECONDS = 100_000, 0.05
"""Small objects, and how long it takes to make them on a quiet core of today."""


def _slowness() -> float:
    """How many times slower this core is just now than that one, memory included; 1 at least."""
    collects = gc.isenabled()
    gc.disable()  # it would look through all else that the process holds
    start = time.process_time()
    made = [{"name": str(n), "children": []} for n in range(OBJECTS)]
    took = time.process_time() - start
    if collects:
        gc.enable()
    assert len(made) == OBJECTS
    return max(took / SECONDS, 1.0)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails if what is inside takes longer, counted in seconds of a quiet core."""
    before = _slowness()
    gc.freeze()  # what the process held before is not looked through again and again
    try:
        start = time.process_time()
        yield
        took = time.process_time() - start
    finally:
        gc.unfreeze()
    assert took / max(before, _slowness()) < seconds

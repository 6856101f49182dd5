"""One thread for work on small tensors.

A drawing of some hundred paths is drawn by hundreds of operations that take 5 to 500 microseconds each. PyTorch divides
those above 32768 elements among its threads, which gains nothing at this size on idle cores. But on busy ones each
operation waits for the slowest thread: with more threads than free cores, drawing took 2 to 11 times as long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Run operations on the CPU in the calling thread alone; on other devices nothing changes.

    Setting the number of threads takes a tenth of a microsecond. A backward pass on the CPU runs in the thread that
    calls it, so it can be inside, too.
    """
    before = torch.get_num_threads()
    if device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

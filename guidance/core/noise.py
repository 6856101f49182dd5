"""Seeded noise: each item of a batch draws the same numbers on any device and in any batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SEED = 2**64
STREAM_STRIDE = 0x9E3779B97F4A7C15
"""Distance between the seeds of substreams, 2^64 over the golden ratio: far from the seeds of neighboring items."""


class SeededNoise:
    """A stream of random numbers with one CPU generator per batch item.

    Item i draws from `seeds[i]`, whatever the rest of the batch is, and gets the same numbers on every device.
    """

    def __init__(self, seeds: Sequence[int]):
        self._generators = [torch.Generator().manual_seed(seed % MAX_SEED) for seed in seeds]

    def like(self, x: Tensor) -> Tensor:
        """Fresh standard normal noise in the shape, dtype and device of `x` (B, ...), with one seed per item."""
        rows = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in self._generators]
        return torch.stack(rows).to(x)

    def uniform(self) -> Tensor:
        """One number in [0, 1) for each item: (B,), float32, on the CPU."""
        return torch.cat([torch.rand(1, generator=g) for g in self._generators])

    def substream(self, key: int) -> SeededNoise:
        """A new stream for the same items, always the same for one `key`; key 0 restarts this stream."""
        return SeededNoise([g.initial_seed() + key * STREAM_STRIDE for g in self._generators])

    def __len__(self) -> int:
        """The number of items."""
        return len(self._generators)

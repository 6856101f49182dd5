"""Seeded noise: draws that depend on a batch item alone, whatever its neighbors and the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SEED = 2**64
APART = 0x9E3779B97F4A7C15
"""An odd number without a pattern, so that the seeds of one stream are not those of another's neighboring items."""


class SeededNoise:
    """A stream of random numbers with one CPU generator per batch item.

    Item i of a batch draws from `seeds[i]` whatever its neighbours are, and the same numbers on every device.
    """

    def __init__(self, seeds: Sequence[int]):
        self._generators = [torch.Generator().manual_seed(seed % MAX_SEED) for seed in seeds]

    def like(self, x: Tensor) -> Tensor:
        """Fresh standard normal noise in the shape, type and device of `x` (B, ...), B being the number of seeds."""
        rows = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in self._generators]
        return torch.stack(rows).to(x)

    def uniform(self) -> Tensor:
        """One number in [0, 1) for each item: (B,), float32, on the CPU."""
        return torch.cat([torch.rand(1, generator=g) for g in self._generators])

    def apart(self, key: int) -> SeededNoise:
        """Another stream for the same items, from its beginning: always the same for a `key`, and this one's for 0."""
        return SeededNoise([g.initial_seed() + key * APART for g in self._generators])

    def __len__(self) -> int:
        """How many items it draws for."""
        return len(self._generators)

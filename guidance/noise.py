"""Random noise that depends on a seed and a batch item alone, not on the batch around it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MAX_SEED = 2**64


class SeededNoise:
    """A stream of standard normal noise with one CPU generator per batch item.

    Item i of a batch draws from `seeds[i]` whatever its neighbours are, and the same numbers on every device.
    """

    def __init__(self, seeds: Sequence[int]):
        self._generators = [torch.Generator().manual_seed(seed % MAX_SEED) for seed in seeds]

    def like(self, x: Tensor) -> Tensor:
        """Fresh noise in the shape, type and device of `x` (B, ...), B being the number of seeds."""
        rows = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in self._generators]
        return torch.stack(rows).to(x)

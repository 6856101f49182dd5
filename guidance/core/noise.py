"""Seeded noise: each item of a batch draws the same numbers on any device and in any batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

MAX_SEED = 2**64


def derived_seed(seed: int, *keys: int | str) -> int:
    """A seed below 2^64 for one of many streams of a run, such as ("step", 3).

    It is a hash. Sums such as seed + step would give runs of neighboring seeds almost all streams in common.
    """
    return int.from_bytes(blake2b(repr((seed, *keys)).encode(), digest_size=8).digest(), "little")


def item_seeds(seed: int, items: Iterable[int]) -> list[int]:
    """The seeds of a batch's items, given by their places in it. The first has `seed` itself, as a single image has."""
    places = (int(item) for item in items)  # numbers of NumPy and PyTorch are written in another way
    return [derived_seed(seed, "item", place) if place else seed for place in places]


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
        seeds = [g.initial_seed() for g in self._generators]
        return SeededNoise([derived_seed(seed, "substream", key) if key else seed for seed in seeds])

    def __len__(self) -> int:
        """The number of items."""
        return len(self._generators)

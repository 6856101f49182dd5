"""Latents of pictures that something is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.noise import SeededNoise


@dataclass(frozen=True)
class Pictures:
    """Latents (C, [1,] H, W) on one device, from which patches of `size` cells are drawn.

    `size` is (height, width), no larger than any of them.
    """

    latents: Sequence[Tensor]
    size: tuple[int, int]

    def draw(self, noise: SeededNoise) -> Tensor:
        """A random patch of a random picture for each item: (B, C, [1,] h, w)."""
        which, down, right = (noise.uniform().tolist() for _ in range(3))
        return torch.stack([self._patch(*place) for place in zip(which, down, right)])

    def _patch(self, which: float, down: float, right: float) -> Tensor:
        latent, (height, width) = self.latents[int(which * len(self.latents))], self.size
        top = int(down * (latent.shape[-2] - height + 1))
        left = int(right * (latent.shape[-1] - width + 1))
        return latent[..., top : top + height, left : left + width]


def as_pictures(z: Tensor) -> Tensor:
    """A latent (B, C, [1,] H, W) without its frame dimension: (B, C, H, W)."""
    return z.reshape(*z.shape[:2], *z.shape[-2:])

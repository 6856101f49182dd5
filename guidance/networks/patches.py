"""Latents to train networks on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.noise import SeededNoise


@dataclass(frozen=True)
class LatentPatches:
    """Latents (C, [1,] H, W) on one device, from which random patches are drawn.

    `size` is the (height, width) of a patch in cells, at most that of the smallest latent.
    """

    latents: Sequence[Tensor]
    size: tuple[int, int]

    def draw(self, noise: SeededNoise) -> Tensor:
        """A random patch of a random latent for each item of `noise`: (B, C, [1,] h, w)."""
        which, down, right = (noise.uniform().tolist() for _ in range(3))
        return torch.stack([self._patch(*numbers) for numbers in zip(which, down, right, strict=True)])

    def _patch(self, which: float, down: float, right: float) -> Tensor:
        """The patch chosen by three numbers in [0, 1)."""
        latent, (height, width) = self.latents[int(which * len(self.latents))], self.size
        top = int(down * (latent.shape[-2] - height + 1))
        left = int(right * (latent.shape[-1] - width + 1))
        return latent[..., top : top + height, left : left + width]


def without_frame_dim(z: Tensor) -> Tensor:
    """A latent (B, C, [1,] H, W) without its frame dimension: (B, C, H, W)."""
    return z.reshape(*z.shape[:2], *z.shape[-2:])

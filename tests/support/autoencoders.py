"""Autoencoders of images in closed form, and noise that is 0."""

from __future__ import annotations

import torch
from dreamsampler.guidance.core.noise import SeededNoise
from torch import Tensor


class IdentityAutoencoder:
    """An autoencoder whose latents are the images."""

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, latents: Tensor) -> Tensor:
        return latents


class DoublingAutoencoder:
    """An autoencoder whose latents are twice the images."""

    def encode(self, images: Tensor) -> Tensor:
        return 2 * images

    def decode(self, latents: Tensor) -> Tensor:
        return latents / 2


class ZeroNoise(SeededNoise):
    """Noise that is always 0."""

    def like(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

"""Images with a denoiser in closed form: Gaussian fields and mixtures of them, in float64.

The frequencies of SciPy's cosine transform are independent, so each frequency is handled separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from dreamsampler.guidance.core.path import SCALED, NoisePath, per_item
from dreamsampler.guidance.core.prior import Prior
from scipy import fft
from torch import Tensor

from support.oracle import matched, sigma_at


def transform(x: Tensor) -> Tensor:
    """The frequencies of images (..., H, W)."""
    return torch.from_numpy(np.asarray(fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")))


def image_of(frequencies: Tensor) -> Tensor:
    """The inverse of `transform`."""
    return torch.from_numpy(np.asarray(fft.idctn(frequencies.numpy(), axes=(-2, -1), norm="ortho")))


@dataclass(frozen=True)
class Fields:
    """Images around one of K equally likely `means` (K, C, H, W), with a `variance` (C, H, W) for each frequency."""

    means: Tensor
    variance: Tensor

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, C, H, W) draws."""
        which = torch.randint(len(self.means), (count,), generator=generator)
        shape = (count, *self.variance.shape)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.means[which] + image_of(self.variance.sqrt() * noise)

    def gain(self, a: Tensor, b: Tensor) -> Tensor:
        """Fraction of a clean frequency's deviation from the mean that the denoiser keeps: a^2 S / (a^2 S + b^2)."""
        return a**2 * self.variance / (a**2 * self.variance + b**2)

    def posterior_mean(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """E[z0 | a z0 + b eps = x] at levels (B, 1, 1, 1): (B, C, H, W)."""
        means = transform(self.means)
        distance = transform(x)[:, None] - a[:, None] * means
        spread = (a**2 * self.variance + b**2)[:, None]
        closest = (-0.5 * distance.square() / spread).sum((2, 3, 4)).softmax(1)
        each = means + (a**2 * self.variance / (a**2 * self.variance + b**2) / a)[:, None] * distance
        return image_of((closest[:, :, None, None, None] * each).sum(1))


@dataclass(frozen=True)
class FieldDenoiser:
    """A `PairedDenoiser` over images (B, C, H, W), one `Fields` per prompt; `calls` lists the size of each call."""

    fields: dict[str, Fields]
    path: NoisePath
    calls: list[int] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        self.calls.append(len(names))
        return self._estimates(x, sigma, names)

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        assert len({len(prompts) for prompts in names}) == 1
        self.calls.append(sum(map(len, names)))
        return [self._estimates(x, sigma, prompts) for x, prompts in zip(xs, names, strict=True)]

    def _estimates(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        level = per_item(sigma.expand(len(x)), x)
        return [self.fields[name].posterior_mean(x, self.path.a(level), self.path.b(level)) for name in names]


def field_prior(fields: dict[str, Fields], path: NoisePath = SCALED) -> Prior:
    """A `Prior` over these fields. Its clock gives both paths the same signal-to-noise ratios."""
    clock = sigma_at if path is SCALED else lambda t: matched(sigma_at(t))
    return Prior(FieldDenoiser(fields, path), path, clock)


def frequency(side: int) -> Tensor:
    """The magnitude of each frequency: (side, side), 0 for the mean and always below 1."""
    waves = torch.arange(side, dtype=torch.float64) / side
    return (waves[:, None].square() + waves.square()).sqrt() / 2**0.5


def natural(channels: int = 2, side: int = 16, mean: float = 0.3) -> Fields:
    """Images with the falling spectrum of natural images, and a mean and strength per channel."""
    strength = torch.linspace(1, 2, channels, dtype=torch.float64)[:, None, None]
    means = torch.linspace(-mean, mean, channels, dtype=torch.float64)[None, :, None, None]
    return Fields(means.expand(1, channels, side, side).clone(), strength * 4 / (1 + (6 * frequency(side)) ** 2))

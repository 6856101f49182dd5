"""Pictures whose denoiser is known in closed form: Gaussian fields, and mixtures of them, in float64.

Their frequencies, of the cosine transform by SciPy, are independent, so all is done one frequency at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from dreamsampler.guidance.core.path import SCALED, Path, per_item
from dreamsampler.guidance.core.prior import Prior
from scipy import fft
from torch import Tensor

from support.oracle import matched, sigma_at


def transform(x: Tensor) -> Tensor:
    """Frequencies of (..., H, W)."""
    return torch.from_numpy(np.asarray(fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")))


def picture_of(frequencies: Tensor) -> Tensor:
    """The inverse of `transform`."""
    return torch.from_numpy(np.asarray(fft.idctn(frequencies.numpy(), axes=(-2, -1), norm="ortho")))


@dataclass(frozen=True)
class Fields:
    """Pictures around one of `means` (K, C, H, W), all as probable, with a `variance` (C, H, W) of each frequency."""

    means: Tensor
    variance: Tensor

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, C, H, W) draws."""
        which = torch.randint(len(self.means), (count,), generator=generator)
        shape = (count, *self.variance.shape)
        noise = torch.randn(shape, generator=generator, dtype=torch.float64)
        return self.means[which] + picture_of(self.variance.sqrt() * noise)

    def gain(self, a: Tensor, b: Tensor) -> Tensor:
        """How much of a clean frequency's distance from the mean the denoiser keeps: a^2 S / (a^2 S + b^2)."""
        return a**2 * self.variance / (a**2 * self.variance + b**2)

    def posterior_mean(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """E[z0 | a z0 + b eps = x] at levels (B, 1, 1, 1): (B, C, H, W)."""
        means = transform(self.means)
        distance = transform(x)[:, None] - a[:, None] * means
        spread = (a**2 * self.variance + b**2)[:, None]
        closest = (-0.5 * distance.square() / spread).sum((2, 3, 4)).softmax(1)
        each = means + (a**2 * self.variance / (a**2 * self.variance + b**2) / a)[:, None] * distance
        return picture_of((closest[:, :, None, None, None] * each).sum(1))


@dataclass(frozen=True)
class FieldDenoiser:
    """A `PairedDenoiser` over pictures (B, C, H, W), one kind of fields per text; `calls` lists their sizes."""

    fields: dict[str, Fields]
    path: Path
    calls: list[int] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        self.calls.append(len(names))
        return self._estimates(x, sigma, names)

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        assert len({len(texts) for texts in names}) == 1 and len(xs) == len(names)
        self.calls.append(sum(map(len, names)))
        return [self._estimates(x, sigma, texts) for x, texts in zip(xs, names)]

    def _estimates(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        level = per_item(sigma.expand(len(x)), x)
        return [self.fields[name].posterior_mean(x, self.path.a(level), self.path.b(level)) for name in names]


def field_prior(fields: dict[str, Fields], path: Path = SCALED) -> Prior:
    """A `Prior` that knows these; its clock gives both paths the same signal-to-noise ratios."""
    clock = sigma_at if path is SCALED else lambda t: matched(sigma_at(t))
    return Prior(FieldDenoiser(fields, path), path, clock)


def frequency(side: int) -> Tensor:
    """How high each frequency is: (side, side), 0 for the mean and below 1."""
    waves = torch.arange(side, dtype=torch.float64) / side
    return (waves[:, None].square() + waves.square()).sqrt() / 2**0.5


def natural(channels: int = 2, side: int = 16, mean: float = 0.3) -> Fields:
    """One kind of pictures, with the falling spectrum of natural ones and means and strengths of each channel."""
    strength = torch.linspace(1, 2, channels, dtype=torch.float64)[:, None, None]
    means = torch.linspace(-mean, mean, channels, dtype=torch.float64)[None, :, None, None]
    return Fields(means.expand(1, channels, side, side).clone(), strength * 4 / (1 + (6 * frequency(side)) ** 2))

"""Models with predictions in closed form: Gaussian mixtures, in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """sum_k weights[k] N(means[k], diag(variances[k])) over vectors: weights (K,), means and variances (K, D)."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def responsibilities(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """p(k | x) at noise levels (B or 1, 1, 1): (B, K)."""
        spread = a**2 * self.variances + b**2
        distance = (x[:, None] - a * self.means).square() / spread
        logits = self.weights.log() - 0.5 * (distance + spread.log()).sum(-1)
        return logits.softmax(-1)

    def posterior_mean(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """E[z0 | a z0 + b eps = x] at scalar noise levels, or one per item (B,): (B, D)."""
        a, b = a.reshape(-1, 1, 1), b.reshape(-1, 1, 1)
        gain = a * self.variances / (a**2 * self.variances + b**2)
        each = self.means + gain * (x[:, None] - a * self.means)
        return (self.responsibilities(x, a, b)[..., None] * each).sum(1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D) draws."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[which] + self.variances[which].sqrt() * noise


def gaussian(mean: Sequence[float], variance: Sequence[float]) -> Mixture:
    """A mixture with one component."""
    return Mixture(*(torch.tensor([x], dtype=torch.float64) for x in (1.0, mean, variance)))


@dataclass(frozen=True)
class MixtureDenoiser:
    """A `PairedDenoiser` over vectors (B, D), one mixture per conditioning; `batches` lists the size of each call."""

    mixtures: dict[str, Mixture]
    path: NoisePath = SCALED
    batches: list[int] = field(default_factory=list)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        self.batches.append(len(names))
        return self._estimates(x, sigma, names)

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        self.batches.append(sum(map(len, names)))
        levels = sigma.expand(len(xs), len(xs[0]))
        return [self._estimates(x, level, prompts) for x, level, prompts in zip(xs, levels, names, strict=True)]

    def _estimates(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        a, b = self.path.a(sigma), self.path.b(sigma)
        return [self.mixtures[name].posterior_mean(x, a, b) for name in names]


TWO_TEXTS = {
    "negative": Mixture(
        torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64),
        torch.tensor([[-1.0, 0.5], [1.2, 0.8], [0.1, -1.5]], dtype=torch.float64),
        torch.tensor([[0.3, 0.2], [0.1, 0.4], [0.2, 0.2]], dtype=torch.float64),
    ),
    "positive": Mixture(
        torch.tensor([0.7, 0.3], dtype=torch.float64),
        torch.tensor([[1.2, 0.8], [1.5, -0.5]], dtype=torch.float64),
        torch.tensor([[0.1, 0.2], [0.2, 0.1]], dtype=torch.float64),
    ),
}
"""The distributions for the negative and the target prompt."""


def levels(steps: int, top: float = 14.0, bottom: float = 0.02) -> Tensor:
    """A schedule in `SCALED` units, uniform in sigma**(1/5): (steps + 1,), falling from `top` to 0."""
    ramp = torch.linspace(top**0.2, bottom**0.2, steps, dtype=torch.float64) ** 5
    return torch.cat([ramp, torch.zeros(1, dtype=torch.float64)])


def sigma_at(t: Tensor) -> Tensor:
    """A clock in `SCALED` units: noise levels from 0 to 14 over times in [0, 1], similar to SD1.5."""
    return 14 * t * torch.expm1(4 * t) / math.expm1(4)


def prior(mixtures: dict[str, Mixture], path: NoisePath = SCALED) -> Prior:
    """A `Prior` over these mixtures. Its clock gives both paths the same signal-to-noise ratios."""
    clock = sigma_at if path is SCALED else lambda t: matched(sigma_at(t))
    return Prior(MixtureDenoiser(mixtures, path), path, clock)


def matched(sigmas: Tensor) -> Tensor:
    """The flow levels with the same signal-to-noise ratios as `SCALED` levels."""
    return sigmas / (1 + sigmas)


__all__ = ["FLOW", "SCALED", "TWO_TEXTS", "Mixture", "MixtureDenoiser", "gaussian", "levels", "matched", "prior"]


def assert_halving(errors: list[float], limit: float) -> None:
    """DDIM is first order: doubling the steps halves the error."""
    print("errors:", [f"{error:.2e}" for error in errors])
    assert errors[-1] < limit
    for coarse, fine in zip(errors, errors[1:]):
        assert 1.8 < coarse / fine < 2.2

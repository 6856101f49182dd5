"""Models whose every prediction is known in closed form: Gaussian mixtures, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from dreamsampler_pack.guidance.path import FLOW, SCALED, Path
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """sum_k weights[k] N(means[k], diag(variances[k])) over vectors: weights (K,), means and variances (K, D)."""

    weights: Tensor
    means: Tensor
    variances: Tensor

    def responsibilities(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """p(k | x) at a noise level: (B, K)."""
        spread = a**2 * self.variances + b**2
        distance = (x[:, None] - a * self.means).square() / spread
        logits = self.weights.log() - 0.5 * (distance + spread.log()).sum(-1)
        return logits.softmax(-1)

    def posterior_mean(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """E[z0 | a z0 + b eps = x]: (B, D)."""
        gain = a * self.variances / (a**2 * self.variances + b**2)
        each = self.means + gain * (x[:, None] - a * self.means)
        return (self.responsibilities(x, a, b)[..., None] * each).sum(1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, D) draws."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[which] + self.variances[which].sqrt() * noise


def gaussian(mean: Sequence[float], variance: Sequence[float]) -> Mixture:
    """A mixture of one."""
    return Mixture(*(torch.tensor([x], dtype=torch.float64) for x in (1.0, mean, variance)))


@dataclass(frozen=True)
class MixtureDenoiser:
    """A `Denoiser` over vectors (B, D), one mixture per named conditioning; counts its calls."""

    mixtures: dict[str, Mixture]
    path: Path = SCALED

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
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
"""What is probable without a text, and with one."""


def levels(steps: int, top: float = 14.0, bottom: float = 0.02) -> Tensor:
    """A schedule in `SCALED` units, even in sigma**(1/5): (steps + 1,) falling from `top` to 0."""
    ramp = torch.linspace(top**0.2, bottom**0.2, steps, dtype=torch.float64) ** 5
    return torch.cat([ramp, torch.zeros(1, dtype=torch.float64)])


def matched(sigmas: Tensor) -> Tensor:
    """The flow levels of the same signal-to-noise ratio as `SCALED` levels."""
    return sigmas / (1 + sigmas)


__all__ = ["FLOW", "SCALED", "TWO_TEXTS", "Mixture", "MixtureDenoiser", "gaussian", "levels", "matched"]

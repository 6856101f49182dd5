"""What drawings are optimised for beside a text, as losses of a step of the loop; of a batch the sum over its drawings.

Means over pixels and latent cells, so that weights of terms compare as published.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..guidance.core.path import Path
from ..guidance.distillation.objective import Sample, Weight
from ..guidance.restoration.measurement import Measurement
from .drawing import Drawings, cubics_of
from .losses import saturation_penalty, xing

LEAST_SIGNAL = 1e-4
"""The a of a state below which its signal drowns in the rounding of float32."""


@dataclass(frozen=True)
class Crossing:
    """Outlines that do not cross themselves."""

    of: Drawings
    weight: float = 0.01

    def __call__(self, sample: Sample) -> Tensor:
        return self.weight * sum(
            (xing(cubics_of(drawing)) for drawing in self.of.drawings), start=sample.z.new_zeros(())
        )


@dataclass(frozen=True)
class CalmColors:
    """Colours far from the corners of the colour cube."""

    of: Drawings
    weight: float = 0.05

    def __call__(self, sample: Sample) -> Tensor:
        return self.weight * len(self.of.pictures) * saturation_penalty(self.of.pictures)


@dataclass(frozen=True)
class Fidelity:
    """gamma lambda_DC |y - A g|^2, gamma = alpha_bar: pictures that explain a measurement (DreamSampler, eq. 21)."""

    of: Drawings
    measurement: Measurement
    path: Path
    weight: float

    def __call__(self, sample: Sample) -> Tensor:
        seen = self.measurement.operator.forward(2 * self.of.pictures - 1)
        error = (seen - self.measurement.y).square().flatten(1).mean(1)
        return (self.weight * self.path.alpha_bar(sample.sigma).to(error) * error).sum()


def pull_to_estimate(weight: float, cells: int) -> Weight:
    """The weight that makes of SDS's gradient that of (1 - gamma) lambda_SDS |z - z0_hat|^2 (DreamSampler, eq. 21).

    gamma = alpha_bar; z - z0_hat = b / a (eps_hat - eps); the mean over the `cells` of a latent. At pure noise, where
    a is 0 and eps_hat tells nothing of z, nothing pulls.
    """

    def pull(path: Path, sigma: Tensor) -> Tensor:
        signal = path.a(sigma).clamp_min(LEAST_SIGNAL)
        return 2 * weight / cells * (1 - path.alpha_bar(sigma)) * path.b(sigma) / signal

    return pull

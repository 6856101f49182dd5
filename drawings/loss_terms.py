"""Losses added to score distillation at each step of the loop, summed over the batch (`regularizers.Loss`).

They are means over pixels, and the pull to the clean estimate is a mean over the latent, so that weights compare as in
the papers.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..guidance.core.path import NoisePath
from ..guidance.distillation.objective import Sample, Weight
from ..guidance.restoration.measurement import Measurement
from .drawing import DrawingBatch
from .losses import saturation_penalty, xing

MIN_SIGNAL = 1e-4
"""Smallest a(sigma) to divide by; below it, the signal in a state is lost in float32 rounding."""


@dataclass(frozen=True)
class XingTerm:
    """The self-intersection loss (LIVE; VectorFusion, eq. 6): keeps outlines from crossing themselves."""

    batch: DrawingBatch
    weight: float = 0.01

    def __call__(self, sample: Sample) -> Tensor:
        drawings = self.batch.drawings
        return self.weight * sum((xing(drawing.cubics()) for drawing in drawings), start=sample.z.new_zeros(()))


@dataclass(frozen=True)
class SaturationTerm:
    """The saturation penalty on rendered images (VectorFusion, supplement F.3)."""

    batch: DrawingBatch
    weight: float = 0.05

    def __call__(self, sample: Sample) -> Tensor:
        return self.weight * len(self.batch.images) * saturation_penalty(self.batch.images)


@dataclass(frozen=True)
class MeasurementTerm:
    """The data term gamma lambda_DC |y - A g|^2 with gamma = alpha_bar (DreamSampler, eq. 21).

    |.|^2 is a mean over the values of y; images g are in [-1, 1] as the measurement's.
    """

    batch: DrawingBatch
    measurement: Measurement
    path: NoisePath
    weight: float

    def __call__(self, sample: Sample) -> Tensor:
        error = self.measurement.residual(2 * self.batch.images - 1).square().flatten(1).mean(1)
        return (self.weight * self.path.alpha_bar(sample.sigma).to(error) * error).sum()


def clean_estimate_weight(weight: float, dimension: int) -> Weight:
    """The weight that turns SDS into the pull to the clean estimate (DreamSampler, eq. 21, first term).

    Eq. 21 descends E(z) = (1 - gamma) lambda_SDS |z - z0_hat|^2 with gamma = alpha_bar, z0_hat held fixed, and |.|^2
    here a mean over the n = `dimension` entries of a latent:

        grad E = 2 lambda_SDS (1 - gamma) / n (z - z0_hat).

    The state is z_t = a z + b eps, and the model's prediction says z_t = a z0_hat + b eps_hat. Subtracting,

        z - z0_hat = b / a (eps_hat - eps).

    So grad E is SDS's gradient, w (eps_hat - eps), with w = 2 lambda_SDS (1 - gamma) b / (n a), which is returned.

    At pure noise a is 0 and z_t = b eps, so eps_hat = eps and there is no pull; clamping a keeps it from being
    infinity times 0.

    Args:
        weight: lambda_SDS.
        dimension: The number of entries of one latent.
    """

    def weights(_: Tensor, path: NoisePath, sigma: Tensor) -> Tensor:
        signal = path.a(sigma).clamp_min(MIN_SIGNAL)
        return 2 * weight / dimension * (1 - path.alpha_bar(sigma)) * path.b(sigma) / signal

    return weights

"""Regularizers: gradients on the latent (`Regularizer`) or losses on the parameters (`Loss`).

Losses are sums over the batch, and |.|^2 in them is a mean over the values of a measurement or image, so that weights
compare as in the papers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..core.path import NoisePath, per_item
from .objective import Direction, Sample, Weighting


class Regularizer(Protocol):
    """Maps a clean latent z (B, ...) to the gradient (B, ...) of a penalty."""

    def __call__(self, z: Tensor) -> Tensor: ...


class Loss(Protocol):
    """A scalar loss on the generator's parameters at one step.

    The sample holds the latent, time and noise level of the step, and the clean estimate that its gradient leads to.
    """

    def __call__(self, sample: Sample) -> Tensor: ...


@dataclass(frozen=True)
class L2ToSource:
    """`weight |z - source|^2`, which keeps an edit close to its source (LMC-SDS; DreamSampler, Algorithm 2)."""

    source: Tensor
    weight: float

    def __call__(self, z: Tensor) -> Tensor:
        return 2 * self.weight * (z - self.source)


class Rendered(Protocol):
    """A generator whose latents are those of images."""

    @property
    def images(self) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of the last step, differentiable in the parameters."""
        ...


class Measured(Protocol):
    """What images are compared with: a `Measurement`, or one that differs from step to step."""

    def residual(self, images: Tensor) -> Tensor:
        """What keeps images (B, 3, H, W) in [-1, 1] from agreeing with the measurement: (B, ...)."""
        ...


@dataclass(frozen=True)
class MeasurementTerm:
    """The data term gamma lambda_DC |y - A g|^2 with gamma = alpha_bar (DreamSampler, eq. 21; its appendix, eq. 10).

    Images g are in [-1, 1] as the measurement's.
    """

    rendered: Rendered
    measurement: Measured
    path: NoisePath
    weight: float

    def __call__(self, sample: Sample) -> Tensor:
        error = self.measurement.residual(2 * self.rendered.images - 1).square().flatten(1).mean(1)
        return (self.weight * self.path.alpha_bar(sample.sigma).to(error) * error).sum()


@dataclass(frozen=True)
class PixelTerm:
    """Distillation of pixels, (1 - gamma) lambda |g - D(z0_hat)|^2 with gamma = alpha_bar (DreamSampler, eq. 11).

    The equation is that of the paper's appendix. `seen` gives the images g (B, 3, H, W) in [0, 1] that were encoded at
    this step, and `decode` maps latents to images in [-1, 1]; both are compared in [-1, 1]. The clean estimate z0_hat
    is held fixed, clamped to what an image can be.
    """

    seen: Callable[[], Tensor]
    decode: Callable[[Tensor], Tensor]
    path: NoisePath
    weight: float

    def __call__(self, sample: Sample) -> Tensor:
        if sample.z0_hat is None:
            raise ValueError("This loss needs the clean estimate of a step.")
        with torch.no_grad():
            estimate = self.decode(sample.z0_hat).clamp(-1, 1)
        error = (2 * self.seen() - 1 - estimate.to(self.seen())).square().flatten(1).mean(1)
        return (self.weight * (1 - self.path.alpha_bar(sample.sigma)).to(error) * error).sum()


def clean_estimate_weight(weight: float, dimension: int) -> Weighting:
    """The weighting that makes of any method the pull to its clean estimate (DreamSampler, eq. 21, first term).

    Eq. 21 descends E(z) = (1 - gamma) lambda_SDS |z - z0_hat|^2 with gamma = alpha_bar, z0_hat held fixed, and |.|^2
    here a mean over the n = `dimension` entries of a latent:

        grad E = 2 lambda_SDS (1 - gamma) / n (z - z0_hat),

    where z - z0_hat is the method's `pull`. For SDS it is b / a (eps_hat - eps), so grad E is SDS's gradient with the
    weight 2 lambda_SDS (1 - gamma) b / (n a).

    Args:
        weight: lambda_SDS.
        dimension: The number of entries of one latent.
    """

    def weighted(direction: Direction, path: NoisePath, sigma: Tensor) -> Tensor:
        pull = direction.pull_at(path, sigma)
        return 2 * weight / dimension * per_item(1 - path.alpha_bar(sigma), pull) * pull

    return weighted


def beside_data(weight: Weighting) -> Weighting:
    """A weighting of the gradient beside a `MeasurementTerm`: times 1 - gamma, with gamma = alpha_bar.

    With the weighting "snr" and the data term weighted by n / 2 lambda_DC / lambda_SDS, where n is the number of
    entries of one latent, the sum is n / (2 lambda_SDS) times the gradient of eq. 21: see `clean_estimate_weight`.
    """

    def weighted(direction: Direction, path: NoisePath, sigma: Tensor) -> Tensor:
        gradient = weight(direction, path, sigma)
        return per_item(1 - path.alpha_bar(sigma), gradient) * gradient

    return weighted

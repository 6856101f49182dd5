"""The `Objective` protocol: a gradient field on clean latents, what it sees and answers, and its weightings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..core.denoiser import guided_estimate
from ..core.path import NoisePath, per_item
from ..core.prior import Prior

MIN_SIGNAL = 1e-4
"""Smallest a(sigma) to divide by; below it, the signal in a state is lost in float32 rounding."""


@dataclass(frozen=True)
class Sample:
    """One draw of time and noise for the current image.

    `z` (B, ...) is the clean latent g(theta) in model scale and `eps` its noise; `t` in [0, 1] and its level `sigma`
    are (B,). `progress` runs from 0 at the first step to 1 after the last. `z0_hat` (B, ...) is there for losses only:
    the clean estimate that the objective's gradient leads to, in SDS the model's guided one.
    """

    z: Tensor
    eps: Tensor
    t: Tensor
    sigma: Tensor
    progress: float
    z0_hat: Tensor | None = None

    def noised(self, path: NoisePath) -> Tensor:
        """The state the model sees: z_t = a z + b eps."""
        return path.noised(self.z, self.eps, self.sigma)


@dataclass(frozen=True)
class Direction:
    """What an objective returns: the `gradient` (B, ...) on the latent to descend, before its weighting.

    `eps_hat` is the model's noise prediction, which the next step may reuse as its noise (DreamSampler, Algorithm 2).
    `pull` (B, ...) is `z - z0_hat`, away from the clean estimate that the gradient leads to. An objective gives its own
    where the gradient is something else than a difference of noise predictions: see `pull_at`.
    """

    gradient: Tensor
    eps_hat: Tensor
    pull: Tensor | None = None

    def pull_at(self, path: NoisePath, sigma: Tensor) -> Tensor:
        """`z - z0_hat` (B, ...) for the noise levels (B,) of the step: the objective's own, or `b / a gradient`."""
        return in_clean_estimates(self.gradient, path, sigma) if self.pull is None else self.pull


class Objective(Protocol):
    """A gradient field on clean latents. No graph is built through the denoiser."""

    def __call__(self, prior: Prior, sample: Sample) -> Direction: ...


def in_clean_estimates(noises: Tensor, path: NoisePath, sigma: Tensor) -> Tensor:
    """A difference of noise predictions (B, ...), as the difference of clean estimates that it is: b / a times it."""
    # One state x = a z0_hat + b eps_hat has predictions 1 and 2, so
    #     a (z0_hat_2 - z0_hat_1) = b (eps_hat_1 - eps_hat_2).
    # The state's own image and noise are such a pair too: z - z0_hat = b / a (eps_hat - eps). At pure noise a is 0 and
    # all predictions are x / b; clamping a keeps that from being infinity times 0.
    signal = path.a(sigma).clamp_min(MIN_SIGNAL)
    return per_item(path.b(sigma) / signal, noises) * noises


Weighting = Callable[[Direction, NoisePath, Tensor], Tensor]
"""Maps a direction, a path and its noise levels (B,) to the weighted gradient (B, ...)."""


def _noise_share(direction: Direction, path: NoisePath, sigma: Tensor) -> Tensor:
    return per_item(1 - path.alpha_bar(sigma), direction.gradient) * direction.gradient


def _normalized(direction: Direction, path: NoisePath, sigma: Tensor) -> Tensor:
    """Each item's gradient over its root mean square; 0 where the gradient is 0."""
    size = direction.gradient.flatten(1).square().mean(1).sqrt()
    return direction.gradient / per_item(size.clamp(min=torch.finfo(size.dtype).tiny), direction.gradient)


WEIGHTS: dict[str, Weighting] = {
    "1-alpha_bar": _noise_share,
    "uniform": lambda direction, path, sigma: direction.gradient,
    "snr": lambda direction, path, sigma: direction.pull_at(path, sigma),
    "normalized": _normalized,
}
"""How the gradient is weighted, by name.

"1-alpha_bar" is DreamFusion's weight, "uniform" that of LMC-SDS. "snr" gives z - z0_hat: the weight b / a, one over the
root of the signal-to-noise ratio, for differences of noise predictions such as SDS, and for every other method what it
says of its clean estimate. "normalized" gives every step's gradient the root mean square 1, as LUSD does (Chinchuthakun
et al., 2025).
"""


def eps_hats(prior: Prior, sample: Sample, *names: str) -> list[Tensor]:
    """The noise predictions of the sample's state under each named conditioning, from one batched call."""
    x = sample.noised(prior.path)
    return [prior.path.eps_hat(x, z0_hat, sample.sigma) for z0_hat in prior.denoise(x, sample.sigma, names)]


def guided_eps_hat(prior: Prior, x: Tensor, sigma: Tensor, scale: float) -> Tensor:
    """The noise prediction (B, ...) for the state `x`, guided as by `guided_estimate`."""
    # Noise predictions and clean estimates are affine in each other, so guidance of one is guidance of the other.
    return prior.path.eps_hat(x, guided_estimate(prior.denoise, x, sigma, scale), sigma)

"""The `Objective` protocol: a gradient field on clean latents, what it sees and answers, and the weights w(t)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..core.denoiser import predict_guided
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

    def led_by(self, gradient: Tensor, path: NoisePath) -> Sample:
        """With the clean estimate z - b / a `gradient`, for a gradient (B, ...) on noise predictions."""
        signal = path.a(self.sigma).clamp_min(MIN_SIGNAL)
        return replace(self, z0_hat=self.z - per_item(path.b(self.sigma) / signal, self.z) * gradient)

    def noised(self, path: NoisePath) -> Tensor:
        """The state the model sees: z_t = a z + b eps."""
        return path.noised(self.z, self.eps, self.sigma)


@dataclass(frozen=True)
class Direction:
    """What an objective returns: the `gradient` (B, ...) on the latent to descend, before the weight w(t).

    `eps_hat` is the model's noise prediction, which the next step may reuse as its noise (DreamSampler, Algorithm 2).
    """

    gradient: Tensor
    eps_hat: Tensor


class Objective(Protocol):
    """A gradient field on clean latents. No graph is built through the denoiser."""

    def __call__(self, prior: Prior, sample: Sample) -> Direction: ...


Weight = Callable[[Tensor, NoisePath, Tensor], Tensor]
"""Maps a gradient (B, ...), a path and its noise levels (B,) to w, (B,)."""


def _inverse_size(gradient: Tensor, path: NoisePath, sigma: Tensor) -> Tensor:
    """1 / the root mean square of each item's gradient; finite where the gradient is 0."""
    size = gradient.flatten(1).square().mean(1).sqrt()
    return 1 / size.clamp(min=torch.finfo(size.dtype).tiny)


WEIGHTS: dict[str, Weight] = {
    "1-alpha_bar": lambda _, path, sigma: 1 - path.alpha_bar(sigma),
    "uniform": lambda _, path, sigma: sigma.new_ones(sigma.shape),
    "snr": lambda _, path, sigma: path.b(sigma) / path.a(sigma),
    "normalized": _inverse_size,
}
"""The weights of the gradient, by name: all but the last are weights w(t) of noise levels.

"1-alpha_bar" is DreamFusion's weight, "uniform" that of LMC-SDS. "snr" divides by the root of the signal-to-noise
ratio, a / b, which turns a difference of noises into one of clean estimates: SDS becomes z - z0_hat. "normalized" gives
every step's gradient the root mean square 1, as LUSD does (Chinchuthakun et al., 2025).
"""


def apply_weight(gradient: Tensor, weight: Weight, path: NoisePath, sigma: Tensor) -> Tensor:
    """w times a gradient (B, ...)."""
    return per_item(weight(gradient, path, sigma), gradient) * gradient


def eps_hats(prior: Prior, sample: Sample, *names: str) -> list[Tensor]:
    """The noise predictions of the sample's state under each named conditioning, from one batched call."""
    x = sample.noised(prior.path)
    return [prior.path.eps_hat(x, z0_hat, sample.sigma) for z0_hat in prior.denoise(x, sample.sigma, names)]


def guided_eps_hat(prior: Prior, x: Tensor, sigma: Tensor, scale: float) -> Tensor:
    """The noise prediction (B, ...) for the state `x` with classifier-free guidance, from one batched call."""
    # Noise predictions and clean estimates are affine in each other, so guidance of one is guidance of the other.
    return prior.path.eps_hat(x, predict_guided(prior.denoise, x, sigma, scale)[1], sigma)

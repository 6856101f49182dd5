"""What all distillation objectives share: what they see, what they answer, and how noise levels are weighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..path import Path, per_item
from ..prior import Prior

NULL, TARGET, SOURCE = "negative", "positive", "source"
"""The conditionings an objective asks for: no text, the picture wanted, the picture as it is (or bad ones)."""


@dataclass(frozen=True)
class Sample:
    """One draw of time and noise for the picture as it is now.

    `z` (B, ...) is the clean latent g(theta) in model scale and `eps` its noise; `t` in [0, 1] and its level `sigma`
    are (B,). `progress` runs from 0 at the first step of the optimisation to 1 after the last.
    """

    z: Tensor
    eps: Tensor
    t: Tensor
    sigma: Tensor
    progress: float

    def noised(self, path: Path) -> Tensor:
        """The state the model sees: z_t = a z + b eps."""
        return path.noised(self.z, self.eps, self.sigma)


@dataclass(frozen=True)
class Direction:
    """What an objective answers: `gradient` (B, ...) on the latent, to be descended, before the weight w(t).

    `eps_hat` is the noise the model saw in the state, which the next step may noise the picture with (DreamSampler,
    Algorithm 2).
    """

    gradient: Tensor
    eps_hat: Tensor


class Objective(Protocol):
    """A gradient field on clean latents. No graph is built through the denoiser."""

    def __call__(self, prior: Prior, sample: Sample) -> Direction: ...


Weight = Callable[[Path, Tensor], Tensor]
"""w(t) of a path and its levels (B,)."""

WEIGHTS: dict[str, Weight] = {
    "1-alpha_bar": lambda path, sigma: 1 - path.alpha_bar(sigma),
    "uniform": lambda path, sigma: sigma.new_ones(sigma.shape),
    "snr": lambda path, sigma: path.b(sigma) / path.a(sigma),
}
"""How much each noise level counts.

"1-alpha_bar" and "uniform" are published (DreamFusion; LMC-SDS). "snr" divides by the root of the signal-to-noise
ratio, a / b, which turns a difference of noises into one of clean estimates: SDS becomes z - z0_hat.
"""


def weighted(gradient: Tensor, weight: Weight, path: Path, sigma: Tensor) -> Tensor:
    """w(t) times a gradient (B, ...)."""
    return per_item(weight(path, sigma), gradient) * gradient


def eps_hats(prior: Prior, sample: Sample, *names: str) -> list[Tensor]:
    """The noise in the sample's state under each text, from one batched call."""
    x = sample.noised(prior.path)
    return [prior.path.eps_hat(x, z0_hat, sample.sigma) for z0_hat in prior.denoise(x, sample.sigma, names)]

"""DreamSampler's closed-form proximal edit of plain latents (Algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ..core.ddim import ddim_step, fresh_share, partly_fresh
from ..core.ddpm import posterior
from ..core.denoiser import Denoiser
from ..core.noise import SeededNoise
from ..core.path import Path

GammaSchedule = Literal["alpha_bar", "constant"]
Renoise = Literal["guided", "unconditional"]


@dataclass(frozen=True)
class ProximalSettings:
    """How strongly the text pulls, and what the clean estimate is noised with again.

    `gamma` is the weight of the text, at least 0: 0 keeps the source, 0.1 to 0.3 is the paper's range for editing.
    `gamma_schedule` "alpha_bar" multiplies it by alpha_bar, so that the text acts late (the paper's choice).
    `eta` in [0, 1] is the share of fresh noise, 0 for DDIM. `renoise` "unconditional" re-noises with the prediction
    without the text (the authors' code), "guided" with the one that z_bar implies (the paper's text).
    """

    gamma: float = 0.2
    gamma_schedule: GammaSchedule = "alpha_bar"
    eta: float = 0.0
    renoise: Renoise = "unconditional"

    def weight(self, alpha_bar: Tensor) -> Tensor | float:
        """gamma_t at a noise level."""
        return self.gamma * alpha_bar if self.gamma_schedule == "alpha_bar" else self.gamma

    def seen(self, z0_null: Tensor, z_bar: Tensor) -> Tensor:
        """The clean estimate whose noise is put back."""
        return z_bar if self.renoise == "guided" else z0_null


@dataclass(frozen=True)
class Kept:
    """What an edit must leave alone: outside `mask` the state follows `trajectory`.

    `mask` broadcasts over the latent, 1 where the edit goes and 0 where the source stays; `trajectory` holds the
    source's state at each level of the schedule, the clean latent last.
    """

    mask: Tensor
    trajectory: Sequence[Tensor]

    def restored(self, x: Tensor, level: int) -> Tensor:
        """The state with the source put back outside the mask."""
        return self.mask * x + (1 - self.mask) * self.trajectory[level]


@dataclass(frozen=True)
class ProximalStep:
    """One step down: the state `x` (B, ...) it reached and the proximal clean estimate `z_bar` it came from."""

    x: Tensor
    z_bar: Tensor


def proximal_point(z0_null: Tensor, z0_target: Tensor, gamma: Tensor | float) -> Tensor:
    """argmin_z (1 - gamma) |z - z0_null|^2 + gamma |z - z0_target|^2 (DreamSampler, eq. 17)."""
    return z0_null + gamma * (z0_target - z0_null)


def proximal_edit(
    denoise: Denoiser,
    path: Path,
    x: Tensor,
    sigmas: Tensor,
    *,
    settings: ProximalSettings,
    noise: SeededNoise,
    kept: Kept | None = None,
    residuals: Sequence[Tensor] | None = None,
) -> Iterator[ProximalStep]:
    """Sample down from `x`, pulling every clean estimate towards the text (DreamSampler, Algorithm 3).

    `x` (B, ...) is the state at `sigmas[0]`, such as an inverted source; `sigmas` (n + 1,) falls to 0. The denoiser
    knows the conditionings "negative" (the null text) and "positive" (the target). Yields n steps, the last at
    `sigmas[n]`. With the n `residuals` of a stochastic inversion a step samples the posterior of z_bar with them as its
    noise, instead of re-noising z_bar.
    """
    for level, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:]), start=1):
        z0_null, z0_target = denoise(x, sigma, ("negative", "positive"))
        z_bar = proximal_point(z0_null, z0_target, settings.weight(path.alpha_bar(sigma)))
        if residuals is not None:
            x = posterior(path, x, z_bar, sigma, sigma_next).mean + residuals[level - 1]
        else:
            eps_hat = path.eps_hat(x, settings.seen(z0_null, z_bar), sigma)
            share = fresh_share(path, sigma, sigma_next, settings.eta)
            x = ddim_step(path, z_bar, partly_fresh(eps_hat, share, noise), sigma_next)
        if kept is not None:
            x = kept.restored(x, level)
        yield ProximalStep(x, z_bar)

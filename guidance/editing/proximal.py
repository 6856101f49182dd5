"""DreamSampler's closed-form proximal edit of latents (Algorithm 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from torch import Tensor

from ..core.ddim import ddim_step, fresh_share, mix_fresh_noise
from ..core.ddpm import posterior
from ..core.denoiser import NULL, TARGET, Denoiser, GuidanceOverride
from ..core.noise import SeededNoise
from ..core.path import NoisePath

GammaSchedule = Literal["alpha_bar", "constant"]
Renoise = Literal["guided", "unconditional"]


@dataclass(frozen=True)
class ProximalSettings:
    """How strongly the target prompt acts, and which noise prediction the clean estimate is noised with again.

    `gamma` is the weight of the target prompt, at least 0: 0 keeps the source, 0.1 to 0.3 is the paper's range for
    edits. `gamma_schedule` "alpha_bar" (the paper's) multiplies it by alpha_bar, so that the prompt acts late in
    sampling; "constant" does not. `eta` in [0, 1] sets the fresh noise of each step; 0 is DDIM. `renoise` selects the
    noise prediction: "unconditional" (the authors' code) is the one without the target prompt, "guided" (the paper)
    the one that the guided clean estimate implies.
    """

    gamma: float = 0.2
    gamma_schedule: GammaSchedule = "alpha_bar"
    eta: float = 0.0
    renoise: Renoise = "unconditional"

    def weight(self, alpha_bar: Tensor) -> Tensor | float:
        """gamma_t, the weight of the target prompt at a noise level."""
        return self.gamma * alpha_bar if self.gamma_schedule == "alpha_bar" else self.gamma

    def renoise_estimate(self, z0_null: Tensor, z_bar: Tensor) -> Tensor:
        """The clean estimate (B, ...) whose noise prediction is added again."""
        return z_bar if self.renoise == "guided" else z0_null


@dataclass(frozen=True)
class KeptRegion:
    """The part of the source that an edit must not change: outside `mask` the state follows `trajectory`.

    `mask` in [0, 1] broadcasts over the latent: 1 where the edit applies, 0 where the source stays. `trajectory` holds
    the source's states (B, ...) from the highest noise level down to the clean latent.
    """

    mask: Tensor
    trajectory: Sequence[Tensor]

    def restore(self, x: Tensor, level: int) -> Tensor:
        """The state `x` (B, ...) with the source put back outside the mask; `level` counts from 0 at the highest."""
        return self.mask * x + (1 - self.mask) * self.trajectory[level]


@dataclass(frozen=True)
class ProximalStep:
    """One step down: the new state `x` and the clean estimate `z_bar` it was made from, both (B, ...)."""

    x: Tensor
    z_bar: Tensor


def proximal_point(z0_null: Tensor, z0_target: Tensor, gamma: Tensor | float) -> Tensor:
    """argmin_z (1 - gamma) |z - z0_null|^2 + gamma |z - z0_target|^2, all (B, ...) (DreamSampler, eq. 17)."""
    # The gradient vanishes where (1 - gamma) (z - z0_null) + gamma (z - z0_target) = 0, that is at
    #     z = (1 - gamma) z0_null + gamma z0_target = z0_null + gamma (z0_target - z0_null)
    # which is classifier-free guidance of scale gamma on clean estimates (the paper's theorem 1).
    return z0_null + gamma * (z0_target - z0_null)


def estimates(
    denoise: Denoiser, x: Tensor, sigma: Tensor, gamma: Tensor | float, region: Tensor | float | None = None
) -> tuple[Tensor, Tensor]:
    """The unconditional estimate (B, ...) and the proximal point, which a denoiser's own rule for guidance may replace.

    `region` in [0, 1] broadcasts over `x`: 1, or everywhere without it, where the target prompt acts. One model call of
    2 conditionings.
    """
    if isinstance(denoise, GuidanceOverride):
        z0_null, guided = denoise.guided(x, sigma, gamma)
        return z0_null, guided if region is None else proximal_point(z0_null, guided, region)
    z0_null, z0_target = denoise(x, sigma, (NULL, TARGET))
    return z0_null, proximal_point(z0_null, z0_target, gamma if region is None else region * gamma)


def proximal_edit(
    denoise: Denoiser,
    path: NoisePath,
    x: Tensor,
    sigmas: Tensor,
    *,
    settings: ProximalSettings,
    noise: SeededNoise,
    kept: KeptRegion | None = None,
    residuals: Sequence[Tensor] | None = None,
) -> Iterator[ProximalStep]:
    """Sample down from `x` and move each clean estimate toward the target prompt (DreamSampler, Algorithm 3).

    Args:
        denoise: has the conditionings `NULL` (the unconditional prompt) and `TARGET`.
        x: (B, ...) state at `sigmas[0]`, such as an inverted source.
        sigmas: (n + 1,) noise levels, falling to 0.
        kept: a part of the source that stays as it is.
        residuals: n residuals (B, ...) of DDPM inversion. Each step then adds its residual to the posterior mean of
            z_bar; `settings.eta` and `settings.renoise` have no effect.

    Yields:
        n steps, the last at `sigmas[n]`; each costs one model call of 2 conditionings.
    """
    for level, (sigma, sigma_next) in enumerate(pairwise(sigmas), start=1):
        z0_null, z_bar = estimates(denoise, x, sigma, settings.weight(path.alpha_bar(sigma)))
        if residuals is not None:
            x = posterior(path, x, z_bar, sigma, sigma_next).mean + residuals[level - 1]
        else:
            eps_hat = path.eps_hat(x, settings.renoise_estimate(z0_null, z_bar), sigma)
            share = fresh_share(path, sigma, sigma_next, settings.eta)
            x = ddim_step(path, z_bar, mix_fresh_noise(eps_hat, share, noise), sigma_next)
        if kept is not None:
            x = kept.restore(x, level)
        yield ProximalStep(x, z_bar)

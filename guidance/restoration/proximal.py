"""DreamSampler's inpainting and restoration: sampling constrained by a measurement (Algorithm 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ..core.ddim import ddim_step, mix_fresh_noise
from ..core.denoiser import NULL, TARGET, Denoiser
from ..core.noise import SeededNoise
from ..core.path import NoisePath
from ..editing.proximal import ProximalSettings, ProximalStep, proximal_point

Fit = Callable[[Tensor], Tensor]
"""Maps a clean estimate (B, ...) to a latent near it that agrees with the measurement."""
MeasurementGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""Maps a state (B, ...) and its noise level to the clean estimate without the target prompt and to the gradient of the
distance to the measurement with respect to the variance-preserving state, or None if it is not available."""


@dataclass(frozen=True)
class DataSteps:
    """Which steps are data-consistency steps (Gamma of Algorithm 4); all others are gradient steps.

    Every `every`th step of the first fraction `until` of the steps. The defaults are those of the authors' code: every
    third of the first 85%.
    """

    every: int = 3
    until: float = 0.85

    def __contains__(self, step: tuple[int, int]) -> bool:
        """Whether a step, given as (index, number of steps), is one of them."""
        index, steps = step
        return index % self.every == 0 and index < self.until * steps


def gradient_scale(cells: int, steps: int) -> float:
    """How long a gradient step is, relative to the paper's, on latents of so many `cells` (h * w) in a run of `steps`.

    With it, a run moves each cell as far as the authors' 200 steps on 64 x 64 cells. Fewer than 50 steps are as long as
    50: longer ones would leave noise of their own.
    """
    # The gradient of a distance |A D(z0_hat) - y| has about the same norm at any size, so a single cell moves by
    # 1 / sqrt(cells) of it: at 12 x 12 cells five times as far as at 64 x 64.
    return cells**0.5 / 64 * 200 / max(steps, 50)


def fill_with_noise(hole: Tensor, x: Tensor, eps: Tensor, path: NoisePath, sigma: Tensor) -> Tensor:
    """The state `x` (B, ...) with its `hole` replaced by noise of the state's variance (Algorithm 4).

    `hole` in [0, 1] broadcasts over `x`, 1 inside. Where its border is soft, state and noise are mixed so that the
    variance stays the same.
    """
    return (1 - hole).sqrt() * x + hole.sqrt() * path.scale(sigma) * eps


def proximal_restore(
    denoise: Denoiser,
    path: NoisePath,
    x: Tensor,
    sigmas: Tensor,
    *,
    settings: ProximalSettings,
    noise: SeededNoise,
    region: Tensor | float = 1.0,
    data_steps: DataSteps = DataSteps(),
    fit: Fit | None = None,
    gradient: MeasurementGradient | None = None,
    last_gradient: bool = True,
) -> Iterator[ProximalStep]:
    """Sample down from `x`, fitted to a measurement and moved toward the target prompt (DreamSampler, Algorithm 4).

    A data-consistency step moves the unconditional estimate by alpha_bar toward its `fit` to the measurement, and the
    result by gamma_t toward the target prompt in `region`. A gradient step is an unconditional DDIM step, minus
    sqrt(alpha_bar) times the `gradient` (DPS). The paper's values are gamma = 1 and eta = 1; here `settings.eta`
    multiplies sqrt(alpha_bar), the paper's share of fresh noise.

    Args:
        denoise: has the conditionings `NULL` (the unconditional prompt) and `TARGET`.
        x: (B, ...) state at `sigmas[0]`.
        sigmas: (n + 1,) noise levels, falling to 0.
        region: in [0, 1], broadcasts over `x`: 1 where the target prompt acts.
        data_steps: which steps are data-consistency steps.
        fit: None leaves out the fit to the measurement.
        gradient: None, or a None gradient, turns gradient steps into data-consistency steps without target prompt.
        last_gradient: whether the last step may be a gradient step, as in the paper. No step is left to denoise what it
            adds.

    Yields:
        n steps. A data-consistency step costs one model call of 2 conditionings, a gradient step one `gradient`.
    """

    def fitted(z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
        return z0_hat if fit is None else proximal_point(z0_hat, fit(z0_hat), alpha_bar)

    steps = len(sigmas) - 1
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        alpha_bar, pull = path.alpha_bar(sigma), None
        if (index, steps) in data_steps:
            z0_null, z0_target = denoise(x, sigma, (NULL, TARGET))
            z_bar = proximal_point(fitted(z0_null, alpha_bar), z0_target, region * settings.weight(alpha_bar))
        else:
            take = gradient if last_gradient or index < steps - 1 else None
            z0_null, pull = (*denoise(x, sigma, (NULL,)), None) if take is None else take(x, sigma)
            z_bar = fitted(z0_null, alpha_bar) if pull is None else z0_null
        eps_hat = path.eps_hat(x, settings.renoise_estimate(z0_null, z_bar), sigma)
        x = ddim_step(path, z_bar, mix_fresh_noise(eps_hat, settings.eta * alpha_bar.sqrt(), noise), sigma_next)
        if pull is not None:
            # The variance-preserving state moves by sqrt(alpha_bar) pull, and x, `scale` times as large, by a pull.
            x = x - path.a(sigma_next) * pull
        yield ProximalStep(x, z_bar)

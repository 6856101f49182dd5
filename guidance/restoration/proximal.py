"""Sampling held to a measurement: DreamSampler's inpainting and restoration (Algorithm 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from ..core.ddim import ddim_step, partly_fresh
from ..core.denoiser import Denoiser
from ..core.noise import SeededNoise
from ..core.path import Path
from ..editing.proximal import ProximalSettings, ProximalStep, proximal_point


@dataclass(frozen=True)
class DataSteps:
    """Which steps are data-consistency steps (Gamma of Algorithm 4): every `every`th of the first share `until`.

    The others are gradient steps. The defaults are the authors': every third of the first 85%.
    """

    every: int = 3
    until: float = 0.85

    def __contains__(self, step: tuple[int, int]) -> bool:
        index, steps = step
        return index % self.every == 0 and index < self.until * steps


def with_noise_in(hole: Tensor, x: Tensor, eps: Tensor, path: Path, sigma: Tensor) -> Tensor:
    """A state (B, ...) whose `hole`, which broadcasts over it and is 1 inside, holds noise alone.

    Where the hole's border is soft the two are mixed to the variance they have.
    """
    return (1 - hole).sqrt() * x + hole.sqrt() * path.scale(sigma) * eps


def measured_edit(
    denoise: Denoiser,
    path: Path,
    x: Tensor,
    sigmas: Tensor,
    *,
    settings: ProximalSettings,
    noise: SeededNoise,
    region: Tensor | float = 1.0,
    data_steps: DataSteps = DataSteps(),
    explaining: Callable[[Tensor], Tensor] | None = None,
    gradient: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]] | None = None,
) -> Iterator[ProximalStep]:
    """Sample down from `x`, held to a measurement and, in `region`, pulled towards the text (Algorithm 4).

    A data-consistency step moves the estimate without the text towards the latent `explaining` makes of it, which
    explains the measurement, by alpha_bar, and the result towards the text by gamma_t in `region` (broadcasts over x, 1
    where the text acts). A gradient step is DDIM's, without the text, less alpha_bar's root times the gradient of the
    distance to the measurement: `gradient` maps x and sigma to the estimate without the text and that gradient with
    respect to the variance-preserving state. Without `explaining` its part is left out; without `gradient`, or where it
    gives None for the gradient, those steps are data-consistency steps without the text.

    The paper's gamma is 1 and its share of fresh noise `eta` sqrt(alpha_bar), with eta = 1. Otherwise as
    `proximal_edit`.
    """

    def known(z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
        return z0_hat if explaining is None else proximal_point(z0_hat, explaining(z0_hat), alpha_bar)

    steps = len(sigmas) - 1
    for index, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        alpha_bar, pull = path.alpha_bar(sigma), None
        if (index, steps) in data_steps:
            z0_null, z0_target = denoise(x, sigma, ("negative", "positive"))
            z_bar = proximal_point(known(z0_null, alpha_bar), z0_target, region * settings.weight(alpha_bar))
        else:
            z0_null, pull = (*denoise(x, sigma, ("negative",)), None) if gradient is None else gradient(x, sigma)
            z_bar = known(z0_null, alpha_bar) if pull is None else z0_null
        eps_hat = path.eps_hat(x, settings.seen(z0_null, z_bar), sigma)
        x = ddim_step(path, z_bar, partly_fresh(eps_hat, settings.eta * alpha_bar.sqrt(), noise), sigma_next)
        if pull is not None:
            x = x - path.a(sigma_next) * pull
        yield ProximalStep(x, z_bar)

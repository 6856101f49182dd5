"""Posterior distillation sampling (PDS): match the stochastic latents of an image and its source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from ...core.path import per_item
from ...core.prior import Prior
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample
from .delta import NEEDS, Delta

PosteriorForm = Literal["official", "as printed", "exact"]
POSTERIOR_FORMS: tuple[PosteriorForm, ...] = get_args(PosteriorForm)
STEP = 1 / 999
"""The distance of two of the thousand training times, 0 to 1."""

# The clock of Stable Diffusion: the noise levels for which the paper's coefficients are defined.


@cache
def _log_levels() -> Tensor:
    """log(b / a) at each of the thousand training times of Stable Diffusion, rising: (1000,), float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    alpha_bar = (1 - betas).cumprod(0)
    return (1 / alpha_bar - 1).sqrt().log()


def _alpha_bar(time: Tensor) -> Tensor:
    """alpha_bar of Stable Diffusion at times in [0, 1], with log(b / a) linear in between."""
    levels, position = _log_levels(), time / STEP
    low = position.floor().long().clamp(0, len(levels) - 2)
    return torch.sigmoid(-2 * torch.lerp(levels[low], levels[low + 1], position - low))


def _training_time(prior: Prior, t: Tensor) -> Tensor:
    """The time at which Stable Diffusion has the signal-to-noise ratio of `prior` at `t` (B,), float64.

    Levels beyond either end of its clock are at the first or last time.
    """
    sigma = prior.sigma_at(t)
    levels, level = _log_levels(), (prior.path.b(sigma) / prior.path.a(sigma)).log()
    high = torch.searchsorted(levels, level).clamp(1, len(levels) - 1)
    share = (level - levels[high - 1]) / (levels[high] - levels[high - 1])
    return (high - 1 + share.clamp(0, 1)) * STEP


@dataclass(frozen=True)
class Coefficients:
    """The weights of PDS at times (B,): `psi` of the difference of images, `chi` of that of noises."""

    psi: Tensor
    chi: Tensor


def coefficients(prior: Prior, t: Tensor, posterior: PosteriorForm) -> Coefficients:
    """psi(t) and chi(t) (PDS, eq. 14) of one step of the DDPM posterior.

    In the "exact" posterior the step leads to the time before and psi is 0: PDS is DDS with the weight chi. "official",
    the authors' code, steps back by two times and keeps the beta of one. "as printed" steps back by one and has
    sqrt(alpha_bar_t) where the posterior has sqrt(alpha_t).

    The coefficients are those of Stable Diffusion at the same signal-to-noise ratio, times how many of its training
    times one of the model's covers. So a run with random times has the paper's balance of psi and chi on any model.
    """
    # Write A for alpha_bar at t and A' at the time before it. Image z and source carry the same noise: eps at t, eps'
    # before. With z0_hat = z + sqrt(1/A - 1) (eps - eps_hat), the image's stochastic latent
    #     (z_before - gamma z0_hat - delta z_t) / sigma
    # minus the source's is psi (z - z_src) + chi (eps_hat - eps_hat_src) with
    #     psi = (sqrt(A') - gamma - delta sqrt(A)) / sigma,    chi = gamma sqrt(1/A - 1) / sigma
    # In the exact posterior beta = 1 - A/A', gamma = sqrt(A') beta / (1 - A), delta = sqrt(A/A') (1 - A') / (1 - A), so
    #     gamma + delta sqrt(A) = sqrt(A') ((1 - A/A') + (A/A') (1 - A')) / (1 - A) = sqrt(A')
    # and psi = 0: the posterior mean of a noise-free state is noise-free.
    #
    # Another clock draws each noise level more or less often. With the factor d(training time) / dt, the expectation
    # of the gradient over t ~ U is the paper's. Without it, psi is 35 times too large on EDM models, most of whose
    # times have almost no noise; and chi is infinite at t = 1 of flow models.
    model_time = t.cpu().double()  # in this order: not every device supports float64
    low, high = (model_time - STEP / 2).clamp(min=0), (model_time + STEP / 2).clamp(max=1)
    density = (_training_time(prior, high) - _training_time(prior, low)) / (high - low)
    time = _training_time(prior, model_time).clamp(min=3 * STEP)  # two times back there must still be noise
    now, before = _alpha_bar(time), _alpha_bar(time - STEP)
    beta = 1 - now / before
    if posterior == "official":
        before = _alpha_bar(time - 2 * STEP)
    kept = now if posterior == "as printed" else 1 - beta
    gamma = before.sqrt() * beta / (1 - now)
    delta = kept.sqrt() * (1 - before) / (1 - now)
    sigma = ((1 - before) / (1 - now) * beta).sqrt()
    psi = (before.sqrt() - gamma - delta * now.sqrt()) / sigma
    chi = gamma * (1 / now - 1).sqrt() / sigma
    return Coefficients((density * psi).to(t), (density * chi).to(t))


@dataclass(frozen=True)
class PDS:
    """`chi (eps_hat(z_t, y_tgt) - eps_hat(z_t^src, y_src)) + weight psi (z - z_src)` (PDS, eq. 14).

    Image and source carry the same noise. `identity_weight` multiplies psi, which holds the image to its source. One
    model call of 4.
    """

    # Both states carry eps, so a prediction is eps_hat = eps + a / b (z - z0_hat). Inserted, with psi times its weight,
    #     gradient = (a / b chi + psi) (z - z_src) - a / b chi (z0_hat_tgt - z0_hat_src)
    # which is 0 at the clean estimate z_src + a chi / (a chi + b psi) (z0_hat_tgt - z0_hat_src).
    # Beyond Stable Diffusion's clock chi and psi are 0: there is no gradient and no pull.

    delta: Delta
    posterior: PosteriorForm
    identity_weight: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        c = coefficients(prior, sample.t, self.posterior)
        pair = self.delta.pair(prior, sample, sample.eps)
        a, b = (per_item(level(sample.sigma), sample.z) for level in (prior.path.a, prior.path.b))
        chi, psi = per_item(c.chi, sample.z), per_item(self.identity_weight * c.psi, sample.z)
        moved = sample.z - self.delta.reference
        gradient = chi * (pair.eps_target - pair.eps_source) + psi * moved
        stiffness = (a * chi + b * psi).clamp_min(torch.finfo(chi.dtype).tiny)
        return Direction(gradient, pair.eps_target, b * gradient / stiffness)


@dataclass(frozen=True)
class PDSSettings:
    """Guidance, posterior and weight of the authors' code."""

    guidance_scale: float = 100.0
    posterior: PosteriorForm = "official"
    identity_weight: float = 1.0


LOOP = LoopSettings(steps=200, optimizer="adam", weighting="uniform")
"""Times of the authors' code; it edits 3D scenes and SVGs, so steps and optimizer for images are ours."""


def build(s: PDSSettings, resources: Resources) -> PDS:
    return PDS(Delta(resources.need("reference"), s.guidance_scale), s.posterior, s.identity_weight)


register(Method("pds", build, PDSSettings(), LOOP, needs=NEEDS, edits=True, without_null={"guidance_scale": 1.0}))

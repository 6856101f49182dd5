"""DDIM on any noising path: one step, and sampling down the noise levels."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from .denoiser import Denoiser
from .noise import SeededNoise
from .path import NoisePath


def ddim_step(path: NoisePath, z0_hat: Tensor, eps: Tensor, sigma_next: Tensor) -> Tensor:
    """The state `a z0_hat + b eps` at `sigma_next` (DreamSampler, eq. 3), from a clean estimate and noise (B, ...)."""
    return path.noised(z0_hat, eps, sigma_next)


def fresh_share(path: NoisePath, sigma: Tensor, sigma_next: Tensor, eta: float) -> Tensor:
    """The share of fresh noise in a DDIM step from `sigma` down to `sigma_next`, in [0, 1] (DDIM, eq. 16).

    This is `eta beta_t / sqrt(1 - alpha_bar_next)` of DreamSampler's eq. 5. `eta` in [0, 1]: 0 is deterministic, 1
    samples the exact posterior between the two levels, on any path.
    """
    # With z_t = sqrt(alpha_bar_t) z0 + sqrt(1 - alpha_bar_t) eps, the DDPM posterior at a level s below t is
    #     z_s = sqrt(alpha_bar_s) z0 + c eps + d fresh,    c^2 + d^2 = 1 - alpha_bar_s,
    #     c^2 = (alpha_bar_t / alpha_bar_s) (1 - alpha_bar_s)^2 / (1 - alpha_bar_t)    (see `ddpm.posterior`)
    # so fresh noise has the share d / sqrt(1 - alpha_bar_s) = sqrt((1 - alpha_bar_t / alpha_bar_s) / (1 - alpha_bar_t))
    # of the noise. Other paths only multiply the state, which leaves the share as it is.
    alpha_bar_t, alpha_bar_s = path.alpha_bar(sigma), path.alpha_bar(sigma_next)
    return eta * ((1 - alpha_bar_t / alpha_bar_s) / (1 - alpha_bar_t)).clamp(0, 1).sqrt()


def mix_noise(eps_hat: Tensor, fresh: Tensor | None, share: Tensor) -> Tensor:
    """Predicted and fresh noise (B, ...) mixed to unit variance (DreamSampler, eq. 5).

    `share` in [0, 1] is the weight of `fresh`; pass None for `fresh` where the share is 0.
    """
    return eps_hat if fresh is None else (1 - share.square()).sqrt() * eps_hat + share * fresh


def mix_fresh_noise(eps_hat: Tensor, share: Tensor, noise: SeededNoise) -> Tensor:
    """Predicted noise (B, ...) mixed with a `share` (scalar) of fresh noise, drawn only for a share above 0."""
    return mix_noise(eps_hat, noise.like(eps_hat) if share > 0 else None, share)


def ddim_sample(denoise: Denoiser, path: NoisePath, x: Tensor, sigmas: Tensor, name: str) -> Tensor:
    """Sample without fresh noise from the state `x` (B, ...) at `sigmas[0]` down to `sigmas[-1]` (DDIM, eq. 12).

    `sigmas` (n + 1,) or (n + 1, B) falls. Costs n model calls.
    """
    for sigma, sigma_next in pairwise(sigmas):
        (z0_hat,) = denoise(x, sigma, (name,))
        x = ddim_step(path, z0_hat, path.eps_hat(x, z0_hat, sigma), sigma_next)
    return x

"""DDIM on any path: the step between two noise levels, and inversion, which climbs the same levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import Denoiser
from .noise import SeededNoise
from .path import Path


def ddim_step(path: Path, z0_hat: Tensor, eps: Tensor, sigma_next: Tensor) -> Tensor:
    """The state at `sigma_next` made of a clean estimate and a noise (DreamSampler, eq. 3): `a z0_hat + b eps`."""
    return path.noised(z0_hat, eps, sigma_next)


def fresh_share(path: Path, sigma: Tensor, sigma_next: Tensor, eta: float) -> Tensor:
    """The share of fresh noise in a DDIM step from `sigma` to `sigma_next`, in [0, 1] (DDIM, eq. 16).

    It is `eta beta_t / sqrt(1 - alpha_bar_next)` of DreamSampler's eq. 5. `eta` = 0 is deterministic, `eta` = 1 samples
    the exact posterior between the two levels, whichever family the path belongs to.
    """
    before, after = path.alpha_bar(sigma), path.alpha_bar(sigma_next)
    return eta * ((1 - before / after) / (1 - before)).clamp(0, 1).sqrt()


def renoised(eps_hat: Tensor, fresh: Tensor | None, share: Tensor) -> Tensor:
    """Estimated and fresh noise mixed to unit variance (DreamSampler, eq. 5). No `fresh` is needed for `share` 0."""
    return eps_hat if fresh is None else (1 - share.square()).sqrt() * eps_hat + share * fresh


def partly_fresh(eps_hat: Tensor, share: Tensor, noise: SeededNoise) -> Tensor:
    """Estimated noise (B, ...) with a `share` (a scalar) of fresh noise, which is drawn only where there is one."""
    return renoised(eps_hat, noise.like(eps_hat) if share > 0 else None, share)


@dataclass(frozen=True)
class InversionStep:
    """A state on the way up, and what carried the one below it there.

    `x` (B, ...) is the state at noise level `sigma`, made of the clean estimate `z0_hat` and the noise `eps_hat`.
    """

    sigma: Tensor
    x: Tensor
    z0_hat: Tensor
    eps_hat: Tensor


def ddim_inversion(
    denoise: Denoiser, path: Path, z0: Tensor, sigmas: Tensor, name: str = "negative"
) -> Iterator[InversionStep]:
    """Climb from a clean latent to the noise that DDIM would turn back into it (DDIM, section 4.3).

    `z0` (B, ...) is a latent in model scale, `sigmas` (n + 1,) or (n + 1, B) a falling schedule, `name` the
    conditioning to invert under. Yields n steps, at `sigmas[n - 1]` up to `sigmas[0]`; each costs one model evaluation.
    At level 0 the noise is undefined, so the first step asks for it at the lowest level, of the noise-free state.

    Raises ValueError where the schedule does not end at 0.
    """
    if sigmas[-1].any():
        raise ValueError(f"The noise levels must fall to 0, where the picture is clean; they end at {sigmas[-1]}.")
    rising = sigmas.flip(0)[1:]
    x = path.noised(z0, torch.zeros_like(z0), rising[0])
    for i, sigma_next in enumerate(rising):
        sigma = rising[max(i - 1, 0)]
        (z0_hat,) = denoise(x, sigma, (name,))
        eps_hat = path.eps_hat(x, z0_hat, sigma)
        if i == 0:
            z0_hat = z0
        x = ddim_step(path, z0_hat, eps_hat, sigma_next)
        yield InversionStep(sigma_next, x, z0_hat, eps_hat)


def ddim_sampling(denoise: Denoiser, path: Path, x: Tensor, sigmas: Tensor, name: str) -> Tensor:
    """Walk down from the state `x` (B, ...) at `sigmas[0]` to `sigmas[-1]` without fresh noise (DDIM, eq. 12, sigma =
    0).

    `sigmas` (n + 1,) or (n + 1, B) falls; each of the n steps costs one model evaluation.
    """
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        (z0_hat,) = denoise(x, sigma, (name,))
        x = ddim_step(path, z0_hat, path.eps_hat(x, z0_hat, sigma), sigma_next)
    return x

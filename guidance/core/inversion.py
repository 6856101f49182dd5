"""From a clean latent up the noise levels, so that DDIM sampling leads back to it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import NULL, Denoiser
from .path import NoisePath


@dataclass(frozen=True)
class InversionStep:
    """One step up: the state `x` (B, ...) at noise level `sigma`, and the `z0_hat` and `eps_hat` it was made from."""

    sigma: Tensor
    x: Tensor
    z0_hat: Tensor
    eps_hat: Tensor


def ddim_invert(
    denoise: Denoiser, path: NoisePath, z0: Tensor, sigmas: Tensor, name: str = NULL
) -> Iterator[InversionStep]:
    """Find the noise that DDIM sampling turns back into a clean latent (DDIM, section 4.3).

    Args:
        z0: (B, ...) latent in model scale.
        sigmas: (n + 1,) or (n + 1, B) noise levels, falling to 0.
        name: the conditioning to invert under.

    Yields:
        n steps, from `sigmas[n - 1]` up to `sigmas[0]`; each costs one model call.

    Raises:
        ValueError: the noise levels do not end at 0.
    """
    rising = _rising(sigmas)
    x = path.noised(z0, torch.zeros_like(z0), rising[0])
    for i, sigma_next in enumerate(rising):
        # The model predicts no noise at level 0, so the first prediction is for the clean image at the lowest level.
        sigma = rising[max(i - 1, 0)]
        (z0_hat,) = denoise(x, sigma, (name,))
        eps_hat = path.eps_hat(x, z0_hat, sigma)
        if i == 0:
            z0_hat = z0
        x = path.noised(z0_hat, eps_hat, sigma_next)
        yield InversionStep(sigma_next, x, z0_hat, eps_hat)


def fixed_point_invert(
    denoise: Denoiser, path: NoisePath, z0: Tensor, sigmas: Tensor, name: str = NULL, *, every: int = 1
) -> Iterator[InversionStep]:
    """Find the noise as `ddim_invert` does, by steps that DDIM sampling takes back almost exactly.

    Each step takes one fixed-point iteration from an extrapolated guess. `sigmas` is (n + 1,). The model is called at
    every `every`-th level, counted from the highest, and twice at the lowest: 2 + ceil((n - 1) / every) calls.
    """
    # In u = x / (a + b) and flow time t, DDIM steps from t' down to t by u = u' - (t' - t) v(u', t'), with the velocity
    # v = eps_hat - z0_hat. Its inverse is implicit,
    #     u' = u + (t' - t) v(u', t')
    # `ddim_invert` takes v at (u, t) instead, an error of second order in t' - t. Here v is taken at a guess of u', to
    # which v leads if it goes on in a straight line. The guess is off by third order, and the step by fourth. Levels in
    # between, where the model is not called, get their v from the line through both neighbors: an error of third order.
    rising = _rising(sigmas)
    x = path.noised(z0, torch.zeros_like(z0), rising[0])
    (z0_hat,) = denoise(x, rising[0], (name,))  # no model predicts noise at level 0
    u, t, v, slope = z0, torch.zeros_like(rising[0]), path.eps_hat(x, z0_hat, rising[0]) - z0, 0
    for group in _groups(rising, every):
        times, sigma = path.flow_time(group), group[-1]
        steps, ahead = torch.diff(times, prepend=t[None]), times - t
        guess = path.flow_scale(sigma) * (u + steps.sum() * v + (steps * ahead).sum() * slope)
        (z0_hat,) = denoise(guess, sigma, (name,))
        v_top = path.velocity(guess, z0_hat, sigma)
        line = (v_top - v) / ahead[-1]
        for level, step, distance in zip(group, steps, ahead, strict=True):
            u = u + step * (v + distance * line)
            yield InversionStep(level, path.flow_scale(level) * u, z0_hat, z0_hat + v_top)
        # The first v is that of a latent without the noise of its level, so no line goes through it.
        slope = line if t > 0 else 0
        t, v = times[-1], v_top


def _groups(rising: Tensor, every: int) -> list[Tensor]:
    """Rising levels: the lowest alone, then groups of `every` up to the highest, of which the first may be smaller."""
    bounds = sorted({0, 1, *range(len(rising), 0, -every)})
    return [rising[low:high] for low, high in pairwise(bounds)]


def _rising(sigmas: Tensor) -> Tensor:
    """The levels above 0, rising."""
    if sigmas[-1].any():
        raise ValueError(f"The noise levels must fall to 0, where the image is clean; they end at {sigmas[-1]}.")
    return sigmas.flip(0)[1:]

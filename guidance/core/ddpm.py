"""The DDPM posterior between two noise levels of any path, and edit-friendly DDPM inversion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from .denoiser import NULL, Denoiser
from .noise import SeededNoise
from .path import NoisePath, per_item


@dataclass(frozen=True)
class Posterior:
    """The Gaussian q(x_s | x_t, z0) at a level s below t (DDPM, eq. 6 and 7): mean (B, ...), standard deviation."""

    mean: Tensor
    deviation: Tensor


def posterior(path: NoisePath, x: Tensor, z0: Tensor, sigma: Tensor, sigma_next: Tensor) -> Posterior:
    """The posterior at `sigma_next` of the state `x` (B, ...) at `sigma`, for the clean latent `z0` (DDPM, eq. 7).

    On any path: with r = a_t / a_s and V = b_t^2 - r^2 b_s^2,

        mean = (r b_s^2 x + a_s V z0) / b_t^2,    variance = V b_s^2 / b_t^2
    """
    # The path is a Markov chain: x_t = r x_s + sqrt(V) eps has the marginal N(a_t z0, b_t^2) if r and V are as above.
    # So q(x_s | x_t, z0) is proportional to N(x_s; a_s z0, b_s^2) N(x_t; r x_s, V), a Gaussian in x_s with
    #     precision         1 / b_s^2 + r^2 / V = (V + r^2 b_s^2) / (V b_s^2) = b_t^2 / (V b_s^2)
    #     precision * mean  a_s z0 / b_s^2 + r x / V
    # At b_s = 0 the variance is 0 and the mean is a_s z0.
    a_t, a_s = path.a(sigma), path.a(sigma_next)
    b_t_squared, b_s_squared = path.b(sigma).square(), path.b(sigma_next).square()
    r = a_t / a_s
    v = b_t_squared - r.square() * b_s_squared
    mean = per_item(r * b_s_squared / b_t_squared, x) * x + per_item(a_s * v / b_t_squared, x) * z0
    return Posterior(mean, (v * b_s_squared / b_t_squared).sqrt())


def noised_states(path: NoisePath, z0: Tensor, sigmas: Tensor, noise: SeededNoise) -> list[Tensor]:
    """The clean latent `z0` (B, ...) noised to each level of `sigmas` (n + 1,), with independent noise at each."""
    return [path.noised(z0, noise.like(z0), sigma) if sigma > 0 else z0 for sigma in sigmas]


@dataclass(frozen=True)
class Residual:
    """One step of DDPM inversion: the clean estimate `z0_hat` and the residual `value`, both (B, ...)."""

    z0_hat: Tensor
    value: Tensor


def ddpm_invert(
    denoise: Denoiser, path: NoisePath, states: Sequence[Tensor], sigmas: Tensor, name: str = NULL
) -> Iterator[Residual]:
    """Find what DDPM sampling must add to each posterior mean to pass through `states`.

    This is edit-friendly DDPM inversion (Huberman-Spiegelglas et al., 2023). Because the states carry independent
    noise (`noised_states`), the residuals hold the structure of the image; replayed under another prompt they carry it
    over.

    Args:
        states: n + 1 states (B, ...) of the source, one for each noise level.
        sigmas: (n + 1,) noise levels, falling to 0.
        name: the conditioning to invert under.

    Yields:
        n residuals, from the highest level down; each costs one model call. The last one is the error of the final
        clean estimate.

    Raises:
        ValueError: `states` and `sigmas` differ in length.
    """
    for (x, x_next), (sigma, sigma_next) in zip(pairwise(states), pairwise(sigmas), strict=True):
        (z0_hat,) = denoise(x, sigma, (name,))
        yield Residual(z0_hat, x_next - posterior(path, x, z0_hat, sigma, sigma_next).mean)

"""The DDPM posterior between any two noise levels of any path, and the inversion that edits by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from .denoiser import Denoiser
from .noise import SeededNoise
from .path import Path, per_item


@dataclass(frozen=True)
class Posterior:
    """The Gaussian q(x_s | x_t, z0) at a level s below t (DDPM, eq. 6 and 7, on any path), by mean and deviation."""

    mean: Tensor
    deviation: Tensor


def posterior(path: Path, x: Tensor, z0: Tensor, sigma: Tensor, sigma_next: Tensor) -> Posterior:
    """Where the state `x` (B, ...) at `sigma` comes from at `sigma_next`, if the picture is `z0`.

    With r = a_t / a_s and V = b_t^2 - r^2 b_s^2 the mean is (r b_s^2 x + a_s V z0) / b_t^2 and the variance
    V b_s^2 / b_t^2.
    """
    a_t, a_s = path.a(sigma), path.a(sigma_next)
    b_t, b_s = path.b(sigma).square(), path.b(sigma_next).square()
    r = a_t / a_s
    v = b_t - r.square() * b_s
    mean = per_item(r * b_s / b_t, x) * x + per_item(a_s * v / b_t, x) * z0
    return Posterior(mean, (v * b_s / b_t).sqrt())


def noised_states(path: Path, z0: Tensor, sigmas: Tensor, noise: SeededNoise) -> list[Tensor]:
    """The picture at every level of the schedule `sigmas` (n + 1,), each with noise of its own."""
    return [path.noised(z0, noise.like(z0), sigma) if sigma > 0 else z0 for sigma in sigmas]


@dataclass(frozen=True)
class Residual:
    """What one step of a stochastic inversion found at its level: the clean estimate and the residual below it."""

    z0_hat: Tensor
    value: Tensor


def residuals(
    denoise: Denoiser, path: Path, states: Sequence[Tensor], sigmas: Tensor, name: str = "negative"
) -> Iterator[Residual]:
    """What sampling under the text `name` must add to the posterior's mean to pass through all `states` (n + 1).

    Edit-friendly DDPM inversion (Huberman-Spiegelglas et al., 2023): with states that carry noise of their own the
    residuals hold the picture's structure, and replaying them under another text carries it over. Yields n residuals,
    from the highest level down; each costs one model evaluation. The last makes up for what the model gets wrong of the
    clean picture.
    """
    for x, x_next, sigma, sigma_next in zip(states, states[1:], sigmas, sigmas[1:]):
        (z0_hat,) = denoise(x, sigma, (name,))
        yield Residual(z0_hat, x_next - posterior(path, x, z0_hat, sigma, sigma_next).mean)

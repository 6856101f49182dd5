"""Holes filled without gradients: decoupled inpainting guidance (DING)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..core.denoiser import NULL, Denoiser
from ..core.noise import SeededNoise
from ..core.path import NoisePath
from ..editing.proximal import ProximalSettings, ProximalStep, estimates
from .blending import membrane
from .measurement import Autoencoder, Measurement
from .operators.base import MEASURED

LATENT_NOISE = 0.01
"""Standard deviation of the noise of known latent cells, whose own is about 1 (DING)."""


@dataclass(frozen=True)
class KnownCells:
    """What is known of a clean latent: `latent` (B or 1, ...) with Gaussian noise of standard deviation `deviation`.

    `deviation`, above 0, broadcasts over the latent; it is infinite where nothing is known.
    """

    latent: Tensor
    deviation: Tensor


def known_cells(measurement: Measurement, autoencoder: Autoencoder, hole: Tensor) -> KnownCells:
    """The latent of an image with a hole, and how far it can be trusted.

    `hole` in [0, 1] is the share of each latent cell that lies in the hole; it broadcasts over latents.

    The hole is first filled with the membrane of its surroundings: an encoder sees beyond the border of a cell, and a
    gray hole would change the cells around it. Noise of pixels counts as noise of cells with the same deviation.
    """
    # A cell of which the share h is filled is about (1 - h) known + h filled, where the filled part is off by about 1,
    # the deviation of latents. So known / (1 - h) has the deviation h / (1 - h): 0 outside the hole, infinite inside.
    pixels = measurement.operator.hole
    assert pixels is not None
    y = measurement.y
    unknown = ((1 - pixels.to(y)).square() <= MEASURED).to(y)
    images = membrane(measurement.operator.back_projected(y), unknown)
    latent = torch.cat([autoencoder.encode(image) for image in images.split(1)])  # one by one, to save memory
    deviation = (LATENT_NOISE**2 + measurement.noise_std**2 + (hole / (1 - hole)).square()).sqrt()
    return KnownCells(latent.to(hole), deviation)


def decoupled_restore(
    denoise: Denoiser,
    path: NoisePath,
    x: Tensor,
    sigmas: Tensor,
    *,
    known: KnownCells,
    settings: ProximalSettings,
    noise: SeededNoise,
    region: Tensor | float = 1.0,
) -> Iterator[ProximalStep]:
    """Sample down from `x` so that the known cells stay, without gradients (DING, Moufad et al., 2026).

    A DDIM step from t to s has the mean mu and fresh noise of deviation eta. A proxy w ~ N(mu, eta^2) is drawn from it
    first, and its noise prediction eps(w) tells the known cells y which noise belongs to them at s:

        gamma = eta^2 / (eta^2 + a_s^2 deviation^2)
        x_s   = (1 - gamma) mu + gamma (a_s y + b_s eps(w)) + sqrt(1 - gamma) eta fresh

    Where nothing is known gamma is 0, and this is the DDIM step.

    Args:
        denoise: has the conditionings `NULL` (the unconditional prompt) and `TARGET`.
        x: (B, ...) state at `sigmas[0]`.
        sigmas: (n + 1,) noise levels, falling to 0.
        settings: `eta` multiplies the share of fresh noise, and must be above 0: without it nothing pulls to the known.
        region: in [0, 1], broadcasts over `x`: 1 where the target prompt acts.

    Yields:
        n steps. Each costs one model call of 2 conditionings, and all but the last one of 1 for the proxy.
    """
    # The posterior transition is p(x_s | x_t, y) ~ p(x_s | x_t) p(y | x_s) with the DDIM step p(x_s | x_t) =
    # N(mu, eta^2). If the noise in x_s were known, y would be a Gaussian of x_s: from x_s = a_s z0 + b_s eps,
    #     y = z0 + deviation n = (x_s - b_s eps) / a_s + deviation n.
    # Guidance takes eps(x_s), the model's prediction, which couples the likelihood to x_s through the model and costs a
    # gradient. DING takes eps(w) of an independent draw w ~ p(x_s | x_t) and averages over w. For a fixed w
    #     p(y | x_s, w) = N(x_s; a_s y + b_s eps(w), (a_s deviation)^2) up to a factor,
    # and the product of two Gaussians of x_s is a Gaussian with
    #     precision  1 / eta^2 + 1 / (a_s deviation)^2 = 1 / (eta^2 (1 - gamma))
    #     mean       (1 - gamma) mu + gamma (a_s y + b_s eps(w)).
    # The paper writes its variance as gamma (a_s deviation)^2, which is the same and not finite where nothing is known.
    # Its eta_s = b_s (1 - a_s) on the flow path is the share 1 - a_s = b_s of the noise: on any path, the flow time.
    for sigma, sigma_next in pairwise(sigmas):
        weight = settings.weight(path.alpha_bar(sigma))
        z0_null, z_bar = estimates(denoise, x, sigma, weight, region)
        eps_hat = path.eps_hat(x, settings.renoise_estimate(z0_null, z_bar), sigma)
        share = settings.eta * path.flow_time(sigma_next)
        mean = path.noised(z_bar, (1 - share.square()).sqrt() * eps_hat, sigma_next)
        eta = share * path.b(sigma_next)
        if eta > 0:
            proxy = mean + eta * noise.like(mean)
            (z0_proxy,) = denoise(proxy, sigma_next, (NULL,))
            informed = path.noised(known.latent, path.eps_hat(proxy, z0_proxy, sigma_next), sigma_next)
            gamma = 1 / (1 + (path.a(sigma_next) * known.deviation / eta).square())
            x = torch.lerp(mean, informed, gamma) + (1 - gamma).sqrt() * eta * noise.like(mean)
        else:
            x = mean
        yield ProximalStep(x, z_bar)

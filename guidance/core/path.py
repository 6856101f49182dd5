"""The noising path `x = a(sigma) z0 + b(sigma) eps` of each model family, and conversions along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoisePath:
    """How a model's state is mixed from a clean latent and Gaussian noise.

    `a` and `b` map noise levels `sigma` (any shape, in the model's own units) to the weights of latent and noise.
    Methods take a scalar level or one per batch item (B,).
    """

    name: str
    a: Callable[[Tensor], Tensor]
    b: Callable[[Tensor], Tensor]

    def noised(self, z0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """The state `a z0 + b eps` (B, ...) at `sigma`."""
        sigma = per_item(sigma, z0)
        return self.a(sigma) * z0 + self.b(sigma) * eps

    def eps_hat(self, x: Tensor, z0_hat: Tensor, sigma: Tensor) -> Tensor:
        """The noise prediction `(x - a z0_hat) / b` that belongs to a posterior mean. `sigma` must be above 0."""
        sigma = per_item(sigma, x)
        return (x - self.a(sigma) * z0_hat) / self.b(sigma)

    def velocity(self, x: Tensor, z0_hat: Tensor, sigma: Tensor) -> Tensor:
        """The velocity `eps_hat - z0_hat`, per unit of flow time, of a posterior mean. `sigma` must be above 0."""
        return self.eps_hat(x, z0_hat, sigma) - z0_hat

    def scale(self, sigma: Tensor) -> Tensor:
        """The factor `sqrt(a^2 + b^2)` from the variance-preserving state of the same noise level to this path's."""
        return (self.a(sigma).square() + self.b(sigma).square()).sqrt()

    def alpha_bar(self, sigma: Tensor) -> Tensor:
        """The variance-preserving `alpha_bar = a^2 / (a^2 + b^2)` of the same signal-to-noise ratio, in [0, 1]."""
        return (self.a(sigma) / self.scale(sigma)).square()

    def flow_time(self, sigma: Tensor) -> Tensor:
        """The flow time `b / (a + b)` of the same signal-to-noise ratio, in [0, 1]: a flow model's own sigma."""
        return self.b(sigma) / self.flow_scale(sigma)

    def flow_scale(self, sigma: Tensor) -> Tensor:
        """The factor `a + b` from the state `(1 - t) z0 + t eps` at the same `flow_time` t to this path's."""
        return self.a(sigma) + self.b(sigma)


def per_item(sigma: Tensor, x: Tensor) -> Tensor:
    """A scalar or (B,) tensor reshaped to broadcast over `x` (B, ...)."""
    return sigma if sigma.ndim == 0 else sigma.reshape(-1, *(1,) * (x.ndim - 1))


SCALED = NoisePath("scaled", torch.ones_like, lambda sigma: sigma)
"""Noise- and velocity-predicting models (SD1.5, SD2, SDXL): `x = z0 + sigma eps`, i.e. `z_t / sqrt(alpha_bar)`."""

FLOW = NoisePath("flow", lambda sigma: 1 - sigma, lambda sigma: sigma)
"""Rectified flow (SD3, Flux): `x = (1 - sigma) z0 + sigma eps`, with `sigma` in [0, 1]."""


def flow_path(noise_scale: float = 1.0) -> NoisePath:
    """Rectified flow from noise of the standard deviation `noise_scale`: `x = (1 - sigma) z0 + sigma noise_scale eps`.

    HiDream-O1, for example, was trained with 8. `flow_path(1.0)` is `FLOW`.
    """
    if noise_scale == 1.0:
        return FLOW
    return NoisePath(f"flow, noise scale {noise_scale:g}", FLOW.a, lambda sigma: noise_scale * sigma)

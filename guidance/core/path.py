"""The noising path `x = a(sigma) z0 + b(sigma) eps` of each model family, and conversions along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Path:
    """How the state a model sees is mixed from a clean latent and Gaussian noise.

    `a` and `b` map noise levels `sigma` (any shape, in the model's own units) to the weights of the clean latent and of
    the noise. Methods accept a scalar level or one level per batch item, shape (B,).
    """

    name: str
    a: Callable[[Tensor], Tensor]
    b: Callable[[Tensor], Tensor]

    def noised(self, z0: Tensor, eps: Tensor, sigma: Tensor) -> Tensor:
        """The state `a z0 + b eps` at `sigma`, same shape as `z0`."""
        sigma = per_item(sigma, z0)
        return self.a(sigma) * z0 + self.b(sigma) * eps

    def eps_hat(self, x: Tensor, z0_hat: Tensor, sigma: Tensor) -> Tensor:
        """The noise that a posterior mean `z0_hat` implies: `(x - a z0_hat) / b`. `sigma` must be above 0."""
        sigma = per_item(sigma, x)
        return (x - self.a(sigma) * z0_hat) / self.b(sigma)

    def scale(self, sigma: Tensor) -> Tensor:
        """How many times larger the state is than the variance-preserving one at the same noise level."""
        return (self.a(sigma).square() + self.b(sigma).square()).sqrt()

    def alpha_bar(self, sigma: Tensor) -> Tensor:
        """The variance-preserving `alpha_bar` of the same signal-to-noise ratio, in [0, 1]."""
        return (self.a(sigma) / self.scale(sigma)).square()

    def flow_time(self, sigma: Tensor) -> Tensor:
        """The flow time b / (a + b) in [0, 1] of the same signal-to-noise ratio: a flow model's own sigma."""
        a, b = self.a(sigma), self.b(sigma)
        return b / (a + b)


def per_item(sigma: Tensor, x: Tensor) -> Tensor:
    """A scalar or (B,) level in a shape that broadcasts over the (B, ...) tensor `x`."""
    return sigma if sigma.ndim == 0 else sigma.reshape(-1, *(1,) * (x.ndim - 1))


SCALED = Path("scaled", torch.ones_like, lambda sigma: sigma)
"""Noise- and velocity-predicting models (SD1.5, SD2, SDXL): `x = z0 + sigma eps`, i.e. `z_t / sqrt(alpha_bar)`."""

FLOW = Path("flow", lambda sigma: 1 - sigma, lambda sigma: sigma)
"""Rectified flow (SD3, Flux): `x = (1 - sigma) z0 + sigma eps`, with `sigma` in [0, 1]."""

"""What is known of a picture, and how a clean estimate is held to it (DreamSampler, section 3.3; DPS)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from .operators import LinearOperator
from .path import Path, per_item
from .solvers import conjugate_gradient


class Autoencoder(Protocol):
    """Pictures (B, C, H, W) in [-1, 1] to latents (B, ...) in model scale and back, differentiable where asked."""

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


QUANTISATION = 2 / 255 / 12**0.5
"""Standard deviation of the rounding to 8 bits, on the scale of [-1, 1]: no picture is known better."""
DECODED_ERROR = 0.07
"""How far a decoded picture is expected to be from the measured one: what suits blurs on the reference world."""


@dataclass(frozen=True)
class Measurement:
    """`y` = A x + n: what `operator` A saw of pictures x (B, 3, H, W) in [-1, 1], n of deviation `noise_std`.

    `y` (B or 1, ...) has the operator's measurement shape.
    """

    operator: LinearOperator
    y: Tensor
    noise_std: float = 0.0

    def to(self, like: Tensor) -> Measurement:
        """The same on the device and in the type of a tensor."""
        return replace(self, y=self.y.to(like))

    def of_item(self, index: int) -> Measurement:
        """The measurement of one item of a batch."""
        return replace(self, operator=self.operator.of_item(index), y=self.y[index % len(self.y)][None])

    def projected(self, pictures: Tensor) -> Tensor:
        """Pictures that explain the measurement as well as its noise allows, near the given ones (B, 3, H, W).

        What decoders get wrong is smooth: the mean of a block of pixels is as far off as each of them. So where A makes
        n numbers of N, `DECODED_ERROR` is that of each of the n. Around a hole, where the pixels themselves are known,
        they are kept to the last bit unless there is noise.
        """
        numbers, seen = (math.prod(shape) for shape in (self.operator.picture_shape, self.operator.measurement_shape))
        least = QUANTISATION if self.operator.hole is None else 0.0
        weight = (max(self.noise_std, least) / DECODED_ERROR) ** 2 * seen / numbers
        return self.operator.projected(self.y, pictures, weight).clamp(-1, 1)

    def distance(self, pictures: Tensor) -> Tensor:
        """|A x - y| of each picture: (B,)."""
        return (self.operator.forward(pictures) - self.y).flatten(1).norm(dim=1)


@dataclass(frozen=True)
class DataConsistency:
    """How estimates are held to a measurement.

    `weight` is lambda of the data-consistency step, at least 0, which runs `iterations` of conjugate gradients at most;
    few of them keep noise out where A is ill-conditioned. `dps_weight` multiplies the gradient step (1 is published).
    """

    measurement: Measurement
    autoencoder: Autoencoder
    weight: float = 1e-4
    iterations: int = 10
    tolerance: float = 1e-4
    dps_weight: float = 1.0

    def of_item(self, index: int) -> DataConsistency:
        """The same for one item of a batch."""
        return replace(self, measurement=self.measurement.of_item(index))

    def explaining(self, z0_hat: Tensor) -> Tensor:
        """The latent E(x) of x = argmin |y - A x|^2 + weight |x - D(z0_hat)|^2 (DreamSampler, eq. 9)."""
        operator, y = self.measurement.operator, self.measurement.y
        with torch.no_grad():
            x = self.autoencoder.decode(z0_hat)
            solution = conjugate_gradient(
                lambda v: operator.normal(v) + self.weight * v,
                operator.adjoint(y) + self.weight * x,
                x,
                tolerance=self.tolerance,
                iterations=self.iterations,
            )
            return self.autoencoder.encode(solution.x)

    def posterior_gradient(
        self, predict: Callable[[Tensor], Tensor], path: Path, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The estimate z0_hat = predict(x) and the gradient of |A D(z0_hat) - y| (DPS, eq. 16), both (B, ...).

        The gradient is with respect to the variance-preserving state z_t of the same noise level, whatever the path.
        """
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            z0_hat = predict(x)
            distance = self.measurement.distance(self.autoencoder.decode(z0_hat)).sum()
            (gradient,) = torch.autograd.grad(distance, x)
        return z0_hat.detach(), self.dps_weight * per_item(path.scale(sigma), x) * gradient

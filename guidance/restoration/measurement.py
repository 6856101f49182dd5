"""A measurement of an image, and how clean estimates are made to agree with it (DreamSampler, section 3.3; DPS)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..core.path import Path, per_item
from .operators import LinearOperator
from .solvers import conjugate_gradient


class Autoencoder(Protocol):
    """Images (B, C, H, W) in [-1, 1] to latents (B, ...) in model scale and back, differentiable where asked."""

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


QUANTIZATION = 2 / 255 / 12**0.5
"""Standard deviation of rounding to 8 bits, on the scale of [-1, 1]: no image is known more precisely."""
DECODED_ERROR = 0.07
"""Expected error of a decoded image, on the scale of [-1, 1]: a value that suits blurs on the reference world."""


@dataclass(frozen=True)
class Measurement:
    """`y` = A x + n: what `operator` A sees of images x (B, 3, H, W) in [-1, 1], with noise n.

    `y` (B or 1, *operator.measurement_shape) is in the scale of the images, and so is `noise_std`, the standard
    deviation of n, at least 0.
    """

    operator: LinearOperator
    y: Tensor
    noise_std: float = 0.0

    def to(self, like: Tensor) -> Measurement:
        """The same on the device and in the dtype of a tensor."""
        return replace(self, y=self.y.to(like))

    def of_item(self, index: int) -> Measurement:
        """The measurement of one item of a batch."""
        return replace(self, operator=self.operator.of_item(index), y=self.y[index % len(self.y)][None])

    def projected(self, images: Tensor) -> Tensor:
        """Images that agree with the measurement as closely as its noise allows, near the given ones (B, 3, H, W).

        The error of a decoder is smooth: the mean of a block of pixels is as far off as each of them. So where A maps N
        values to n, `DECODED_ERROR` is the error of each of the n. Around a hole, where the pixels themselves are
        known, they are kept exactly unless there is noise.
        """
        numbers, seen = (math.prod(shape) for shape in (self.operator.picture_shape, self.operator.measurement_shape))
        least = QUANTIZATION if self.operator.hole is None else 0.0
        weight = (max(self.noise_std, least) / DECODED_ERROR) ** 2 * seen / numbers
        return self.operator.projected(self.y, images, weight).clamp(-1, 1)

    def distance(self, images: Tensor) -> Tensor:
        """|A x - y| of each image: (B,)."""
        return (self.operator.forward(images) - self.y).flatten(1).norm(dim=1)


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

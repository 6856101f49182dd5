"""Measurements of images, and data consistency of clean estimates (DreamSampler, section 3.3; DPS)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ..core.path import NoisePath, per_item
from .operators import Operator


class Autoencoder(Protocol):
    """Maps images (B, C, H, W) in [-1, 1] to latents (B, ...) in model scale and back, differentiably."""

    def encode(self, images: Tensor, /) -> Tensor: ...

    def decode(self, latents: Tensor, /) -> Tensor: ...


QUANTIZATION = 2 / 255 / 12**0.5
"""Standard deviation of rounding to 8 bits for values in [-1, 1]: no image is known more precisely."""
DECODED_ERROR = 0.07
"""Expected error of a decoded image for values in [-1, 1]; chosen for blurs on the reference model."""
CONTRAST = 0.5
"""Standard deviation of the pixels of an image for values in [-1, 1]; that of latents is about 1."""


@dataclass(frozen=True)
class Measurement:
    """A measurement `y` = A(x) + n of images x (B, 3, H, W) in [-1, 1], with the `operator` A and noise n.

    `y` is (B or 1, *operator.measurement_shape). `noise_std`, the standard deviation of n, is at least 0; both are in
    the scale of the images.
    """

    operator: Operator
    y: Tensor
    noise_std: float = 0.0

    def to(self, like: Tensor) -> Measurement:
        """This measurement on the device and in the dtype of a tensor."""
        return replace(self, y=self.y.to(like))

    def of_item(self, index: int) -> Measurement:
        """The measurement of one item of a batch."""
        return replace(self, operator=self.operator.of_item(index), y=self.y[index % len(self.y)][None])

    def projected(self, images: Tensor) -> Tensor:
        """The images nearest to `images` (B, 3, H, W) that agree with the measurement as closely as its noise allows.

        A decoder's error is smooth: the mean of a block of pixels is as far off as each of them. So if A maps N values
        to n, `DECODED_ERROR` is the error of each of the n. Known pixels around a hole are kept exactly, unless the
        measurement has noise.
        """
        least = QUANTIZATION if self.operator.hole is None else 0.0
        return self.operator.projected(self.y, images, self._weight(least, DECODED_ERROR)).clamp(-1, 1)

    def proximal_point(self, images: Tensor, error: float) -> Tensor:
        """argmin_x |y - A x|^2 + weight |x - images|^2, clamped to [-1, 1], for `images` (B, 3, H, W).

        It is the most probable image if A `images` is off by `error`, smoothly as in `projected`, and y by its noise:
        weight = noise^2 / error^2, times the share of numbers that are measured.
        """
        return self.operator.prox(self.y, images, self._weight(QUANTIZATION, error)).clamp(-1, 1)

    def _weight(self, least: float, error: float) -> float:
        numbers, seen = (math.prod(shape) for shape in (self.operator.image_shape, self.operator.measurement_shape))
        return (max(self.noise_std, least) / error) ** 2 * seen / numbers

    def residual(self, images: Tensor) -> Tensor:
        """What keeps images (B, 3, H, W) from agreeing with the measurement: (B, ...), A x - y if A is linear."""
        return self.operator.residual(self.y, images)

    def distance(self, images: Tensor) -> Tensor:
        """How far the measurement of each image is from the real one, |A x - y| if A is linear: (B,)."""
        return self.residual(images).flatten(1).norm(dim=1)

    def started(self) -> Measurement:
        """This measurement with the operator to start with, if it is not fully known."""
        return replace(self, operator=self.operator.started(self.y))

    def refitted(self, images: Tensor) -> Measurement:
        """This measurement with what is not known of its operator fitted to clean images (B, 3, H, W)."""
        return replace(self, operator=self.operator.refitted(self.y, images))


@dataclass
class DataConsistency:
    """Data consistency of clean estimates with a measurement, by fitting or by gradient.

    `weight`, at least 0, is lambda of the data-consistency step, which takes at most `iterations` steps of conjugate
    gradients; few steps keep noise out where A is ill-conditioned. `dps_weight` multiplies the gradient step; the
    paper's value is 1 for 200 steps on latents of 64 x 64 cells (see `gradient_scale`). `decoded_error` is the error of
    a decoded image, and `contrast` the change of pixels that a change of latents by 1 makes, both for `fit_at`.
    """

    measurement: Measurement
    autoencoder: Autoencoder
    weight: float = 1e-4
    iterations: int = 10
    tolerance: float = 1e-4
    dps_weight: float = 1.0
    decoded_error: float = DECODED_ERROR
    contrast: float = CONTRAST

    def of_item(self, index: int) -> DataConsistency:
        """Data consistency for one item of a batch."""
        return replace(self, measurement=self.measurement.of_item(index))

    def refit(self, z0_hat: Tensor) -> None:
        """Fit what is not known of the measurement's operator to a clean estimate that was not fitted to it yet.

        Decodes one image after the other, which needs the least memory.
        """
        with torch.no_grad():
            images = torch.cat([self.autoencoder.decode(each) for each in z0_hat.split(1)])
            self.measurement = self.measurement.refitted(images)

    def fit(self, z0_hat: Tensor) -> Tensor:
        """The latent E(x) of x = argmin |y - A x|^2 + weight |x - D(z0_hat)|^2 (DreamSampler, eq. 9).

        Deviation: x is clamped to [-1, 1], where images are. What a blur hides is free to grow otherwise, and what lies
        outside comes back larger from the autoencoder at every step, until the image is noise.
        """
        operator, y = self.measurement.operator, self.measurement.y
        with torch.no_grad():
            x0 = self.autoencoder.decode(z0_hat)
            x = operator.fit(y, x0, self.weight, iterations=self.iterations, tolerance=self.tolerance)
            return self.autoencoder.encode(x.clamp(-1, 1))

    def fit_at(self, z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
        """z0_hat + E(x) - E(D(z0_hat)) with the proximal point x of D(z0_hat), for an estimate from a noise level.

        The squared error of such an estimate is that of the decoder plus (1 - alpha_bar) `contrast`^2. The difference
        of encoded images leaves out what the autoencoder itself changes: an estimate that agrees with the measurement
        stays as it is.
        """
        # Under a Gaussian prior of variance v, a state of the signal-to-noise ratio alpha_bar / (1 - alpha_bar) leaves
        # the variance v (1 - alpha_bar) / (1 - alpha_bar + v alpha_bar). Latents in model scale have v of about 1, and
        # 1 - alpha_bar is left.
        with torch.no_grad():
            error = math.sqrt(self.decoded_error**2 + self.contrast**2 * (1 - float(alpha_bar)))
            images = self.autoencoder.decode(z0_hat)
            fitted = self.autoencoder.encode(self.measurement.proximal_point(images, error))
            return z0_hat + (fitted - self.autoencoder.encode(images)).to(z0_hat)

    def posterior_gradient(
        self, predict: Callable[[Tensor], Tensor], path: NoisePath, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The clean estimate z0_hat = predict(x) and the gradient of |A D(z0_hat) - y| (DPS, eq. 16), both (B, ...).

        The gradient is with respect to the variance-preserving state of the same noise level, on any path.
        """
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            z0_hat = predict(x)
            distance = self.measurement.distance(self.autoencoder.decode(z0_hat)).sum()
            (gradient,) = torch.autograd.grad(distance, x)
        return z0_hat.detach(), self.dps_weight * per_item(path.scale(sigma), x) * gradient

"""What degradation operators share: the map A of an inverse problem y = A(x) + n on images, most often linear.

Images x are (B, 3, H, W) in [-1, 1] and measurements y are (B, *measurement_shape), both in float32 or float64, on any
device.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from ...core.noise import SeededNoise
from ..solvers import conjugate_gradient

log = logging.getLogger("dreamsampler")

Shape = tuple[int, int, int]
"""Channels, height, width."""

MEASURED = 1e-4
"""A pixel counts as measured where A^T A 1 is above this. Below, A sees a hundredth of it at most, hidden by noise."""
PROX_ITERATIONS = 1000
"""Enough for weights from 1e-4 in float32, by the convergence rate of conjugate gradients."""


class Constant:
    """A fixed tensor: `value` in float64 on the CPU, and one copy for each dtype and device it was requested in.

    Never an inference tensor, even if created or requested in inference mode, because a gradient may need it later.
    """

    @torch.inference_mode(False)
    def __init__(self, value: Tensor):
        self.value = value.detach().cpu().to(torch.float64, copy=True)
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @torch.inference_mode(False)
    def like(self, x: Tensor) -> Tensor:
        """The tensor in the dtype and on the device of `x`."""
        key = x.dtype, x.device
        if key not in self._copies:
            # In this order: not every device supports float64.
            self._copies[key] = self.value.to(x.dtype).to(x.device)
        return self._copies[key]


class Operator(ABC):
    """A degradation of images (B, *image_shape), and what images say about a measurement (B, *measurement_shape).

    `LinearOperator` implements all of it for linear maps. The measurement may hold one item for all images.
    """

    lambda_sds: float = 1.0
    """Weight of the SDS term when a drawing is restored (DreamSampler, eq. 21)."""
    lambda_dc: float = 4.0
    """Weight of the data-consistency term when a drawing is restored (DreamSampler, eq. 21).

    Both defaults are the paper's values for downsampling by 8, which operators that the paper does not test share.
    """

    known: bool = True
    """Whether nothing of the operator is left to fit."""

    def __init__(self, image_shape: Shape, measurement_shape: Shape):
        self.image_shape, self.measurement_shape = image_shape, measurement_shape

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The measurement A(x) (B, *measurement_shape) of clean images (B, *image_shape)."""

    def degraded(self, x: Tensor, noise_std: float, noise: SeededNoise) -> Tensor:
        """The measurement (B, *measurement_shape) of clean images with noise of a standard deviation above 0."""
        y = self.forward(x)
        n = noise.like(y)
        return y + noise_std * (n if self.hole is None else (self.hole < 1).to(n) * n)

    def read(self, images: Tensor) -> Tensor:
        """The measurement (B, *measurement_shape) of images that are degraded already, by default the images."""
        return images

    @abstractmethod
    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """What keeps images from agreeing with the measurement (B, *measurement_shape), 0 where they do.

        Its norm is the distance to the measurement, differentiable in `x`.
        """

    @abstractmethod
    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """argmin_x |residual|^2 + weight |x - x0|^2 (B, *image_shape), for images `x0` and a `weight` above 0."""

    def projected(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """The image (B, *image_shape) nearest to `x0` that agrees with the measurement; `weight` as in `prox`."""
        return self.prox(y, x0, weight)

    def fit(self, y: Tensor, x0: Tensor, weight: float, *, iterations: int, tolerance: float) -> Tensor:
        """The `prox` from at most so many iterations of a solver, if there is one."""
        return self.prox(y, x0, weight)

    @abstractmethod
    def back_projected(self, y: Tensor) -> Tensor:
        """The measurement as an image (B, *image_shape), to look at and to start from."""

    def started(self, y: Tensor) -> Operator:
        """The operator to start with for a measurement, if it is not fully known."""
        return self

    def refitted(self, y: Tensor, images: Tensor) -> Operator:
        """The operator that explains a measurement of given images (B, *image_shape) best, if it is not fully known."""
        return self

    @property
    def findings(self) -> str:
        """What was fitted, as a sentence for the user. Empty if everything is known."""
        return ""

    def doubt(self, images: Tensor, noise_std: float) -> str:
        """Why images (B, 3, H, W) that should be degraded cannot be, as a sentence for the user. Empty if they may."""
        return ""

    def of_item(self, index: int) -> Operator:
        """The operator of one item of a batch."""
        return self

    @property
    def hole(self) -> Tensor | None:
        """Pixels of which nothing is known (1 or B, 1, H, W) in [0, 1], 1 inside; None if A sees every pixel."""
        return None

    @property
    def averaged(self) -> float:
        """How many pixels a measured value averages, at the center of the image."""
        return 1.0


class LinearOperator(Operator):
    """A linear map from images (B, *image_shape) to measurements (B, *measurement_shape).

    A subclass needs `forward` and `adjoint`. Override `prox` where a closed form exists: it is faster and exact.
    """

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y (B, *image_shape), exactly: <A x, y> = <x, A^T y>."""

    def normal(self, x: Tensor) -> Tensor:
        """A^T A x (B, *image_shape)."""
        return self.adjoint(self.forward(x))

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """argmin_x |y - A x|^2 + weight |x - x0|^2 (B, *image_shape), for images `x0` and a `weight` above 0.

        Solved by conjugate gradients on the correction x - x0, to the precision of the dtype. Logs a warning where they
        do not converge.
        """
        tolerance = torch.finfo(x0.dtype).eps ** 0.75
        solution = conjugate_gradient(
            lambda v: self.normal(v) + weight * v,
            self.adjoint(y - self.forward(x0)),
            tolerance=tolerance,
            iterations=PROX_ITERATIONS,
        )
        # Ten times, because near the precision of the dtype the true residual stays above the recursion's.
        if (solution.residual > 10 * tolerance).any():
            log.warning(
                "Fitting an image to its measurement stopped after %d iterations at a relative residual of %.1e.",
                solution.iterations.max(),
                solution.residual.max(),
            )
        return x0 + solution.x

    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """A x - y."""
        return self.forward(x) - y

    def fit(self, y: Tensor, x0: Tensor, weight: float, *, iterations: int, tolerance: float) -> Tensor:
        """The `prox` after a few conjugate gradients from `x0`, which keep noise out where A is ill-conditioned."""
        return conjugate_gradient(
            lambda v: self.normal(v) + weight * v,
            self.adjoint(y) + weight * x0,
            x0,
            tolerance=tolerance,
            iterations=iterations,
        ).x

    @property
    def averaged(self) -> float:
        """How many pixels a measured value averages, at the center of the image: (sum |a|)^2 / sum a^2 of a row a of A.

        4 pi sigma^2 for a Gaussian blur, 1 where A sees single pixels or nothing. In a batch, that of the first item.
        """
        y = torch.zeros(1, *self.measurement_shape)
        y[..., y.shape[-2] // 2, y.shape[-1] // 2] = 1
        row = self.adjoint(y)[0].abs().sum(0)
        return (row.sum().square() / row.square().sum()).item() if row.any() else 1.0

    def back_projected(self, y: Tensor) -> Tensor:
        """A^T y / A^T A 1 (B, *image_shape).

        The measurement of a constant image gives that constant; pixels that were not measured are 0, mid gray.
        """
        gain = self.normal(y.new_ones(1, *self.image_shape))
        return torch.where(gain > MEASURED, self.adjoint(y) / gain, 0)


class Separable(LinearOperator):
    """A x = R x C^T on each channel, with `rows` R (h, H) and `columns` C (w, W). Its `prox` is a closed form.

    Both matrices may be different for each item of a batch: (B, 1, h, H) and (B, 1, w, W).
    """

    def __init__(self, rows: Tensor, columns: Tensor):
        (h, height), (w, width) = rows.shape[-2:], columns.shape[-2:]
        super().__init__((3, height, width), (3, h, w))
        self._rows, self._columns = Constant(rows), Constant(columns)

    def forward(self, x: Tensor) -> Tensor:
        return self._rows.like(x) @ x @ self._columns.like(x).mT

    def adjoint(self, y: Tensor) -> Tensor:
        return self._rows.like(y).mT @ y @ self._columns.like(y)

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """x0 + A^T (A A^T + weight)^-1 (y - A x0).

        A is the Kronecker product of R and C, so its singular vectors and values are the products of theirs.
        """
        (u_r, s_r, v_r), (u_c, s_c, v_c) = ([part.like(x0) for part in svd] for svd in self._svds)
        s = s_r[..., :, None] * s_c[..., None, :]
        residual = u_r.mT @ (y - self.forward(x0)) @ u_c
        return x0 + v_r @ (s / (s.square() + weight) * residual) @ v_c.mT

    @cached_property
    def _svds(self) -> list[tuple[Constant, Constant, Constant]]:
        """U (..., n, k), S (..., k), V (..., m, k) of R and of C (..., n, m), k = min(n, m)."""
        thin = (torch.linalg.svd(factor.value, full_matrices=False) for factor in (self._rows, self._columns))
        return [(Constant(u), Constant(s), Constant(vh.mT)) for u, s, vh in thin]

"""Linear operators A of inverse problems y = A x + n on pictures: what was measured of them, and how to fit it.

Pictures x are (B, 3, H, W) in [-1, 1], measurements y (B, *measurement_shape), both in float32 or float64, on any
device. At the border blurs repeat the outermost pixels and downsampling renormalises its weights, so both keep a
constant picture as it is.
"""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from .blending import membrane
from .solvers import conjugate_gradient

log = logging.getLogger("dreamsampler")

Shape = tuple[int, int, int]
"""Channels, height, width."""

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue give to grey (ITU-R BT.601): how image programs make grey pictures of gamma-encoded ones."""
SMALLEST_SIDE = 8
"""Pixels that downsampling must leave on a side."""
MEASURED = 1e-4
"""Up to this A^T A 1 a pixel counts as not measured: at most a hundredth of it was seen, which noise would drown."""
PROX_ITERATIONS = 1000
"""Enough for weights from 1e-4 in float32, by the convergence rate of conjugate gradients."""


class Constant:
    """A fixed tensor: `value` in float64 on the CPU, and one copy for each type and device it was asked for in.

    Never an inference tensor, even if made or asked for in inference mode, because a gradient may need it later.
    """

    @torch.inference_mode(False)
    def __init__(self, value: Tensor):
        self.value = value.detach().cpu().to(torch.float64, copy=True)
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    @torch.inference_mode(False)
    def like(self, x: Tensor) -> Tensor:
        """The tensor in the type and on the device of `x`."""
        key = x.dtype, x.device
        if key not in self._copies:
            # In this order: not every device knows float64.
            self._copies[key] = self.value.to(x.dtype).to(x.device)
        return self._copies[key]


class LinearOperator(ABC):
    """A linear map from pictures (B, *picture_shape) to measurements (B, *measurement_shape)."""

    def __init__(self, picture_shape: Shape, measurement_shape: Shape):
        self.picture_shape, self.measurement_shape = picture_shape, measurement_shape

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y, exactly: <A x, y> = <x, A^T y>."""

    def normal(self, x: Tensor) -> Tensor:
        """A^T A x."""
        return self.adjoint(self.forward(x))

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """argmin_x |y - A x|^2 + weight |x - x0|^2, for a picture `x0` and a `weight` above 0.

        By conjugate gradients on the correction x - x0, to the precision of the tensors, unless an operator knows a
        closed form.
        """
        tolerance = torch.finfo(x0.dtype).eps ** 0.75
        solution = conjugate_gradient(
            lambda v: self.normal(v) + weight * v,
            self.adjoint(y - self.forward(x0)),
            tolerance=tolerance,
            iterations=PROX_ITERATIONS,
        )
        # Ten times, because near the precision of the tensors the true residual stays above the recursion's.
        if (solution.residual > 10 * tolerance).any():
            log.warning(
                "Fitting a picture to its measurement stopped after %d iterations at a relative residual of %.1e.",
                solution.iterations.max(),
                solution.residual.max(),
            )
        return x0 + solution.x

    def projected(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """The picture nearest to `x0` that explains the measurement; `weight` as in `prox`."""
        return self.prox(y, x0, weight)

    def of_item(self, index: int) -> LinearOperator:
        """The operator of one item of a batch."""
        return self

    @property
    def hole(self) -> Tensor | None:
        """Pixels of which nothing is known (1 or B, 1, H, W), in [0, 1]; None where all were seen."""
        return None

    @property
    def averaged(self) -> float:
        """How many pixels a measured value averages, at the middle of the picture: (sum |a|)^2 / sum a^2 of a row of A.

        4 pi sigma^2 for a Gaussian blur; 1 where pixels themselves are seen, or where nothing is. In a batch, of its
        first item.
        """
        y = torch.zeros(1, *self.measurement_shape)
        y[..., y.shape[-2] // 2, y.shape[-1] // 2] = 1
        row = self.adjoint(y)[0].abs().sum(0)
        return (row.sum().square() / row.square().sum()).item() if row.any() else 1.0

    def back_projected(self, y: Tensor) -> Tensor:
        """A picture of the measurement, to look at and to start from: A^T y / A^T A 1.

        A constant picture's measurement gives that constant; where nothing was measured it is 0, mid grey.
        """
        gain = self.normal(y.new_ones(1, *self.picture_shape))
        return torch.where(gain > MEASURED, self.adjoint(y) / gain, 0)


class Inpainting(LinearOperator):
    """A x = (1 - mask) x: all but the hole is seen.

    `mask` (1 or B, 1, H, W) in [0, 1] is 1 in the hole and 0 where the picture is known; values between are seen in
    part. Raises ValueError for another shape.
    """

    def __init__(self, mask: Tensor):
        if mask.ndim != 4 or mask.shape[1] != 1:
            raise ValueError(
                f"The mask has the shape {tuple(mask.shape)}; give it as (batch, 1, height, width), with one channel."
            )
        shape = (3, mask.shape[2], mask.shape[3])
        super().__init__(shape, shape)
        self._known = Constant(1 - mask)

    def forward(self, x: Tensor) -> Tensor:
        return self._known.like(x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        return self._known.like(y) * y

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        known = self._known.like(x0)
        return (known * y + weight * x0) / (known.square() + weight)

    def projected(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """What is seen, exactly with `weight` 0, and in the hole `x0`, brought to the level of what surrounds it.

        Where the hole's border is soft both are mixed.
        """
        hole = 1 - self._known.like(x0)
        exact = y + hole * (x0 + membrane(y - x0, hole.ceil()))
        return torch.lerp(exact, x0, weight / (1 + weight))

    def of_item(self, index: int) -> Inpainting:
        return Inpainting(self.hole[index % len(self.hole)][None])

    @property
    def hole(self) -> Tensor:
        return 1 - self._known.like(torch.empty(0))


class Colourisation(LinearOperator):
    """A x = luma . x: the grey picture (B, 1, H, W) of a coloured one, with the weights `LUMA`."""

    def __init__(self, height: int, width: int):
        super().__init__((3, height, width), (1, height, width))
        self._luma = Constant(torch.tensor(LUMA, dtype=torch.float64).reshape(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self._luma.like(x) * x).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._luma.like(y) * y

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """The rank-one case of Sherman and Morrison's formula."""
        luma = self._luma.like(x0)
        return x0 + luma * (y - self.forward(x0)) / (luma.square().sum() + weight)


class Separable(LinearOperator):
    """A x = R x C^T on each channel, with `rows` R (h, H) and `columns` C (w, W)."""

    def __init__(self, rows: Tensor, columns: Tensor):
        super().__init__((3, rows.shape[1], columns.shape[1]), (3, rows.shape[0], columns.shape[0]))
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
        s = s_r[:, None] * s_c
        residual = u_r.mT @ (y - self.forward(x0)) @ u_c
        return x0 + v_r @ (s / (s.square() + weight) * residual) @ v_c.mT

    @cached_property
    def _svds(self) -> list[tuple[Constant, Constant, Constant]]:
        """U (n, k), S (k,), V (m, k) of R and of C (n, m), k = min(n, m)."""
        thin = (torch.linalg.svd(factor.value, full_matrices=False) for factor in (self._rows, self._columns))
        return [(Constant(u), Constant(s), Constant(vh.mT)) for u, s, vh in thin]


class SuperResolution(Separable):
    """Bicubic downsampling by `factor` (2 to 16) with antialiasing.

    Keys's cubic of a = -1/2, stretched over the pixels that become one and cut off at the border, where the weights are
    renormalised. A side of n pixels becomes ceil(n / factor) and the outer edges of both pictures coincide, so where
    `factor` does not divide n it is in effect a little smaller. Pillow's BICUBIC makes the same of that size, and so
    does PyTorch's `interpolate` with `antialias` and without `align_corners`.

    Raises ValueError for a factor outside 2 to 16, or one that leaves less than 8 pixels on a side.
    """

    def __init__(self, height: int, width: int, factor: int):
        if not 2 <= factor <= 16:
            raise ValueError(f"The super-resolution factor is {factor}; choose a whole number from 2 to 16.")
        h, w = math.ceil(height / factor), math.ceil(width / factor)
        if min(h, w) < SMALLEST_SIDE:
            raise ValueError(
                f"A super-resolution factor of {factor} makes {w} x {h} pixels of a {width} x {height} picture; choose "
                f"a smaller factor or a larger picture, so that {SMALLEST_SIDE} pixels are left on each side."
            )
        super().__init__(_cubic_downsampling(height, h), _cubic_downsampling(width, w))


class GaussianBlur(Separable):
    """Convolution with a Gaussian of deviation `sigma` pixels, cut off to `kernel_size` pixels on a side.

    Raises ValueError for an even kernel, one that is larger than the picture, or a sigma that is not above 0.
    """

    def __init__(self, height: int, width: int, kernel_size: int, sigma: float):
        _check_kernel(height, width, kernel_size)
        if not sigma > 0:
            raise ValueError(f"The sigma of the Gaussian blur is {sigma}; choose one above 0, in pixels.")
        kernel = torch.exp(-0.5 * (_offsets(kernel_size) / sigma).square())
        kernel = kernel / kernel.sum()
        super().__init__(_convolution(kernel, height), _convolution(kernel, width))


class MotionBlur(LinearOperator):
    """Convolution with a straight line of `kernel_size` pixels at `angle` degrees.

    0 is horizontal, and the line turns counter-clockwise as the picture is looked at. Raises ValueError for an even
    kernel or one that is larger than the picture.
    """

    def __init__(self, height: int, width: int, kernel_size: int, angle: float):
        _check_kernel(height, width, kernel_size)
        super().__init__((3, height, width), (3, height, width))
        self._pad = kernel_size // 2
        self._transfer = Constant(_transfer(_line(kernel_size, angle), height + 2 * self._pad, width + 2 * self._pad))

    def forward(self, x: Tensor) -> Tensor:
        return functional.pad(self._convolved(_replicated(x, self._pad)), (-self._pad,) * 4)

    def adjoint(self, y: Tensor) -> Tensor:
        return _folded(self._convolved(functional.pad(y, (self._pad,) * 4)), self._pad)

    def _convolved(self, x: Tensor) -> Tensor:
        """Circular convolution, its own adjoint because the kernel is symmetric.

        By Fourier transforms: the cost of a direct one grows with the square of the kernel, which is long here.
        """
        return torch.fft.irfft2(torch.fft.rfft2(x) * self._transfer.like(x), s=x.shape[-2:])


def _check_kernel(height: int, width: int, kernel_size: int) -> None:
    """Raises ValueError for a kernel without a centre pixel or larger than the picture."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"The kernel_size of the blur is {kernel_size}; choose an odd number of pixels, at least 1.")
    if kernel_size > min(height, width):
        raise ValueError(
            f"The kernel_size of the blur is {kernel_size}, more than a side of the {width} x {height} picture; choose "
            f"a smaller kernel or a larger picture."
        )


def _offsets(kernel_size: int) -> Tensor:
    """Where the pixels of a kernel lie, from its centre: (kernel_size,)."""
    return torch.arange(kernel_size, dtype=torch.float64) - kernel_size // 2


def _cubic_downsampling(size: int, output: int) -> Tensor:
    """The matrix (output, size) of antialiased bicubic downsampling along one side."""
    stretch = size / output
    pixels = torch.arange(size, dtype=torch.float64) + 0.5
    centres = (torch.arange(output, dtype=torch.float64) + 0.5) * stretch
    weights = _keys_cubic((pixels - centres[:, None]) / stretch)
    return weights / weights.sum(1, keepdim=True)


def _keys_cubic(t: Tensor) -> Tensor:
    """The cubic convolution kernel of a = -1/2 (Keys, 1981, eq. 15), of support [-2, 2]."""
    t = t.abs()
    near = (1.5 * t - 2.5) * t.square() + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0))


def _convolution(kernel: Tensor, size: int) -> Tensor:
    """The matrix (size, size) that convolves one side with a symmetric kernel (k,), its border pixels repeated."""
    sources = torch.arange(size)[:, None] + torch.arange(len(kernel)) - len(kernel) // 2
    matrix = torch.zeros(size, size, dtype=kernel.dtype)
    return matrix.scatter_add_(1, sources.clamp(0, size - 1), kernel.expand(size, -1))


def _line(size: int, angle: float) -> Tensor:
    """A line through the centre of (size, size) pixels, `size` long, one wide and antialiased, of sum 1."""
    right, up = _offsets(size), -_offsets(size)[:, None]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, aside = (right * cos + up * sin).abs(), (up * cos - right * sin).abs()
    weights = (1 - aside).clamp(min=0) * (size / 2 + 0.5 - along).clamp(0, 1)
    return weights / weights.sum()


def _transfer(kernel: Tensor, height: int, width: int) -> Tensor:
    """The Fourier transform (height, width // 2 + 1) of a kernel about its centre, real because it is symmetric."""
    canvas = functional.pad(kernel, (0, width - kernel.shape[1], 0, height - kernel.shape[0]))
    centred = canvas.roll((-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
    return torch.fft.rfft2(centred).real


def _replicated(x: Tensor, pad: int) -> Tensor:
    """`x` (..., H, W) with its border pixels repeated `pad` times.

    `torch.nn.functional.pad` does it too, but its gradient is not deterministic on CUDA.
    """
    for dim in (-2, -1):
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, -1, 1)
        x = torch.cat([first] * pad + [x] + [last] * pad, dim)
    return x


def _folded(x: Tensor, pad: int) -> Tensor:
    """The adjoint of `_replicated`: what lies in the margin is added to the border pixels that it repeats."""
    for dim in (-2, -1):
        before, inside, after = x.split((pad, x.shape[dim] - 2 * pad, pad), dim)
        x = inside.clone()
        x.narrow(dim, 0, 1).add_(before.sum(dim, keepdim=True))
        x.narrow(dim, -1, 1).add_(after.sum(dim, keepdim=True))
    return x

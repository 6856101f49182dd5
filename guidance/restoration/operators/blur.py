"""Blurs: an image out of focus (Gaussian), or taken with a moving camera (motion).

Beyond the border of the image its outermost pixels repeat, so a constant image stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .base import Constant, LinearOperator, Separable
from .registry import OperatorKind, register


class GaussianBlur(Separable):
    """Convolution with a Gaussian of standard deviation `sigma` pixels, cut off to `kernel_size` pixels per side.

    Raises ValueError for an even kernel_size, one larger than the image, or a sigma that is not above 0.
    """

    lambda_sds, lambda_dc = 2.4, 3.0
    """DreamSampler, section 4.3, for a kernel of 61 pixels and a sigma of 5."""

    def __init__(self, height: int, width: int, kernel_size: int, sigma: float):
        _check_kernel(height, width, kernel_size)
        if not sigma > 0:
            raise ValueError(f"The input 'sigma' of the Gaussian blur is {sigma}: choose a number above 0, in pixels.")
        kernel = _gaussian(kernel_size, sigma)
        super().__init__(_convolution(kernel, height), _convolution(kernel, width))
        self._steepest_slope = 2 * kernel.max().item()
        """Of a blurred edge from black to white, in units per pixel."""

    def doubt(self, images: Tensor, noise_std: float) -> str:
        """Neighbors in a blurred image differ by the steepest slope at most, and by noise.

        Only a clear excess counts, in more than a thousandth of the pixels: there are captions and unknown noise.
        """
        most = 2 * self._steepest_slope + 6 * noise_std + UNKNOWN_NOISE
        down, right = ((images.diff(dim=dim).abs() > most).double().mean((1, 2, 3)) for dim in (-2, -1))
        if (down + right <= SHARP_SHARE).all():
            return ""
        return (
            "The image has sharp edges, which this blur would not have left: it does not look blurred as much. Connect "
            "the blurred image, lower sigma, or turn simulate on to blur a clean image for testing."
        )


class UnknownGaussianBlur(Separable):
    """Convolution with a Gaussian whose standard deviation is only guessed, and fitted to clean estimates.

    `sigma` in pixels is one number, or one for each item of a batch (B,). The kernel is cut off at `REACH` sigma, or at
    the size of the image. Raises ValueError for a sigma that is not above 0.
    """

    lambda_sds, lambda_dc = GaussianBlur.lambda_sds, GaussianBlur.lambda_dc
    known = False

    def __init__(self, height: int, width: int, sigma: float | Tensor):
        self.sigma = torch.as_tensor(sigma, dtype=torch.float64).cpu().reshape(-1)
        if not (self.sigma > 0).all():
            raise ValueError(f"The input 'sigma' of the unknown blur is {sigma}: choose a number above 0, in pixels.")
        super().__init__(*(_blurs(self.sigma, side) for side in (height, width)))

    def started(self, y: Tensor) -> UnknownGaussianBlur:
        """The guess, or what the steepest slope suggests if that is less.

        Fitting with too wide a blur exaggerates edges, which then look more blurred still. Too narrow a blur does not.
        """
        return self._with(self.sigma.minimum(self._within(_steepest(y)[0])))

    def refitted(self, y: Tensor, images: Tensor) -> UnknownGaussianBlur:
        """The blur of the sigma of least |y - A x| for each image x, by golden sections of log sigma."""
        high = self._within(MARGIN * _steepest(y)[1]).log().expand(len(images))

        def error(log_sigma: Tensor) -> Tensor:
            return self._with(log_sigma.exp()).residual(y, images).square().flatten(1).sum(1).cpu().double()

        return self._with(least(error, torch.full_like(high, math.log(LEAST_SIGMA)), high, SECTIONS).exp())

    def of_item(self, index: int) -> UnknownGaussianBlur:
        return self._with(self.sigma[index % len(self.sigma)])

    @property
    def findings(self) -> str:
        pixels = ", ".join(f"{sigma:.1f}" for sigma in self.sigma.tolist())
        return f"The blur was fitted: sigma {pixels} pixels."

    def _with(self, sigma: Tensor) -> UnknownGaussianBlur:
        _, height, width = self.image_shape
        return UnknownGaussianBlur(height, width, sigma)

    def _within(self, sigma: Tensor) -> Tensor:
        """Limited to what changes an image of this size, but leaves something of it."""
        return sigma.clamp(max=min(self.image_shape[1:]) / 6).clamp(min=2 * LEAST_SIGMA)


UNKNOWN_NOISE = 0.1
"""Difference of neighboring pixels that noise or compression may cause which noise_std does not tell of."""
SHARP_SHARE = 1e-3
"""Share of steeper pixels that captions or dead pixels may have."""
REACH = 4
"""Standard deviations at which the kernel of an unknown blur is cut off."""
LEAST_SIGMA = 0.25
"""Pixels of an unknown blur that change nothing."""
SECTIONS = 14
"""Golden sections of the logarithm of sigma: the rest is 0.0012 of its range, or 1% of sigma at most."""
MARGIN = 1.1
"""How much wider a blur may be than the steepest slope allows, because noise makes slopes steeper."""


def _steepest(y: Tensor) -> tuple[Tensor, Tensor]:
    """Standard deviations (B,) of the Gaussian blur that makes an edge as steep as the steepest one of images y.

    An edge of height h has the slope h / (sigma sqrt(2 pi)) after the blur. First for edges as high as the range of
    each channel, which is less than before the blur and seldom exceeded, then for edges from black to white, an upper
    bound.
    """
    slopes = torch.stack([y.diff(dim=dim).abs().flatten(2).amax(2) for dim in (-2, -1)]).amax(0)
    per_height = 1 / (slopes.clamp(min=1e-6) * (2 * math.pi) ** 0.5)
    ranges = y.flatten(2).amax(2) - y.flatten(2).amin(2)
    return tuple((height * per_height).amin(1).cpu().double() for height in (ranges, 2.0))


def least(error: Callable[[Tensor], Tensor], low: Tensor, high: Tensor, sections: int) -> Tensor:
    """The places (B,) of the minima of functions (B,) between `low` and `high` (B,), by golden sections.

    Each must fall to its minimum and then rise. Costs two calls and one per section, which shortens the interval to
    0.618. An item's result does not depend on the others.
    """
    ratio = (5**0.5 - 1) / 2
    inner, outer = high - ratio * (high - low), low + ratio * (high - low)
    at_inner, at_outer = error(inner), error(outer)
    for _ in range(sections):
        left = at_inner < at_outer
        low, high = torch.where(left, low, inner), torch.where(left, outer, high)
        fresh = torch.where(left, high - ratio * (high - low), low + ratio * (high - low))
        at_fresh = error(fresh)
        inner, outer = torch.where(left, fresh, outer), torch.where(left, inner, fresh)
        at_inner, at_outer = torch.where(left, at_fresh, at_outer), torch.where(left, at_inner, at_fresh)
    return (low + high) / 2


class MotionBlur(LinearOperator):
    """Convolution with a straight line of `kernel_size` pixels at `angle` degrees.

    0 is horizontal, and the line turns counterclockwise. Raises ValueError for an even kernel_size or one larger than
    the image.
    """

    lambda_sds, lambda_dc = GaussianBlur.lambda_sds, GaussianBlur.lambda_dc
    """Not in the paper: those of the Gaussian blur."""

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
    """Raises ValueError for a kernel without a center pixel or larger than the image."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"The input 'kernel_size' is {kernel_size}: choose an odd number of pixels, at least 1.")
    if kernel_size > min(height, width):
        raise ValueError(
            f"The input 'kernel_size' is {kernel_size}, more than a side of the {width} x {height} image: choose a "
            "smaller 'kernel_size' or a larger image."
        )


def _offsets(kernel_size: int) -> Tensor:
    """Positions of the pixels of a kernel relative to its center: (kernel_size,)."""
    return torch.arange(kernel_size, dtype=torch.float64) - kernel_size // 2


def _convolution(kernel: Tensor, size: int) -> Tensor:
    """The matrix (size, size) that convolves one side with a symmetric kernel (k,), border pixels repeated."""
    sources = torch.arange(size)[:, None] + torch.arange(len(kernel)) - len(kernel) // 2
    matrix = torch.zeros(size, size, dtype=kernel.dtype)
    return matrix.scatter_add_(1, sources.clamp(0, size - 1), kernel.expand(size, -1))


def _blurs(sigma: Tensor, size: int) -> Tensor:
    """The matrices (size, size), or (B, 1, size, size) for more than one sigma (B,), of Gaussian blurs."""
    matrices = [
        _convolution(_gaussian(min(2 * math.ceil(REACH * s) + 1, 2 * size - 1), s), size) for s in sigma.tolist()
    ]
    return matrices[0] if len(matrices) == 1 else torch.stack(matrices)[:, None]


def _gaussian(kernel_size: int, sigma: float) -> Tensor:
    """A Gaussian (kernel_size,) of sum 1."""
    kernel = torch.exp(-0.5 * (_offsets(kernel_size) / sigma).square())
    return kernel / kernel.sum()


def _line(size: int, angle: float) -> Tensor:
    """A line through the center of (size, size) pixels, `size` long, one wide and antialiased, of sum 1."""
    right, up = _offsets(size), -_offsets(size)[:, None]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, aside = (right * cos + up * sin).abs(), (up * cos - right * sin).abs()
    weights = (1 - aside).clamp(min=0) * (size / 2 + 0.5 - along).clamp(0, 1)
    return weights / weights.sum()


def _transfer(kernel: Tensor, height: int, width: int) -> Tensor:
    """The Fourier transform (height, width // 2 + 1) of a kernel about its center, real because it is symmetric."""
    canvas = functional.pad(kernel, (0, width - kernel.shape[1], 0, height - kernel.shape[0]))
    centered = canvas.roll((-(kernel.shape[0] // 2), -(kernel.shape[1] // 2)), (0, 1))
    return torch.fft.rfft2(centered).real


def _replicated(x: Tensor, pad: int) -> Tensor:
    """`x` (..., H, W) with its border pixels repeated `pad` times.

    `torch.nn.functional.pad` does the same, but its gradient is not deterministic on CUDA.
    """
    for dim in (-2, -1):
        first, last = x.narrow(dim, 0, 1), x.narrow(dim, -1, 1)
        x = torch.cat([first] * pad + [x] + [last] * pad, dim)
    return x


def _folded(x: Tensor, pad: int) -> Tensor:
    """The adjoint of `_replicated`: adds the margin to the border pixels that it repeats."""
    for dim in (-2, -1):
        before, inside, after = x.split((pad, x.shape[dim] - 2 * pad, pad), dim)
        x = inside.clone()
        x.narrow(dim, 0, 1).add_(before.sum(dim, keepdim=True))
        x.narrow(dim, -1, 1).add_(after.sum(dim, keepdim=True))
    return x


register(
    OperatorKind(
        name="gaussian blur",
        order=3,
        tooltip="out of focus",
        reads=("kernel_size", "sigma"),
        build=lambda height, width, settings: GaussianBlur(height, width, settings.kernel_size, settings.sigma),
    )
)
register(
    OperatorKind(
        name="unknown gaussian blur",
        order=8,
        tooltip="out of focus by an unknown sigma, which is found",
        reads=("sigma",),
        build=lambda height, width, settings: UnknownGaussianBlur(height, width, settings.sigma),
    )
)
register(
    OperatorKind(
        name="motion blur",
        order=4,
        tooltip="camera shake",
        reads=("kernel_size", "angle"),
        build=lambda height, width, settings: MotionBlur(height, width, settings.kernel_size, settings.angle),
    )
)

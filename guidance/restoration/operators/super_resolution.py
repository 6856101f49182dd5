"""Super-resolution: an image made smaller by bicubic downsampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Separable
from .registry import OperatorKind, OperatorSettings, Size, register

SMALLEST_SIDE = 8
"""Pixels that downsampling must leave on each side."""


class SuperResolution(Separable):
    """Bicubic downsampling by `scale` (2 to 16) with antialiasing.

    Keys's cubic of a = -1/2, stretched over the pixels that become one and cut off at the border, where the weights are
    renormalized, so a constant image stays as it is. A side of n pixels becomes ceil(n / scale) and the outer edges of
    both images coincide, so where `scale` does not divide n the effective scale is a little smaller. Pillow's BICUBIC
    gives the same at that size, and so does PyTorch's `interpolate` with `antialias` and without `align_corners`.

    Raises ValueError for a scale outside 2 to 16, or one that leaves less than 8 pixels on a side.
    """

    lambda_sds, lambda_dc = 1.0, 4.0
    """DreamSampler, section 4.3, for downsampling by 8."""

    def __init__(self, height: int, width: int, scale: int):
        h, w = downsampled_size(height, width, scale)
        super().__init__(_cubic_downsampling(height, h), _cubic_downsampling(width, w))


def downsampled_size(height: int, width: int, scale: int) -> Size:
    """Height and width in pixels after downsampling by `scale`, rounded up.

    Raises ValueError for a scale outside 2 to 16, or one that leaves less than 8 pixels on a side.
    """
    if not 2 <= scale <= 16:
        raise ValueError(f"The input 'scale' is {scale}: choose a whole number from 2 to 16.")
    h, w = math.ceil(height / scale), math.ceil(width / scale)
    if min(h, w) < SMALLEST_SIDE:
        raise ValueError(
            f"The input 'scale' is {scale}, which leaves {w} x {h} pixels of a {width} x {height} image: choose a "
            f"smaller 'scale' or a larger image, so that {SMALLEST_SIDE} pixels are left on each side."
        )
    return h, w


def enlarged_size(height: int, width: int, settings: OperatorSettings) -> Size:
    """Height and width in pixels of the image that was downsampled to a given size."""
    return height * settings.scale, width * settings.scale


def _cubic_downsampling(size: int, output: int) -> Tensor:
    """The matrix (output, size) of antialiased bicubic downsampling along one side."""
    stretch = size / output
    pixels = torch.arange(size, dtype=torch.float64) + 0.5
    centers = (torch.arange(output, dtype=torch.float64) + 0.5) * stretch
    weights = _keys_cubic((pixels - centers[:, None]) / stretch)
    return weights / weights.sum(1, keepdim=True)


def _keys_cubic(t: Tensor) -> Tensor:
    """The cubic convolution kernel of a = -1/2 (Keys, 1981, eq. 15), of support [-2, 2]."""
    t = t.abs()
    near = (1.5 * t - 2.5) * t.square() + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t < 1, near, torch.where(t < 2, far, 0))


register(
    OperatorKind(
        name="super-resolution",
        order=2,
        tooltip="bicubic downsampling",
        reads=("scale",),
        build=lambda height, width, settings: SuperResolution(height, width, settings.scale),
        restored_size=enlarged_size,
    )
)

"""Outpainting: an image that continues beyond its border."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .inpainting import Inpainting
from .registry import OperatorKind, OperatorSettings, Size, register

MULTIPLE = 8
"""Pixels that divide each border, as a latent cell of most autoencoders is as wide: the seam lies between cells."""


class Outpainting(Inpainting):
    """A x = x without its border: `left`, `top`, `right` and `bottom` pixels wide, multiples of 8.

    Raises ValueError without a border, for one that 8 does not divide, and for one that leaves nothing of the image.
    """

    def __init__(self, height: int, width: int, left: int, top: int, right: int, bottom: int):
        _check_border(height, width, left, top, right, bottom)
        mask = torch.ones(1, 1, height, width)
        mask[..., top : height - bottom, left : width - right] = 0
        super().__init__(mask)
        self._padding = (left, right, top, bottom)

    def read(self, images: Tensor) -> Tensor:
        """The measurement of images without their border (B, 3, h, w)."""
        return functional.pad(images, self._padding)


def _check_border(height: int, width: int, left: int, top: int, right: int, bottom: int) -> None:
    border = f"The inputs 'left', 'top', 'right' and 'bottom' are {left}, {top}, {right} and {bottom}"
    sides = left, top, right, bottom
    if not any(sides):
        raise ValueError(
            "The operator 'outpaint' needs a border to fill: set 'left', 'top', 'right' or 'bottom' to a number of "
            "pixels, for example 128."
        )
    if any(side < 0 or side % MULTIPLE for side in sides):
        raise ValueError(f"{border}: set them to multiples of {MULTIPLE}, or to 0 where nothing is added.")
    if left + right >= width or top + bottom >= height:
        raise ValueError(f"{border}, which leaves nothing of a {width} x {height} image: choose smaller numbers.")


def _outpainting(height: int, width: int, settings: OperatorSettings) -> Outpainting:
    return Outpainting(height, width, settings.left, settings.top, settings.right, settings.bottom)


def _padded_size(height: int, width: int, settings: OperatorSettings) -> Size:
    return height + settings.top + settings.bottom, width + settings.left + settings.right


register(
    OperatorKind(
        name="outpaint",
        order=6,
        tooltip="a missing border",
        reads=("left", "top", "right", "bottom"),
        build=_outpainting,
        restored_size=_padded_size,
    )
)

"""The list of degradation operators that the node Measurement offers, each declared in its own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ...core.registry import Registry
from .base import Operator

Size = tuple[int, int]
"""Height and width in pixels."""
Subsampling = Literal["4:2:0", "4:4:4"]
"""Colors of a JPEG: at half the resolution in both directions, or at full resolution."""
Widget = Literal[
    "scale", "kernel_size", "sigma", "angle", "mask", "left", "top", "right", "bottom", "quality", "subsampling"
]
"""Inputs of the node Measurement that an operator may read: the fields of `OperatorSettings`."""


@dataclass(frozen=True, kw_only=True)
class OperatorSettings:
    """The values of the widgets of Measurement. An operator gets all of them and uses those that it `reads`.

    Args:
        scale: how many times larger the restored image is, per side, 2 to 16.
        kernel_size: side of a blur's kernel in pixels, odd, from 1 to the shorter side of the image.
        sigma: standard deviation of a Gaussian in pixels, above 0.
        angle: direction of a streak in degrees, counterclockwise, 0 horizontal.
        mask: (1 or B, 1, H, W) in [0, 1], 1 in the hole and 0 where the image is known. None if no mask is connected,
            or the operator does not read it.
        left, top, right, bottom: width in pixels of a border on each side of the restored image, at least 0.
        quality: of a JPEG, 1 to 100.
        subsampling: of the colors of a JPEG, "4:2:0" or "4:4:4".
    """

    scale: int
    kernel_size: int
    sigma: float
    angle: float
    mask: Tensor | None = None
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0
    quality: int = 75
    subsampling: Subsampling = "4:2:0"


def _same_size(height: int, width: int, settings: OperatorSettings) -> Size:
    return height, width


@dataclass(frozen=True, kw_only=True)
class OperatorKind:
    """One degradation that users can choose: an entry of the input 'operator' of Measurement.

    Args:
        name: the word in the list. Saved workflows hold it, so it never changes.
        order: the place in the list. Take the highest number plus one; numbers of existing operators never change.
        tooltip: what happened to the image, in a few words without a period, such as "bicubic downsampling".
        reads: the widgets of Measurement that the operator uses. Their tooltips name it.
        build: the operator for restored images of a height and width in pixels. Raises ValueError with a sentence that
            names the input and says what to change where the settings do not fit.
        restored_size: height and width in pixels of the restored image, from those of an image that is degraded
            already. By default they are the same.
    """

    name: str
    order: int
    tooltip: str
    reads: tuple[Widget, ...] = ()
    build: Callable[[int, int, OperatorSettings], Operator]
    restored_size: Callable[[int, int, OperatorSettings], Size] = _same_size

    def measured(self, images: Tensor, settings: OperatorSettings, *, simulate: bool) -> tuple[Operator, Tensor]:
        """The operator A, and the measurement (B, *measurement_shape) of images without added noise.

        `images` (B, 3, H, W) in [-1, 1] are clean and get degraded with `simulate`, and are degraded already without.
        Raises ValueError as `build` does.
        """
        height, width = images.shape[-2:]
        if not simulate:
            height, width = self.restored_size(height, width, settings)
        operator = self.build(height, width, settings)
        return operator, operator.forward(images) if simulate else operator.read(images)


OPERATORS: Registry[OperatorKind] = Registry("operator")
"""The operators by name, in the order of the list."""

register = OPERATORS.register

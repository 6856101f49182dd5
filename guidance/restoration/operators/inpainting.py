"""Inpainting: an image with a hole."""

from __future__ import annotations

import torch
from torch import Tensor

from ..blending import leveled
from .base import Constant, LinearOperator
from .registry import OperatorKind, OperatorSettings, register


class Inpainting(LinearOperator):
    """A x = (1 - mask) x: all but the hole is seen.

    `mask` (1 or B, 1, H, W) in [0, 1] is 1 in the hole and 0 where the image is known; values between are partly known.
    Raises ValueError for another shape.
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

    def read(self, images: Tensor) -> Tensor:
        return self.forward(images)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._known.like(y) * y

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        known = self._known.like(x0)
        return (known * y + weight * x0) / (known.square() + weight)

    def projected(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """What is seen, exactly with `weight` 0, and in the hole `x0`, shifted to the level of its surroundings.

        Where the border of the hole is soft both are mixed.
        """
        hole = 1 - self._known.like(x0)
        exact = y + hole * leveled(x0, y, hole)
        return torch.lerp(exact, x0, weight / (1 + weight))

    def of_item(self, index: int) -> Inpainting:
        known = self._known.value
        return Inpainting(1 - known[index % len(known)][None])

    @property
    def hole(self) -> Tensor:
        return 1 - self._known.like(torch.empty(0))


def _inpainting(height: int, width: int, settings: OperatorSettings) -> Inpainting:
    if settings.mask is None:
        raise ValueError("The operator 'inpaint' needs a hole to fill: connect a mask to input 'mask'.")
    return Inpainting(settings.mask)


register(
    OperatorKind(
        name="inpaint",
        order=1,
        tooltip="a hole",
        reads=("mask",),
        build=_inpainting,
    )
)

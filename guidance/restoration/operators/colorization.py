"""Colorization: a gray image."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Constant, LinearOperator
from .registry import OperatorKind, register

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in gray (ITU-R BT.601), as image editors convert gamma-encoded images."""


FAINT = 0.1
"""Distance from a tinted gray, root mean square on the scale from -1 to 1, that stains and compression may cause."""


class Colorization(LinearOperator):
    """A x = luma . x: the gray image (B, 1, H, W) of a color image (B, 3, H, W), with the weights `LUMA`."""

    def __init__(self, height: int, width: int):
        super().__init__((3, height, width), (1, height, width))
        self._luma = Constant(torch.tensor(LUMA, dtype=torch.float64).reshape(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self._luma.like(x) * x).sum(1, keepdim=True)

    def read(self, images: Tensor) -> Tensor:
        """The luma of a gray image, which arrives with three channels."""
        return self.forward(images)

    def doubt(self, images: Tensor, noise_std: float) -> str:
        """The channels of a gray image, even if it is sepia, are linear functions of its luma."""
        luma = self.forward(images).flatten(1)
        luma = luma - luma.mean(1, keepdim=True)
        channels = images.flatten(2)
        channels = channels - channels.mean(2, keepdim=True)
        slopes = (channels @ luma[..., None]) / luma.square().sum(1).clamp(min=1e-12)[:, None, None]
        if ((channels - slopes * luma[:, None]).square().mean((1, 2)).sqrt() <= FAINT).all():
            return ""
        return (
            "The image has colors, and this operator reads only its gray: the result gets new colors. Connect a gray "
            "image, or turn simulate on to test with a colored one."
        )

    def adjoint(self, y: Tensor) -> Tensor:
        return self._luma.like(y) * y

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """The rank-one case of the Sherman-Morrison formula."""
        luma = self._luma.like(x0)
        return x0 + luma * (y - self.forward(x0)) / (luma.square().sum() + weight)


register(
    OperatorKind(
        name="colourisation",
        order=5,
        tooltip="no color, only luma",
        build=lambda height, width, settings: Colorization(height, width),
    )
)

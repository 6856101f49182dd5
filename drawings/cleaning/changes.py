"""Changes of the image: how large they are on the worst background, and how many a clean-up may make."""

from __future__ import annotations

import torch
from torch import Tensor

from ...svg.document import Document
from ...svg.raster.rasterizer import rasterize
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Box
from ..initialization import Canvas


@torch.no_grad()
def image(document: Document, canvas: Canvas) -> Tensor:
    """The drawing on nothing: premultiplied RGBA (4, H, W) in [0, 1]."""
    return rasterize([scene(document, *canvas)])[0]


def worst(change: Tensor) -> Tensor:
    """How much a change (4, h, w) of the premultiplied image changes the colors (3, h, w) on the worst background.

    On the background b the image is color + (1 - alpha) b, which changes by d_color - d_alpha b: most for b = 0 or 1.
    """
    color, alpha = change[:3], change[3:]
    return torch.maximum(color.abs(), (color - alpha).abs())


def mean_change(before: Tensor, after: Tensor) -> float:
    """The mean change of the colors between two images (4, H, W), on the worst background of each pixel."""
    return float(worst(after - before).mean())


class Ledger:
    """Adds up changes of one image, as long as it stays within bounds.

    Args:
        canvas: Height and width in pixels.
        mean: Bound of the mean change.
        largest: Bound of the largest change of a pixel.

    Attributes:
        mean: The mean change so far.
    """

    def __init__(self, canvas: Canvas, mean: float, largest: float = torch.inf):
        self._total = torch.zeros(4, *canvas)
        self._bound, self._largest = mean, largest
        self.mean = 0.0

    @property
    def left(self) -> float:
        """How much the mean change may still grow."""
        return self._bound - self.mean

    def takes(self, box: Box, change: Tensor) -> bool:
        """Add a change (4, h, w) of the pixels of a box, if both bounds hold with it. Returns whether they do."""
        top, left, height, width = box
        part = self._total[:, top : top + height, left : left + width]
        before, after = worst(part), worst(part + change)
        mean = self.mean + float((after - before).sum()) / (3 * self._total[0].numel())
        if mean >= self._bound or (after.numel() and float(after.max()) >= self._largest):
            return False
        part += change
        self.mean = mean
        return True

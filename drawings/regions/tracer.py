"""From an image to a document."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from ...svg.document import Contour, Document, Fill, Shape
from ..initialization import on_canvas
from .contours import chains, located
from .curves import contour, fitted
from .layers import Layer, side_by_side, stacked
from .paints import paint
from .segmentation import Floats, Regions, as_array, segmented

COARSEST, DETAIL = 0.02, 2.56
"""The final scale of the segmentation for few shapes, and its product with the number of shapes for more than 128. At
the first, a square of 4 x 4 pixels stays if its color differs from that around it by 0.14, and the noise that a VAE
leaves along edges goes; at 1000 shapes by 0.05."""
HIDDEN_TOLERANCE = 1.5
"""How far curves below other shapes may be from where they should be, in pixels; less than their overlap."""
TOLERANCE = 0.3
"""How far curves may be from the edges of the image, in pixels."""
SMALLEST_AREA = 9
"""Regions of fewer pixels are specks."""


def traced(
    image: Tensor,
    most: int,
    *,
    alpha: Tensor | None = None,
    scale: float | None = None,
    tolerance: float = TOLERANCE,
    smallest: int = SMALLEST_AREA,
    overlapping: bool = True,
    ramps: bool = True,
) -> Document:
    """A drawing of an image: at most `most` opaque shapes, in pixels.

    Args:
        image: (3, H, W) in [0, 1].
        most: The largest number of shapes.
        alpha: (H, W) in [0, 1]. Where it is below 1/2 on average, there is no shape.
        scale: How much error a pixel of border is worth, see `segmentation`. A larger value gives fewer shapes. By
            default, the more shapes there may be, the finer the detail.
        tolerance: How far curves may be from the edges of the image, in pixels.
        smallest: Smaller regions, in pixels, are left out.
        overlapping: Whether shapes lie on top of each other, without gaps, or side by side.
        ramps: Whether shapes may have linear gradients.

    Raises:
        ValueError: The image has NaN or infinite values.
    """
    scale = min(COARSEST, DETAIL / most) if scale is None else scale
    pixels = as_array(image, alpha)
    regions = segmented(pixels, most, scale=scale, smallest=smallest, ramps=ramps)
    transparent = regions.colors[:, 3:].min(1, initial=1) < 0.5
    shapes = []
    for layer in (stacked if overlapping else side_by_side)(regions.labels, transparent):
        mask = regions.labels == layer.region
        pure = mask & regions.pure
        color = paint(pixels[..., :3], pure if pure.any() else mask, scale if ramps else np.inf)
        if contours := tuple(_contours(layer, pixels, regions, tolerance)):
            shapes.append(Shape(contours, Fill(color)))
    height, width, _ = pixels.shape
    return on_canvas(shapes, (height, width))


def _contours(layer: Layer, pixels: Floats, regions: Regions, tolerance: float) -> Iterator[Contour]:
    for chain in chains(layer.mask):
        shifted = chain.moved(np.array([layer.column, layer.row]))
        outline = located(shifted, pixels, regions, layer.region)
        cubics = fitted(outline.points, np.where(outline.visible, tolerance, HIDDEN_TOLERANCE))
        if len(cubics):
            yield contour(cubics, closed=True)

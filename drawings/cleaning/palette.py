"""Palette: colors that look the same become one.

Colors are compared in OKLab (Ottosson, 2020), where distances are about as large as they look: 0.02 is just noticeable
side by side. Groups are found by complete linkage: no two colors of a group are farther apart than the distance, so a
chain of similar colors does not become one.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from ...svg.document import Color, Document, Fill, Stroke
from ..initialization import Canvas
from .paints import layers, repainted, visible_areas

Floats = NDArray[np.float64]

SAME = 1e-9
"""Colors nearer than this are one already."""

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(colors: Floats) -> Floats:
    """OKLab coordinates (N, 3) of sRGB colors (N, 3) in [0, 1]."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T


def merged_colors(document: Document, canvas: Canvas, distance: float) -> Document:
    """The document with plain colors that are nearer than a distance in OKLab replaced by their mean.

    The mean is weighted by what is seen of each. The paints of shapes with a name do not change; a group with such
    colors takes the most visible of them.

    Args:
        document: The drawing.
        canvas: Height and width in pixels.
        distance: The largest distance between colors that become one.
    """
    paints = [(layer, bool(shape.name), paint.paint) for layer, (shape, paint) in layers(document).items()]
    plain = [(layer, named, color) for layer, named, color in paints if isinstance(color, Color)]
    if len({color for *_, color in plain}) < 2:
        return document
    areas = visible_areas(document, canvas)
    numbers = [layer for layer, *_ in plain]
    colors, fixed = np.array([color for *_, color in plain]), np.array([named for _, named, _ in plain])
    new = _merged(colors, np.array([areas[layer] for layer in numbers]), fixed, distance)
    replaced = {layer: Color(*color) for layer, color in zip(numbers, new.tolist())}

    def repaint(layer: int, paint: Fill | Stroke) -> Fill | Stroke:
        return dataclasses.replace(paint, paint=replaced.get(layer, paint.paint))

    return repainted(document, repaint)


def _merged(colors: Floats, areas: Floats, fixed: NDArray[np.bool_], distance: float) -> Floats:
    """The colors (N, 3), merged again until no two that differ are nearer than the distance."""
    while True:
        unique, number = np.unique(colors.round(9), axis=0, return_inverse=True)
        number = number.reshape(-1)
        if len(unique) < 2:
            return colors
        group = fcluster(linkage(oklab(unique), "complete"), distance, "distance")[number]
        new = colors.copy()
        for members in (np.flatnonzero(group == g) for g in np.unique(group)):
            if np.ptp(colors[members], axis=0).max() <= SAME:
                continue
            anchors = members[fixed[members]]
            free = members[~fixed[members]]
            if len(anchors):
                new[free] = colors[anchors[areas[anchors].argmax()]]
            else:
                new[free] = np.average(colors[free], axis=0, weights=areas[free] + 1e-6)
        if np.array_equal(new, colors):
            return colors
        colors = new

"""Layers: the pixels that the shape of each region covers, from the lowest to the highest.

Large regions lie below small ones. A shape covers its region and what lies in its holes, and reaches a little below
the regions above it, so that nothing shows through where two shapes meet. The lowest shape covers the whole canvas.
Every visible edge then belongs to one shape, the higher of the two.

Side by side, for cutters and plotters, every shape covers exactly its region.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_fill_holes, distance_transform_edt, find_objects

from .segmentation import Flags, Ints

OVERLAP = 3
"""How far shapes reach below others, in pixels."""


class Layer(NamedTuple):
    """A region, the pixels (h, w) that its shape covers, and where these begin on the canvas."""

    region: int
    mask: Flags
    row: int
    column: int


def stacked(labels: Ints, transparent: Flags) -> list[Layer]:
    """Shapes on top of each other, from the lowest to the highest, of all regions but the transparent ones (N,)."""
    boxes = find_objects(labels + 1)
    filled = [_without_holes(labels[box] == region).sum() for region, box in enumerate(boxes)]
    order = sorted(np.flatnonzero(~transparent).tolist(), key=lambda region: -filled[region])
    rank = np.full(len(boxes), -1)
    rank[order] = np.arange(len(order))
    height = rank[labels]
    layers = []
    for region in order:
        rows, columns = (slice(max(s.start - OVERLAP, 0), s.stop + OVERLAP) for s in boxes[region])
        beneath = height[rows, columns]
        covered = beneath == rank[region]
        near = np.asarray(distance_transform_edt(~covered)) <= OVERLAP
        mask = _without_holes(covered | (near & (beneath > rank[region]))) & (beneath >= 0)
        layers.append(Layer(region, mask, rows.start, columns.start))
    if layers and not transparent.any():
        layers[0] = Layer(order[0], np.ones(labels.shape, bool), 0, 0)
    return layers


def side_by_side(labels: Ints, transparent: Flags) -> list[Layer]:
    """Shapes beside each other, the largest first, of all regions but the transparent ones (N,)."""
    boxes = find_objects(labels + 1)
    masks = [labels[box] == region for region, box in enumerate(boxes)]
    order = sorted(np.flatnonzero(~transparent).tolist(), key=lambda region: -masks[region].sum())
    return [Layer(region, masks[region], boxes[region][0].start, boxes[region][1].start) for region in order]


def _without_holes(mask: Flags) -> Flags:
    return np.asarray(binary_fill_holes(mask))

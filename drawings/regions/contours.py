"""Contours: the outlines of a set of pixels as polygons, moved to where the edge is within the pixels.

Pixel (row, column) spans the square from (column, row) to (column + 1, row + 1). The border of a set of pixels is made
of unit sides of such squares. Walking along it with the set on the right (on the screen, y down: clockwise around a
set, counterclockwise around a hole) gives closed chains of sides.

Position within the pixels. Let n be the normal of a side, pointing out of the set, and m its middle. If the image has
the color a inside and b outside, an edge that crosses the line m + s n at s = s0 leaves a pixel on that line with the
mean color f a + (1 - f) b, where f is the part of it that lies inside. So the fractions of the pixels between
s = -2 and s = 2 add up to s0 + 2: exact for edges along the side, and to first order for slanted ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .segmentation import Flags, Floats, Ints, Regions

REACH = 2
"""Half the length in pixels of the line on which an edge is looked for."""
STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""The directions (x, y) of sides: right, down, left, up. The next one is a turn to the right."""


@dataclass(frozen=True)
class Chain:
    """A closed border of unit sides.

    Attributes:
        middles: The middles (K, 2) of the sides in order, as (x, y).
        normals: Their unit normals (K, 2), out of the set.
    """

    middles: Floats
    normals: Floats

    def moved(self, shift: Floats) -> Chain:
        """The chain, moved by `shift` (2,)."""
        return Chain(self.middles + shift, self.normals)


def chains(mask: Flags) -> list[Chain]:
    """The borders of a set of pixels (H, W). Pixels that touch only at a corner are apart."""
    exists = _sides(mask)
    starts = np.argwhere(exists)  # (direction, y, x)
    number = np.full(exists.shape, -1)
    number[exists] = np.arange(len(starts))
    following = _following(starts, number).tolist()
    found, taken = [], bytearray(len(starts))
    for first in range(len(starts)):
        sides = []
        side = first
        while not taken[side]:
            taken[side] = 1
            sides.append(side)
            side = following[side]
        if sides:
            direction, y, x = starts[sides].T
            found.append(Chain(np.stack([x, y], 1) + STEPS[direction] / 2, STEPS[direction - 1].astype(float)))
    return found


def _sides(mask: Flags) -> Flags:
    """Whether a side starts at each corner (4, H + 1, W + 1), by its direction."""
    padded = np.pad(mask, 1)
    here, above, left, diagonal = padded[1:, 1:], padded[:-1, 1:], padded[1:, :-1], padded[:-1, :-1]
    return np.stack([here & ~above, left & ~here, diagonal & ~left, above & ~diagonal])


def _following(starts: Ints, number: Ints) -> Ints:
    """The number of the side that follows each side, from `number` (4, H + 1, W + 1), -1 where there is none.

    Of two sides that start at one corner, where two pixels touch, the one to the right stays with the same pixel.
    """
    direction, y, x = starts.T
    step_x, step_y = STEPS[direction].T
    following = np.full(len(starts), -1)
    for turn in (1, 0, 3):
        candidate = number[(direction + turn) % 4, y + step_y, x + step_x]
        following = np.where(following < 0, candidate, following)
    return following


class Outline(NamedTuple):
    """A closed polygon (K, 2), and which of its points (K,) can be seen: others lie below another shape."""

    points: Floats
    visible: Flags


def located(chain: Chain, image: Floats, regions: Regions, region: int) -> Outline:
    """The border of a region's shape, moved along its normals to the edge in the image (H, W, 3).

    A side stays where it is at the border of the canvas or below another region. Where a third color is near, only the
    two pixels beside the side are used.
    """
    labels, colors = regions.labels, regions.colors
    height, width = labels.shape
    places = chain.middles[:, None] + (np.arange(-REACH, REACH) + 0.5)[:, None] * chain.normals[:, None]
    columns, rows = np.floor(places).astype(int).transpose(2, 0, 1)
    within = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    columns, rows = columns.clip(0, width - 1), rows.clip(0, height - 1)
    along = labels[rows, columns]
    inner, outer = along[:, REACH - 1], along[:, REACH]
    leg = colors[inner] - colors[outer]
    squared = (leg**2).sum(1)
    fractions = ((image[rows, columns] - colors[outer][:, None]) * leg[:, None]).sum(2)
    fractions = (fractions / np.maximum(squared, 1e-6)[:, None]).clip(0, 1)
    alone = (along[:, :REACH] == inner[:, None]).all(1) & (along[:, REACH:] == outer[:, None]).all(1)
    near = fractions[:, REACH - 1 : REACH + 1].sum(1) - 1
    offset = np.where(within.all(1) & alone, fractions.sum(1) - REACH, near)
    real = within[:, REACH - 1 : REACH + 1].all(1) & (inner == region) & (squared > 1e-6)
    points = chain.middles + np.where(real, offset.clip(-1, 1), 0)[:, None] * chain.normals
    return Outline(points, inner == region)

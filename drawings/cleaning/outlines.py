"""Outlines: as few curves as show the same, lines that are straight, and joins that are smooth.

In pixels of the canvas, for every contour:

1. Cubics of no length go.
2. Joins of almost one direction become smooth.
3. Consecutive cubics that one cubic fits become it (`merging`).
4. Cubics that are almost straight become lines, lines that are almost horizontal or vertical exactly so, and
   consecutive lines that are one become it.
5. Joins beside these lines become smooth.

This is repeated until the number of curves stays. Closed contours of almost no area go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...svg.cubics import Box
from ...svg.document import Contour, Document, Shape
from ...svg.viewports import fitted
from ..initialization import Canvas
from .chains import (
    Chain,
    aligned,
    chain_of,
    contour_of,
    smoothed,
    straightened,
    with_long_lines,
    without_stubs,
)
from .merging import merged
from .paints import reshaped

SMALLEST_AREA = 0.5
"""Closed contours of less area go, in square pixels."""
ROUNDS = 5
"""How often the steps are repeated at most."""


def simplified(document: Document, canvas: Canvas, tolerance: float) -> Document:
    """The document with simpler outlines. Shapes without any left go, unless they have a name.

    Args:
        document: The drawing.
        canvas: Height and width in pixels.
        tolerance: How far curves may move, in pixels.
    """
    placement = fitted(document.view_box, Box(0.0, 0.0, canvas[1], canvas[0]), "")
    before = [chain_of(contour, placement) for shape in document.shapes() for contour in shape.contours]
    after = iter(zip(before, simpler(before, tolerance)))

    def contours(shape: Shape) -> tuple[Contour, ...]:
        kept = []
        for contour, (old, new) in zip(shape.contours, after):
            small = not len(new.cubics) or (new.closed and new.area() < SMALLEST_AREA)
            if not small or shape.stroke:
                changed = len(new.cubics) and not _same(old, new)
                kept.append(contour_of(new, placement) if changed else contour)
        return tuple(kept)

    def change(shape: Shape) -> Shape | None:
        found = contours(shape)
        if found or not shape.contours:
            return dataclasses.replace(shape, contours=found)
        return shape if shape.name else None

    return reshaped(document, change)


def simpler(chains: Sequence[Chain], tolerance: float) -> list[Chain]:
    """Chains of fewer cubics, as in steps 1 to 5; those of no length become empty."""
    found = list(chains)
    for _ in range(ROUNDS):
        count = sum(len(chain.cubics) for chain in found)
        found = [smoothed(without_stubs(chain), tolerance / 2) for chain in found]
        found = [_straight(chain, tolerance) for chain in merged(found, tolerance)]
        if sum(len(chain.cubics) for chain in found) == count:
            break
    return found


def _straight(chain: Chain, tolerance: float) -> Chain:
    return smoothed(aligned(with_long_lines(straightened(chain))), tolerance / 2) if len(chain.cubics) else chain


def _same(one: Chain, other: Chain) -> bool:
    """Whether chains differ by rounding only."""
    return one.cubics.shape == other.cubics.shape and bool((abs(one.cubics - other.cubics) < 1e-6).all())

"""Footprints: the pixels that nodes cover, and whether two of them meet.

Two nodes meet if both cover some of the same pixel. Where they do not, their order in the painting does not matter.

All footprints of a document are kept at the same time, so they are kept as bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...svg.document import Document, Node, Shape, shapes_in
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Box, Seen, sweep
from ..initialization import Canvas
from .paints import layers


@dataclass(frozen=True)
class Footprint:
    """The pixels that a layer covers.

    Attributes:
        box: Where they are.
        bits: Whether each is covered, eight columns of the canvas in a byte (h, bytes).
    """

    box: Box
    bits: NDArray[np.uint8]

    @staticmethod
    def of(seen: Seen) -> Footprint:
        covered = (seen.coverage > 0).numpy()
        return Footprint(seen.box, np.packbits(np.pad(covered, ((0, 0), (seen.box[1] % 8, 0))), axis=1))

    def meets(self, other: Footprint) -> bool:
        (top, left, height, width), (other_top, other_left, other_height, other_width) = self.box, other.box
        rows = max(top, other_top), min(top + height, other_top + other_height)
        columns = max(left, other_left), min(left + width, other_left + other_width)
        if rows[0] >= rows[1] or columns[0] >= columns[1]:
            return False
        return bool((self._within(rows, columns) & other._within(rows, columns)).any())

    def _within(self, rows: tuple[int, int], columns: tuple[int, int]) -> NDArray[np.uint8]:
        """The bytes of rows and columns, each from the first to the last, exclusive."""
        top, first = self.box[0], self.box[1] // 8
        return self.bits[rows[0] - top : rows[1] - top, columns[0] // 8 - first : (columns[1] - 1) // 8 + 1 - first]


@dataclass
class Covering:
    """A node and what it covers, in parts."""

    node: Node
    parts: list[Footprint]

    def meets(self, other: Covering) -> bool:
        return any(a.meets(b) for a in self.parts for b in other.parts)


class Footprints:
    """What the layers of a document cover, handed out to its nodes in their order."""

    def __init__(self, document: Document, canvas: Canvas):
        covered: dict[int, Footprint] = {}

        def look(seen: Seen) -> float:
            covered[seen.layer] = Footprint.of(seen)
            return 1.0

        sweep(scene(document, *canvas), look)
        self._next: Iterator[Footprint] = iter([covered[layer] for layer in layers(document)])

    def of(self, node: Node) -> Covering:
        """The next node with what its layers cover."""
        shapes = [node] if isinstance(node, Shape) else shapes_in(node.children)
        return Covering(node, [next(self._next) for shape in shapes for paint in (shape.fill, shape.stroke) if paint])

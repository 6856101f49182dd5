"""Footprints: the pixels that nodes cover, and whether two of them meet.

Two nodes meet if both cover some of the same pixel. Where they do not, their order in the painting does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...svg.document import Document, Node, Shape, shapes_in
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Box, Seen, sweep
from ..initialization import Canvas
from .paints import layers

Footprint = tuple[Box, Tensor]
"""A box, and whether its pixels (h, w) are covered."""


@dataclass
class Covering:
    """A node and what it covers, in parts."""

    node: Node
    parts: list[Footprint]

    def meets(self, other: Covering) -> bool:
        return any(_meet(a, b) for a in self.parts for b in other.parts)


class Footprints:
    """What the layers of a document cover, handed out to its nodes in their order."""

    def __init__(self, document: Document, canvas: Canvas):
        covered: dict[int, Footprint] = {}

        def look(seen: Seen) -> float:
            covered[seen.layer] = seen.box, seen.coverage > 0
            return 1.0

        sweep(scene(document, *canvas), look)
        self._next: Iterator[Footprint] = iter([covered[layer] for layer in layers(document)])

    def of(self, node: Node) -> Covering:
        """The next node with what its layers cover."""
        shapes = [node] if isinstance(node, Shape) else shapes_in(node.children)
        return Covering(node, [next(self._next) for shape in shapes for paint in (shape.fill, shape.stroke) if paint])


def _meet(one: Footprint, other: Footprint) -> bool:
    (box_a, mask_a), (box_b, mask_b) = one, other
    top, left = max(box_a[0], box_b[0]), max(box_a[1], box_b[1])
    bottom, right = min(box_a[0] + box_a[2], box_b[0] + box_b[2]), min(box_a[1] + box_a[3], box_b[1] + box_b[3])
    if top >= bottom or left >= right:
        return False
    a = mask_a[top - box_a[0] : bottom - box_a[0], left - box_a[1] : right - box_a[1]]
    b = mask_b[top - box_b[0] : bottom - box_b[0], left - box_b[1] : right - box_b[1]]
    return bool(torch.any(a & b))

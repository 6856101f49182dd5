"""Compound paths: neighbors in paint order with the same paint become one path.

A shape may move down in the order to just above another one if nothing between them meets it. Two shapes meet if both
cover some of the same pixel; so contours of a compound never overlap, and the fill rule does not matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ...svg.document import Document, Group, Node, Shape
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Box, Seen, sweep
from ..initialization import Canvas
from .paints import layers

Footprint = tuple[Box, Tensor]
"""A box, and whether its pixels (h, w) are covered."""


def compounded(document: Document, canvas: Canvas) -> Document:
    """The document with shapes joined that have one opaque fill, no stroke and no name, and meet nothing in between."""
    covered: dict[int, Footprint] = {}

    def look(seen: Seen) -> float:
        covered[seen.layer] = seen.box, seen.coverage > 0
        return 1.0

    sweep(scene(document, *canvas), look)
    footprints = iter([covered[layer] for layer in layers(document)])
    nodes = [entry.node for entry in _joined(document.children, footprints)]
    return dataclasses.replace(document, children=tuple(nodes))


@dataclasses.dataclass
class _Entry:
    """A node and what it covers, in parts."""

    node: Node
    parts: list[Footprint]

    def meets(self, other: _Entry) -> bool:
        return any(_meet(a, b) for a in self.parts for b in other.parts)


def _joined(nodes: Sequence[Node], footprints: Iterator[Footprint]) -> list[_Entry]:
    """Nodes in order, with those joined that can be; takes the footprints of their layers."""
    entries: list[_Entry] = []
    for node in nodes:
        if isinstance(node, Group):
            inner = _joined(node.children, footprints)
            children = tuple(entry.node for entry in inner)
            parts = [part for entry in inner for part in entry.parts]
            entries.append(_Entry(dataclasses.replace(node, children=children), parts))
            continue
        entry = _Entry(node, [next(footprints) for paint in (node.fill, node.stroke) if paint])
        if partner := _partner(entry, node, entries):
            assert isinstance(partner.node, Shape)
            partner.node = dataclasses.replace(partner.node, contours=partner.node.contours + node.contours)
            partner.parts += entry.parts
        else:
            entries.append(entry)
    return entries


def _partner(entry: _Entry, shape: Shape, below: Sequence[_Entry]) -> _Entry | None:
    """The highest entry that a shape can join: neither it nor any above it meets the shape."""
    if _joinable(shape):
        for candidate in reversed(below):
            if entry.meets(candidate):
                return None
            other = candidate.node
            if isinstance(other, Shape) and _joinable(other) and other.fill == shape.fill:
                return candidate
    return None


def _joinable(shape: Shape) -> bool:
    return shape.fill is not None and shape.fill.opacity == 1 and shape.stroke is None and not shape.name


def _meet(one: Footprint, other: Footprint) -> bool:
    (box_a, mask_a), (box_b, mask_b) = one, other
    top, left = max(box_a[0], box_b[0]), max(box_a[1], box_b[1])
    bottom, right = min(box_a[0] + box_a[2], box_b[0] + box_b[2]), min(box_a[1] + box_a[3], box_b[1] + box_b[3])
    if top >= bottom or left >= right:
        return False
    a = mask_a[top - box_a[0] : bottom - box_a[0], left - box_a[1] : right - box_a[1]]
    b = mask_b[top - box_b[0] : bottom - box_b[0], left - box_b[1] : right - box_b[1]]
    return bool(torch.any(a & b))

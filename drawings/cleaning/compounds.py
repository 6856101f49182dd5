"""Compound paths: neighbors in paint order with the same paint become one path.

A shape may move down in the order to just above another one if nothing between them meets it (`footprints`). So
contours of a compound never overlap, and the fill rule does not matter.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ...svg.document import Document, Group, Node, Shape
from ..initialization import Canvas
from .footprints import Covering, Footprints


def compounded(document: Document, canvas: Canvas) -> Document:
    """The document with shapes joined that have one opaque fill, no stroke and no name, and meet nothing in between."""
    entries = _joined(document.children, Footprints(document, canvas))
    return dataclasses.replace(document, children=tuple(entry.node for entry in entries))


def _joined(nodes: Sequence[Node], footprints: Footprints) -> list[Covering]:
    """Nodes in order, with those joined that can be."""
    entries: list[Covering] = []
    for node in nodes:
        if isinstance(node, Group):
            inner = _joined(node.children, footprints)
            children = tuple(entry.node for entry in inner)
            parts = [part for entry in inner for part in entry.parts]
            entries.append(Covering(dataclasses.replace(node, children=children), parts))
            continue
        entry = footprints.of(node)
        if partner := _partner(entry, node, entries):
            assert isinstance(partner.node, Shape)
            partner.node = dataclasses.replace(partner.node, contours=partner.node.contours + node.contours)
            partner.parts += entry.parts
        else:
            entries.append(entry)
    return entries


def _partner(entry: Covering, shape: Shape, below: Sequence[Covering]) -> Covering | None:
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

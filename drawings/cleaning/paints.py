"""The fills and strokes of a document by the numbers that they have as layers of its scene."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from ...svg.document import Document, Fill, Group, Node, Shape, Stroke, shapes_in
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Seen, sweep
from ..initialization import Canvas

Repaint = Callable[[int, "Fill | Stroke"], "Fill | Stroke | None"]
"""From a layer and its fill or stroke to what replaces it; None removes it."""


def layers(document: Document) -> dict[int, tuple[Shape, Fill | Stroke]]:
    """The shape and the paint of every layer, in the order in which they are painted; without those of clips."""
    return dict(_numbered(document.children, 0))


def visible_areas(document: Document, canvas: Canvas) -> dict[int, float]:
    """How much of each layer is seen, in pixels."""
    areas: dict[int, float] = {}

    def measure(seen: Seen) -> float:
        areas[seen.layer] = float(seen.weight.sum())
        return 1.0

    sweep(scene(document, *canvas), measure)
    return areas


def _numbered(nodes: Sequence[Node], number: int) -> Iterator[tuple[int, tuple[Shape, Fill | Stroke]]]:
    for node in nodes:
        if isinstance(node, Group):
            yield from _numbered(node.children, number)
        else:
            paints = [paint for paint in (node.fill, node.stroke) if paint]
            yield from enumerate(((node, paint) for paint in paints), number)
        number += _count([node])


def _count(nodes: Sequence[Node]) -> int:
    """The number of layers of nodes, with those of their clips."""
    shapes = shapes_in(nodes, clips=True)
    return sum((shape.fill is not None) + (shape.stroke is not None) for shape in shapes)


def repainted(document: Document, change: Repaint) -> Document:
    """The document with other fills and strokes. Shapes without any go, and with them groups that become empty."""
    return dataclasses.replace(document, children=_Walk(change).children(document.children))


def reshaped(document: Document, change: Callable[[Shape], Shape | None]) -> Document:
    """The document with other shapes; None removes one, and with the last of them its group."""

    def node(old: Node) -> Node | None:
        if isinstance(old, Shape):
            return change(old)
        return regrouped(old, [new for child in old.children if (new := node(child))])

    return dataclasses.replace(document, children=tuple(new for old in document.children if (new := node(old))))


def regrouped(group: Group, children: Sequence[Node]) -> Group | None:
    """The group with other children; None if it has lost all of them and has no name."""
    lost = group.children and not children and not group.name
    return None if lost else dataclasses.replace(group, children=tuple(children))


class _Walk:
    def __init__(self, change: Repaint):
        self._change, self._number = change, 0

    def children(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        return tuple(self._nodes(nodes))

    def _nodes(self, nodes: Sequence[Node]) -> Iterator[Node]:
        for node in nodes:
            if isinstance(node, Shape):
                new = self._shape(node)
            else:
                new = regrouped(node, self.children(node.children))
                self._number += _count(node.clip)
            if new:
                yield new

    def _shape(self, shape: Shape) -> Shape | None:
        fill, stroke = self._next(shape.fill), self._next(shape.stroke)
        assert not isinstance(fill, Stroke) and not isinstance(stroke, Fill)
        if not (fill or stroke or shape.name):
            return None
        return dataclasses.replace(shape, fill=fill, stroke=stroke)

    def _next(self, paint: Fill | Stroke | None) -> Fill | Stroke | None:
        if paint is None:
            return None
        self._number += 1
        return self._change(self._number - 1, paint)

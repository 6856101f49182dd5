"""The fills and strokes of a document by the numbers that they have as layers of its scene."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from ...svg.document import Document, Fill, Group, Node, Shape, Stroke

Repaint = Callable[[int, "Fill | Stroke"], "Fill | Stroke | None"]
"""From a layer and its fill or stroke to what replaces it; None removes it."""


def layers(document: Document) -> list[tuple[Shape, Fill | Stroke]]:
    """The shape and the paint of every layer, in the order of the scene."""
    return [(shape, paint) for shape in document.shapes() for paint in (shape.fill, shape.stroke) if paint]


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
            new = self._shape(node) if isinstance(node, Shape) else regrouped(node, self.children(node.children))
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

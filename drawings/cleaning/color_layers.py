"""Color layers: shapes of one color as one named group, so that an editor's list of layers reads like the drawing.

A shape may move down in the order to just above others of its color if nothing between them meets it (`footprints`),
so the image stays the same. Names are those of the nearest CSS colors, such as "coral" or "steelblue", and for
gradients of their first and last one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...svg.document import Color, Document, Group, Node, Paint, Shape
from ...svg.markup.colors import NAMED
from ..initialization import Canvas
from .footprints import Covering, Footprints
from .paints import layers, visible_areas
from .palette import oklab

LARGEST_PALETTE = 16
"""How many colors a title names at most."""
_WHITES = {
    "aliceblue",
    "azure",
    "floralwhite",
    "ghostwhite",
    "honeydew",
    "ivory",
    "lavenderblush",
    "linen",
    "mintcream",
}
_WHITES |= {"oldlace", "seashell", "snow", "whitesmoke"}
_NAMES = [name for name in NAMED if name not in _WHITES]
_LAB = oklab(np.array([NAMED[name] for name in _NAMES]))


def in_color_layers(document: Document, canvas: Canvas) -> Document:
    """The document with unnamed shapes of one color in groups named by it, and the palette as the title if it has none.

    A shape that stays alone gets the name itself. Groups and shapes with a name stay as they are.
    """
    footprints = Footprints(document, canvas)
    entries: list[Covering] = []
    for node in document.children:
        entry = footprints.of(node)
        paint = _paint_of(node)
        if paint is None:
            entries.append(entry)
        elif layer := _layer_below(entry, paint, entries):
            layer.shapes.append(node)
            layer.parts += entry.parts
        else:
            entries.append(_Layer(node, entry.parts, paint, [node]))
    children = tuple(entry.named() if isinstance(entry, _Layer) else entry.node for entry in entries)
    title = document.title or ", ".join(palette(document, canvas))
    return dataclasses.replace(document, children=children, title=title)


@dataclass
class _Layer(Covering):
    """Shapes of one paint."""

    paint: Paint
    shapes: list[Node]

    def named(self) -> Node:
        """A group of the shapes; if there is only one, the shape itself."""
        ends = [self.paint] if isinstance(self.paint, Color) else [self.paint.stops[n].color for n in (0, -1)]
        name = "-to-".join(dict.fromkeys(map(color_name, ends)))
        if len(self.shapes) == 1:
            return dataclasses.replace(self.node, name=name)
        return Group(tuple(self.shapes), name=name)


def palette(document: Document, canvas: Canvas) -> list[str]:
    """The plain colors of a document as "#rrggbb", at most `LARGEST_PALETTE`, from the one that is seen most."""
    areas = visible_areas(document, canvas)
    totals: dict[str, float] = {}
    for layer, (_, part) in layers(document).items():
        if isinstance(part.paint, Color):
            digits = "#" + "".join(f"{round(255 * channel):02x}" for channel in part.paint)
            totals[digits] = totals.get(digits, 0.0) + areas[layer]
    return sorted(totals, key=lambda digits: -totals[digits])[:LARGEST_PALETTE]


def color_name(color: Color) -> str:
    """The CSS name of the nearest color in OKLab; all that are nearly white are "white"."""
    return _NAMES[int(((_LAB - oklab(np.array([color]))) ** 2).sum(1).argmin())]


def _paint_of(node: Node) -> Paint | None:
    """The only paint of an unnamed shape."""
    if not isinstance(node, Shape) or node.name:
        return None
    parts = [part for part in (node.fill, node.stroke) if part]
    return parts[0].paint if len(parts) == 1 else None


def _layer_below(entry: Covering, paint: Paint, below: Sequence[Covering]) -> _Layer | None:
    """The highest layer of a paint that a shape can join: nothing above that layer meets the shape."""
    if not any(isinstance(candidate, _Layer) and candidate.paint == paint for candidate in below):
        return None
    for candidate in reversed(below):
        if isinstance(candidate, _Layer) and candidate.paint == paint:
            return candidate
        if entry.meets(candidate):
            return None
    return None

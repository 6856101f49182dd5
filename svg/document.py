"""Document model of a vector drawing: what the parser returns, the writer saves and the rasterizer draws.

All outlines are chains of cubic Bézier curves in user units (the units of the view box); the parser converts lines,
arcs and basic shapes to cubics. Transforms are already applied to the points, except where a stroke is scaled
differently along different axes (`Stroke.pen`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

FillRule = Literal["nonzero", "evenodd"]
Cap = Literal["butt", "round", "square"]
Join = Literal["miter", "round", "bevel"]
Spread = Literal["pad", "reflect", "repeat"]


class Point(NamedTuple):
    """A point in user units; y points down."""

    x: float
    y: float


class Matrix(NamedTuple):
    """The affine map (x, y) -> (a x + c y + e, b x + d y + f), in SVG's order of coefficients."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0


IDENTITY = Matrix()


class ViewBox(NamedTuple):
    """The visible rectangle, in user units."""

    x: float
    y: float
    width: float
    height: float


class Color(NamedTuple):
    """An sRGB color, each channel in [0, 1]."""

    red: float
    green: float
    blue: float


BLACK, WHITE = Color(0.0, 0.0, 0.0), Color(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Stop:
    """A gradient stop: `offset` and `opacity` in [0, 1]."""

    offset: float
    color: Color
    opacity: float = 1.0


@dataclass(frozen=True)
class LinearGradient:
    """Color varies along the line from `start` to `end`; `transform` maps both to user units."""

    start: Point
    end: Point
    stops: tuple[Stop, ...]
    transform: Matrix = IDENTITY
    spread: Spread = "pad"


@dataclass(frozen=True)
class RadialGradient:
    """Color varies from `focus` to the circle of `radius` around `center`; `transform` maps them to user units."""

    center: Point
    radius: float
    focus: Point
    stops: tuple[Stop, ...]
    transform: Matrix = IDENTITY
    spread: Spread = "pad"


Paint = Color | LinearGradient | RadialGradient


@dataclass(frozen=True)
class Fill:
    """How the interior of a shape is painted. `opacity` in [0, 1] already includes the element's own opacity."""

    paint: Paint
    opacity: float = 1.0
    rule: FillRule = "nonzero"


@dataclass(frozen=True)
class Stroke:
    """How the outline of a shape is painted.

    `width` is in user units. `pen` is a linear map (e = f = 0) applied to the stroke as a whole: the outline is mapped
    back by the inverse of `pen`, stroked with a round pen, and the result mapped by `pen`. It is the identity unless
    the stroke is wider in one direction than in another.
    """

    paint: Paint
    opacity: float = 1.0
    width: float = 1.0
    cap: Cap = "butt"
    join: Join = "miter"
    miter_limit: float = 4.0
    pen: Matrix = IDENTITY


@dataclass(frozen=True)
class Contour:
    """A chain of n cubics with shared end points.

    Holds 3n + 1 control points if open and 3n if closed, where the last cubic ends at the first point.
    """

    points: tuple[Point, ...]
    closed: bool


@dataclass(frozen=True)
class Shape:
    """Contours painted together, the fill below the stroke. Open contours are closed by a straight line for filling.

    `classes` are the CSS classes of its element and those around it. They are not saved: a style sheet that knows them
    would override the paints. `copied` says that a <use> draws it: what it copies has the older claim to its name.
    """

    contours: tuple[Contour, ...]
    fill: Fill | None = None
    stroke: Stroke | None = None
    name: str = ""
    classes: frozenset[str] = field(default=frozenset(), compare=False)
    copied: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Group:
    """Nodes that are composited together first, then blended with one `opacity` in [0, 1].

    If there is a `clip`, only what lies inside of it is visible: where its nodes, drawn with opaque paints, cover. They
    are shapes with a fill and no stroke, and groups of such shapes with a clip of their own; colors and opacities in a
    clip have no effect. `copied` is that of shapes.
    """

    children: tuple[Node, ...]
    opacity: float = 1.0
    name: str = ""
    clip: tuple[Node, ...] = ()
    copied: bool = field(default=False, compare=False)


Node = Shape | Group
"""An entry of the document tree."""


@dataclass(frozen=True)
class Document:
    """A drawing: later children are painted over earlier ones.

    `width` and `height` are the root element's attributes as written ("24", "100%", "5cm"), or None; `name` is its id.
    """

    view_box: ViewBox
    children: tuple[Node, ...]
    width: str | None = None
    height: str | None = None
    title: str = ""
    name: str = ""

    def shapes(self) -> Iterator[Shape]:
        """All shapes in paint order, without those of clips."""
        yield from shapes_in(self.children)


def shapes_in(nodes: Iterable[Node], *, clips: bool = False) -> Iterator[Shape]:
    """All shapes of nodes in paint order, without those of clips, or each group's followed by those of its clip."""
    for node in nodes:
        if isinstance(node, Group):
            yield from shapes_in(node.children, clips=clips)
            if clips:
                yield from shapes_in(node.clip, clips=True)
        else:
            yield node

"""A vector drawing as plain values: what the parser reads, the writer writes and the rasteriser draws.

Every outline is a chain of cubic Bézier curves in user units (the units of the view box); lines, arcs and basic shapes
become cubics when they are read. All transforms are carried out on the points, save where a stroke is not scaled alike
in all directions (`Stroke.pen`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

FillRule = Literal["nonzero", "evenodd"]
Cap = Literal["butt", "round", "square"]
Join = Literal["miter", "round", "bevel"]
Spread = Literal["pad", "reflect", "repeat"]


class Point(NamedTuple):
    """A place in user units; y grows downwards."""

    x: float
    y: float


class Matrix(NamedTuple):
    """The affine map (x, y) -> (a x + c y + e, b x + d y + f), in the order in which SVG writes it."""

    a: float = 1.0
    b: float = 0.0
    c: float = 0.0
    d: float = 1.0
    e: float = 0.0
    f: float = 0.0


IDENTITY = Matrix()


class ViewBox(NamedTuple):
    """The part of the plane that is drawn."""

    x: float
    y: float
    width: float
    height: float


class Color(NamedTuple):
    """sRGB in [0, 1]."""

    red: float
    green: float
    blue: float


BLACK, WHITE = Color(0.0, 0.0, 0.0), Color(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Stop:
    """A colour of a gradient at `offset` in [0, 1], with an opacity in [0, 1]."""

    offset: float
    color: Color
    opacity: float = 1.0


@dataclass(frozen=True)
class LinearGradient:
    """Colours along the line from `start` to `end`; `transform` takes both to user units."""

    start: Point
    end: Point
    stops: tuple[Stop, ...]
    transform: Matrix = IDENTITY
    spread: Spread = "pad"


@dataclass(frozen=True)
class RadialGradient:
    """Colours from `focus` outwards to the circle of `radius` around `centre`; `transform` takes them to user units."""

    centre: Point
    radius: float
    focus: Point
    stops: tuple[Stop, ...]
    transform: Matrix = IDENTITY
    spread: Spread = "pad"


Paint = Color | LinearGradient | RadialGradient


@dataclass(frozen=True)
class Fill:
    """How the inside of a shape is painted; opacity in [0, 1] includes that of the element."""

    paint: Paint
    opacity: float = 1.0
    rule: FillRule = "nonzero"


@dataclass(frozen=True)
class Stroke:
    """How the outlines of a shape are painted.

    `width` is in user units. `pen`, if it is not the identity, is a linear map (e = f = 0) that the round pen
    undergoes: the stroke is the one of the outlines before `pen`, mapped by it.
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
    """A chain of n cubics that share their end points: 3n + 1 control points if open, 3n if closed (the last cubic
    ends at the first point)."""

    points: tuple[Point, ...]
    closed: bool


@dataclass(frozen=True)
class Shape:
    """Contours painted together: first filled, then stroked. Open contours are filled as if closed by a line."""

    contours: tuple[Contour, ...]
    fill: Fill | None = None
    stroke: Stroke | None = None
    name: str = ""


@dataclass(frozen=True)
class Group:
    """Drawings painted together and then made translucent as one."""

    children: tuple[Shape | Group, ...]
    opacity: float = 1.0
    name: str = ""


@dataclass(frozen=True)
class Document:
    """A drawing: later children lie on earlier ones.

    `width` and `height` are the attributes of the root element, as they were written ("24", "100%", "5cm") or None.
    """

    view_box: ViewBox
    children: tuple[Shape | Group, ...]
    width: str | None = None
    height: str | None = None
    title: str = ""

    def shapes(self) -> Iterator[Shape]:
        """All shapes in the order in which they are painted."""
        yield from _shapes(self.children)


def _shapes(children: tuple[Shape | Group, ...]) -> Iterator[Shape]:
    for child in children:
        if isinstance(child, Group):
            yield from _shapes(child.children)
        else:
            yield child

"""Vertices of outlines and their directions, where markers are placed (SVG 2, section 11.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

from ..cubics import Cubic, Direction, end_direction, start_direction
from ..document import Point
from .outlines import Outlines, line


class Vertex(NamedTuple):
    """A vertex, and the angle of the outline there, in degrees."""

    point: Point
    angle: float


@dataclass
class _Subpath:
    """A subpath: its first point, and for each of its segments the end point and the directions at its ends."""

    start: Point
    ends: list[Point] = field(default_factory=list)
    directions: list[tuple[Direction | None, Direction | None]] = field(default_factory=list)
    closed: bool = False
    continued: bool = False
    """Whether it goes on from the end of the one before, without a vertex of its own."""


class TracedOutlines(Outlines):
    """Outlines that remember the segments as drawn: an arc is one segment, and degenerate ones count."""

    def __init__(self, max_points: int):
        super().__init__(max_points)
        self._subpaths: list[_Subpath] = []
        self._arc: list[Cubic] | None = None

    def move(self, to: Point) -> None:
        super().move(to)
        self._subpaths.append(_Subpath(to))

    def cubic(self, one: Point, two: Point, to: Point) -> None:
        piece = (self.current, one, two, to)
        super().cubic(one, two, to)
        if self._arc is None:
            self._segment(piece, piece)
        else:
            self._arc.append(piece)

    def arc(self, radii: Point, rotation: float, large: bool, sweep: bool, to: Point) -> None:
        self._arc, start = [], self.current
        super().arc(radii, rotation, large, sweep, to)
        pieces, self._arc = self._arc or [(start, start, start, to)], None
        self._segment(pieces[0], pieces[-1])

    def _segment(self, first: Cubic, last: Cubic) -> None:
        if not self._subpaths or self._subpaths[-1].closed:
            self._subpaths.append(_Subpath(self.start, continued=bool(self._subpaths)))
        self._subpaths[-1].ends.append(last[3])
        self._subpaths[-1].directions.append((start_direction(first), end_direction(last)))

    def close(self) -> None:
        count = len(self._subpaths[-1].ends) if self._subpaths else 0
        super().close()
        if self._subpaths and len(self._subpaths[-1].ends) == count:
            straight = (self.start, *line(self.start, self.start))
            self._segment(straight, straight)
        if self._subpaths:
            self._subpaths[-1].closed = True

    def vertices(self) -> list[Vertex]:
        """All vertices in order."""
        return [vertex for subpath in self._subpaths for vertex in _vertices(subpath)]


def _vertices(subpath: _Subpath) -> list[Vertex]:
    directions = _without_gaps(subpath.directions)
    arriving: list[Direction | None] = [None, *(after for _, after in directions)]
    leaving: list[Direction | None] = [*(before for before, _ in directions), None]
    if subpath.closed:
        # The first and the last vertex are the same point, between the last and the first segment.
        arriving[0], leaving[-1] = arriving[-1], leaving[0]
    points = [subpath.start, *subpath.ends]
    found = [Vertex(*vertex) for vertex in zip(points, map(_bisector, arriving, leaving), strict=True)]
    return found[1:] if subpath.continued else found


def _without_gaps(directions: list[tuple[Direction | None, Direction | None]]) -> list[tuple[Direction, Direction]]:
    """Directions in which segments without length have that of the one before, or else of the one after."""
    known = next((start for start, _ in directions if start), (1.0, 0.0))
    filled = []
    for start, end in directions:
        filled.append((start or known, end or known))
        known = filled[-1][1]
    return filled


def _bisector(one: Direction | None, two: Direction | None) -> float:
    """The angle halfway between two directions, in degrees; that of one of them if the other is unknown."""
    if one is None or two is None:
        x, y = one or two or (1.0, 0.0)
    else:
        x, y = one[0] + two[0], one[1] + two[1]
    if math.hypot(x, y) < 1e-9 and one:  # opposite directions
        x, y = -one[1], one[0]
    return math.degrees(math.atan2(y, x))

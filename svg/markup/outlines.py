"""Contours drawn piece by piece: lines, curves and arcs become cubics."""

from __future__ import annotations

import math

from ..document import Contour, Matrix, Point
from ..transforms import apply
from .xml import SVGError

WIDEST_ARC = math.radians(60)
"""An arc's cubic of this angle is off by 2.4e-5 of the radius at most; the error falls with its sixth power."""
FARTHEST = 1e9
"""The largest coordinate; beyond it nothing sensible can be computed."""
TOUCHING = 1e-9
"""Ends of a closed contour that are this near, relative to their coordinates, are one point written inexactly."""


def line(start: Point, end: Point) -> tuple[Point, Point, Point]:
    """A straight cubic without its start: controls at the thirds, so that it is passed at even speed."""
    x, y = (end.x - start.x) / 3, (end.y - start.y) / 3
    return Point(start.x + x, start.y + y), Point(end.x - x, end.y - y), end


def without_standstill(contour: Contour) -> Contour | None:
    """The contour without cubics that are a single point; None if no other is left."""
    points = contour.points
    ends = points[::3] if not contour.closed else (*points[::3], points[0])
    moving = [i for i in range(len(ends) - 1) if ends[i] != ends[i + 1] or {*points[3 * i : 3 * i + 3]} != {ends[i]}]
    if not moving:
        return None
    if len(moving) == len(ends) - 1:
        return contour
    kept = [p for i in moving for p in points[3 * i : 3 * i + 3]]
    return Contour(tuple(kept if contour.closed else [*kept, ends[-1]]), contour.closed)


def dot(point: Point) -> Contour:
    """A contour of no length: seen only where a stroke with round or square caps is drawn along it."""
    return Contour((point,) * 4, closed=False)


def cleaned(contour: Contour) -> Contour:
    """The contour without standstill, or the dot that it is."""
    return without_standstill(contour) or dot(contour.points[0])


def is_dot(contour: Contour) -> bool:
    """Whether the contour has no length."""
    first = contour.points[0]
    return all(point == first for point in contour.points)


class TooManyPoints(SVGError):
    """More control points are drawn than were allowed."""


class Outlines:
    """Takes drawing commands in absolute coordinates and gathers contours.

    Raises SVGError for coordinates that are not finite or beyond 1e9, and TooManyPoints for more than `most_points`
    control points; commands that add none count, too.
    """

    def __init__(self, most_points: int):
        self.contours: list[Contour] = []
        self.start = self.current = Point(0.0, 0.0)
        self._points: list[Point] = []
        self.spent = 0
        """Control points, and commands without, so far."""
        self._most = most_points

    def spend(self, points: int) -> None:
        """Count control points, or what takes as long."""
        self.spent += points
        if self.spent > self._most:
            raise TooManyPoints("The drawing has too many control points: simplify it, or split it into several files.")

    def move(self, to: Point) -> None:
        """Begin a contour; one that holds nothing but its beginning is not drawn."""
        self.finish()
        self.spend(2)  # takes as long as two points do
        _check(to)
        self.start = self.current = to

    def line(self, to: Point) -> None:
        self.cubic(*line(self.current, to))

    def quadratic(self, control: Point, to: Point) -> None:
        start = self.current
        one = Point(start.x + (control.x - start.x) * 2 / 3, start.y + (control.y - start.y) * 2 / 3)
        two = Point(to.x + (control.x - to.x) * 2 / 3, to.y + (control.y - to.y) * 2 / 3)
        self.cubic(one, two, to)

    def cubic(self, one: Point, two: Point, to: Point) -> None:
        if not self._points:
            self._points.append(self.current)
        self.spend(3)
        for point in (one, two, to):
            _check(point)
        self._points += (one, two, to)
        self.current = to

    def arc(self, radii: Point, turn: float, large: bool, sweep: bool, to: Point) -> None:
        """A part of an ellipse whose axes are turned by `turn` degrees, as the command A has it."""
        start = self.current
        if start == to:
            return self.spend(3)
        if not (radii.x and radii.y):
            return self.line(to)
        frame, first, angle = _centre_form(start, to, radii, turn, large, sweep)
        pieces = max(1, math.ceil(abs(angle) / WIDEST_ARC - 1e-9))
        step = angle / pieces
        reach = 4 / 3 * math.tan(step / 4)
        for i in range(pieces):
            (x0, y0), (x1, y1) = (_on_circle(first + k * step) for k in (i, i + 1))
            end = to if i == pieces - 1 else apply(frame, Point(x1, y1))
            one, two = Point(x0 - reach * y0, y0 + reach * x0), Point(x1 + reach * y1, y1 - reach * x1)
            self.cubic(apply(frame, one), apply(frame, two), end)

    def close(self) -> None:
        """Back to where the contour began, by a line if that is not where the pen is."""
        self.spend(1)
        if not self._points:
            self.spend(3)
            self._points += [self.start, *line(self.start, self.start)]
        tolerance = TOUCHING * max(map(abs, (*self.start, *self.current)))
        if max(abs(self.start.x - self.current.x), abs(self.start.y - self.current.y)) > tolerance:
            self.line(self.start)
        self._take(Contour(tuple(self._points[:-1]), closed=True))
        self.current = self.start

    def finish(self) -> None:
        """End the contour where the pen is."""
        if self._points:
            self._take(Contour(tuple(self._points), closed=False))

    def _take(self, contour: Contour) -> None:
        self.contours.append(cleaned(contour))
        self._points = []


def _check(point: Point) -> None:
    x, y = point
    if not (-FARTHEST <= x <= FARTHEST and -FARTHEST <= y <= FARTHEST):
        raise SVGError(f"A point lies at ({x:g}, {y:g}), beyond {FARTHEST:g}: correct it, or leave it out.")


def _on_circle(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)


def _centre_form(
    start: Point, end: Point, radii: Point, turn: float, large: bool, sweep: bool
) -> tuple[Matrix, float, float]:
    """The map from the unit circle to the arc's ellipse, the angle on that circle at which it starts, and its turn.

    SVG 2, appendix B.2.4, solved on the unit circle. Radii that do not reach are stretched until they do.
    """
    cos, sin = _on_circle(math.radians(math.fmod(turn, 360)))
    frame = Matrix(cos * radii.x, sin * radii.x, -sin * radii.y, cos * radii.y)
    half = Point((end.x - start.x) / 2, (end.y - start.y) / 2)
    u = Point((cos * half.x + sin * half.y) / radii.x, (cos * half.y - sin * half.x) / radii.y)
    reach = math.hypot(u.x, u.y)
    stretch = max(1.0, reach)
    if stretch > 1:
        frame, u = Matrix(*(v * stretch for v in frame)), Point(u.x / stretch, u.y / stretch)
        reach = 1.0
    distance = math.sqrt(max(0.0, 1 - reach * reach)) / reach * (1 if large != sweep else -1)
    centre = Point(-u.y * distance, u.x * distance)
    middle = Point((start.x + end.x) / 2, (start.y + end.y) / 2)
    origin = apply(frame._replace(e=middle.x, f=middle.y), centre)
    first = math.atan2(-u.y - centre.y, -u.x - centre.x)
    angle = math.fmod(math.atan2(u.y - centre.y, u.x - centre.x) - first, 2 * math.pi)
    if sweep and angle < 0:
        angle += 2 * math.pi
    elif not sweep and angle > 0:
        angle -= 2 * math.pi
    return frame._replace(e=origin.x, f=origin.y), first, angle

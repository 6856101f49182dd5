"""Builds contours from drawing commands; lines, quadratics and arcs become cubics."""

from __future__ import annotations

import math

from ..document import Contour, Matrix, Point
from ..transforms import apply
from .xml import SVGError

MAX_ARC_ANGLE = math.radians(60)
"""Angle of one cubic of an arc: off by at most 2.4e-5 of the radius; the error falls with the angle's sixth power."""
STRAIGHT = 1e-9
"""An arc of at most 180 degrees is a line if half its chord is less than this share of its radius."""
MAX_COORDINATE = 1e9
"""Largest absolute coordinate that is accepted."""
COINCIDENT = 1e-9
"""End points of a closed contour within this relative distance are treated as the same point, rounded."""


def line(start: Point, end: Point) -> tuple[Point, Point, Point]:
    """The last three control points of a straight cubic of constant speed: handles at the thirds."""
    x, y = (end.x - start.x) / 3, (end.y - start.y) / 3
    return Point(start.x + x, start.y + y), Point(end.x - x, end.y - y), end


def without_degenerate_cubics(contour: Contour) -> Contour | None:
    """The contour without cubics that collapse to a point; None if none remain."""
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
    """A zero-length contour: visible only if stroked with round or square caps."""
    return Contour((point,) * 4, closed=False)


def cleaned(contour: Contour) -> Contour:
    """The contour without degenerate cubics, or a dot if it has no length."""
    return without_degenerate_cubics(contour) or dot(contour.points[0])


def is_dot(contour: Contour) -> bool:
    """Whether the contour has zero length."""
    first = contour.points[0]
    return all(point == first for point in contour.points)


class TooManyPoints(SVGError):
    """The limit of control points is exceeded."""


class Outlines:
    """Collects contours from drawing commands in absolute coordinates.

    Args:
        max_points: Limit of control points. Commands that add none, such as moves, are charged as well.

    Raises:
        TooManyPoints: A command exceeds `max_points`.
        SVGError: A command has a coordinate that is not finite or beyond 1e9.
    """

    def __init__(self, max_points: int):
        self.contours: list[Contour] = []
        self.start = self.current = Point(0.0, 0.0)
        self._points: list[Point] = []
        self.spent = 0
        """Control points charged so far, including those charged for commands that add none."""
        self._max_points = max_points

    def spend(self, points: int) -> None:
        """Charge control points, or other work of the same cost."""
        self.spent += points
        if self.spent > self._max_points:
            raise TooManyPoints("The drawing has too many control points. Simplify it or split it into several files.")

    def move(self, to: Point) -> None:
        """Start a contour. A contour with no segments is dropped."""
        self.finish()
        self.spend(2)  # as costly as two points
        _check(to)
        self.start = self.current = to

    def line(self, to: Point) -> None:
        """Add a straight segment."""
        self.cubic(*line(self.current, to))

    def quadratic(self, control: Point, to: Point) -> None:
        """Add a quadratic Bézier curve, raised to a cubic."""
        start = self.current
        one = Point(start.x + (control.x - start.x) * 2 / 3, start.y + (control.y - start.y) * 2 / 3)
        two = Point(to.x + (control.x - to.x) * 2 / 3, to.y + (control.y - to.y) * 2 / 3)
        self.cubic(one, two, to)

    def cubic(self, one: Point, two: Point, to: Point) -> None:
        """Add a cubic Bézier curve."""
        if not self._points:
            self._points.append(self.current)
        self.spend(3)
        for point in (one, two, to):
            _check(point)
        self._points += (one, two, to)
        self.current = to

    def arc(self, radii: Point, rotation: float, large: bool, sweep: bool, to: Point) -> None:
        """Add an elliptical arc, as path command A does.

        Args:
            radii: Semi-axes of the ellipse, not negative. The arc is a line if one of them is 0 or nearly so, and if it
                is a short arc that differs from its chord by less than a rounding error.
            rotation: Angle of the ellipse's x axis, in degrees.
            large: Take the arc of more than 180 degrees.
            sweep: Draw in the direction of increasing angles.
            to: End point.

        Each piece of angle s is a cubic whose handles have length 4/3 tan(s/4), which puts the curve's midpoint on the
        ellipse.
        """
        start = self.current
        if start == to:
            return self.spend(3)
        if not (radii.x and radii.y):
            return self.line(to)
        if (form := _center_form(start, to, radii, rotation, large, sweep)) is None:
            return self.line(to)
        frame, first, angle = form
        pieces = max(1, math.ceil(abs(angle) / MAX_ARC_ANGLE - 1e-9))
        step = angle / pieces
        handle = 4 / 3 * math.tan(step / 4)
        for i in range(pieces):
            (x0, y0), (x1, y1) = (_on_circle(first + k * step) for k in (i, i + 1))
            end = to if i == pieces - 1 else apply(frame, Point(x1, y1))
            one, two = Point(x0 - handle * y0, y0 + handle * x0), Point(x1 + handle * y1, y1 - handle * x1)
            self.cubic(apply(frame, one), apply(frame, two), end)

    def close(self) -> None:
        """Close the contour, with a line back to its start if needed."""
        self.spend(1)
        if not self._points:
            self.spend(3)
            self._points += [self.start, *line(self.start, self.start)]
        tolerance = COINCIDENT * max(map(abs, (*self.start, *self.current)))
        if max(abs(self.start.x - self.current.x), abs(self.start.y - self.current.y)) > tolerance:
            self.line(self.start)
        self._add(Contour(tuple(self._points[:-1]), closed=True))
        self.current = self.start

    def finish(self) -> None:
        """End the open contour at the current point."""
        if self._points:
            self._add(Contour(tuple(self._points), closed=False))

    def _add(self, contour: Contour) -> None:
        self.contours.append(cleaned(contour))
        self._points = []


def _check(point: Point) -> None:
    """Raises SVGError for a point out of range; NaN fails the comparisons too."""
    x, y = point
    if not (-MAX_COORDINATE <= x <= MAX_COORDINATE and -MAX_COORDINATE <= y <= MAX_COORDINATE):
        raise SVGError(f"A point lies at ({x:g}, {y:g}), beyond the limit of {MAX_COORDINATE:g}. Correct or remove it.")


def _on_circle(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)


def _center_form(
    start: Point, end: Point, radii: Point, rotation: float, large: bool, sweep: bool
) -> tuple[Matrix, float, float] | None:
    """The map from the unit circle to the arc's ellipse, and the arc's start angle and signed extent on that circle.

    None if the arc is a line.

    SVG 2, appendix B.2.4, solved after mapping the ellipse to the unit circle. With the chord's midpoint as the origin,
    the arc's ends are -u and u, and the center lies on the bisector of the chord at distance sqrt(1 - |u|^2), on the
    side that the flags select. Radii too small to span the chord (|u| > 1) are scaled up until |u| = 1.
    """
    cos, sin = _on_circle(math.radians(math.fmod(rotation, 360)))
    frame = Matrix(cos * radii.x, sin * radii.x, -sin * radii.y, cos * radii.y)
    half = Point((end.x - start.x) / 2, (end.y - start.y) / 2)
    u = Point((cos * half.x + sin * half.y) / radii.x, (cos * half.y - sin * half.x) / radii.y)
    half_chord = math.hypot(u.x, u.y)
    # The sagitta of a short arc is half_chord / 2 times half its chord.
    if half_chord in (0, math.inf) or (half_chord < STRAIGHT and not large):
        return None
    stretch = max(1.0, half_chord)
    if stretch > 1:
        frame, u = Matrix(*(v * stretch for v in frame)), Point(u.x / stretch, u.y / stretch)
        half_chord = 1.0
    distance = math.sqrt(max(0.0, 1 - half_chord * half_chord)) / half_chord * (1 if large != sweep else -1)
    center = Point(-u.y * distance, u.x * distance)
    middle = Point((start.x + end.x) / 2, (start.y + end.y) / 2)
    origin = apply(frame._replace(e=middle.x, f=middle.y), center)
    first = math.atan2(-u.y - center.y, -u.x - center.x)
    angle = math.fmod(math.atan2(u.y - center.y, u.x - center.x) - first, 2 * math.pi)
    if sweep and angle < 0:
        angle += 2 * math.pi
    elif not sweep and angle > 0:
        angle -= 2 * math.pi
    return frame._replace(e=origin.x, f=origin.y), first, angle

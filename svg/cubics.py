"""Geometry of cubic Bézier curves: bounding box, directions, arc length, subdivision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .document import Contour, Point

Cubic = tuple[Point, Point, Point, Point]
Direction = tuple[float, float]
"""A unit vector."""

_NODES = (
    (-0.9061798459386640, 0.2369268850561891),
    (-0.5384693101056831, 0.4786286704993665),
    (0.0, 0.5688888888888889),
    (0.5384693101056831, 0.4786286704993665),
    (0.9061798459386640, 0.2369268850561891),
)
"""Nodes and weights of five-point Gauss-Legendre quadrature on [-1, 1]."""


class Box(NamedTuple):
    """An axis-aligned bounding box."""

    x: float
    y: float
    width: float
    height: float


def cubics(contour: Contour) -> Iterator[Cubic]:
    """The curves of a contour, each with both end points."""
    points = (*contour.points, contour.points[0]) if contour.closed else contour.points
    for i in range(0, len(points) - 1, 3):
        yield points[i], points[i + 1], points[i + 2], points[i + 3]


def start_direction(cubic: Cubic) -> Direction | None:
    """The direction in which a curve starts; None if it has no length."""
    return _direction(cubic)


def end_direction(cubic: Cubic) -> Direction | None:
    """The direction in which a curve ends; None if it has no length."""
    back = _direction(cubic[::-1])
    return back and (-back[0], -back[1])


def _direction(points: Sequence[Point]) -> Direction | None:
    """The direction from the first point to the next one that differs from it."""
    start = points[0]
    for point in points[1:]:
        x, y = point.x - start.x, point.y - start.y
        if size := math.hypot(x, y):
            return x / size, y / size
    return None


def bounds(contours: Iterable[Contour]) -> Box | None:
    """The tight bounding box of contours, ignoring strokes; None if there are no curves."""
    xs: list[float] = []
    ys: list[float] = []
    for contour in contours:
        for cubic in cubics(contour):
            xs += _extrema(*(p.x for p in cubic))
            ys += _extrema(*(p.y for p in cubic))
    if not xs:
        return None
    return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def _extrema(p0: float, p1: float, p2: float, p3: float) -> list[float]:
    """End values and local extrema of one coordinate of a cubic."""
    low, high = min(p0, p3), max(p0, p3)
    if low <= min(p1, p2) and max(p1, p2) <= high:
        return [p0, p3]
    a, b, c = p3 - 3 * p2 + 3 * p1 - p0, 2 * (p2 - 2 * p1 + p0), p1 - p0
    return [p0, p3, *(_value(p0, p1, p2, p3, t) for t in _roots(a, b, c) if 0 < t < 1)]


def _roots(a: float, b: float, c: float) -> list[float]:
    """Real roots of a t^2 + b t + c = 0, computed without cancellation."""
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return []
    q = -0.5 * (b + math.copysign(math.sqrt(discriminant), b))
    return [top / bottom for top, bottom in ((q, a), (c, q)) if bottom]


def _value(p0: float, p1: float, p2: float, p3: float, t: float) -> float:
    s = 1 - t
    return s * s * s * p0 + 3 * s * s * t * p1 + 3 * s * t * t * p2 + t * t * t * p3


def length(cubic: Cubic) -> float:
    """Arc length, to a relative error of about 1e-6."""
    return _length(cubic, 0)


def _length(cubic: Cubic, depth: int) -> float:
    whole = _quadrature(cubic)
    one, two = split(cubic, 0.5)
    halves = _quadrature(one) + _quadrature(two)
    if depth == 8 or abs(whole - halves) <= 1e-6 * halves:
        return halves
    return _length(one, depth + 1) + _length(two, depth + 1)


def _quadrature(cubic: Cubic) -> float:
    return sum(weight * math.hypot(*_velocity(cubic, 0.5 + 0.5 * node)) for node, weight in _NODES) / 2


def _velocity(cubic: Cubic, t: float) -> tuple[float, float]:
    p0, p1, p2, p3 = cubic
    s = 1 - t
    a, b, c = 3 * s * s, 6 * s * t, 3 * t * t
    return (
        a * (p1.x - p0.x) + b * (p2.x - p1.x) + c * (p3.x - p2.x),
        a * (p1.y - p0.y) + b * (p2.y - p1.y) + c * (p3.y - p2.y),
    )


def split(cubic: Cubic, t: float) -> tuple[Cubic, Cubic]:
    """The two halves of a curve cut at parameter `t` in [0, 1] (de Casteljau)."""
    p0, p1, p2, p3 = cubic
    p01, p12, p23 = _between(p0, p1, t), _between(p1, p2, t), _between(p2, p3, t)
    p012, p123 = _between(p01, p12, t), _between(p12, p23, t)
    middle = _between(p012, p123, t)
    return (p0, p01, p012, middle), (middle, p123, p23, p3)


def _between(p: Point, q: Point, t: float) -> Point:
    return Point(p.x + (q.x - p.x) * t, p.y + (q.y - p.y) * t)


def parameter_at(cubic: Cubic, distance: float, total: float) -> float:
    """The parameter at arc length `distance` from the start of a curve of length `total` (> 0).

    Newton's method on the arc length, with bisection where a step leaves the bracket.
    """
    low, high, t = 0.0, 1.0, min(max(distance / total, 0.0), 1.0)
    for _ in range(30):
        excess = length(split(cubic, t)[0]) - distance
        if abs(excess) <= 1e-6 * total:
            break
        low, high = (t, high) if excess < 0 else (low, t)
        speed = math.hypot(*_velocity(cubic, t))
        newton = t - excess / speed if speed else low
        t = newton if low < newton < high else (low + high) / 2
    return t

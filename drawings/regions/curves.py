"""Curves: closed polygons as few cubic Béziers, with corners kept and straight pieces straight.

1. Corners are points where the polygon turns sharply, compared with its direction a few pixels before and after, and
   where its tolerance changes.
2. Between corners, least squares: with chord-length parameters t_k, the cubic with given end points p0, p3 and unit
   tangents u0, u3 there is B(t) = (b0 + b1) p0 + (b2 + b3) p3 + a0 b1 u0 + a3 b2 u3, linear in the lengths a0, a3 of
   its handles, which a 2 x 2 system gives. The parameters then move to the nearest points of the curve by Newton's
   method, and the fit is repeated. A piece that is not within the tolerance is cut where it is farthest off, with one
   tangent for both sides (Schneider, 1990).
3. A piece within the tolerance of its chord is a straight line. Where two lines meet at a corner, the corner is where
   the lines cross: smoothed images have no pixel there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .segmentation import Floats, Ints

WINDOW = 4.0
"""The length in pixels of the polygon before and after a point that gives its directions there."""
CORNER = math.radians(50)
"""Turns of at least this much between these directions are corners."""
LARGEST_MOVE = 2.0
"""How far a corner may move to the crossing of its lines, in pixels."""
REFITS = 4
"""How often parameters are improved."""
THIRDS = np.array([1 / 3, 2 / 3])[:, None]


def fitted(polygon: Floats, tolerance: Floats) -> Floats:
    """Closed cubics (S, 4, 2) along a closed polygon (K, 2) of points about a pixel apart; (0, 4, 2) if it is flat.

    Args:
        polygon: The points, in pixels.
        tolerance: How far the curves may be from each point (K,), in pixels.
    """
    if len(polygon) < 4:
        return np.zeros((0, 4, 2))
    corners = found_corners(polygon, tolerance)
    if not len(corners):
        return _round_trip(polygon, tolerance)
    ends = [*(corners - corners[0]), len(polygon)]
    points, tolerance = _opened(polygon, corners[0]), _opened(tolerance, corners[0])
    pieces = [_piece(points[a : b + 1], tolerance[a : b + 1]) for a, b in zip(ends[:-1], ends[1:])]
    _sharpen(pieces)
    return np.concatenate([piece.cubics for piece in pieces])


@dataclass
class _Piece:
    """The curves between two corners, and the line they are, if they are one."""

    cubics: Floats
    line: tuple[Floats, Floats] | None = None
    """A point and a unit direction, by least squares."""


def found_corners(polygon: Floats, tolerance: Floats) -> Ints:
    """The indices of the corners of a closed polygon, in order."""
    count = len(polygon)
    lengths = np.linalg.norm(np.roll(polygon, -1, 0) - polygon, axis=1)
    reach = max(1, min(round(WINDOW / max(lengths.mean(), 1e-9)), count // 4))
    before, after = polygon - np.roll(polygon, reach, 0), np.roll(polygon, -reach, 0) - polygon
    turn = np.where(tolerance == tolerance.min(), abs(_angle(before, after)), 0)
    turn[tolerance != np.roll(tolerance, 1)] = 2 * np.pi
    nearby = np.stack([np.roll(turn, shift) for shift in range(-reach, reach + 1)])
    return np.flatnonzero((turn >= CORNER) & (nearby.max(0) == turn) & (nearby[:reach].max(0) < turn))


def _angle(one: Floats, other: Floats) -> Floats:
    """The angle from one vector to the other (..., 2)."""
    cross = one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]
    return np.arctan2(cross, (one * other).sum(-1))


def _opened(values: Floats, start: int) -> Floats:
    """Values around a polygon, from `start` and back to it."""
    return np.concatenate([values[start:], values[: start + 1]])


def _round_trip(polygon: Floats, tolerance: Floats) -> Floats:
    """A polygon without corners, cut where it is farthest from its center, with one tangent there."""
    start = int(((polygon - polygon.mean(0)) ** 2).sum(1).argmax())
    points = _opened(polygon, start)
    tangent = _unit(points[2] - points[-3])
    return np.stack(_fit(points, _opened(tolerance, start), tangent, -tangent))


def _piece(points: Floats, tolerance: Floats) -> _Piece:
    if (line := _line(points, tolerance)) is not None:
        return _Piece(_straight(points[0], points[-1])[None], line)
    return _Piece(np.stack(_fit(points, tolerance, _tangent(points), _tangent(points[::-1]))))


def _line(points: Floats, tolerance: Floats) -> tuple[Floats, Floats] | None:
    """The line along points, if all are within the tolerance; three times that at the ends, which corners round."""
    inner = slice(2, -2) if len(points) > 8 else slice(None)
    center = points[inner].mean(0)
    direction = np.linalg.svd(points[inner] - center, full_matrices=False)[2][0]
    direction = direction if direction @ (points[-1] - points[0]) > 0 else -direction
    offset = abs((points - center) @ np.array([-direction[1], direction[0]])) / tolerance
    return (center, direction) if offset[inner].max() <= 1 and offset.max() <= 3 else None


def _sharpen(pieces: list[_Piece]) -> None:
    """Move corners between two lines to where the lines cross, in place."""
    for before, after in zip([pieces[-1], *pieces[:-1]], pieces):
        if before.line is None or after.line is None or before is after:
            continue
        (p, u), (q, v) = before.line, after.line
        sine = u[0] * v[1] - u[1] * v[0]
        if abs(sine) < math.sin(CORNER / 2):
            continue
        crossing = p + ((q - p)[0] * v[1] - (q - p)[1] * v[0]) / sine * u
        if np.linalg.norm(crossing - after.cubics[0, 0]) <= LARGEST_MOVE:
            before.cubics[-1] = _straight(before.cubics[-1, 0], crossing)
            after.cubics[0] = _straight(crossing, after.cubics[0, 3])


def _straight(start: Floats, end: Floats) -> Floats:
    return np.stack([start, *(start + THIRDS * (end - start)), end])


def _tangent(points: Floats) -> Floats:
    """The unit tangent at the first point, from the next few pixels."""
    return _unit(points[min(int(WINDOW / 2), len(points) - 1)] - points[0])


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _fit(points: Floats, tolerance: Floats, first: Floats, last: Floats) -> list[Floats]:
    """Cubics (4, 2) along points (K, 2), with unit tangents at both ends, pointing inward."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()
    if len(points) == 2 or lengths[-1] == 0:
        return [_straight(points[0], points[-1])]
    times = np.concatenate([[0.0], lengths]) / lengths[-1]
    for _ in range(REFITS):
        cubic = _least_squares(points, times, first, last, lengths[-1])
        error = np.linalg.norm(_at(cubic, times) - points, axis=1) / tolerance
        if error.max() <= 1:
            return [cubic]
        times = _nearer(cubic, points, times)
    cut = int(error[1:-1].argmax()) + 1
    reach = min(2, cut, len(points) - 1 - cut)
    tangent = _unit(points[cut - reach] - points[cut + reach])
    return [
        *_fit(points[: cut + 1], tolerance[: cut + 1], first, tangent),
        *_fit(points[cut:], tolerance[cut:], -tangent, last),
    ]


def _bernstein(times: Floats) -> Floats:
    """The four cubic Bernstein polynomials (4, K)."""
    other = 1 - times
    return np.stack([other**3, 3 * other**2 * times, 3 * other * times**2, times**3])


def _at(cubic: Floats, times: Floats) -> Floats:
    return _bernstein(times).T @ cubic


def _least_squares(points: Floats, times: Floats, first: Floats, last: Floats, length: float) -> Floats:
    """The cubic of step 2; with handles of a third of the chord where the system has no sensible solution."""
    start, end = points[0], points[-1]
    b = _bernstein(times)
    rest = points - np.outer(b[0] + b[1], start) - np.outer(b[2] + b[3], end)
    cosine = first @ last
    m00, m01, m11 = b[1] @ b[1], cosine * (b[1] @ b[2]), b[2] @ b[2]
    r0, r1 = b[1] @ (rest @ first), b[2] @ (rest @ last)
    determinant = m00 * m11 - m01**2
    handles = [math.dist(start, end) / 3] * 2
    if determinant > 1e-9 * m00 * m11:
        solved = [(r0 * m11 - r1 * m01) / determinant, (r1 * m00 - r0 * m01) / determinant]
        if 1e-3 * length < min(solved) and max(solved) < length:
            handles = solved
    return np.stack([start, start + handles[0] * first, end + handles[1] * last, end])


def _nearer(cubic: Floats, points: Floats, times: Floats) -> Floats:
    """One step of Newton's method towards the parameters of the nearest points, kept in [0, 1]."""
    velocity = 3 * np.diff(cubic, axis=0)
    curvature = 2 * np.diff(velocity, axis=0)
    other = 1 - times
    offset = _at(cubic, times) - points
    first = np.stack([other**2, 2 * other * times, times**2]).T @ velocity
    second = np.stack([other, times]).T @ curvature
    slope = (first**2).sum(1) + (offset * second).sum(1)
    step = (offset * first).sum(1) / np.where(abs(slope) < 1e-12, np.inf, slope)
    return (times - step).clip(0, 1)

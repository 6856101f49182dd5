"""Curves: polygons as few cubic Béziers, with corners kept and straight pieces straight.

1. Corners are points where the polygon turns sharply, compared with its direction a few pixels before and after, and
   where its tolerance changes.
2. Between corners, cubics by least squares (`drawings.fitting`). A piece that is not within the tolerance is cut where
   it is farthest off, with one tangent for both sides (Schneider, 1990).
3. A piece within the tolerance of its chord is a straight line. Where two lines meet at a corner, the corner is where
   the lines cross: smoothed images have no pixel there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...svg.document import Contour, Point
from ..fitting import at, chord_lengths, cross, least_squares, line, nearer, turn
from .segmentation import Floats, Ints

WINDOW = 4.0
"""The length in pixels of the polygon before and after a point that gives its directions there."""
CORNER = math.radians(50)
"""Turns of at least this much between these directions are corners."""
LARGEST_MOVE = 2.0
"""How far a corner may move to the crossing of its lines, in pixels."""
REFITS = 4
"""How often parameters are improved."""


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
    pieces = _pieces(points, tolerance, ends)
    _sharpen([pieces[-1], *pieces])
    return np.concatenate([piece.cubics for piece in pieces])


def fitted_line(points: Floats, tolerance: float) -> Floats:
    """Cubics (S, 4, 2) along an open polygon (K, 2) of points about a pixel apart, two or more.

    The ends of straight pieces lie on the line that fits the whole piece best.

    Args:
        points: The points, in pixels.
        tolerance: How far the curves may be from each point, in pixels.
    """
    tolerances = np.full(len(points), tolerance)
    inner = found_corners(points, tolerances)
    margin = round(WINDOW)  # where the directions of found_corners reach around the ends
    inner = inner[(inner >= margin) & (inner < len(points) - margin)]
    pieces = _pieces(points, tolerances, [0, *inner, len(points) - 1])
    _sharpen(pieces)
    for piece, end in ((pieces[0], 0), (pieces[-1], 3)):
        if piece.line is not None:
            center, direction = piece.line
            piece.cubics[0, end] = center + (piece.cubics[0, end] - center) @ direction * direction
            piece.cubics[0] = line(piece.cubics[0, 0], piece.cubics[0, 3])
    return np.concatenate([piece.cubics for piece in pieces])


def contour(cubics: Floats, *, closed: bool) -> Contour:
    """Cubics (S, 4, 2) that follow each other as a contour of a document."""
    points = cubics[:, :3].reshape(-1, 2).tolist()
    points += [] if closed else [cubics[-1, 3].tolist()]
    return Contour(tuple(Point(*point) for point in points), closed)


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
    turns = np.where(tolerance == tolerance.min(), turn(before, after), 0)
    turns[tolerance != np.roll(tolerance, 1)] = 2 * np.pi
    nearby = np.stack([np.roll(turns, shift) for shift in range(-reach, reach + 1)])
    return np.flatnonzero((turns >= CORNER) & (nearby.max(0) == turns) & (nearby[:reach].max(0) < turns))


def _opened(values: Floats, start: int) -> Floats:
    """Values around a polygon, from `start` and back to it."""
    return np.concatenate([values[start:], values[: start + 1]])


def _round_trip(polygon: Floats, tolerance: Floats) -> Floats:
    """A polygon without corners, cut where it is farthest from its center, with one tangent there."""
    start = int(((polygon - polygon.mean(0)) ** 2).sum(1).argmax())
    points = _opened(polygon, start)
    tangent = _unit(points[2] - points[-3])
    return np.stack(_fit(points, _opened(tolerance, start), tangent, -tangent))


def _pieces(points: Floats, tolerance: Floats, ends: Sequence[int]) -> list[_Piece]:
    return [_piece(points[a : b + 1], tolerance[a : b + 1]) for a, b in zip(ends[:-1], ends[1:])]


def _piece(points: Floats, tolerance: Floats) -> _Piece:
    if (found := _line(points, tolerance)) is not None:
        return _Piece(line(points[0], points[-1])[None], found)
    return _Piece(np.stack(_fit(points, tolerance, _tangent(points), _tangent(points[::-1]))))


def _line(points: Floats, tolerance: Floats) -> tuple[Floats, Floats] | None:
    """The line along points, if all are within the tolerance; three times that at the ends, which corners round."""
    inner = slice(2, -2) if len(points) > 8 else slice(None)
    center = points[inner].mean(0)
    direction = np.linalg.svd(points[inner] - center, full_matrices=False)[2][0]
    direction = direction if direction @ (points[-1] - points[0]) > 0 else -direction
    offset = abs((points - center) @ np.array([-direction[1], direction[0]])) / tolerance
    return (center, direction) if offset[inner].max() <= 1 and offset.max() <= 3 else None


def _sharpen(pieces: Sequence[_Piece]) -> None:
    """Move corners between two lines that follow each other to where the lines cross, in place."""
    for before, after in zip(pieces, pieces[1:]):
        if before.line is None or after.line is None or before is after:
            continue
        (p, u), (q, v) = before.line, after.line
        sine = float(cross(u, v))
        if abs(sine) < math.sin(CORNER / 2):
            continue
        crossing = p + cross(q - p, v) / sine * u
        if np.linalg.norm(crossing - after.cubics[0, 0]) <= LARGEST_MOVE:
            before.cubics[-1] = line(before.cubics[-1, 0], crossing)
            after.cubics[0] = line(crossing, after.cubics[0, 3])


def _tangent(points: Floats) -> Floats:
    """The unit tangent at the first point, from the next few pixels."""
    return _unit(points[min(int(WINDOW / 2), len(points) - 1)] - points[0])


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)


def _fit(points: Floats, tolerance: Floats, first: Floats, last: Floats) -> list[Floats]:
    """Cubics (4, 2) along points (K, 2), with unit tangents at both ends, pointing inward."""
    if len(points) == 2 or (points == points[0]).all():
        return [line(points[0], points[-1])]
    times, length = chord_lengths(points)
    for _ in range(REFITS):
        cubic = least_squares(points, times, first, last, length)
        error = np.linalg.norm(at(cubic, times) - points, axis=1) / tolerance
        if error.max() <= 1:
            return [cubic]
        times = nearer(cubic, points, times)
    cut = int(error[1:-1].argmax()) + 1
    reach = min(2, cut, len(points) - 1 - cut)
    tangent = _unit(points[cut - reach] - points[cut + reach])
    return [
        *_fit(points[: cut + 1], tolerance[: cut + 1], first, tangent),
        *_fit(points[cut:], tolerance[cut:], -tangent, last),
    ]

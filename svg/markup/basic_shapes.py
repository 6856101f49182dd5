"""Outlines of <rect>, <circle>, <ellipse>, <line>, <polyline> and <polygon>."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..document import Point
from ..numbers import NUMBER
from .outlines import Outlines

Length = Callable[[str], float | None]
"""Looks up an attribute by name: its value in user units, or None if it is absent, "auto" or not a length."""

_X = re.compile(rf"[\s,]*{NUMBER}")
_Y = re.compile(rf"(?:\s*,\s*|\s+|(?=[-+.])){NUMBER}[\s,]*")
"""Matched separately from x: a combined pattern would backtrack through all digits of a long number."""


def draw_rect(outlines: Outlines, length: Length) -> None:
    """Draw a <rect>; nothing unless both sides are positive.

    A missing corner radius equals the other one; both are capped at half the side.
    """
    x, y, width, height = (length(name) or 0.0 for name in ("x", "y", "width", "height"))
    if not (width > 0 and height > 0):
        return
    rx, ry = _radii(length)
    rx, ry = min(rx, width / 2), min(ry, height / 2)
    right, bottom = x + width, y + height
    if not (rx and ry):
        outlines.move(Point(x, y))
        for corner in (Point(right, y), Point(right, bottom), Point(x, bottom)):
            outlines.line(corner)
        outlines.close()
        return
    outlines.move(Point(x + rx, y))
    corners = (
        (Point(right - rx, y), Point(right, y + ry)),
        (Point(right, bottom - ry), Point(right - rx, bottom)),
        (Point(x + rx, bottom), Point(x, bottom - ry)),
        (Point(x, y + ry), Point(x + rx, y)),
    )
    for before, after in corners:
        if before != outlines.current:
            outlines.line(before)
        outlines.arc(Point(rx, ry), 0.0, False, True, after)
    outlines.close()


def _radii(length: Length) -> tuple[float, float]:
    rx, ry = (None if r is None or r < 0 else r for r in (length("rx"), length("ry")))
    return (ry if rx is None else rx) or 0.0, (rx if ry is None else ry) or 0.0


def draw_circle(outlines: Outlines, length: Length) -> None:
    """Draw a <circle>; nothing unless its radius is positive."""
    radius = length("r") or 0.0
    _draw_ellipse(outlines, length, radius, radius)


def draw_ellipse(outlines: Outlines, length: Length) -> None:
    """Draw an <ellipse>; nothing unless both radii are positive."""
    _draw_ellipse(outlines, length, *_radii(length))


def _draw_ellipse(outlines: Outlines, length: Length, rx: float, ry: float) -> None:
    if not (rx > 0 and ry > 0):
        return
    x, y = length("cx") or 0.0, length("cy") or 0.0
    left, right = Point(x - rx, y), Point(x + rx, y)
    outlines.move(right)
    outlines.arc(Point(rx, ry), 0.0, False, True, left)
    outlines.arc(Point(rx, ry), 0.0, False, True, right)
    outlines.close()


def draw_line(outlines: Outlines, length: Length) -> None:
    """Draw a <line>."""
    outlines.move(Point(length("x1") or 0.0, length("y1") or 0.0))
    outlines.line(Point(length("x2") or 0.0, length("y2") or 0.0))
    outlines.finish()


def draw_polyline(outlines: Outlines, points: str, *, closed: bool) -> bool:
    """Draw a <polyline> or <polygon> up to the first syntax error; returns whether the list was valid."""
    started, position = False, 0
    while (x := _X.match(points, position)) and (y := _Y.match(points, x.end())):
        (outlines.line if started else outlines.move)(Point(float(x[1]), float(y[1])))
        started, position = True, y.end()
    if started and closed:
        outlines.close()
    outlines.finish()
    return not points[position:].strip()

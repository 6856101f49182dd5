"""View boxes: how they are read, and how they are fitted into the room that they get."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .cubics import Box
from .document import IDENTITY, Group, Matrix, Point, Shape, ViewBox
from .numbers import NUMBER
from .transforms import apply, inverse, invertible, scales

SMALLEST_SIDE = 1e-6
LARGEST_SIDE = 1e9
LONGEST_VIEW_BOX = 300
"""Characters."""
LONGEST_ASPECT_RATIO = 100
"""Characters; it is read anew each time it is used."""

_VIEW_BOX = re.compile(r"\s*" + r"(?:\s*,\s*|\s+)".join([NUMBER] * 4) + r"\s*")
_ASPECT_RATIO = re.compile(r"\s*(?:defer\s+)?(none|x(Min|Mid|Max)Y(Min|Mid|Max))(?:\s+(meet|slice))?\s*")
_SHARES = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}


def read_view_box(text: str) -> ViewBox | None:
    """The four numbers of `viewBox`; None if it does not hold just those."""
    match = _VIEW_BOX.fullmatch(text) if len(text) <= LONGEST_VIEW_BOX else None
    return ViewBox(*map(float, match.groups())) if match else None


def drawable(box: ViewBox | Box) -> bool:
    """Whether sides and place are of a size that can be computed with."""
    sides_fit = all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in (box.width, box.height))
    return sides_fit and abs(box.x) <= LARGEST_SIDE and abs(box.y) <= LARGEST_SIDE


def fitted(view_box: ViewBox, room: Box, aspect_ratio: str) -> Matrix:
    """The map of a drawable view box into a room, as `preserveAspectRatio` has it."""
    match = _ASPECT_RATIO.fullmatch(aspect_ratio) if len(aspect_ratio) <= LONGEST_ASPECT_RATIO else None
    align, x, y, meet = match.groups() if match else ("", "Mid", "Mid", "meet")
    across, down = room.width / view_box.width, room.height / view_box.height
    if align != "none":
        across = down = max(across, down) if meet == "slice" else min(across, down)
    left = room.x - view_box.x * across
    top = room.y - view_box.y * down
    if align != "none":
        left += (room.width - view_box.width * across) * _SHARES[x]
        top += (room.height - view_box.height * down) * _SHARES[y]
    return Matrix(a=across, d=down, e=left, f=top)


def covers(room: Box | ViewBox, frame: Matrix, children: Iterable[Shape | Group]) -> bool:
    """Whether all of some drawings, in user units, lies inside a room of which `frame` is the map to user units."""
    if not invertible(frame):
        return False
    back = inverse(frame)
    slack = 1e-4 * max(room.width, room.height)
    return all(_covers(room, back, slack, child) for child in children)


def encloses(room: Box, frame: Matrix, canvas: ViewBox) -> bool:
    """Whether a room, of which `frame` is the map to user units, holds the whole canvas."""
    if not invertible(frame):
        return False
    back = inverse(frame)
    corners = [Point(canvas.x + x, canvas.y + y) for x in (0.0, canvas.width) for y in (0.0, canvas.height)]
    slack = 1e-4 * max(room.width, room.height)
    return all(_inside(room, -slack, apply(back, corner)) for corner in corners)


def _covers(room: Box | ViewBox, back: Matrix, slack: float, child: Shape | Group) -> bool:
    if isinstance(child, Group):
        return all(_covers(room, back, slack, inner) for inner in child.children)
    margin = _reach(child) * scales(back)[0] - slack
    points = (apply(back, p) for contour in child.contours for p in contour.points)
    return all(_inside(room, margin, p) for p in points)


def _reach(shape: Shape) -> float:
    """How far the stroke goes beyond the outline; half again at corners, which mitres may exceed."""
    if shape.stroke is None:
        return 0.0
    widening = 1.5 if shape.stroke.join == "miter" or shape.stroke.cap == "square" else 1.0
    return shape.stroke.width / 2 * widening * (1.0 if shape.stroke.pen == IDENTITY else scales(shape.stroke.pen)[0])


def _inside(room: Box | ViewBox, margin: float, point: Point) -> bool:
    across = room.x + margin <= point.x <= room.x + room.width - margin
    return across and room.y + margin <= point.y <= room.y + room.height - margin

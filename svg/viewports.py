"""View boxes: parsing, fitting into a viewport, and clipping tests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from .cubics import Box, cubics, end_direction, start_direction
from .document import Contour, Group, Matrix, Node, Point, Shape, ViewBox
from .numbers import NUMBER
from .transforms import apply, apply_to, inverse, invertible, scales

MIN_SIDE = 1e-6
MAX_SIDE = 1e9
MAX_VIEW_BOX_LENGTH = 300
"""Characters of a `viewBox` attribute."""
MAX_ASPECT_RATIO_LENGTH = 100
"""Characters of a `preserveAspectRatio` attribute, which is parsed again for every <use> of a symbol."""
NEARLY = 1.001
"""Miters that exceed the limit by less than this factor count as drawn: rounding may bring them below it."""

_VIEW_BOX = re.compile(r"\s*" + r"(?:\s*,\s*|\s+)".join([NUMBER] * 4) + r"\s*")
_ASPECT_RATIO = re.compile(r"\s*(?:defer\s+)?(none|x(Min|Mid|Max)Y(Min|Mid|Max))(?:\s+(meet|slice))?\s*")
_ALIGNMENT = {"Min": 0.0, "Mid": 0.5, "Max": 1.0}


def read_view_box(text: str) -> ViewBox | None:
    """The four numbers of a `viewBox` attribute, or None if it is anything else."""
    match = _VIEW_BOX.fullmatch(text) if len(text) <= MAX_VIEW_BOX_LENGTH else None
    return ViewBox(*map(float, match.groups())) if match else None


def drawable(box: ViewBox | Box) -> bool:
    """Whether the sides lie in [1e-6, 1e9] and the origin within 1e9 of zero."""
    sides_in_range = all(MIN_SIDE <= side <= MAX_SIDE for side in (box.width, box.height))
    return sides_in_range and abs(box.x) <= MAX_SIDE and abs(box.y) <= MAX_SIDE


def fitted(view_box: ViewBox, viewport: Box, aspect_ratio: str) -> Matrix:
    """The map that fits a `drawable` view box into a viewport by the rules of `preserveAspectRatio`.

    An `aspect_ratio` that cannot be parsed (such as "") means "xMidYMid meet", SVG's default.
    """
    match = _ASPECT_RATIO.fullmatch(aspect_ratio) if len(aspect_ratio) <= MAX_ASPECT_RATIO_LENGTH else None
    align, x, y, meet = match.groups() if match else ("", "Mid", "Mid", "meet")
    scale_x, scale_y = viewport.width / view_box.width, viewport.height / view_box.height
    if align != "none":
        scale_x = scale_y = max(scale_x, scale_y) if meet == "slice" else min(scale_x, scale_y)
    left = viewport.x - view_box.x * scale_x
    top = viewport.y - view_box.y * scale_y
    if align != "none":
        left += (viewport.width - view_box.width * scale_x) * _ALIGNMENT[x]
        top += (viewport.height - view_box.height * scale_y) * _ALIGNMENT[y]
    return Matrix(a=scale_x, d=scale_y, e=left, f=top)


def covers(clip: Box | ViewBox, frame: Matrix, nodes: Iterable[Node]) -> bool:
    """Whether clipping `nodes`, in user units, to a rectangle changes nothing; `frame` maps it to user units.

    Tests control points and the farthest that the stroke reaches anywhere, so it may report a change where there is
    none, but reports none only if there is none, up to 1e-4 of the rectangle.
    """
    if not invertible(frame):
        return False
    to_clip = inverse(frame)
    slack = 1e-4 * max(clip.width, clip.height)
    return all(_covers(clip, to_clip, slack, node) for node in nodes)


def encloses(clip: Box, frame: Matrix, canvas: ViewBox) -> bool:
    """Whether a rectangle contains the whole canvas; `frame` maps it to user units."""
    if not invertible(frame):
        return False
    to_clip = inverse(frame)
    corners = [Point(canvas.x + x, canvas.y + y) for x in (0.0, canvas.width) for y in (0.0, canvas.height)]
    slack = 1e-4 * max(clip.width, clip.height)
    return all(_inside(clip, -slack, apply(to_clip, corner)) for corner in corners)


def _covers(clip: Box | ViewBox, to_clip: Matrix, slack: float, node: Node) -> bool:
    if isinstance(node, Group):
        return all(_covers(clip, to_clip, slack, child) for child in node.children)
    margin = _stroke_extent(node) * scales(to_clip)[0] - slack
    points = (apply(to_clip, p) for contour in node.contours for p in contour.points)
    return all(_inside(clip, margin, p) for p in points)


def _stroke_extent(shape: Shape) -> float:
    """The farthest that the stroke of a shape reaches from its outline, in user units."""
    stroke = shape.stroke
    if stroke is None:
        return 0.0
    widening = math.sqrt(2) if stroke.cap == "square" else 1.0
    if stroke.join == "miter":
        before_pen = apply_to(inverse(stroke.pen), shape.contours) if invertible(stroke.pen) else ()
        sharpest = max((_sharpest_miter(contour, stroke.miter_limit) for contour in before_pen), default=1.0)
        widening = max(widening, sharpest)
    return stroke.width / 2 * widening * scales(stroke.pen)[0]


def _sharpest_miter(contour: Contour, limit: float) -> float:
    """The largest ratio of miter length to stroke width among the corners that SVG draws with a miter; at least 1.

    Where a contour turns by the angle theta between the directions u and v, it is 1 / cos(theta / 2) = 2 / |u + v|.
    """
    curves = list(cubics(contour))
    leaving = [start_direction(curve) for curve in curves]
    leaving = [*leaving[1:], leaving[0]] if contour.closed else leaving[1:]
    corners = zip(map(end_direction, curves), leaving)  # an open contour has no corner at its end
    ratios = [2 / max(math.hypot(u[0] + v[0], u[1] + v[1]), 1e-9) for u, v in corners if u and v]
    return max((ratio for ratio in ratios if ratio <= limit * NEARLY), default=1.0)


def _inside(box: Box | ViewBox, margin: float, point: Point) -> bool:
    in_columns = box.x + margin <= point.x <= box.x + box.width - margin
    return in_columns and box.y + margin <= point.y <= box.y + box.height - margin

"""Sizes of nodes: control points, bounding boxes, and the outlines of rectangles."""

from __future__ import annotations

from collections.abc import Iterable

from ..cubics import Box, bounds, cubics
from ..document import BLACK, Contour, Fill, Group, Matrix, Node, Point, Shape, shapes_in
from ..transforms import apply, apply_to, inverse, invertible
from .outlines import line


def point_count(contours: Iterable[Contour]) -> int:
    """Total number of control points."""
    return sum(len(contour.points) for contour in contours)


def total_points(nodes: Iterable[Node]) -> int:
    """Total number of control points of nodes and their clips."""
    return sum(
        total_points(node.children) + total_points(node.clip) if isinstance(node, Group) else point_count(node.contours)
        for node in nodes
    )


def bounding_box(nodes: Iterable[Node], frame: Matrix) -> Box | None:
    """The bounding box of nodes in user units, in the units that `frame` maps to those; strokes and clips are ignored.

    None if there is none.
    """
    contours = [contour for shape in shapes_in(nodes) for contour in shape.contours]
    return bounds(apply_to(inverse(frame), contours)) if invertible(frame) else None


def rectangle(box: Box, frame: Matrix) -> Shape:
    """A filled rectangle, mapped by `frame`, as the shape of a clip."""
    x, y, width, height = box
    corners = [apply(frame, Point(*p)) for p in ((x, y), (x + width, y), (x + width, y + height), (x, y + height))]
    points = [corners[0]]
    for corner in (*corners[1:], corners[0]):
        points += line(points[-1], corner)
    return Shape((Contour(tuple(points[:-1]), closed=True),), Fill(BLACK))


def as_rectangle(nodes: tuple[Node, ...]) -> Box | None:
    """The rectangle that nodes fill, if they are a single one along the axes; None if they are anything else."""
    if len(nodes) != 1 or isinstance(nodes[0], Group) or len(nodes[0].contours) != 1:
        return None
    box, pieces = bounds(nodes[0].contours), [*cubics(nodes[0].contours[0])]
    if box is None or len(pieces) != 4:
        return None
    tolerance = 1e-9 * max(map(abs, (*box, box.x + box.width, box.y + box.height)))
    for start, *handles, end in pieces:
        straight = [abs(p - q) for h, k in zip(handles, line(start, end)[:2], strict=True) for p, q in zip(h, k)]
        along_one_axis = (abs(start.x - end.x) <= tolerance) != (abs(start.y - end.y) <= tolerance)
        if not along_one_axis or max(straight) > tolerance:
            return None
    # Four straight sides along the axes, each as long as the box: they turn the same way at every corner.
    lengths = [abs(end.x - start.x) + abs(end.y - start.y) for start, _, _, end in pieces]
    whole = [box.width, box.height] if abs(lengths[0] - box.width) <= tolerance else [box.height, box.width]
    fits = all(abs(p - q) <= 3 * tolerance for p, q in zip(lengths, whole * 2, strict=True))
    return box if fits else None

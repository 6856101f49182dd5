"""Rounds nodes to the precision of the file, then normalizes them, so that parsing the file gives the same values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from ..document import (
    IDENTITY,
    Color,
    Contour,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Node,
    Paint,
    Point,
    RadialGradient,
    Shape,
    Stop,
    Stroke,
)
from ..numbers import MAX_PLACES, places_within, significant_places
from ..transforms import SIMILAR, apply_to, inverse, invertible, linear_part, scales, similarity
from .normal_form import Gradient, about_origin, as_clip, flat_color, grouped, placed
from .outlines import dot, line, without_degenerate_cubics
from .xml import as_id

UNIT_PLACES = 4
"""Decimal places of opacities, stop offsets and miter limits; 1/255 is 0.0039."""
MIN_STEPS = 50
"""Rounding steps that the length of a gradient has at least, unless it has none: it changes by 2 % or less."""
MATRIX_DIGITS = 9
"""Significant digits of the linear part of a matrix."""


def rounded(nodes: Iterable[Node], error: float) -> list[Node]:
    """Nodes with coordinates rounded to within `error` (> 0, user units); what paints nothing is dropped.

    Names become ids. A shape whose stroke has a `pen` is returned in the coordinates before the pen.
    """
    return [result for node in nodes for result in _node(node, error)]


def _node(node: Node, error: float) -> list[Node]:
    if isinstance(node, Group):
        clip = tuple(rounded(as_clip(node.clip), error)) if node.clip else None
        folded = grouped(rounded(node.children, error), _unit(node.opacity), as_id(node.name), clip)
        return [replace(_with_rounded_opacity(each), copied=node.copied or each.copied) for each in folded]
    stroke = node.stroke and _stroke(node.stroke, error)
    pen = stroke.pen if stroke else IDENTITY
    from_pen = inverse(pen)
    error = error / scales(pen)[0]
    fill = node.fill and _fill(node.fill, from_pen, error)
    contours = [_contour(contour, places_within(error)) for contour in apply_to(from_pen, node.contours)]
    dots = stroke is not None and stroke.cap != "butt"
    visible = [without_degenerate_cubics(c) or (dot(c.points[0]) if dots else None) for c in contours]
    kept = tuple(contour for contour in visible if contour)
    return [Shape(kept, fill, stroke, as_id(node.name), copied=node.copied)] if kept and (fill or stroke) else []


def _with_rounded_opacity(node: Node) -> Node:
    """Round again: folding a group may have multiplied two rounded opacities."""
    if isinstance(node, Group):
        return replace(node, opacity=_unit(node.opacity))
    fill, stroke = node.fill, node.stroke
    return replace(
        node,
        fill=fill and replace(fill, opacity=_unit(fill.opacity)),
        stroke=stroke and replace(stroke, opacity=_unit(stroke.opacity)),
    )


def _contour(contour: Contour, places: int) -> Contour:
    """Round the points; cubics that are straight to within one rounding step become exactly straight."""
    points = [_point(point, places) for point in contour.points]
    step = 10.0**-places * (1 + 1e-6)
    ends = [*points, points[0]] if contour.closed else points
    for i in range(0, len(ends) - 1, 3):
        straight, handles = line(ends[i], ends[i + 3])[:2], ends[i + 1 : i + 3]
        if all(abs(p.x - q.x) <= step and abs(p.y - q.y) <= step for p, q in zip(straight, handles, strict=True)):
            points[i + 1 : i + 3] = straight
    return Contour(tuple(points), contour.closed)


def _fill(fill: Fill, matrix: Matrix, error: float) -> Fill | None:
    found = _paint(fill.paint, matrix, error)
    return found and replace(fill, paint=found[0], opacity=_unit(fill.opacity * found[1]))


def _stroke(stroke: Stroke, error: float) -> Stroke | None:
    pen, width = linear_part(_matrix(stroke.pen, 0)), stroke.width
    if not invertible(pen):
        return None
    scale = similarity(pen)
    if scale is not None:
        pen, width = IDENTITY, width * scale
    error = error / scales(pen)[0]
    width = round(width, places_within(error))
    found = _paint(stroke.paint, inverse(pen), error) if width > 0 else None
    if found is None:
        return None
    limit = max(1.0, round(stroke.miter_limit, UNIT_PLACES))
    opacity = _unit(stroke.opacity * found[1])
    return replace(stroke, paint=found[0], opacity=opacity, width=width, miter_limit=limit, pen=pen)


def _paint(paint: Paint, matrix: Matrix, error: float) -> tuple[Paint, float] | None:
    """A paint mapped by `matrix` and rounded, with the opacity it contributes; None if it paints nothing."""
    if isinstance(paint, Color):
        return _color(paint), 1.0
    if not paint.stops:
        return None
    gradient = placed(replace(paint, stops=tuple(_stop(stop) for stop in paint.stops)), matrix)
    if gradient is None:
        return None
    gradient = _linear(gradient, error) if isinstance(gradient, LinearGradient) else _radial(gradient, error)
    return gradient and (flat_color(gradient) or (gradient, 1.0))


def _linear(gradient: LinearGradient, error: float) -> Gradient:
    def ends(places: int) -> tuple[Point, Point]:
        return _point(gradient.start, places), _point(gradient.end, places)

    start, end = ends(_places_for(lambda places: math.dist(*ends(places)), error))
    return replace(gradient, start=start, end=end)


def _places_for(length: Callable[[int], float], error: float) -> int:
    """Decimal places for an absolute error, or more, so that a sharp gradient stays one.

    Rounding a gradient to no length would give everything before it the color of its end.

    Args:
        length: The length of the gradient, rounded to some places.
        error: The error.
    """
    places = places_within(error)
    return next((n for n in range(places, MAX_PLACES) if length(n) >= MIN_STEPS * 10.0**-n), places)


def _radial(gradient: RadialGradient, error: float) -> Gradient:
    transform = _matrix(gradient.transform, places_within(error))
    if transform != IDENTITY:
        # An ellipse that is a circle to within the visible tolerance becomes one.
        gradient = about_origin(replace(gradient, transform=transform), gradient.focus, SIMILAR)
    places = _places_for(lambda places: round(gradient.radius, places), error / scales(gradient.transform)[0])
    center, focus = _point(gradient.center, places), _point(gradient.focus, places)
    return replace(gradient, center=center, focus=focus, radius=round(gradient.radius, places))


def _matrix(matrix: Matrix, translation_places: int) -> Matrix:
    linear = matrix[:4]
    places = significant_places(linear, MATRIX_DIGITS)
    shift = (round(value, translation_places) for value in matrix[4:])
    return Matrix(*(round(value, places) for value in linear), *shift)


def _stop(stop: Stop) -> Stop:
    return Stop(_unit(stop.offset), _color(stop.color), _unit(stop.opacity))


def _color(color: Color) -> Color:
    return Color(*(round(min(max(value, 0.0), 1.0) * 255) / 255 for value in color))


def _unit(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), UNIT_PLACES)


def _point(point: Point, places: int) -> Point:
    return Point(round(point.x, places), round(point.y, places))

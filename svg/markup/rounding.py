"""Drawings rounded to what a file will hold, and all that follows from it, so that they are as they will be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..document import (
    IDENTITY,
    Color,
    Contour,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Paint,
    Point,
    RadialGradient,
    Shape,
    Stop,
    Stroke,
)
from ..numbers import places_within, significant_places
from ..transforms import SIMILAR, apply_to, inverse, invertible, linear_part, scales, similarity
from .normal_form import Drawing, Gradient, about_origin, flat_color, grouped, placed
from .outlines import dot, line, without_standstill

SHARE_PLACES = 4
"""Decimals of opacities, offsets of stops and mitre limits; 1/255 is 0.0039."""
MATRIX_DIGITS = 9


def rounded(drawings: Iterable[Drawing], error: float) -> list[Drawing]:
    """Drawings with coordinates off by `error` at most, in user units, without what cannot be seen.

    A shape comes out in the units before its stroke's pen, where that is not the identity.
    """
    return [tidy for drawing in drawings for tidy in _drawing(drawing, error)]


def _drawing(drawing: Drawing, error: float) -> list[Drawing]:
    if isinstance(drawing, Group):
        folded = grouped(rounded(drawing.children, error), _share(drawing.opacity), drawing.name)
        return [_with_rounded_opacity(child) for child in folded]
    stroke = drawing.stroke and _stroke(drawing.stroke, error)
    pen = stroke.pen if stroke else IDENTITY
    back = inverse(pen)
    error = error / scales(pen)[0]
    fill = drawing.fill and _fill(drawing.fill, back, error)
    contours = [_contour(contour, places_within(error)) for contour in apply_to(back, drawing.contours)]
    dots = stroke is not None and stroke.cap != "butt"
    seen = [without_standstill(c) or (dot(c.points[0]) if dots else None) for c in contours]
    kept = tuple(contour for contour in seen if contour)
    return [Shape(kept, fill, stroke, drawing.name)] if kept and (fill or stroke) else []


def _with_rounded_opacity(drawing: Drawing) -> Drawing:
    """What a group became; two opacities that were rounded may have been multiplied."""
    if isinstance(drawing, Group):
        return replace(drawing, opacity=_share(drawing.opacity))
    fill, stroke = drawing.fill, drawing.stroke
    return replace(
        drawing,
        fill=fill and replace(fill, opacity=_share(fill.opacity)),
        stroke=stroke and replace(stroke, opacity=_share(stroke.opacity)),
    )


def _contour(contour: Contour, places: int) -> Contour:
    points = [_point(point, places) for point in contour.points]
    step = 10.0**-places * (1 + 1e-6)
    ends = [*points, points[0]] if contour.closed else points
    for i in range(0, len(ends) - 1, 3):
        straight = line(ends[i], ends[i + 3])
        if all(abs(p.x - q.x) <= step and abs(p.y - q.y) <= step for p, q in zip(straight, ends[i + 1 : i + 3])):
            points[i + 1 : i + 3] = straight[:2]
    return Contour(tuple(points), contour.closed)


def _fill(fill: Fill, back: Matrix, error: float) -> Fill | None:
    found = _paint(fill.paint, back, error)
    return found and replace(fill, paint=found[0], opacity=_share(fill.opacity * found[1]))


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
    limit = max(1.0, round(stroke.miter_limit, SHARE_PLACES))
    opacity = _share(stroke.opacity * found[1])
    return replace(stroke, paint=found[0], opacity=opacity, width=width, miter_limit=limit, pen=pen)


def _paint(paint: Paint, back: Matrix, error: float) -> tuple[Paint, float] | None:
    """A paint after `back` and the opacity that it brings; None if it paints nothing."""
    if isinstance(paint, Color):
        return _color(paint), 1.0
    if not paint.stops:
        return None
    gradient = placed(replace(paint, stops=tuple(_stop(stop) for stop in paint.stops)), back)
    if gradient is None:
        return None
    gradient = _linear(gradient, error) if isinstance(gradient, LinearGradient) else _radial(gradient, error)
    return gradient and (flat_color(gradient) or (gradient, 1.0))


def _linear(gradient: LinearGradient, error: float) -> Gradient:
    places = places_within(error)
    return replace(gradient, start=_point(gradient.start, places), end=_point(gradient.end, places))


def _radial(gradient: RadialGradient, error: float) -> Gradient:
    transform = _matrix(gradient.transform, places_within(error))
    if transform != IDENTITY:
        # What is out of round by less than can be seen is a circle.
        gradient = about_origin(replace(gradient, transform=transform), gradient.focus, SIMILAR)
    places = places_within(error / scales(gradient.transform)[0])
    centre, focus = _point(gradient.centre, places), _point(gradient.focus, places)
    return replace(gradient, centre=centre, focus=focus, radius=round(gradient.radius, places))


def _matrix(matrix: Matrix, translation_places: int) -> Matrix:
    linear = matrix[:4]
    places = significant_places(linear, MATRIX_DIGITS)
    shift = (round(value, translation_places) for value in matrix[4:])
    return Matrix(*(round(value, places) for value in linear), *shift)


def _stop(stop: Stop) -> Stop:
    return Stop(_share(stop.offset), _color(stop.color), _share(stop.opacity))


def _color(color: Color) -> Color:
    return Color(*(round(min(max(value, 0.0), 1.0) * 255) / 255 for value in color))


def _share(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), SHARE_PLACES)


def _point(point: Point, places: int) -> Point:
    return Point(round(point.x, places), round(point.y, places))

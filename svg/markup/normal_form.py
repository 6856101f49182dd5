"""One form for drawings that look the same: groups without effect dissolved, gradients in user units.

Reader and writer share it, so that what was written is read as the same values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..document import IDENTITY, Color, Group, LinearGradient, Matrix, Paint, Point, RadialGradient, Shape
from ..transforms import apply, compose, determinant, invertible, polar, similarity

Drawing = Shape | Group
Gradient = LinearGradient | RadialGradient

SMALLEST = 1e-9
"""Gradients that change all of their colours within less, in their own units, do so at once."""
SAME_PLACE = 1e-7
"""Places that are this near, relative to their coordinates, are one in single precision."""
EXACT = 1e-12
"""What arithmetic may leave of a difference; far less than files round away."""


def grouped(children: Sequence[Drawing], opacity: float, name: str = "") -> list[Drawing]:
    """Drawings made translucent as one; as a group only where a single paint cannot carry the opacity itself."""
    if opacity == 1 or not children:
        return list(children)
    if len(children) > 1:
        return [Group(tuple(children), opacity, name)]
    only = children[0]
    if isinstance(only, Group):
        return [replace(only, opacity=only.opacity * opacity, name=only.name or name)]
    if only.fill and only.stroke:
        return [Group((only,), opacity, name)]
    return [_translucent(only, opacity, name)]


def _translucent(shape: Shape, opacity: float, name: str) -> Shape:
    fill = shape.fill and replace(shape.fill, opacity=shape.fill.opacity * opacity)
    stroke = shape.stroke and replace(shape.stroke, opacity=shape.stroke.opacity * opacity)
    return replace(shape, fill=fill, stroke=stroke, name=shape.name or name)


def flat_color(gradient: Gradient) -> tuple[Color, float] | None:
    """The colour and opacity of a gradient that is the same everywhere; None if it is not."""
    stops = gradient.stops
    if isinstance(gradient, LinearGradient):
        farthest = max(map(abs, (*gradient.start, *gradient.end)))
        vanishes = math.dist(gradient.start, gradient.end) <= max(SMALLEST, SAME_PLACE * farthest)
    else:
        vanishes = gradient.radius <= SMALLEST
    return (stops[-1].color, stops[-1].opacity) if len(stops) == 1 or vanishes else None


def placed(gradient: Gradient, matrix: Matrix) -> Gradient | None:
    """The gradient after `matrix`, with the simplest `transform` that still draws it; None where it vanishes.

    A linear gradient needs none: only how its colours change across the plane matters. A radial one keeps what
    stretches its circle into an ellipse.
    """
    total = compose(matrix, gradient.transform)
    if not invertible(total):
        return None
    return _placed_linear(gradient, total) if isinstance(gradient, LinearGradient) else _placed_radial(gradient, total)


def _placed_radial(gradient: RadialGradient, matrix: Matrix) -> RadialGradient:
    """The circle stretched about its centre by a symmetric map whose largest entry is 1, after a turn and a scale."""
    stretch, turn = polar(matrix)
    scale = max(stretch.a, stretch.d)
    offset = Point(gradient.focus.x - gradient.centre.x, gradient.focus.y - gradient.centre.y)
    focus = apply(turn, Point(offset.x * scale, offset.y * scale))
    centre = apply(matrix, gradient.centre)
    transform = Matrix(stretch.a / scale, stretch.b / scale, stretch.c / scale, stretch.d / scale, *centre)
    return about_origin(replace(gradient, radius=gradient.radius * scale, transform=transform), focus, EXACT)


def about_origin(gradient: RadialGradient, focus: Point, tolerance: float) -> RadialGradient:
    """The gradient with its centre where its transform takes the origin; without transform where that only shifts."""
    if any(abs(value - unit) > tolerance for value, unit in zip(gradient.transform[:4], IDENTITY)):
        return replace(gradient, centre=Point(0.0, 0.0), focus=focus)
    centre = Point(*gradient.transform[4:])
    return replace(gradient, centre=centre, focus=Point(centre.x + focus.x, centre.y + focus.y), transform=IDENTITY)


def _placed_linear(gradient: LinearGradient, matrix: Matrix) -> LinearGradient:
    start, end = apply(matrix, gradient.start), apply(matrix, gradient.end)
    if start != end and similarity(matrix) is None:
        # Along the colours' steepest change, which a skew leaves no longer between the mapped ends.
        vx, vy = gradient.end.x - gradient.start.x, gradient.end.y - gradient.start.y
        det = determinant(matrix)
        gx, gy = (matrix.d * vx - matrix.b * vy) / det, (matrix.a * vy - matrix.c * vx) / det
        scale = (vx * vx + vy * vy) / (gx * gx + gy * gy)
        end = Point(start.x + gx * scale, start.y + gy * scale)
    return replace(gradient, start=start, end=end, transform=Matrix())


def visible_paint(paint: Paint, matrix: Matrix) -> tuple[Paint, float] | None:
    """A paint after `matrix` with the opacity it brings; None if it paints nothing."""
    if isinstance(paint, Color):
        return paint, 1.0
    if not paint.stops:
        return None
    if flat := flat_color(paint):
        return flat
    gradient = placed(paint, matrix)
    return gradient and (flat_color(gradient) or (gradient, 1.0))

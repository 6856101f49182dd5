"""Canonical form of nodes and gradients, shared by the parser and the writer.

Unnamed groups without effect are dissolved, constant gradients become colors, and gradients are in user units with the
simplest transform. Because both sides use it, a written file parses back to the same values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..document import (
    BLACK,
    IDENTITY,
    Color,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Node,
    Paint,
    Point,
    RadialGradient,
    Shape,
)
from ..transforms import apply, compose, determinant, invertible, polar, similarity

Gradient = LinearGradient | RadialGradient

MIN_LENGTH = 1e-9
"""A gradient no longer than this, in its own units, is a single color: the last stop's."""
COINCIDENT = 1e-7
"""Points within this relative distance coincide in single precision."""
EXACT = 1e-12
"""Tolerance for rounding errors of the arithmetic; far below the rounding of files."""


def grouped(
    children: Sequence[Node], opacity: float, name: str = "", clip: tuple[Node, ...] | None = None
) -> list[Node]:
    """Nodes with a common opacity in [0, 1] and clip (None without one): a `Group` only if it is needed.

    A name needs one, unless it can be the only node's. The opacity is folded into a single paint. Nothing is left of
    nodes with an empty clip.
    """
    if clip == () or not children:
        return []
    only = children[0] if len(children) == 1 else None
    if name and (only is None or only.name not in ("", name)):
        return [Group(tuple(children), opacity, name, clip or ())]
    if clip is None and opacity == 1:
        return [replace(only, name=name)] if only and name else list(children)
    if isinstance(only, Group) and not (clip and only.clip):
        joined = clip or only.clip
        return [replace(only, opacity=only.opacity * opacity, name=only.name or name, clip=joined)]
    if clip or only is None or isinstance(only, Group) or (only.fill and only.stroke):
        inner = children if only is None or not name else _without_name(only)  # the group has its name
        return [Group(tuple(inner), opacity, name, clip or ())]
    return [_with_opacity(only, opacity, name)]


def _without_name(node: Node) -> list[Node]:
    """A node without its name. A group may then not be needed any more."""
    if isinstance(node, Shape):
        return [replace(node, name="")]
    return grouped(node.children, node.opacity, "", node.clip or None)


def as_copy(node: Node) -> Node:
    """A node and all in it as what a <use> draws."""
    if node.copied:  # with all in it
        return node
    if isinstance(node, Shape):
        return replace(node, copied=True)
    return replace(node, children=tuple(map(as_copy, node.children)), copied=True)


def as_clip(nodes: Sequence[Node]) -> list[Node]:
    """Nodes as the contents of a clip: only their fills count, painted black; groups remain where they have a clip."""
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Group):
            clip = tuple(as_clip(node.clip)) if node.clip else None
            result += grouped(as_clip(node.children), 1.0, "", clip)
        elif node.fill:
            result.append(Shape(node.contours, Fill(BLACK, 1.0, node.fill.rule)))
    return result


def _with_opacity(shape: Shape, opacity: float, name: str) -> Shape:
    fill = shape.fill and replace(shape.fill, opacity=shape.fill.opacity * opacity)
    stroke = shape.stroke and replace(shape.stroke, opacity=shape.stroke.opacity * opacity)
    return replace(shape, fill=fill, stroke=stroke, name=shape.name or name)


def flat_color(gradient: Gradient) -> tuple[Color, float] | None:
    """The color and opacity of a gradient that is constant everywhere, or None if it varies."""
    stops = gradient.stops
    if isinstance(gradient, LinearGradient):
        farthest = max(map(abs, (*gradient.start, *gradient.end)))
        vanishes = math.dist(gradient.start, gradient.end) <= max(MIN_LENGTH, COINCIDENT * farthest)
    else:
        vanishes = gradient.radius <= MIN_LENGTH
    return (stops[-1].color, stops[-1].opacity) if len(stops) == 1 or vanishes else None


def placed(gradient: Gradient, matrix: Matrix) -> Gradient | None:
    """The gradient mapped by `matrix`, with the simplest possible `transform`; None if the map is singular.

    A linear gradient needs no transform, because any affine map of the plane turns its parameter into another affine
    function. A radial gradient keeps the part that stretches its circle into an ellipse.
    """
    total = compose(matrix, gradient.transform)
    if not invertible(total):
        return None
    return _placed_linear(gradient, total) if isinstance(gradient, LinearGradient) else _placed_radial(gradient, total)


def _placed_radial(gradient: RadialGradient, matrix: Matrix) -> RadialGradient:
    """Decompose the map into rotation, scale and a symmetric stretch with largest entry 1; keep only the stretch.

    By the polar decomposition A = S Q. Q only rotates the circle about its center, so it affects the focus alone; the
    larger diagonal entry of S goes into the radius.
    """
    stretch, turn = polar(matrix)
    scale = max(stretch.a, stretch.d)
    offset = Point(gradient.focus.x - gradient.center.x, gradient.focus.y - gradient.center.y)
    focus = apply(turn, Point(offset.x * scale, offset.y * scale))
    center = apply(matrix, gradient.center)
    transform = Matrix(stretch.a / scale, stretch.b / scale, stretch.c / scale, stretch.d / scale, *center)
    return about_origin(replace(gradient, radius=gradient.radius * scale, transform=transform), focus, EXACT)


def about_origin(gradient: RadialGradient, focus: Point, tolerance: float) -> RadialGradient:
    """The gradient centered on the origin of its own space; a transform that only translates is applied instead.

    Args:
        gradient: Its `transform` must already map the origin to the center; `center` and `focus` are replaced.
        focus: The focus relative to the center, in the gradient's own space.
        tolerance: How far the linear part of the transform may be from the identity to count as a translation.
    """
    if any(abs(value - unit) > tolerance for value, unit in zip(gradient.transform[:4], IDENTITY[:4], strict=True)):
        return replace(gradient, center=Point(0.0, 0.0), focus=focus)
    center = Point(*gradient.transform[4:])
    return replace(gradient, center=center, focus=Point(center.x + focus.x, center.y + focus.y), transform=IDENTITY)


def _placed_linear(gradient: LinearGradient, matrix: Matrix) -> LinearGradient:
    """Map a linear gradient by `matrix` A and drop its transform.

    With v = end - start, the parameter t(p) = v . (p - start) / |v|^2 becomes t(A^-1 q), whose gradient in q is
    g / |v|^2 with g = A^-T v. From the mapped start along g, t = 1 is reached at distance vector g |v|^2 / |g|^2. This
    is the image of the end only if A is a similarity.
    """
    start, end = apply(matrix, gradient.start), apply(matrix, gradient.end)
    if start != end and similarity(matrix) is None:
        vx, vy = gradient.end.x - gradient.start.x, gradient.end.y - gradient.start.y
        det = determinant(matrix)
        gx, gy = (matrix.d * vx - matrix.b * vy) / det, (matrix.a * vy - matrix.c * vx) / det
        scale = (vx * vx + vy * vy) / (gx * gx + gy * gy)
        end = Point(start.x + gx * scale, start.y + gy * scale)
    return replace(gradient, start=start, end=end, transform=Matrix())


def visible_paint(paint: Paint, matrix: Matrix) -> tuple[Paint, float] | None:
    """A paint mapped by `matrix` and the opacity it contributes; None if it paints nothing."""
    if isinstance(paint, Color):
        return paint, 1.0
    if not paint.stops:
        return None
    if flat := flat_color(paint):
        return flat
    gradient = placed(paint, matrix)
    return gradient and (flat_color(gradient) or (gradient, 1.0))

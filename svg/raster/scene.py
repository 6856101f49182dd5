"""A document as tensors in pixels of a canvas: what is optimized and what rasterizers draw."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..cubics import Box
from ..document import (
    Color,
    Contour,
    Document,
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
from ..transforms import compose, inverse
from ..viewports import fitted
from .paint import GradientPaint
from .strokes import StrokePlan

PaintOrder = tuple["int | tuple[int, PaintOrder, PaintOrder]", ...]
"""Layers from the lowest to the highest; a group is (group number, its own order, the order of its clip)."""


@dataclass(frozen=True)
class Layout:
    """The part of a scene that optimization leaves alone: how points form curves, and curves form layers.

    Each layer is the fill or the stroke of one shape.

    Attributes:
        curves: Indices (S, 4) of the control points of every curve.
        filled_curves: Curves that bound a fill.
        filled_layer: The layer of each of `filled_curves`.
        closing_lines: Indices (O, 2) of the points joined by the lines that close open contours for filling.
        closing_layer: The layer of each of `closing_lines`.
        stroked_curves: The curves that `stroke_plan` refers to.
        stroke_plan: How they are stroked.
        stroke_layer: The layer (K,) of each stroke.
        even_odd: Whether each layer (L,) is filled by the even-odd rule; False is nonzero.
        gradient_of_layer: For each layer, the index of its gradient in `Scene.gradients`, or None.
        order: The order in which layers are painted.
    """

    curves: Tensor
    filled_curves: Tensor
    filled_layer: Tensor
    closing_lines: Tensor
    closing_layer: Tensor
    stroked_curves: Tensor
    stroke_plan: StrokePlan
    stroke_layer: Tensor
    even_odd: Tensor
    gradient_of_layer: tuple[int | None, ...]
    order: PaintOrder


@dataclass(frozen=True)
class Scene:
    """A document as tensors. Replace tensors with `dataclasses.replace` to change or optimize it.

    Attributes:
        points: Control points (P, 2) as (x, y), in pixels.
        colors: Straight sRGB and opacity (L, 4) of each layer, in [0, 1]; layers with a gradient use only the opacity.
        widths: Widths (K,) of the strokes, in pixels.
        opacities: Opacities (G,) of the groups, in [0, 1].
        gradients: The gradient paints.
        layout: How they form layers.
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
        placement: The map from user units to pixels: a uniform scale and a translation.
        document: The document the scene was made from; supplies everything not held in tensors.
    """

    points: Tensor
    colors: Tensor
    widths: Tensor
    opacities: Tensor
    gradients: tuple[GradientPaint, ...]
    layout: Layout
    height: int
    width: int
    placement: Matrix
    document: Document

    def to_document(self) -> Document:
        """The document with the tensors' values where they changed, in user units; colors and opacities clamped."""
        return _DocumentBuilder(self, scene(self.document, self.height, self.width, self.points)).document()


def scene(document: Document, height: int, width: int, like: Tensor | None = None) -> Scene:
    """Fit a document into a canvas, centered, as `preserveAspectRatio="xMidYMid meet"` does.

    Args:
        document: The drawing.
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
        like: A tensor whose dtype and device are used; float32 on the CPU by default.
    """
    like = torch.empty(0) if like is None else like
    placement = fitted(document.view_box, Box(0.0, 0.0, width, height), "")
    return _SceneBuilder(like, placement).scene(document, height, width)


class _SceneBuilder:
    """Collects the numbers of a document in paint order."""

    def __init__(self, like: Tensor, placement: Matrix):
        self.like, self.placement = like, placement
        self.points: list[Point] = []
        self.colors: list[tuple[float, ...]] = []
        self.opacities: list[float] = []
        self.even_odd: list[bool] = []
        self.gradients: list[GradientPaint] = []
        self.gradient_of_layer: list[int | None] = []
        self.curves: list[tuple[int, int, int, int]] = []
        self.filled: list[tuple[int, int]] = []
        """(curve, layer)"""
        self.closing: list[tuple[int, int, int]] = []
        """(point, point, layer)"""
        self.stroked: list[tuple[int, int]] = []
        """(curve, stroke)"""
        self.strokes: list[tuple[int, Stroke]] = []
        """(layer, stroke)"""
        self.joins: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def scene(self, document: Document, height: int, width: int) -> Scene:
        order = self.order(document.children)
        scale, left, top = self.placement.a, self.placement.e, self.placement.f
        # Placed before they are rounded: far from the origin, user units have too many digits for float32.
        points = self.real([(x * scale + left, y * scale + top) for x, y in self.points]).reshape(-1, 2)
        widths = self.real([stroke.width for _, stroke in self.strokes]) * scale
        return Scene(
            points=points,
            colors=self.real(self.colors).reshape(-1, 4),
            widths=widths,
            opacities=self.real(self.opacities),
            gradients=tuple(self.gradients),
            layout=self.layout(order),
            height=height,
            width=width,
            placement=self.placement,
            document=document,
        )

    def order(self, children: Sequence[Node]) -> PaintOrder:
        order: list = []
        for child in children:
            if isinstance(child, Group):
                self.opacities.append(child.opacity)
                number, inner = len(self.opacities) - 1, self.order(child.children)
                if child.opacity == 1 and not child.clip:  # painted one by one, they look the same
                    order.extend(inner)
                else:
                    order.append((number, inner, self.order(child.clip)))
            else:
                order.extend(self.shape(child))
        return tuple(order)

    def shape(self, shape: Shape) -> Iterator[int]:
        contours = [self.contour(contour) for contour in shape.contours]
        if shape.fill:
            layer = self.layer(shape.fill)
            for curves, contour in zip(contours, shape.contours, strict=True):
                self.filled += [(curve, layer) for curve in curves]
                if not contour.closed and curves:
                    self.closing.append((self.curves[curves[-1]][3], self.curves[curves[0]][0], layer))
            yield layer
        if shape.stroke:
            layer = self.layer(shape.stroke)
            self.strokes.append((layer, shape.stroke))
            for curves, contour in zip(contours, shape.contours, strict=True):
                self.stroke(curves, contour.closed)
            yield layer

    def contour(self, contour: Contour) -> range:
        first, count = len(self.points), len(contour.points)
        self.points += contour.points
        start = len(self.curves)
        for n in range(count // 3):
            i = 3 * n
            self.curves.append((first + i, first + i + 1, first + i + 2, first + (i + 3) % count))
        return range(start, len(self.curves))

    def stroke(self, curves: range, closed: bool) -> None:
        start = len(self.stroked)
        self.stroked += [(curve, len(self.strokes) - 1) for curve in curves]
        chain = range(start, len(self.stroked))
        self.joins += pairwise(chain)
        if not chain:
            return
        if closed:
            self.joins.append((chain[-1], chain[0]))
        else:
            self.starts.append(chain[0])
            self.ends.append(chain[-1])

    def layer(self, paint: Fill | Stroke) -> int:
        self.even_odd.append(isinstance(paint, Fill) and paint.rule == "evenodd")
        if isinstance(paint.paint, Color):
            self.colors.append((*paint.paint, paint.opacity))
            self.gradient_of_layer.append(None)
        else:
            self.colors.append((0, 0, 0, paint.opacity))
            self.gradient_of_layer.append(len(self.gradients))
            self.gradients.append(self.gradient_paint(paint.paint))
        return len(self.colors) - 1

    def gradient_paint(self, paint: LinearGradient | RadialGradient) -> GradientPaint:
        origin = _origin(paint)
        other, radius = (paint.end, ()) if isinstance(paint, LinearGradient) else (paint.focus, (paint.radius,))
        geometry = (0.0, 0.0, other.x - origin.x, other.y - origin.y, *radius)
        stops = sorted(paint.stops, key=lambda stop: stop.offset)
        a, b, c, d, e, f = inverse(compose(self.placement, paint.transform))
        return GradientPaint(
            geometry=self.real(geometry),
            inverse=self.real(((a, c, e - origin.x), (b, d, f - origin.y))),
            offsets=self.real([stop.offset for stop in stops]),
            colors=self.real([(*stop.color, stop.opacity) for stop in stops]),
            spread=paint.spread,
        )

    def layout(self, order: PaintOrder) -> Layout:
        return Layout(
            curves=self.whole(self.curves).reshape(-1, 4),
            filled_curves=self.whole([curve for curve, _ in self.filled]),
            filled_layer=self.whole([layer for _, layer in self.filled]),
            closing_lines=self.whole([pair[:2] for pair in self.closing]).reshape(-1, 2),
            closing_layer=self.whole([layer for *_, layer in self.closing]),
            stroked_curves=self.whole([curve for curve, _ in self.stroked]),
            stroke_plan=self.stroke_plan(),
            stroke_layer=self.whole([layer for layer, _ in self.strokes]),
            even_odd=self.flags(self.even_odd),
            gradient_of_layer=tuple(self.gradient_of_layer),
            order=order,
        )

    def stroke_plan(self) -> StrokePlan:
        strokes = [stroke for _, stroke in self.strokes]
        return StrokePlan(
            stroke=self.whole([stroke for _, stroke in self.stroked]),
            joins=self.whole(self.joins).reshape(-1, 2),
            starts=self.whole(self.starts),
            ends=self.whole(self.ends),
            round_join=self.flags([s.join == "round" for s in strokes]),
            miter_join=self.flags([s.join == "miter" for s in strokes]),
            miter_limit=self.real([s.miter_limit for s in strokes]),
            round_cap=self.flags([s.cap == "round" for s in strokes]),
            square_cap=self.flags([s.cap == "square" for s in strokes]),
            pen=self.real([((s.pen.a, s.pen.c), (s.pen.b, s.pen.d)) for s in strokes]).reshape(-1, 2, 2),
        )

    def real(self, values: Sequence) -> Tensor:
        return torch.tensor(values, dtype=self.like.dtype, device=self.like.device)

    def whole(self, values: Sequence) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.like.device)

    def flags(self, values: Sequence[bool]) -> Tensor:
        return torch.tensor(values, dtype=torch.bool, device=self.like.device)


def _float64(values: Tensor) -> Tensor:
    """The values in float64; on the CPU, because not every device supports that type."""
    return values.detach().cpu().double()


class _DocumentBuilder:
    """Walks a scene's document in paint order and substitutes the scene's numbers, where they have changed.

    Numbers that have not changed are kept from the document, because a scene holds them in pixels and rounded.
    """

    def __init__(self, scene: Scene, unchanged: Scene):
        scale, shift = scene.placement.a, torch.tensor(scene.placement[4:], dtype=torch.float64)
        self.points = _changed(scene.points, unchanged.points, (_float64(scene.points) - shift) / scale)
        self.colors = _changed(scene.colors, unchanged.colors, _float64(scene.colors).clamp(0, 1))
        self.widths = _changed(scene.widths, unchanged.widths, (_float64(scene.widths) / scale).clamp(min=0))
        self.opacities = _changed(scene.opacities, unchanged.opacities, _float64(scene.opacities).clamp(0, 1))
        self.gradients = zip(scene.gradients, unchanged.gradients, strict=True)
        self.source = scene.document

    def document(self) -> Document:
        return dataclasses.replace(self.source, children=self.children(self.source.children))

    def children(self, children: Sequence[Node]) -> tuple[Node, ...]:
        return tuple(self.group(child) if isinstance(child, Group) else self.shape(child) for child in children)

    def group(self, group: Group) -> Group:
        opacity = next(self.opacities)  # before those of nested groups
        children, clip = self.children(group.children), self.children(group.clip)
        opacity = group.opacity if opacity is None else opacity
        return dataclasses.replace(group, opacity=opacity, children=children, clip=clip)

    def shape(self, shape: Shape) -> Shape:
        contours = tuple(
            dataclasses.replace(contour, points=tuple(self.point(point) for point in contour.points))
            for contour in shape.contours
        )
        fill, stroke = shape.fill, shape.stroke
        if fill:
            fill = dataclasses.replace(fill, **self.paint(fill))
        if stroke:
            width = next(self.widths)
            stroke = dataclasses.replace(stroke, **self.paint(stroke), width=stroke.width if width is None else width)
        return dataclasses.replace(shape, contours=contours, fill=fill, stroke=stroke)

    def point(self, point: Point) -> Point:
        moved = next(self.points)
        return point if moved is None else Point(*moved)

    def paint(self, part: Fill | Stroke) -> dict:
        color = next(self.colors)
        if not isinstance(part.paint, Color):
            paint = self.gradient(part.paint)
            return {"paint": paint} if color is None else {"paint": paint, "opacity": color[3]}
        return {} if color is None else {"paint": Color(*color[:3]), "opacity": color[3]}

    def gradient(self, paint: LinearGradient | RadialGradient) -> Paint:
        tensors, unchanged = next(self.gradients)
        if torch.equal(tensors.geometry, unchanged.geometry) and torch.equal(tensors.colors, unchanged.colors):
            return paint
        origin, numbers = _origin(paint), _float64(tensors.geometry).tolist()
        offsets, colors = _float64(tensors.offsets).tolist(), _float64(tensors.colors).clamp(0, 1).tolist()
        stops = tuple(Stop(offset, Color(*c), a) for offset, (*c, a) in zip(offsets, colors, strict=True))
        one, two = (Point(x + origin.x, y + origin.y) for x, y in (numbers[:2], numbers[2:4]))
        if isinstance(paint, LinearGradient):
            return dataclasses.replace(paint, start=one, end=two, stops=stops)
        return dataclasses.replace(paint, center=one, focus=two, radius=numbers[4], stops=stops)


def _origin(paint: LinearGradient | RadialGradient) -> Point:
    """The origin of a gradient's space as tensors: its start or center, so that float32 has digits for what is near."""
    return paint.start if isinstance(paint, LinearGradient) else paint.center


def _changed(now: Tensor, before: Tensor, values: Tensor) -> Iterator[Any]:
    """The values (N, ...) one by one; None for rows that are the same now as before."""
    same = (now == before).flatten(1).all(1) if now.ndim > 1 else now == before
    return (None if kept else value for kept, value in zip(same.tolist(), values.tolist(), strict=True))

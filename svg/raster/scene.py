"""A drawing as tensors: what is optimised and what the rasteriser draws, in pixels of a canvas."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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

Order = tuple["int | tuple[int, Order]", ...]
"""Layers from the lowest up; a group is (its number, its own order)."""


@dataclass(frozen=True)
class Layout:
    """What an optimisation leaves alone: how points make curves, and curves layers.

    `curves` (S, 4) are indices of control points. Layer n fills or strokes one shape. `filled` are curves with the
    layer they bound, `closing` (O, 2) the points between which open contours are closed for filling; `stroked` are the
    curves of `plan`, whose strokes are the layers `stroke_layer`. `even_odd` (L,) says which fill rule, `gradient`
    which gradient a layer has.
    """

    curves: Tensor
    filled: Tensor
    filled_layer: Tensor
    closing: Tensor
    closing_layer: Tensor
    stroked: Tensor
    plan: StrokePlan
    stroke_layer: Tensor
    even_odd: Tensor
    gradient: tuple[int | None, ...]
    order: Order


@dataclass(frozen=True)
class Scene:
    """Control points (P, 2) in pixels, straight colour and opacity (L, 4) of the layers, widths (K,) of the strokes,
    opacities (G,) of the groups.

    `placement` takes user units to pixels, alike in all directions. `document` is what the scene was made of; it gives
    everything that is not in the tensors when the scene becomes a document again.
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
        """The drawing in user units."""
        return _Reader(self).document()


def scene(document: Document, height: int, width: int, like: Tensor | None = None) -> Scene:
    """A drawing fitted into a canvas and centred, of the type and on the device of `like` (float32, CPU by default)."""
    like = torch.empty(0) if like is None else like
    placement = fitted(document.view_box, Box(0.0, 0.0, width, height), "")
    return _Builder(like, placement).scene(document, height, width)


class _Builder:
    def __init__(self, like: Tensor, placement: Matrix):
        self.like, self.placement = like, placement
        self.points: list[Point] = []
        self.colors: list[tuple[float, ...]] = []
        self.opacities: list[float] = []
        self.even_odd: list[bool] = []
        self.gradients: list[GradientPaint] = []
        self.gradient: list[int | None] = []
        self.curves: list[tuple[int, int, int, int]] = []
        self.filled: list[tuple[int, int]] = []
        self.closing: list[tuple[int, int, int]] = []
        self.stroked: list[tuple[int, int]] = []
        self.strokes: list[tuple[int, Stroke]] = []
        self.joins: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.ends: list[int] = []

    def scene(self, document: Document, height: int, width: int) -> Scene:
        order = self.order(document.children)
        points = self.real(self.points).reshape(-1, 2) * self.placement.a + self.real(self.placement[4:])
        widths = self.real([stroke.width for _, stroke in self.strokes]) * self.placement.a
        colors = self.real(self.colors).reshape(-1, 4)
        return Scene(
            points,
            colors,
            widths,
            self.real(self.opacities),
            tuple(self.gradients),
            self.layout(order),
            height,
            width,
            self.placement,
            document,
        )

    def order(self, children: Sequence[Shape | Group]) -> Order:
        found: list = []
        for child in children:
            if isinstance(child, Group):
                self.opacities.append(child.opacity)
                found.append((len(self.opacities) - 1, self.order(child.children)))
            else:
                found.extend(self.shape(child))
        return tuple(found)

    def shape(self, shape: Shape) -> Iterator[int]:
        contours = [self.contour(contour) for contour in shape.contours]
        if shape.fill:
            layer = self.layer(shape.fill)
            for curves, contour in zip(contours, shape.contours):
                self.filled += [(curve, layer) for curve in curves]
                if not contour.closed and curves:
                    self.closing.append((self.curves[curves[-1]][3], self.curves[curves[0]][0], layer))
            yield layer
        if shape.stroke:
            layer = self.layer(shape.stroke)
            self.strokes.append((layer, shape.stroke))
            for curves, contour in zip(contours, shape.contours):
                self.stroke(curves, contour.closed)
            yield layer

    def contour(self, contour: Contour) -> range:
        first, count = len(self.points), len(contour.points)
        self.points += contour.points
        begun = len(self.curves)
        for n in range(count // 3):
            i = 3 * n
            self.curves.append((first + i, first + i + 1, first + i + 2, first + (i + 3) % count))
        return range(begun, len(self.curves))

    def stroke(self, curves: range, closed: bool) -> None:
        begun = len(self.stroked)
        self.stroked += [(curve, len(self.strokes) - 1) for curve in curves]
        here = range(begun, len(self.stroked))
        self.joins += pairwise(here)
        if not here:
            return
        if closed:
            self.joins.append((here[-1], here[0]))
        else:
            self.starts.append(here[0])
            self.ends.append(here[-1])

    def layer(self, paint: Fill | Stroke) -> int:
        self.even_odd.append(isinstance(paint, Fill) and paint.rule == "evenodd")
        if isinstance(paint.paint, Color):
            self.colors.append((*paint.paint, paint.opacity))
            self.gradient.append(None)
        else:
            self.colors.append((0, 0, 0, paint.opacity))
            self.gradient.append(len(self.gradients))
            self.gradients.append(self.gradient_paint(paint.paint))
        return len(self.colors) - 1

    def gradient_paint(self, paint: LinearGradient | RadialGradient) -> GradientPaint:
        if isinstance(paint, LinearGradient):
            geometry = (*paint.start, *paint.end)
        else:
            geometry = (*paint.centre, *paint.focus, paint.radius)
        stops = sorted(paint.stops, key=lambda stop: stop.offset)
        a, b, c, d, e, f = inverse(compose(self.placement, paint.transform))
        return GradientPaint(
            self.real(geometry),
            self.real(((a, c, e), (b, d, f))),
            self.real([stop.offset for stop in stops]),
            self.real([(*stop.color, stop.opacity) for stop in stops]),
            paint.spread,
        )

    def layout(self, order: Order) -> Layout:
        strokes = [stroke for _, stroke in self.strokes]
        plan = StrokePlan(
            stroke=self.whole([s for _, s in self.stroked]),
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
        return Layout(
            curves=self.whole(self.curves).reshape(-1, 4),
            filled=self.whole([curve for curve, _ in self.filled]),
            filled_layer=self.whole([layer for _, layer in self.filled]),
            closing=self.whole([pair[:2] for pair in self.closing]).reshape(-1, 2),
            closing_layer=self.whole([layer for *_, layer in self.closing]),
            stroked=self.whole([curve for curve, _ in self.stroked]),
            plan=plan,
            stroke_layer=self.whole([layer for layer, _ in self.strokes]),
            even_odd=self.flags(self.even_odd),
            gradient=tuple(self.gradient),
            order=order,
        )

    def real(self, values: Sequence) -> Tensor:
        return torch.tensor(values, dtype=self.like.dtype, device=self.like.device)

    def whole(self, values: Sequence) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.like.device)

    def flags(self, values: Sequence[bool]) -> Tensor:
        return torch.tensor(values, dtype=torch.bool, device=self.like.device)


def _exact(values: Tensor) -> Tensor:
    """In float64, for the numbers of a file; on the CPU, as not every device knows that type."""
    return values.detach().cpu().double()


class _Reader:
    """Walks the document a scene was made of, in the same order, and puts in the scene's own numbers."""

    def __init__(self, scene: Scene):
        scale, shift = scene.placement.a, torch.tensor(scene.placement[4:], dtype=torch.float64)
        users = (_exact(scene.points) - shift) / scale
        self.points = iter(users.tolist())
        self.colors = iter(_exact(scene.colors).clamp(0, 1).tolist())
        self.widths = iter((_exact(scene.widths) / scale).tolist())
        self.opacities = iter(_exact(scene.opacities).clamp(0, 1).tolist())
        self.gradients = iter(scene.gradients)
        self.source = scene.document

    def document(self) -> Document:
        return dataclasses.replace(self.source, children=self.children(self.source.children))

    def children(self, children: Sequence[Shape | Group]) -> tuple[Shape | Group, ...]:
        return tuple(self.group(child) if isinstance(child, Group) else self.shape(child) for child in children)

    def group(self, group: Group) -> Group:
        opacity = next(self.opacities)  # before those of the groups within
        return dataclasses.replace(group, opacity=opacity, children=self.children(group.children))

    def shape(self, shape: Shape) -> Shape:
        contours = tuple(
            dataclasses.replace(contour, points=tuple(Point(*next(self.points)) for _ in contour.points))
            for contour in shape.contours
        )
        fill, stroke = shape.fill, shape.stroke
        if fill:
            fill = dataclasses.replace(fill, **self.paint(fill.paint))
        if stroke:
            stroke = dataclasses.replace(stroke, **self.paint(stroke.paint), width=max(next(self.widths), 0.0))
        return dataclasses.replace(shape, contours=contours, fill=fill, stroke=stroke)

    def paint(self, paint: Paint) -> dict:
        *color, opacity = next(self.colors)
        if isinstance(paint, Color):
            return {"paint": Color(*color), "opacity": opacity}
        return {"paint": self.gradient(paint), "opacity": opacity}

    def gradient(self, paint: LinearGradient | RadialGradient) -> Paint:
        tensors = next(self.gradients)
        numbers = _exact(tensors.geometry).tolist()
        colors = _exact(tensors.colors).clamp(0, 1).tolist()
        stops = tuple(Stop(o, Color(*c), a) for o, (*c, a) in zip(_exact(tensors.offsets).tolist(), colors))
        if isinstance(paint, LinearGradient):
            return dataclasses.replace(paint, start=Point(*numbers[:2]), end=Point(*numbers[2:]), stops=stops)
        centre, focus = Point(*numbers[:2]), Point(*numbers[2:4])
        return dataclasses.replace(paint, centre=centre, focus=focus, radius=numbers[4], stops=stops)

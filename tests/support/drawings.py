"""Drawings for the rasterizer tests, and the leaf tensors they are optimized over."""

from __future__ import annotations

import dataclasses
import math

import torch
from dreamsampler.svg.document import Color, Contour, Document, Fill, Point, Shape, Stroke, ViewBox
from dreamsampler.svg.raster.scene import Scene
from torch import Tensor

RED, BLUE, WHITE = Color(1, 0, 0), Color(0, 0, 1), Color(1, 1, 1)


def gradient_of(leaf: Tensor) -> Tensor:
    """The gradient of a leaf after a backward pass."""
    assert leaf.grad is not None
    return leaf.grad


def between(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()


def color(generator: torch.Generator) -> Color:
    return Color(*(between(generator, 0, 1) for _ in range(3)))


def blob(generator: torch.Generator, center: tuple[float, float], radius: float, jitter: float = 0.3) -> Contour:
    """Four cubics around a center, with every control point moved at random."""
    points, handle = [], 4 / 3 * math.tan(math.pi / 8)
    for quarter in range(4):
        cos, sin = math.cos(quarter * math.pi / 2), math.sin(quarter * math.pi / 2)
        for x, y in ((1, 0), (1, handle), (handle, 1)):
            x, y = (v + between(generator, -jitter, jitter) for v in (x, y))
            points.append(Point(center[0] + radius * (cos * x - sin * y), center[1] + radius * (sin * x + cos * y)))
    return Contour(tuple(points), closed=True)


def chain(generator: torch.Generator, size: float, curves: int = 2) -> Contour:
    """An open chain of cubics through random points."""
    points = [Point(*(between(generator, 0.1 * size, 0.9 * size) for _ in range(2))) for _ in range(3 * curves + 1)]
    return Contour(tuple(points), closed=False)


def drawing(seed: int, size: float = 24.0, shapes: int = 3, **stroke) -> Document:
    """Blobs of both fill rules, stroked or not, and a chain of curves."""
    generator = torch.Generator().manual_seed(seed)
    children = []
    for n in range(shapes):
        center = (between(generator, 0, size), between(generator, 0, size))
        rule = "nonzero" if n % 2 else "evenodd"
        fill = Fill(color(generator), between(generator, 0.4, 1), rule)
        pen = (
            Stroke(color(generator), between(generator, 0.4, 1), between(generator, 1, 3), **stroke) if n % 2 else None
        )
        children.append(Shape((blob(generator, center, size / 4),), fill, pen))
    line = Stroke(color(generator), 0.9, between(generator, 1, 3), **stroke)
    children.append(Shape((chain(generator, size),), None, line))
    return Document(ViewBox(0, 0, size, size), tuple(children))


def square(left: float, top: float, right: float, bottom: float) -> Contour:
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = []
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        points += [Point(x0 + (x1 - x0) * k / 3, y0 + (y1 - y0) * k / 3) for k in range(3)]
    return Contour(tuple(points), closed=True)


def leaves(scene: Scene) -> tuple[Tensor, ...]:
    gradients = [t for gradient in scene.gradients for t in (gradient.geometry, gradient.offsets, gradient.colors)]
    values = scene.points, scene.colors, scene.widths, scene.opacities, *gradients
    return tuple(t.detach().clone().requires_grad_() for t in values)


def with_leaves(
    scene: Scene, points: Tensor, colors: Tensor, widths: Tensor, opacities: Tensor, *rest: Tensor
) -> Scene:
    paints = tuple(
        dataclasses.replace(gradient, geometry=geometry, offsets=offsets, colors=stops)
        for gradient, geometry, offsets, stops in zip(scene.gradients, rest[::3], rest[1::3], rest[2::3], strict=True)
    )
    leaves = {"colors": colors, "widths": widths, "opacities": opacities}
    return dataclasses.replace(scene, points=points, gradients=paints, **leaves)

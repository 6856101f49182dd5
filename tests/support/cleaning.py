"""Shapes and images for the tests of the clean-up."""

from __future__ import annotations

import math

import torch
from dreamsampler.svg.document import Color, Contour, Document, Fill, Node, Point, Shape, ViewBox
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from torch import Tensor

from support.drawings import square

SIDE = 64
CANVAS = (SIDE, SIDE)
RED, BLUE, GREEN = Color(0.8, 0.1, 0.1), Color(0.1, 0.2, 0.8), Color(0.1, 0.6, 0.2)


def document(*children: Node) -> Document:
    return Document(ViewBox(0, 0, SIDE, SIDE), children)


def filled(contour: Contour, color: Color, opacity: float = 1.0, name: str = "") -> Shape:
    return Shape((contour,), Fill(color, opacity), name=name)


def box(left: float, top: float, right: float, bottom: float, color: Color, opacity: float = 1.0) -> Shape:
    return filled(square(left, top, right, bottom), color, opacity)


def circle(x: float, y: float, radius: float, count: int = 4) -> Contour:
    """A circle of `count` cubics."""
    step, points = 2 * math.pi / count, []
    handle = 4 / 3 * math.tan(step / 4)
    for n in range(count):
        for angle, along in ((n * step, 0.0), (n * step, handle), ((n + 1) * step, -handle)):
            cos, sin = math.cos(angle), math.sin(angle)
            points.append(Point(x + radius * (cos - along * sin), y + radius * (sin + along * cos)))
    return Contour(tuple(points), closed=True)


def over(drawing: Document, background: float, side: int = SIDE) -> Tensor:
    """The image (3, H, W) on a gray background."""
    return rasterize([scene(drawing, side, side)], torch.full((1, 3), background))[0, :3]


def mean_change(one: Document, other: Document) -> float:
    """The mean change of the colors, on black or white, whichever is more."""
    return max(float((over(one, gray) - over(other, gray)).abs().mean()) for gray in (0.0, 1.0))


def largest_change(one: Document, other: Document) -> float:
    return max(float((over(one, gray) - over(other, gray)).abs().max()) for gray in (0.0, 1.0))


def curve_count(drawing: Document) -> int:
    return sum(len(contour.points) // 3 for shape in drawing.shapes() for contour in shape.contours)

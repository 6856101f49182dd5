"""Paths of one kind as rows of numbers: what drawings from scratch are made of."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from .document import Color, Contour, Fill, Matrix, Point, Shape, Stroke


class Paths(NamedTuple):
    """Control points (N, n, 2) in pixels, straight colours and opacities (N, 4) in [0, 1], widths (N,) of strokes.

    Without widths the contours are closed and filled, with them open and stroked with round caps and joins.
    """

    points: Tensor
    colors: Tensor
    widths: Tensor | None = None

    def shapes(self, placement: Matrix) -> list[Shape]:
        """The paths in the units of a document that `placement` takes to pixels, alike in all directions."""
        scale, x, y = placement.a, placement.e, placement.f
        widths = [None] * len(self.points) if self.widths is None else (self.widths / scale).tolist()
        shapes = []
        for points, (*color, opacity), width in zip(self.points.tolist(), self.colors.tolist(), widths):
            places = tuple(Point((px - x) / scale, (py - y) / scale) for px, py in points)
            contours, paint = (Contour(places, closed=width is None),), Color(*color)
            if width is None:
                shapes.append(Shape(contours, Fill(paint, opacity)))
            else:
                shapes.append(Shape(contours, stroke=Stroke(paint, opacity, width, cap="round", join="round")))
        return shapes

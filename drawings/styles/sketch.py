"""Sketch: black lines of one width (VectorFusion)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...svg.document import BLACK, Document, Shape, Stroke
from ..initialization import Canvas, Centers, Paths, canvas_scale, moved_to, on_canvas, opaque, random_strokes
from ..regions.lines import drawn_lines
from .registry import ArtStyle, register

WIDTH = 6.0
"""The width of lines in pixels, on VectorFusion's canvas."""


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    scale = canvas_scale(canvas)
    points = random_strokes(count, *canvas, generator, segments=5, step=30 * scale)
    return Paths(points, opaque(torch.zeros(count, 3)), torch.full((count,), WIDTH * scale))


def paths_at(centers: Centers, canvas: Canvas, generator: torch.Generator) -> Paths:
    lines = random_paths(len(centers.points), canvas, generator)
    return lines._replace(points=moved_to(lines.points, centers))


def traced(image: Tensor, count: int, alpha: Tensor | None) -> Document:
    """The lines of a line drawing, or the outlines of what an image shows."""
    canvas = image.shape[-2], image.shape[-1]
    pen = Stroke(BLACK, width=WIDTH * canvas_scale(canvas), cap="round", join="round")
    return on_canvas((Shape((line,), stroke=pen) for line in drawn_lines(image, count, alpha)), canvas)


register(
    ArtStyle(
        name="sketch",
        order=2,
        elements="black lines",
        prompt_suffix=", minimal 2d line drawing. trending on artstation",
        source="VectorFusion, section 4.3 and supplement F",
        path_count=16,
        random_paths=random_paths,
        paths_at=paths_at,
        traced=traced,
        descends=False,
        optimized=frozenset({"points"}),
    )
)

"""Sketch: black lines of one width (VectorFusion)."""

from __future__ import annotations

import torch

from ..initialization import Canvas, Centers, Paths, canvas_scale, moved_to, opaque, random_strokes
from .registry import ArtStyle, register


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    scale = canvas_scale(canvas)
    points = random_strokes(count, *canvas, generator, segments=5, step=30 * scale)
    return Paths(points, opaque(torch.zeros(count, 3)), torch.full((count,), 6 * scale))


def paths_at(centers: Centers, canvas: Canvas, generator: torch.Generator) -> Paths:
    lines = random_paths(len(centers.points), canvas, generator)
    return lines._replace(points=moved_to(lines.points, centers))


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
        optimized=frozenset({"points"}),
    )
)

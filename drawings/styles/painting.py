"""Painting: brush strokes of any color and width."""

from __future__ import annotations

import torch
from torch import Tensor

from ...svg.document import Document
from ..brush_strokes import painted
from ..initialization import Canvas, Centers, Paths, canvas_scale, moved_to, opaque, random_strokes, with_random_fills
from .registry import ArtStyle, register


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    scale = canvas_scale(canvas)
    points = random_strokes(count, *canvas, generator, segments=3, step=30 * scale)
    widths = (4 + 16 * torch.rand(count, generator=generator)) * scale
    return with_random_fills(points, generator, widths)


def paths_at(centers: Centers, canvas: Canvas, generator: torch.Generator) -> Paths:
    brushes = random_paths(len(centers.points), canvas, generator)
    return brushes._replace(points=moved_to(brushes.points, centers), colors=opaque(centers.colors))


def traced(image: Tensor, count: int, alpha: Tensor | None) -> Document:
    return painted(image, count, alpha)


register(
    ArtStyle(
        name="painting",
        order=3,
        elements="brush strokes",
        prompt_suffix=", oil painting with visible brush strokes. trending on artstation",
        source="our choice",
        path_count=256,
        random_paths=random_paths,
        paths_at=paths_at,
        traced=traced,
        optimized=frozenset({"points", "width", "color", "background", "opacity"}),
    )
)

"""Low-poly: triangles of one color each."""

from __future__ import annotations

import torch
from torch import Tensor

from ...svg.document import Document
from ..initialization import (
    Canvas,
    Centers,
    Paths,
    canvas_scale,
    opaque,
    random_points,
    random_triangles,
    with_random_fills,
)
from ..triangles import triangulated
from .registry import ArtStyle, document_of, register


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    points = random_triangles(random_points(count, *canvas, generator), 60 * canvas_scale(canvas), generator)
    return with_random_fills(points, generator)


def paths_at(centers: Centers, canvas: Canvas, generator: torch.Generator) -> Paths:
    """Triangles inside circles of 30 pixels of 600, or of the smallest radius that a measurement resolves."""
    radius = max(30 * canvas_scale(canvas), centers.min_radius)
    return Paths(random_triangles(centers.points, radius, generator), opaque(centers.colors))


def traced(image: Tensor, count: int, alpha: Tensor | None) -> Document:
    return document_of(triangulated(image, count, alpha), (image.shape[-2], image.shape[-1]))


register(
    ArtStyle(
        name="low-poly",
        order=4,
        elements="triangles",
        prompt_suffix=", low-poly. trending on artstation",
        source="our choice",
        path_count=256,
        random_paths=random_paths,
        paths_at=paths_at,
        traced=traced,
        optimized=frozenset({"points", "color", "background", "opacity"}),
    )
)

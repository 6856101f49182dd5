"""Iconography: closed shapes of one color each (VectorFusion)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...svg.document import Document
from .. import regions
from ..initialization import (
    VECTORFUSION_SIDE,
    Canvas,
    Centers,
    Paths,
    canvas_scale,
    circle,
    opaque,
    random_closed,
    with_random_fills,
)
from .registry import ArtStyle, register


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    points = random_closed(count, *canvas, generator, radius=20 * canvas_scale(canvas))
    return with_random_fills(points, generator)


def paths_at(centers: Centers, canvas: Canvas, generator: torch.Generator) -> Paths:
    """Circles of LIVE's radius, 5 pixels of 240, or of the smallest radius that a measurement resolves.

    A blurred measurement cannot tell a small, saturated dot from a larger, paler one, and the optimizer never removes
    the dot.
    """
    radius = max(5 / 240 * VECTORFUSION_SIDE * canvas_scale(canvas), centers.min_radius)
    return Paths(circle(centers.points, radius, 4), opaque(centers.colors))


def traced(image: Tensor, count: int, alpha: Tensor | None) -> Document:
    return regions.traced(image, count, alpha=alpha)


register(
    ArtStyle(
        name="iconography",
        order=0,
        elements="closed shapes",
        prompt_suffix=", minimal flat 2d vector icon. lineal color. on a white background. trending on artstation",
        source="VectorFusion, section 4.3 and supplement F",
        path_count=128,
        random_paths=random_paths,
        paths_at=paths_at,
        traced=traced,
        optimized=frozenset({"points", "color", "background", "opacity"}),
        xing_weight=0.01,
    )
)

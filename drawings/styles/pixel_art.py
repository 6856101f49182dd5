"""Pixel art: a grid of squares that change only their colors (VectorFusion)."""

from __future__ import annotations

import math

import torch

from ..initialization import Canvas, Paths, opaque, pixel_grid, random_fills
from ..optimizer import PIXEL_ART
from .registry import ArtStyle, register


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    """About `count` squares that fill the canvas."""
    side = math.sqrt(canvas[0] * canvas[1] / count)
    rows, columns = (max(round(length / side), 1) for length in canvas)
    colors, _ = random_fills(rows * columns, generator)
    return Paths(pixel_grid(rows, columns, *canvas), opaque(colors))


register(
    ArtStyle(
        name="pixel art",
        order=1,
        elements="squares",
        prompt_suffix=", pixel art. trending on artstation",
        source="VectorFusion, section 4.3 and supplement F; the learning rates from scratch are our choice",
        path_count=1024,
        random_paths=random_paths,
        paths_at=None,
        optimized=frozenset({"color", "opacity"}),
        # The paper's rates could change a color by a tenth at most, which is enough only after tracing. From scratch,
        # the rates are those of the other styles.
        rates_after_tracing=PIXEL_ART,
        saturation_weight=0.05,
    )
)

"""Pixel art: a grid of squares that change only their colors (VectorFusion)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ...svg.document import Document
from ..initialization import Canvas, Paths, opaque, pixel_grid, random_fills
from ..optimizer import PIXEL_ART
from .registry import ArtStyle, document_of, register


def random_paths(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    """About `count` squares that fill the canvas."""
    rows, columns = grid(count, canvas)
    colors, _ = random_fills(rows * columns, generator)
    return Paths(pixel_grid(rows, columns, *canvas), opaque(colors))


def grid(count: int, canvas: Canvas) -> tuple[int, int]:
    """The rows and columns of about `count` squares."""
    side = math.sqrt(canvas[0] * canvas[1] / count)
    rows, columns = (max(round(length / side), 1) for length in canvas)
    return rows, columns


def traced(image: Tensor, count: int, alpha: Tensor | None) -> Document:
    """Squares of the mean color of what they cover, where this is mostly not transparent."""
    canvas = image.shape[-2], image.shape[-1]
    rows, columns = grid(count, canvas)
    colors = adaptive_avg_pool2d(image, (rows, columns)).flatten(1).mT
    squares = Paths(pixel_grid(rows, columns, *canvas), opaque(colors.cpu()))
    if alpha is not None:
        kept = (adaptive_avg_pool2d(alpha[None], (rows, columns)).flatten() >= 0.5).cpu()
        squares = Paths(squares.points[kept], squares.colors[kept])
    return document_of(squares, canvas)


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
        traced=traced,
        optimized=frozenset({"color", "opacity"}),
        # The paper's rates could change a color by a tenth at most, which is enough only after tracing. From scratch,
        # the rates are those of the other styles.
        rates_after_tracing=PIXEL_ART,
        saturation_weight=0.05,
    )
)

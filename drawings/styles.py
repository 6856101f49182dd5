"""Styles of drawings made from nothing: which paths they are made of, where those start and what of them moves.

Lengths are published for a canvas of 600 pixels (VectorFusion) and grow with the canvas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..svg.document import IDENTITY, WHITE, Document, ViewBox
from .drawing import Drawing
from .initialization import (
    Centres,
    Paths,
    anywhere,
    circle,
    pixel_grid,
    random_closed,
    random_fills,
    random_polygons,
    random_strokes,
)
from .optimizer import FROM_SCRATCH, PIXEL_ART, REFINING, LearningRates

CANVAS = 600.0
"""Side in pixels of the canvas that lengths and rates are published for."""

Canvas = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class ArtStyle:
    """One style.

    `scattered(count, canvas, generator)` are paths anywhere, `at(centres, canvas, generator)` new ones at places. Of
    the first `moving` is optimised at `rates`, after a fit to a picture at `refining`. `count` is how many paths a
    drawing has if nobody says; `suffix` is what is published to be added to the text.
    """

    suffix: str
    count: int
    scattered: Callable[[int, Canvas, torch.Generator], Paths]
    at: Callable[[Centres, Canvas, torch.Generator], Paths] | None
    moving: frozenset[str]
    rates: LearningRates = FROM_SCRATCH
    refining: LearningRates = REFINING
    crossing: float = 0.01
    """Weight of the self-intersection loss."""
    saturation: float = 0.0
    """Weight of the saturation penalty."""

    def start(self, count: int, canvas: Canvas, generator: torch.Generator, like: Tensor) -> Drawing:
        """A drawing of `count` paths anywhere on white paper."""
        return self.drawing(self.scattered(count, canvas, generator), canvas, like)

    def drawing(self, paths: Paths, canvas: Canvas, like: Tensor) -> Drawing:
        """A drawing of some paths on white paper."""
        height, width = canvas
        shapes = tuple(paths.shapes(IDENTITY))
        document = Document(ViewBox(0.0, 0.0, float(width), float(height)), shapes)
        return Drawing(document, height, width, like, moving=self.moving, paper=WHITE)

    def renew(self, drawing: Drawing, canvas: Canvas, generator: torch.Generator, optimizer: Optimizer) -> int:
        """Start dead paths again somewhere; how many they were. Fills die by opacity and area, strokes by opacity.

        Paths that have their places by the style, a grid's, stay as they are.
        """
        if self.at is None:
            return 0
        area = polygon_area(drawing.paths) / scale_of(canvas) ** 2
        alive = torch.full_like(area, math.inf) if len(drawing.widths) else area
        rows = dead(drawing.colors.detach()[:, 3], alive).nonzero().squeeze(1)
        if len(rows):
            drawing.replace(rows, self.scattered(len(rows), canvas, generator), optimizer)
        return len(rows)


def polygon_area(points: Tensor) -> Tensor:
    """The area (...,) in square pixels that a closed contour's control polygon (..., P, 2) encloses, without a sign.

    By the shoelace formula, so the lobes of a figure of eight cancel: such a path counts as small.
    """
    # From the first point, because far from the origin the products would drown a small area.
    x, y = (points - points[..., :1, :]).unbind(-1)
    return 0.5 * (x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1).abs()


def dead(opacity: Tensor, area: Tensor, *, min_opacity: float = 0.05, min_area: float = 64.0) -> Tensor:
    """Which paths (N,) are too faint or too small to matter, from opacities (N,) in [0, 1] and areas (N,) in square
    pixels (VectorFusion, section 4.3 and table 2)."""
    return (opacity < min_opacity) | (area < min_area)


def scale_of(canvas: Canvas) -> float:
    """How much larger lengths are than on the published canvas."""
    return side_of(canvas) / CANVAS


def side_of(canvas: Canvas) -> float:
    """The side in pixels of a square as large."""
    return math.sqrt(canvas[0] * canvas[1])


def _blobs(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    points = random_closed(count, *canvas, generator, radius=20 * scale_of(canvas))
    return _painted(points, generator)


def _blobs_at(centres: Centres, canvas: Canvas, generator: torch.Generator) -> Paths:
    """Circles of LIVE's radius, 5 pixels of 240, or as large as what can be resolved.

    A measurement tells a small dot of a strong colour from a larger one of a weaker colour by nothing; once it is there
    it stays.
    """
    radius = max(5 / 240 * CANVAS * scale_of(canvas), centres.resolved)
    return Paths(circle(centres.points, radius, 4), _opaque(centres.colors))


def _triangles(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    points = random_polygons(anywhere(count, *canvas, generator), 60 * scale_of(canvas), generator)
    return _painted(points, generator)


def _triangles_at(centres: Centres, canvas: Canvas, generator: torch.Generator) -> Paths:
    radius = max(30 * scale_of(canvas), centres.resolved)
    return Paths(random_polygons(centres.points, radius, generator), _opaque(centres.colors))


def _squares(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    side = math.sqrt(canvas[0] * canvas[1] / count)
    rows, columns = (max(round(length / side), 1) for length in canvas)
    colors, _ = random_fills(rows * columns, generator)
    return Paths(pixel_grid(rows, columns, *canvas), _opaque(colors))


def _lines(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    points = random_strokes(count, *canvas, generator, segments=5, step=30 * scale_of(canvas))
    return Paths(points, _opaque(torch.zeros(count, 3)), torch.full((count,), 6 * scale_of(canvas)))


def _brushes(count: int, canvas: Canvas, generator: torch.Generator) -> Paths:
    points = random_strokes(count, *canvas, generator, segments=3, step=30 * scale_of(canvas))
    widths = (4 + 16 * torch.rand(count, generator=generator)) * scale_of(canvas)
    return _painted(points, generator, widths)


def _lines_at(centres: Centres, canvas: Canvas, generator: torch.Generator) -> Paths:
    lines = _lines(len(centres.points), canvas, generator)
    return lines._replace(points=_moved(lines.points, centres))


def _brushes_at(centres: Centres, canvas: Canvas, generator: torch.Generator) -> Paths:
    brushes = _brushes(len(centres.points), canvas, generator)
    return brushes._replace(points=_moved(brushes.points, centres), colors=_opaque(centres.colors))


def _moved(points: Tensor, centres: Centres) -> Tensor:
    return points - points.mean(1, keepdim=True) + centres.points[:, None]


def _painted(points: Tensor, generator: torch.Generator, widths: Tensor | None = None) -> Paths:
    colors, opacities = random_fills(len(points), generator)
    return Paths(points, torch.cat([colors, opacities[:, None]], 1), widths)


def _opaque(colors: Tensor) -> Tensor:
    return torch.cat([colors, torch.ones_like(colors[:, :1])], 1)


_ALL = frozenset({"points", "color", "background"})
ART_STYLES: dict[str, ArtStyle] = {
    "iconography": ArtStyle(
        ", minimal flat 2d vector icon. lineal color. on a white background. trending on artstation",
        count=128,
        scattered=_blobs,
        at=_blobs_at,
        moving=_ALL,
    ),
    "pixel art": ArtStyle(
        ", pixel art. trending on artstation",
        count=1024,
        scattered=_squares,
        at=None,
        moving=frozenset({"color"}),
        refining=PIXEL_ART,
        crossing=0.0,
        saturation=0.05,
    ),
    "sketch": ArtStyle(
        ", minimal 2d line drawing. trending on artstation",
        count=16,
        scattered=_lines,
        at=_lines_at,
        moving=frozenset({"points"}),
        crossing=0.0,
    ),
    "painting": ArtStyle(
        ", oil painting with visible brush strokes. trending on artstation",
        count=256,
        scattered=_brushes,
        at=_brushes_at,
        moving=_ALL | {"width"},
        crossing=0.0,
    ),
    "low-poly": ArtStyle(
        ", low-poly. trending on artstation",
        count=256,
        scattered=_triangles,
        at=_triangles_at,
        moving=_ALL,
        crossing=0.0,
    ),
}
"""By name. VectorFusion: iconography, pixel art and sketch; the numbers of the other two are ours.

Pixel art from nothing moves its colours at the rates of the others: at those published for it (`PIXEL_ART`) they could
change by a tenth at most, which is enough only after a fit.
"""

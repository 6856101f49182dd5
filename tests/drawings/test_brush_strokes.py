"""Painted starts: bounded, closer with more strokes, along the edges of the image."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.drawings.brush_strokes import painted
from dreamsampler.svg.document import Document, Stroke
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from support.tensors import psnr

HEIGHT, WIDTH = 60, 80


def halves() -> torch.Tensor:
    """White on the left of a slanted edge, dark green on the right."""
    y, x = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    left = (35 + y / 3 - x).clamp(0, 1)
    return torch.stack([left, 0.4 + 0.6 * left, left])


def image_of(document: Document) -> torch.Tensor:
    return rasterize([scene(document, HEIGHT, WIDTH)], torch.ones(1, 3))[0, :3].clamp(0, 1)


def pens(document: Document) -> list[Stroke]:
    strokes = [shape.stroke for shape in document.shapes()]
    assert all(shape.fill is None for shape in document.shapes())
    return [stroke for stroke in strokes if stroke]


@pytest.mark.parametrize("most", [1, 2, 10, 100])
def test_there_are_at_most_so_many_strokes(most: int):
    found = pens(painted(halves(), most))
    assert 1 <= len(found) <= most
    assert all(stroke.opacity == 1 for stroke in found)


def test_the_lowest_stroke_grounds_the_canvas():
    alone = image_of(painted(halves(), 1))
    assert alone == pytest.approx(halves().mean((1, 2))[:, None, None].expand_as(alone), abs=1e-4)


def test_more_strokes_come_closer_with_finer_brushes():
    paintings = [painted(halves(), most) for most in (1, 10, 40, 160)]
    quality = [psnr(image_of(each), halves()) for each in paintings]
    assert quality == sorted(quality)
    assert quality[-1] > quality[0] + 10
    widths = [min(stroke.width for stroke in pens(each)) for each in paintings]
    assert widths == sorted(widths, reverse=True)


def test_a_flat_image_is_one_stroke():
    assert len(pens(painted(torch.full((3, 30, 40), 0.4), 50))) == 1


def test_strokes_follow_edges():
    """Strokes that start near the edge run along it: 3 down for each pixel to the right."""
    lines = [shape.contours[0].points for shape in list(painted(halves(), 60).shapes())[1:]]
    long = [(line[-1].x - line[0].x, line[-1].y - line[0].y) for line in lines]
    along = [abs(x + 3 * y) / math.hypot(1, 3) / math.hypot(x, y) for x, y in long if math.hypot(x, y) > 12]
    assert len(along) >= 3
    assert sorted(along)[len(along) // 2] > 0.9


def test_no_stroke_starts_where_the_image_is_transparent():
    alpha = (torch.arange(WIDTH) > 50).float().expand(HEIGHT, WIDTH)
    document = painted(halves(), 60, alpha)
    covered = rasterize([scene(document, HEIGHT, WIDTH)])[0, 3]
    assert float(covered[:, 60:].mean()) > 0.95
    assert float(covered[:, :20].mean()) < 0.05


def test_strokes_end_at_the_border_of_the_canvas():
    """Along vertical stripes they go on into the first and the last row of pixels, and no further."""
    stripes = ((torch.arange(WIDTH) // 8) % 2).float().expand(3, HEIGHT, WIDTH)
    strokes = list(painted(stripes, 200).shapes())[1:]
    heights = [point.y for stroke in strokes for line in stroke.contours for point in line.points[::3]]
    assert 0 <= min(heights) < 0.25 and HEIGHT - 0.25 < max(heights) <= HEIGHT

"""Exact area coverage against areas of clipped polygons, and its derivative against finite differences."""

from __future__ import annotations

import pytest
import torch
from dreamsampler_pack.svg.raster.coverage import tiles, winding
from torch import Tensor

HEIGHT, WIDTH = 11, 14


def polygon(points: Tensor) -> Tensor:
    """Closed edges (N, 2, 2) through points (N, 2)."""
    return torch.stack((points, points.roll(-1, 0)), 1)


def canvas(*polygons: Tensor) -> Tensor:
    """Winding numbers (N, HEIGHT, WIDTH) of polygons given by their corners."""
    edges = torch.cat([polygon(points) for points in polygons])
    layers = torch.cat([torch.full((len(points),), n) for n, points in enumerate(polygons)])
    boxes = tiles(edges, layers, len(polygons), HEIGHT, WIDTH)
    buffer = winding(edges, layers, boxes)
    rows = []
    for n in range(len(polygons)):
        top, left, height, width = boxes.boxes[n]
        full = buffer.new_zeros(HEIGHT, WIDTH)
        if height:
            full = full.index_put(
                (torch.arange(top, top + height)[:, None], torch.arange(left, left + width)), boxes.view(buffer, n)
            )
        rows.append(full)
    return torch.stack(rows)


def clipped_area(points: list[tuple[float, float]], row: int, column: int) -> float:
    """Signed area of a polygon within a pixel, by Sutherland and Hodgman's clipping and the shoelace formula."""
    for axis, border, sign in ((0, column, 1), (0, column + 1, -1), (1, row, 1), (1, row + 1, -1)):
        kept = []
        for a, b in zip(points, points[1:] + points[:1]):
            inside_a, inside_b = sign * (a[axis] - border) >= 0, sign * (b[axis] - border) >= 0
            if inside_a:
                kept.append(a)
            if inside_a != inside_b:
                t = (border - a[axis]) / (b[axis] - a[axis])
                kept.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))
        points = kept
    return 0.5 * sum(b[0] * a[1] - a[0] * b[1] for a, b in zip(points, points[1:] + points[:1]))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("corners", [3, 4, 7])
def test_coverage_is_the_area_within_each_pixel(seed: int, corners: int):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(corners, 2, generator=generator, dtype=torch.float64) * 20 - 4
    if seed % 3 == 0:
        points = points.round()  # edges along the borders of pixels
    expected = [[clipped_area(points.tolist(), y, x) for x in range(WIDTH)] for y in range(HEIGHT)]
    assert canvas(points)[0] == pytest.approx(torch.tensor(expected, dtype=torch.float64), abs=1e-12)


def test_every_polygon_has_a_tile_of_its_own():
    generator = torch.Generator().manual_seed(0)
    polygons = [torch.rand(5, 2, generator=generator, dtype=torch.float64) * 18 - 3 for _ in range(9)]
    polygons.append(polygons[0] + 100)
    polygons.append(polygons[1] - 100)
    together, alone = canvas(*polygons), torch.cat([canvas(points) for points in polygons])
    assert torch.equal(together, alone)
    assert not together[-2:].any()


def test_single_precision_stays_tight_on_a_wide_canvas():
    points = torch.tensor([[0.3, 0.2], [4000.7, 30.1], [4010.2, 35.4], [2.5, 38.9]])
    edges = polygon(points)
    layers = torch.zeros(4, dtype=torch.long)
    boxes = tiles(edges, layers, 1, 40, 4096)
    single = boxes.view(winding(edges, layers, boxes), 0)
    double = boxes.view(winding(edges.double(), layers, boxes), 0)
    assert (single - double).abs().max() < 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_gradients_equal_finite_differences(seed: int):
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(6, 2, generator=generator, dtype=torch.float64) * 20 - 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: canvas(p), (points,), eps=1e-7, atol=1e-6)


def test_an_edge_on_the_border_of_pixels_follows_the_inside():
    """Where the shape can only grow or only shrink a pixel, the derivative is that of shrinking."""
    square = torch.tensor([[3.0, 2.0], [9.0, 2.0], [9.0, 7.0], [3.0, 7.0]], dtype=torch.float64, requires_grad=True)
    canvas(square)[0].abs().sum().backward()
    assert square.grad is not None
    expected = torch.tensor([[-2.5, -3.0], [2.5, -3.0], [2.5, 3.0], [-2.5, 3.0]], dtype=torch.float64)
    assert torch.allclose(square.grad, expected)

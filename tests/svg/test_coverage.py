"""Exact area coverage, compared with clipped polygons; its gradient, compared with finite differences."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.svg.raster.coverage import tile_layout, winding
from torch import Tensor

HEIGHT, WIDTH = 11, 14


def polygon(points: Tensor) -> Tensor:
    """The edges (N, 2, 2) of a polygon with corners (N, 2)."""
    return torch.stack((points, points.roll(-1, 0)), 1)


def canvas(*polygons: Tensor) -> Tensor:
    """Mean winding numbers (N, HEIGHT, WIDTH) of polygons given by their corners."""
    edges = torch.cat([polygon(points) for points in polygons])
    layers = torch.cat([torch.full((len(points),), n) for n, points in enumerate(polygons)])
    tiles = tile_layout(edges, layers, len(polygons), HEIGHT, WIDTH)
    buffer = winding(edges, layers, tiles)
    rows = []
    for n in range(len(polygons)):
        top, left, height, width = tiles.boxes[n]
        full = buffer.new_zeros(HEIGHT, WIDTH)
        if height:
            full = full.index_put(
                (torch.arange(top, top + height)[:, None], torch.arange(left, left + width)), tiles.view(buffer, n)
            )
        rows.append(full)
    return torch.stack(rows)


def clipped_area(points: list[tuple[float, float]], row: int, column: int) -> float:
    """Signed area of a polygon within a pixel: Sutherland-Hodgman clipping and the shoelace formula."""
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
        points = points.round()  # edges on pixel borders
    expected = [[clipped_area(points.tolist(), y, x) for x in range(WIDTH)] for y in range(HEIGHT)]
    assert canvas(points)[0] == pytest.approx(torch.tensor(expected, dtype=torch.float64), abs=1e-12)


def test_polygons_do_not_affect_each_other():
    generator = torch.Generator().manual_seed(0)
    polygons = [torch.rand(5, 2, generator=generator, dtype=torch.float64) * 18 - 3 for _ in range(9)]
    polygons.append(polygons[0] + 100)
    polygons.append(polygons[1] - 100)
    together, alone = canvas(*polygons), torch.cat([canvas(points) for points in polygons])
    assert torch.equal(together, alone)
    assert not together[-2:].any()


def test_float32_is_accurate_on_a_wide_canvas():
    points = torch.tensor([[0.3, 0.2], [4000.7, 30.1], [4010.2, 35.4], [2.5, 38.9]])
    edges = polygon(points)
    layers = torch.zeros(4, dtype=torch.long)
    tiles = tile_layout(edges, layers, 1, 40, 4096)
    single = tiles.view(winding(edges, layers, tiles), 0)
    double = tiles.view(winding(edges.double(), layers, tiles), 0)
    assert (single - double).abs().max() < 1e-3


CROSSING = {
    "left": [(-6.3, 2.2), (5.1, 3.7), (-4.8, 8.6)],
    "right": [(9.2, 2.4), (19.7, 4.9), (8.3, 7.6)],
    "top": [(3.4, -7.2), (9.3, -4.6), (6.2, 5.7)],
    "bottom": [(3.1, 15.3), (6.4, 4.2), (9.8, 19.4)],
    "corners": [(-3.2, 5.1), (6.9, -4.3), (17.4, 5.6), (7.3, 14.9)],
    "across a corner": [(-2.4, -3.1), (4.7, -1.2), (-1.3, 3.9)],
    "around": [(-30.2, -22.4), (41.3, -27.9), (37.8, 35.2), (-28.6, 31.7)],
    "through": [(-903.7, -411.2), (1204.9, 877.3), (1193.4, 890.8)],
    "vertical and horizontal": [(-8.0, 3.3), (6.4, 3.3), (6.4, -9.0), (21.0, -9.0), (21.0, 17.0), (-8.0, 17.0)],
    "on the borders": [(0.0, 4.3), (7.6, 0.0), (14.0, 6.1), (5.7, 11.0)],
    "outside left": [(-9.3, 2.1), (-2.2, 4.8), (-5.6, 9.4)],
    "outside right": [(16.3, 2.1), (25.2, 4.8), (17.6, 9.4)],
    "above": [(3.3, -8.1), (9.2, -2.8), (5.6, -3.4)],
    "below": [(3.3, 18.1), (9.2, 12.8), (5.6, 13.4)],
}
"""Polygons that extend beyond the canvas."""


@pytest.mark.parametrize("name", CROSSING)
def test_polygons_beyond_the_canvas_match_a_larger_canvas(name: str):
    points = torch.tensor(CROSSING[name], dtype=torch.float64, requires_grad=True)
    expected = [[clipped_area(CROSSING[name], y, x) for x in range(WIDTH)] for y in range(HEIGHT)]
    assert canvas(points)[0].detach() == pytest.approx(torch.tensor(expected, dtype=torch.float64), abs=1e-12)
    if name != "on the borders":
        assert torch.autograd.gradcheck(lambda p: canvas(p), (points,), eps=1e-7, atol=1e-6)


@pytest.mark.parametrize("size", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("seed", range(3))
def test_edges_with_distant_ends_are_clipped_exactly(seed: int, size: float):
    """In float64 up to rounding at `size`; in float32 up to rounding on the canvas, because corners stay in place."""
    generator = torch.Generator().manual_seed(seed)
    points = ((torch.rand(5, 2, generator=generator) - 0.5) * size).round()
    points[0] = torch.tensor([6.3, 4.8])
    expected = [[clipped_area(points.tolist(), y, x) for x in range(WIDTH)] for y in range(HEIGHT)]
    area = torch.tensor(expected, dtype=torch.float64)
    assert canvas(points.double())[0] == pytest.approx(area, abs=1e-14 * size + 1e-12)
    assert canvas(points)[0].double() == pytest.approx(area, abs=1e-5)


@pytest.mark.parametrize("kind, far", [(torch.float32, 1e20), (torch.float32, 1e38), (torch.float64, 1e300)])
def test_strip_of_any_length_covers_its_columns(kind: torch.dtype, far: float):
    strip = canvas(torch.tensor([[3.5, -far], [9.25, -far], [9.25, far], [3.5, far]], dtype=kind))[0].abs()
    expected = torch.tensor([0, 0, 0, 0.5, 1, 1, 1, 1, 1, 0.25, 0, 0, 0, 0], dtype=kind)
    assert torch.allclose(strip, expected.expand(HEIGHT, WIDTH))


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_gradients_of_distant_points_are_exact(size: float):
    """In float32, although the canvas covers only a small part of each edge."""
    corners = torch.tensor([[-0.31, -0.22], [0.71, 0.513], [0.72, 0.498]], dtype=torch.float64) * size
    single, double = (corners.to(kind).requires_grad_() for kind in (torch.float32, torch.float64))
    weight = torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for points in (single, double):
        (canvas(points)[0] * weight).sum().backward()
    assert single.grad is not None and double.grad is not None
    assert torch.allclose(single.grad.double(), double.grad, rtol=1e-4, atol=1e-4 * double.grad.abs().max().item())


def test_edges_outside_the_canvas_need_no_memory():
    """The number of pieces, and so the tensors saved for the backward pass, is that of nearby corners."""

    def saved_values(points: Tensor) -> int:
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            canvas(points.requires_grad_())
        return sum(sizes)

    near, far = (torch.tensor([[3.2, 4.1], [1, 0.53], [0.49, 1], [-1, 0.2], [0.3, -1]]) for _ in range(2))
    near[1:] *= 40
    far[1:] *= 1e6
    assert saved_values(far) < 2 * saved_values(near)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_non_finite_layer_covers_nothing(value: float):
    finite = torch.tensor([[2.3, 1.2], [9.8, 3.4], [5.1, 8.7]], requires_grad=True)
    non_finite = torch.tensor([[2.3, 1.2], [9.8, value], [5.1, 8.7]], requires_grad=True)
    coverage = canvas(non_finite, finite)
    assert not coverage[0].any()
    assert torch.equal(coverage[1:], canvas(finite))
    coverage.sum().backward()
    assert finite.grad is not None and finite.grad.isfinite().all()
    assert non_finite.grad is not None and not non_finite.grad.isfinite().all()


@pytest.mark.parametrize("seed", range(8))
def test_gradients_match_finite_differences(seed: int):
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(6, 2, generator=generator, dtype=torch.float64) * 20 - 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: canvas(p), (points,), eps=1e-7, atol=1e-6)


def test_gradient_of_an_edge_on_a_pixel_border_is_that_of_the_covered_pixel():
    """The two sides of the edge have different derivatives."""
    square = torch.tensor([[3.0, 2.0], [9.0, 2.0], [9.0, 7.0], [3.0, 7.0]], dtype=torch.float64, requires_grad=True)
    canvas(square)[0].abs().sum().backward()
    assert square.grad is not None
    expected = torch.tensor([[-2.5, -3.0], [2.5, -3.0], [2.5, 3.0], [-2.5, 3.0]], dtype=torch.float64)
    assert torch.allclose(square.grad, expected)


def test_gradient_of_an_edge_on_the_canvas_border_points_inward():
    """Even if its ends are outside: at the canvas border a rectangle can only shrink."""
    wide = torch.tensor([[-5, 0], [19, 0], [19, 11], [-5, 11]], dtype=torch.float64, requires_grad=True)
    high = torch.tensor([[0, -5], [14, -5], [14, 16], [0, 16]], dtype=torch.float64, requires_grad=True)
    canvas(wide, high).abs().sum().backward()
    assert wide.grad is not None and high.grad is not None
    assert torch.allclose(wide.grad[:, 1], torch.tensor([-7.0, -7.0, 7.0, 7.0], dtype=torch.float64))
    assert torch.allclose(high.grad[:, 0], torch.tensor([-5.5, 5.5, 5.5, -5.5], dtype=torch.float64))

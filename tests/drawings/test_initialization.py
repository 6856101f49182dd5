"""Initial paths, compared with geometry, SciPy's labels, and images with known regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from dreamsampler.drawings.initialization import (
    circle,
    component_centers,
    connected_components,
    pixel_grid,
    random_closed,
    random_fills,
    random_strokes,
    sparse_centers,
)
from support.clock import within
from support.tensors import generator
from torch import Tensor


def curve_points(points: Tensor, samples: int = 33) -> Tensor:
    """Points (..., n samples, 2) of a closed contour (..., 3n, 2), by de Casteljau's algorithm."""
    t = torch.linspace(0, 1, samples, dtype=points.dtype)[:, None]
    contour = torch.cat([points, points[..., :1, :]], -2)
    cubics = [contour[..., 3 * i : 3 * i + 4, :] for i in range(points.shape[-2] // 3)]
    pieces = []
    for cubic in cubics:
        level = [cubic[..., i : i + 1, :] for i in range(4)]
        while len(level) > 1:
            level = [(1 - t) * a + t * b for a, b in zip(level, level[1:])]
        pieces.append(level[0])
    return torch.cat(pieces, -2)


def shoelace(points: Tensor) -> Tensor:
    """Signed area, positive if clockwise on the screen (y down)."""
    x, y = points.unbind(-1)
    return 0.5 * (x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1)


@pytest.mark.parametrize("segments, error", [(2, 2e-2), (3, 1.6e-3), (4, 2.8e-4), (8, 5e-6)])
def test_circle_is_round(segments, error):
    center = torch.tensor([30.0, 50.0], dtype=torch.float64)
    points = circle(center, 20.0, segments)
    assert points.shape == (3 * segments, 2)
    radius = (curve_points(points) - center).norm(dim=-1)
    assert (radius / 20 - 1).abs().max() < error
    torch.testing.assert_close(points[0], center + torch.tensor([20.0, 0.0]))
    # Tangents are continuous: each end point is midway between its two handles.
    before, at, after = points.roll(1, 0)[::3], points[::3], points[1::3]
    torch.testing.assert_close(after - at, at - before)


def test_batched_circles_are_clockwise():
    centers = torch.tensor([[10.0, 20], [70, 40]], dtype=torch.float64)
    circles = circle(centers, 5.0, 4)
    assert circles.shape == (2, 12, 2)
    torch.testing.assert_close(
        shoelace(curve_points(circles)), torch.full((2,), math.pi * 25).double(), rtol=2e-3, atol=0
    )
    torch.testing.assert_close(circles.mean(1), centers)


def test_circle_of_one_cubic_raises_an_error():
    with pytest.raises(ValueError, match="2 segments"):
        circle(torch.zeros(2), 1.0, 1)


def test_random_closed_paths_are_jittered_circles_across_the_canvas():
    points = random_closed(3000, 100, 300, generator(), segments=4, radius=20.0, jitter=0.2)
    assert points.shape == (3000, 12, 2) and points.dtype == torch.float32
    centers = points.mean(1)
    torch.testing.assert_close(centers.mean(0), torch.tensor([150.0, 50.0]), rtol=0, atol=6)
    torch.testing.assert_close(centers.std(0), torch.tensor([300.0, 100.0]) / math.sqrt(12), rtol=0.05, atol=0)
    moved = points - circle(centers, 20.0, 4)
    assert 3.5 < moved.abs().max() < 4 + 4
    plain = random_closed(50, 100, 300, generator(), jitter=0.0)
    torch.testing.assert_close(plain, circle(plain.mean(1), 20.0, 4), rtol=0, atol=1e-3)


def test_random_strokes_are_random_walks():
    points = random_strokes(2000, 100, 300, generator(), segments=2, step=15.0)
    assert points.shape == (2000, 7, 2)
    assert (points[:, 0] >= 0).all() and (points[:, 0] <= torch.tensor([300, 100])).all()
    steps = points.diff(dim=1)
    assert steps.abs().max() <= 15 + 1e-4
    torch.testing.assert_close(steps.std((0, 1)), torch.full((2,), 15 / math.sqrt(3)), rtol=0.02, atol=0)
    assert steps.mean().abs() < 0.3


def test_random_fills_are_visible():
    color, opacity = random_fills(5000, generator())
    assert color.shape == (5000, 3) and opacity.shape == (5000,)
    assert 0 <= color.min() and color.max() <= 1 and 0.7 <= opacity.min() and opacity.max() <= 1
    torch.testing.assert_close(color.mean(0), torch.full((3,), 0.5), rtol=0, atol=0.02)
    assert opacity.mean().item() == pytest.approx(0.85, abs=0.005)


@pytest.mark.parametrize("draw", [random_closed, random_strokes])
def test_paths_depend_only_on_the_seed(draw):
    assert torch.equal(draw(4, 50, 60, generator(1)), draw(4, 50, 60, generator(1)))
    assert not torch.equal(draw(4, 50, 60, generator(1)), draw(4, 50, 60, generator(2)))


def test_pixel_grid_tiles_the_canvas():
    squares = pixel_grid(4, 6, 80, 90)
    assert squares.shape == (24, 12, 2)
    low, high = squares.amin(1), squares.amax(1)
    torch.testing.assert_close(low[0], torch.zeros(2))
    torch.testing.assert_close(low[1], torch.tensor([15.0, 0]))
    torch.testing.assert_close(low[6], torch.tensor([0.0, 20]))
    torch.testing.assert_close(high[-1], torch.tensor([90.0, 80]))
    torch.testing.assert_close(shoelace(curve_points(squares)), torch.full((24,), 300.0))
    # With handles at the thirds, each cubic follows its side at constant speed.
    torch.testing.assert_close(squares[0, :4, 0], torch.tensor([0.0, 5, 10, 15]))


def spiral(size: int) -> Tensor:
    """A spiral of width 1 with gaps of width 1."""
    levels = torch.zeros(size, size, dtype=torch.long)
    for ring in range(0, size // 2, 2):
        levels[ring, max(ring - 2, 0) : size - ring] = 1
        levels[ring : size - ring, size - 1 - ring] = 1
        levels[size - 1 - ring, ring : size - ring] = 1
        levels[ring + 2 : size - ring, ring] = 1
    return levels


def snake(size: int) -> Tensor:
    """One region that runs along every second column and turns at the ends."""
    levels = torch.zeros(size, size, dtype=torch.long)
    levels[:, ::2] = 1
    levels[0, 1::4] = levels[-1, 3::4] = 1
    return levels


def noise(size: int, levels: int) -> Tensor:
    return torch.randint(levels, (size, size + 3), generator=generator(levels))


MAPS = {
    "sparse": (noise(60, 5) == 0).long(),
    "percolating": (noise(60, 10) < 6).long(),
    "two levels": noise(60, 2) + 1,
    "four levels": noise(60, 4),
    "empty": torch.zeros(5, 7, dtype=torch.long),
    "full": torch.ones(5, 7, dtype=torch.long),
    "one row": noise(60, 3)[:1],
    "one column": noise(60, 3)[:, :1],
    "spiral": spiral(65),
    "snake": snake(64),
    "transposed snake": snake(64).mT,
}


def scipy_labels(levels: Tensor) -> np.ndarray:
    """SciPy's labels. SciPy labels binary masks, so each level is labeled separately."""
    labels, count = np.zeros(levels.shape, int), 0
    for level in levels.unique().tolist():
        if level > 0:
            of_level, found = scipy.ndimage.label(levels.numpy() == level)  # pyright: ignore
            labels[of_level > 0] = of_level[of_level > 0] + count
            count += found
    return labels


@pytest.mark.parametrize("levels", MAPS.values(), ids=MAPS)
def test_components_match_scipy(levels):
    expected, actual = scipy_labels(levels), connected_components(levels).numpy()
    pairs = set(zip(expected.ravel().tolist(), actual.ravel().tolist()))
    # The labels map one to one, 0 to 0, and have no gaps.
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert all((a == 0) == (b == 0) for a, b in pairs)
    assert set(np.unique(actual)) | {0} == set(range(actual.max() + 1))


@pytest.mark.parametrize("levels", [spiral(513), snake(512), snake(512).mT, noise(512, 2) + 1, noise(512, 200)])
def test_components_of_a_large_image_are_fast(levels):
    within(1.5, lambda: connected_components(levels))


WHITE = torch.ones(3, 60, 80)


def white_with(*rectangles: tuple[slice, slice, tuple[float, float, float]]) -> Tensor:
    """A white image with rectangles."""
    image = WHITE.clone()
    for rows, columns, color in rectangles:
        image[:, rows, columns] = torch.tensor(color)[:, None, None]
    return image


RED, BLUE, FAINT = (0.9, 0.1, 0.2), (0.0, 0.2, 1.0), (0.9, 0.9, 0.9)


def test_centers_are_those_of_the_largest_regions_in_order():
    target = white_with(
        (slice(5, 16), slice(10, 31), RED),
        (slice(30, 55), slice(40, 75), BLUE),
        (slice(40, 60), slice(0, 30), FAINT),
        (slice(20, 23), slice(2, 5), RED),
    )
    centers = component_centers(WHITE, target, 3, generator())
    torch.testing.assert_close(centers.points, torch.tensor([[57.5, 42.5], [20.5, 10.5], [3.5, 21.5]]))
    torch.testing.assert_close(centers.colors, torch.tensor([BLUE, RED, RED]))


def test_level_with_the_most_pixels_comes_before_the_largest_region():
    """Four red squares of 100 pixels have more pixels than one blue square of 225."""
    squares = [(slice(r, r + 10), slice(c, c + 10), RED) for r in (0, 20) for c in (0, 20)]
    target = white_with(*squares, (slice(40, 55), slice(60, 75), BLUE))
    centers = component_centers(WHITE, target, 5, generator())
    # Red, until blue has more pixels left; then the last two red squares.
    assert [tuple(round(v, 1) for v in color) for color in centers.colors.tolist()] == [RED, RED, BLUE, RED, RED]


def test_center_of_a_ring_is_on_the_ring():
    target = white_with((slice(10, 50), slice(20, 60), RED), (slice(15, 45), slice(25, 55), (1.0, 1.0, 1.0)))
    centers = component_centers(WHITE, target, 1, generator())
    torch.testing.assert_close(centers.colors, torch.tensor([RED]))


def test_faint_errors_come_before_random_positions():
    target = white_with((slice(5, 16), slice(10, 31), RED), (slice(30, 51), slice(30, 51), FAINT))
    centers = component_centers(WHITE, target, 2, generator())
    torch.testing.assert_close(centers.points, torch.tensor([[20.5, 10.5], [40.5, 40.5]]))


def test_invisible_errors_get_random_positions():
    target = white_with((slice(30, 51), slice(30, 51), (0.99, 0.99, 0.99)))
    random = component_centers(WHITE, WHITE, 3, generator())
    assert torch.equal(component_centers(WHITE, target, 3, generator()).points, random.points)


@pytest.mark.parametrize("start", [component_centers, sparse_centers])
def test_positions_without_an_error_are_random_and_seeded(start):
    target = torch.rand(3, 60, 80, generator=generator())
    centers = start(target, target, 300, generator(1))
    assert torch.equal(centers.points, start(target, target, 300, generator(1)).points)
    columns, rows = (centers.points - 0.5).long().unbind(1)
    assert torch.equal(centers.colors, target[:, rows, columns].mT)
    assert centers.points[:, 0].max() > 70 and centers.points[:, 1].max() > 50 and centers.points.min() < 5


@pytest.mark.parametrize("start", [component_centers, sparse_centers])
def test_single_wrong_pixel_is_found(start):
    target = white_with((slice(17, 18), slice(33, 34), RED))
    centers = start(WHITE, target, 2, generator())
    torch.testing.assert_close(centers.points[0], torch.tensor([33.5, 17.5]))
    torch.testing.assert_close(centers.colors[1], torch.ones(3))


@pytest.mark.parametrize("start", [component_centers, sparse_centers])
def test_zero_centers(start):
    centers = start(WHITE, 1 - WHITE, 0, generator())
    assert centers.points.shape == (0, 2) and centers.colors.shape == (0, 3)


def test_images_are_not_modified():
    rendered, target = WHITE.clone(), white_with((slice(5, 16), slice(10, 31), RED))
    before = target.clone()
    component_centers(rendered.requires_grad_(), target, 2, generator())
    assert torch.equal(target, before) and torch.equal(rendered.detach(), WHITE)


def test_centers_of_a_noisy_image_are_fast():
    rendered, target = (torch.rand(3, 512, 512, generator=generator(i)) for i in range(2))
    for centers in (component_centers, sparse_centers):
        within(2, lambda centers=centers: centers(rendered, target, 16, generator()))


def test_sparse_centers_are_far_apart():
    """All pixels of a frame have the same error, so the first four centers are the corners."""
    target = white_with((slice(10, 50), slice(20, 60), RED))
    target[:, 11:49, 21:59] = 1
    centers = sparse_centers(WHITE, target, 4, generator())
    corners = {(x, y) for x, y in centers.points.tolist()}
    assert corners == {(20.5, 10.5), (59.5, 49.5), (59.5, 10.5), (20.5, 49.5)}
    torch.testing.assert_close(centers.colors, torch.tensor([RED] * 4))


def test_sparse_centers_start_at_the_largest_error():
    target = white_with((slice(10, 50), slice(20, 60), FAINT), (slice(33, 34), slice(44, 45), BLUE))
    assert sparse_centers(WHITE, target, 1, generator()).points.tolist() == [[44.5, 33.5]]

"""Tracing by regions: known shapes are found again, with few opaque paths and no gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dreamsampler.drawings.regions import traced
from dreamsampler.drawings.regions.contours import chains
from dreamsampler.drawings.regions.curves import fitted
from dreamsampler.drawings.regions.layers import side_by_side, stacked
from dreamsampler.drawings.regions.segmentation import segmented
from dreamsampler.svg.cubics import bounds
from dreamsampler.svg.document import Color, Contour, Document, Fill, LinearGradient, Paint, Point, Shape, Stop, ViewBox
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from support.tensors import psnr

SIDE = 96
CARD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">
  <rect x="10.3" y="12.6" width="70.2" height="60.5" fill="#e0e0f0"/>
  <circle cx="40.4" cy="44.7" r="20.3" fill="#c02020"/>
  <path d="M40 30 54.5 56 28 55.5Z" fill="#ffd040"/>
</svg>"""


def image_of(document: Document, side: int = SIDE) -> torch.Tensor:
    return rasterize([scene(document, side, side)], torch.ones(1, 3))[0, :3].clamp(0, 1)


def paint_of(shape: Shape) -> Paint:
    assert shape.fill
    assert shape.fill.opacity == 1
    return shape.fill.paint


@pytest.fixture(scope="module")
def card() -> torch.Tensor:
    return image_of(parse(CARD).document)


def test_a_drawing_is_found_again(card: torch.Tensor):
    found = list(traced(card, 32).shapes())
    assert [paint_of(shape) for shape in found] == [
        pytest.approx(color, abs=0.01)
        for color in [(1, 1, 1), (0.878, 0.878, 0.941), (0.753, 0.125, 0.125), (1, 0.816, 0.251)]
    ]
    assert all(len(shape.contours) == 1 for shape in found)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("place", [0, 8])
def test_an_image_without_colors_everywhere_is_refused(value: float, place: int):
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    image[1, place, place] = value
    with pytest.raises(ValueError, match="contains NaN or infinite values"):
        traced(image, 8)


def test_edges_are_where_they_were_within_a_pixel(card: torch.Tensor):
    _, rectangle, circle, triangle = traced(card, 32).shapes()
    assert bounds(rectangle.contours) == pytest.approx((10.3, 12.6, 70.2, 60.5), abs=0.1)
    assert bounds(circle.contours) == pytest.approx((20.1, 24.4, 40.6, 40.6), abs=0.3)
    corners = sorted((point.x, point.y) for point in triangle.contours[0].points[::3])
    assert np.array(corners) == pytest.approx(np.array([(28, 55.5), (40, 30), (54.5, 56)]), abs=0.3)


def test_straight_sides_are_straight_and_circles_few_curves(card: torch.Tensor):
    _, rectangle, circle, triangle = traced(card, 32).shapes()
    assert [len(shape.contours[0].points) // 3 for shape in (rectangle, triangle)] == [4, 3]
    assert len(circle.contours[0].points) // 3 <= 6


def test_the_drawing_looks_like_the_image(card: torch.Tensor):
    assert psnr(image_of(traced(card, 32)), card) > 38


@pytest.mark.parametrize("most", [1, 2, 3])
def test_there_are_at_most_so_many_shapes(card: torch.Tensor, most: int):
    assert len(list(traced(card, most).shapes())) == most


def test_specks_are_left_out(card: torch.Tensor):
    speckled = card.clone()
    speckled[:, 5:7, 5:7] = 0
    speckled[:, 40, 50] = 0
    assert len(list(traced(speckled, 32).shapes())) == 4
    assert len(list(traced(speckled, 32, smallest=0).shapes())) > 4


def test_a_linear_gradient_is_one_shape():
    stops = (Stop(0.0, Color(0.9, 0.2, 0.1)), Stop(1.0, Color(0.1, 0.3, 0.8)))
    corners = [(8, 20), (88, 20), (88, 76), (8, 76)]
    outline = Contour(tuple(Point(*p) for a, b in zip(corners, corners[1:] + corners[:1]) for p in _side(a, b)), True)
    document = Document(
        ViewBox(0, 0, SIDE, SIDE), (Shape((outline,), Fill(LinearGradient(Point(8, 20), Point(88, 20), stops))),)
    )
    image = image_of(document)
    found = traced(image, 32)
    _, shape = found.shapes()
    gradient = paint_of(shape)
    assert isinstance(gradient, LinearGradient)
    assert (gradient.start.y, gradient.end.y) == pytest.approx((48, 48), abs=0.5)
    slope = (gradient.stops[1].color.red - gradient.stops[0].color.red) / (gradient.end.x - gradient.start.x)
    assert slope == pytest.approx(-0.8 / 80, rel=0.02)
    assert psnr(image_of(found), image) > 38
    flat = list(traced(image, 32, ramps=False).shapes())
    assert len(flat) > 2
    assert not any(isinstance(paint_of(shape), LinearGradient) for shape in flat)


def _side(a: tuple[float, float], b: tuple[float, float]) -> list[tuple[float, float]]:
    return [(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for t in (0, 1 / 3, 2 / 3)]


def test_stacked_shapes_leave_no_gaps(card: torch.Tensor):
    document = traced(card, 32)
    transparent = rasterize([scene(document, SIDE, SIDE)])[0, 3]
    assert float(transparent.min()) > 1 - 1e-5


def test_shapes_side_by_side_do_not_overlap(card: torch.Tensor):
    document = traced(card, 32, overlapping=False)
    alone = [Document(document.view_box, (shape,)) for shape in document.shapes()]
    covered = rasterize([scene(each, SIDE, SIDE) for each in alone])[:, 3].sum(0)
    assert float((covered - 1).abs().mean()) < 0.01
    assert len([c for shape in document.shapes() for c in shape.contours]) == 7  # three of four have one hole each


def test_transparent_pixels_have_no_shape(card: torch.Tensor):
    rows = torch.arange(SIDE)[:, None].expand(SIDE, SIDE)
    alpha = (rows < 60).float()
    document = traced(card, 32, alpha=alpha)
    covered = rasterize([scene(document, SIDE, SIDE)])[0, 3]
    assert psnr(covered[None], alpha[None]) > 30


def test_a_flat_image_is_one_rectangle():
    (shape,) = traced(torch.full((3, 20, 30), 0.25), 8).shapes()
    assert bounds(shape.contours) == pytest.approx((0, 0, 30, 20))
    assert paint_of(shape) == pytest.approx((0.25, 0.25, 0.25))


def test_noise_is_bounded_too():
    noise = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert 1 <= len(list(traced(noise, 20).shapes())) <= 20


@pytest.mark.parametrize("most", [24, 23, 13, 5, 2, 1])
def test_fewer_regions_than_there_are_colors_are_as_many_as_allowed(most: int):
    """A board of 25 colors, all equally different from their neighbors, so that many pairs could merge at once."""
    board = torch.tensor([[(3 * row + 2 * column) % 5 for column in range(5)] for row in range(5)]) / 4.0
    image = board.repeat_interleave(12, 0).repeat_interleave(12, 1)[..., None].expand(-1, -1, 3).numpy()
    assert segmented(image, most, scale=0.01).labels.max() + 1 == most


def test_regions_cost_what_the_functional_says():
    """Two halves merge exactly when n / 2 |c1 - c2|^2 / 2 is below scale times their border."""
    image = np.zeros((10, 20, 3))
    image[:, 10:] = 0.09
    threshold = 100 * 100 / 200 * 3 * 0.09**2 / 10
    for scale, count in ((0.99 * threshold, 2), (1.01 * threshold, 1)):
        assert segmented(image, 10, scale=scale, ramps=False).labels.max() + 1 == count


def test_chains_run_around_sets_and_holes():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    outer, hole = sorted(chains(mask), key=lambda chain: -len(chain.middles))
    assert (len(outer.middles), len(hole.middles)) == (20, 4)
    assert _area(outer.middles) > 0 > _area(hole.middles)
    inside = hole.middles - hole.normals / 2
    assert all(mask[int(y), int(x)] for x, y in inside)


def test_pixels_that_touch_at_a_corner_are_apart():
    assert [len(chain.middles) for chain in chains(np.eye(3, dtype=bool))] == [4, 4, 4]


def _area(points: np.ndarray) -> float:
    """Twice the signed area; positive runs clockwise on the screen."""
    x, y = points.T
    return float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum())


@pytest.mark.parametrize("radius", [3.0, 10.0, 40.0])
def test_circles_are_fitted_within_the_tolerance(radius: float):
    angle = np.linspace(0, 2 * np.pi, max(round(2 * np.pi * radius), 12), endpoint=False)
    circle = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    cubics = fitted(circle, np.full(len(circle), 0.1))
    times = np.linspace(0, 1, 20)[:, None, None]
    curve = sum(
        w * cubics[None, :, k]
        for k, w in enumerate([(1 - times) ** 3, 3 * (1 - times) ** 2 * times, 3 * (1 - times) * times**2, times**3])
    )
    assert abs(np.linalg.norm(curve, axis=-1) - radius).max() < 0.15
    assert np.array_equal(cubics[:, 3], np.roll(cubics[:, 0], -1, 0))
    assert len(cubics) <= 8


def test_every_visible_edge_belongs_to_the_higher_shape():
    labels = np.zeros((20, 20), np.int64)
    labels[5:15, 5:15] = 1
    labels[8:12, 10:18] = 2
    layers = {layer.region: layer for layer in stacked(labels, np.zeros(3, bool))}
    assert layers[0].mask.all()
    for region in (1, 2):
        layer = layers[region]
        height, width = layer.mask.shape
        under = labels[layer.row : layer.row + height, layer.column : layer.column + width]
        assert (layer.mask >= (under == region)).all()
        assert set(under[layer.mask]) <= {region, 2}
    assert sum(layer.mask.sum() for layer in side_by_side(labels, np.zeros(3, bool))) == 400


def test_more_shapes_allow_finer_detail():
    """A faint square of 4 x 4 pixels is detail among many shapes, and noise among few."""
    image = torch.full((3, 48, 48), 0.5)
    image[:, 20:24, 20:24] += 0.06
    assert [len(list(traced(image, most).shapes())) for most in (64, 1000)] == [1, 2]

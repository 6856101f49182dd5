"""Flattened curves: accuracy and number of edges."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from dreamsampler.svg.raster.coverage import tile_layout, winding
from dreamsampler.svg.raster.flattening import (
    MAX_EDGES,
    SPLIT_ABOVE,
    TOLERANCE,
    Flattened,
    bernstein,
    flatten,
    flatten_within,
    ragged_arange,
)
from torch import Tensor

SIZE = 24
WINDOW = torch.tensor([[[0, 0], [SIZE, SIZE]]], dtype=torch.float64)


def outlines(count: int, size: float, seed: int) -> Tensor:
    """Cubics (3 count, 4, 2) of closed outlines, with one point on the canvas and the others up to `size` away."""
    generator = torch.Generator().manual_seed(seed)
    points = (torch.rand(count, 9, 2, generator=generator, dtype=torch.float64) - 0.5) * size + SIZE / 2
    points[:, 0] = torch.rand(count, 2, generator=generator, dtype=torch.float64) * SIZE
    return points[:, [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 0]]].flatten(0, 1)


def images(flat: Flattened, count: int) -> Tensor:
    """Mean winding numbers (count, SIZE, SIZE) of the outlines."""
    layers = flat.curve // 3
    tiles = tile_layout(flat.edges, layers, count, SIZE, SIZE)
    buffer = winding(flat.edges, layers, tiles)
    whole = buffer.new_zeros(count, SIZE, SIZE)
    for n, (top, left, height, width) in enumerate(tiles.boxes):
        whole[n, top : top + height, left : left + width] = tiles.view(buffer, n)
    return whole


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [60, 3000, 30000])
def test_coarse_outlines_look_the_same_on_the_canvas(seed: int, size: float):
    cubics = outlines(6, size, seed)
    fine, coarse = flatten(cubics), flatten_within(cubics, WINDOW)
    difference = (images(fine, 6) - images(coarse, 6)).abs()
    assert difference.max() < 4 * TOLERANCE
    assert len(coarse.edges) <= len(fine.edges)


def test_curves_of_any_size_need_few_edges():
    for size in (1e5, 1e7, 1e9, 1e12):
        assert len(flatten_within(outlines(6, size, 0), WINDOW).edges) < 18 * SPLIT_ABOVE
        assert len(flatten_within(outlines(6, size, 0).float(), WINDOW).edges) < 18 * SPLIT_ABOVE


def test_too_many_edges_raise_an_error():
    with pytest.raises(ValueError, match=r"need [\d,]+ edges on this canvas; the limit is 8,000,000. Simplify"):
        flatten_within(outlines(6, 1e6, 0).repeat(400, 1, 1), WINDOW * 1e5)


def test_curves_can_have_their_own_windows():
    cubics = outlines(1, 3000, 0)[:2]
    low, high = cubics.amin(1), cubics.amax(1)
    seen = torch.stack((torch.stack((high[0] + 1, high[0] + 2)), torch.stack((low[1], high[1]))))
    flat = flatten_within(cubics, seen)
    assert (flat.curve == 0).sum() == 1
    assert (flat.curve == 1).sum() >= SPLIT_ABOVE


def test_splitting_stops_at_the_limit_of_precision():
    assert len(flatten_within(outlines(6, 1e25, 0).float(), WINDOW).edges) < 18 * 2 * MAX_EDGES


def test_edges_join_exactly():
    for flat in (flatten(outlines(4, 3e4, 0).float()), flatten_within(outlines(4, 3e6, 0).float(), WINDOW)):
        for curve in range(12):
            t, edges = flat.t[flat.curve == curve], flat.edges[flat.curve == curve]
            order = t[:, 0].argsort()
            t, edges = t[order], edges[order]
            assert t[0, 0] == 0 and t[-1, 1] == 1
            assert torch.equal(t[1:, 0], t[:-1, 1])
            assert torch.equal(edges[1:, 0], edges[:-1, 1])


@pytest.mark.parametrize("size", [3, 60, 3000])
def test_edges_stay_within_the_tolerance_of_their_curve(size: float):
    cubics = outlines(4, size, 1)
    flat = flatten(cubics)
    middle = (bernstein(flat.t.mean(1, keepdim=True)) @ cubics[flat.curve])[:, 0]
    assert (flat.edges.mean(1) - middle).norm(dim=1).max() < TOLERANCE


SMALL = 1e-6
"""A scale at which one edge is within the tolerance of a curve."""
TURNS = {
    "straight": ([(0, 0), (1, 0), (2, 0), (3, 0)], 0.0),
    "an arch": ([(0, 0), (0, 1), (1, 1), (1, 0)], math.pi),
    "an S, whose turns do not cancel": ([(0, 0), (0, 1), (1, 1), (1, 2)], math.pi),
    "there and back and there": ([(0, 0), (2, 0), (1, 0), (3, 0)], 2 * math.pi),
    "an eighth and a quarter": ([(0, 0), (1, 0), (2, 1), (1, 2)], 3 / 4 * math.pi),
}


@pytest.mark.parametrize("shape", TURNS)
def test_a_curve_gets_an_edge_for_each_multiple_of_the_angle_it_turns_by(shape: str):
    points, turn = TURNS[shape]
    cubic, angle = torch.tensor([points], dtype=torch.float64), torch.tensor([math.pi / 5.5], dtype=torch.float64)
    edges = max(math.ceil(5.5 * turn / math.pi), 1)
    assert len(flatten_within(SMALL * cubic, WINDOW, angle).edges) == edges
    assert len(flatten_within(SMALL * cubic, WINDOW).edges) == 1


def test_the_angle_is_that_of_the_control_polygon():
    cubics = outlines(40, 60, 4)
    angles = torch.linspace(0.05, 1, len(cubics), dtype=torch.float64)
    legs = torch.view_as_complex(cubics.diff(dim=1)).tolist()
    turns = [abs(cmath.phase(b / a)) + abs(cmath.phase(c / b)) for a, b, c in legs]
    expected = [math.ceil(turn / angle) for turn, angle in zip(turns, angles.tolist(), strict=True)]
    flat = flatten_within(SMALL * (cubics - cubics.mean(1, keepdim=True)) + 1, WINDOW, angles)
    assert flat.curve.bincount().tolist() == expected


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 3e38])
def test_non_finite_curves_have_few_edges_and_do_not_affect_others(value: float):
    cubics = outlines(2, 60, 0).float()
    alone = flatten(cubics[3:])
    cubics[0, 2, 1] = value
    for flat in (flatten(cubics), flatten_within(cubics, WINDOW)):
        assert len(flat.edges[flat.curve == 0]) <= MAX_EDGES
        assert torch.equal(flat.edges[flat.curve >= 3], alone.edges)


def test_ragged_arange():
    row, column = ragged_arange(torch.tensor([2, 0, 1]))
    assert (row.tolist(), column.tolist()) == ([0, 0, 2], [0, 1, 0])

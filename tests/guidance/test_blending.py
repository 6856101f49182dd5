"""The membrane in a hole against a dense solution of Laplace's equation."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.restoration.blending import membrane
from torch import Tensor

GENERATOR = torch.Generator().manual_seed(4)


def rectangle(height: int, width: int, *sides: slice) -> Tensor:
    hole = torch.zeros(1, 1, height, width, dtype=torch.float64)
    hole[..., sides[0], sides[1]] = 1
    return hole


HOLES = {
    "inside": rectangle(24, 30, slice(5, 16), slice(7, 22)),
    "at the border": rectangle(21, 33, slice(0, 9), slice(20, 33)),
    "thin": rectangle(40, 18, slice(19, 20), slice(0, 18)),
    "scattered": (torch.rand(1, 1, 26, 26, generator=GENERATOR, dtype=torch.float64) > 0.5).double(),
    "all but a pixel": 1 - rectangle(18, 18, slice(3, 4), slice(5, 6)),
}


def dense(values: Tensor, hole: Tensor) -> Tensor:
    """Each pixel of the hole is the mean of its neighbors (C, H, W), by a linear system."""
    height, width = hole.shape[-2:]
    inside = [(i, j) for i in range(height) for j in range(width) if hole[0, 0, i, j]]
    places = {place: n for n, place in enumerate(inside)}
    matrix, rhs = torch.zeros(len(inside), len(inside), dtype=torch.float64), values.new_zeros(len(inside), len(values))
    for (i, j), n in places.items():
        for near in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= near[0] < height and 0 <= near[1] < width:
                matrix[n, n] += 1
                if near in places:
                    matrix[n, places[near]] -= 1
                else:
                    rhs[n] += values[:, near[0], near[1]]
    filled = values.clone()
    for (i, j), value in zip(inside, torch.linalg.solve(matrix, rhs)):
        filled[:, i, j] = value
    return filled


@pytest.mark.parametrize("name", HOLES)
def test_the_membrane_solves_laplaces_equation(name: str):
    hole = HOLES[name]
    values = torch.randn(2, 3, *hole.shape[-2:], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    film = membrane(values, hole)
    assert torch.equal(film * (1 - hole), values * (1 - hole))
    for index in range(2):
        torch.testing.assert_close(film[index], dense(values[index], hole), rtol=0, atol=2e-2)


@pytest.mark.parametrize("name", HOLES)
def test_values_in_the_hole_do_not_matter_and_a_plane_continues(name: str):
    hole = HOLES[name]
    level = torch.full((1, 3, *hole.shape[-2:]), 0.7, dtype=torch.float64)
    torch.testing.assert_close(membrane(level * (1 - hole) + 100 * hole, hole), level, rtol=0, atol=2e-3)


def test_each_item_has_its_own_hole():
    holes = torch.cat([rectangle(32, 32, slice(4, 12), slice(4, 20)), rectangle(32, 32, slice(9, 30), slice(11, 13))])
    values = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    film = membrane(values, holes)
    for index in range(2):
        alone = membrane(values[index : index + 1], holes[index : index + 1])
        torch.testing.assert_close(film[index : index + 1], alone)


def test_an_image_without_known_pixels_is_zero():
    holes = torch.cat([torch.ones(1, 1, 20, 20), rectangle(20, 20, slice(2, 5), slice(2, 5)).float()])
    film = membrane(torch.ones(2, 3, 20, 20), holes)
    assert not film[0].any()
    torch.testing.assert_close(film[1], torch.ones(3, 20, 20), rtol=0, atol=2e-3)


def test_large_holes_take_few_iterations():
    # Coarse to fine: only short waves are left to the finest level, so few iterations suffice for large images.
    hole = rectangle(256, 256, slice(20, 230), slice(20, 230)).float()
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 256, 256)
    torch.testing.assert_close(membrane(ramp * (1 - hole), hole), ramp, rtol=0, atol=0.02)

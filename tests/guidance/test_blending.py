"""The membrane in a hole against a dense solution of Laplace's equation."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.restoration.blending import REACH, membrane, spliced
from support.tensors import normal, uniform
from torch import Tensor


def rectangle(height: int, width: int, *sides: slice) -> Tensor:
    hole = torch.zeros(1, 1, height, width, dtype=torch.float64)
    hole[..., sides[0], sides[1]] = 1
    return hole


HOLES = {
    "inside": rectangle(24, 30, slice(5, 16), slice(7, 22)),
    "at the border": rectangle(21, 33, slice(0, 9), slice(20, 33)),
    "thin": rectangle(40, 18, slice(19, 20), slice(0, 18)),
    "scattered": (uniform(1, 1, 26, 26, seed=4) > 0.5).double(),
    "all but one pixel": 1 - rectangle(18, 18, slice(3, 4), slice(5, 6)),
}


def dense_solution(values: Tensor, hole: Tensor) -> Tensor:
    """Fill the hole of one image (C, H, W) by solving Laplace's equation as a dense linear system."""
    height, width = hole.shape[-2:]
    pixels = [(i, j) for i in range(height) for j in range(width) if hole[0, 0, i, j]]
    index_of = {place: n for n, place in enumerate(pixels)}
    matrix, rhs = torch.zeros(len(pixels), len(pixels), dtype=torch.float64), values.new_zeros(len(pixels), len(values))
    for (i, j), n in index_of.items():
        for neighbor in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= neighbor[0] < height and 0 <= neighbor[1] < width:
                matrix[n, n] += 1
                if neighbor in index_of:
                    matrix[n, index_of[neighbor]] -= 1
                else:
                    rhs[n] += values[:, neighbor[0], neighbor[1]]
    filled = values.clone()
    for (i, j), value in zip(pixels, torch.linalg.solve(matrix, rhs)):
        filled[:, i, j] = value
    return filled


@pytest.mark.parametrize("name", HOLES)
def test_the_membrane_solves_laplaces_equation(name: str):
    hole = HOLES[name]
    values = normal(2, 3, *hole.shape[-2:], seed=1)
    filled = membrane(values, hole)
    assert torch.equal(filled * (1 - hole), values * (1 - hole))
    for index in range(2):
        torch.testing.assert_close(filled[index], dense_solution(values[index], hole), rtol=0, atol=2e-2)


@pytest.mark.parametrize("name", HOLES)
def test_a_constant_image_stays_constant_whatever_is_in_the_hole(name: str):
    hole = HOLES[name]
    constant = torch.full((1, 3, *hole.shape[-2:]), 0.7, dtype=torch.float64)
    torch.testing.assert_close(membrane(constant * (1 - hole) + 100 * hole, hole), constant, rtol=0, atol=2e-3)


def test_each_item_has_its_own_hole():
    holes = torch.cat([rectangle(32, 32, slice(4, 12), slice(4, 20)), rectangle(32, 32, slice(9, 30), slice(11, 13))])
    values = normal(2, 3, 32, 32, seed=2)
    filled = membrane(values, holes)
    for index in range(2):
        alone = membrane(values[index : index + 1], holes[index : index + 1])
        torch.testing.assert_close(filled[index : index + 1], alone)


def test_an_image_without_known_pixels_is_zero():
    holes = torch.cat([torch.ones(1, 1, 20, 20), rectangle(20, 20, slice(2, 5), slice(2, 5)).float()])
    filled = membrane(torch.ones(2, 3, 20, 20), holes)
    assert not filled[0].any()
    torch.testing.assert_close(filled[1], torch.ones(3, 20, 20), rtol=0, atol=2e-3)


def test_large_holes_take_few_iterations():
    # Coarse to fine: the finest level only has to remove short waves, so few iterations are enough.
    hole = rectangle(256, 256, slice(20, 230), slice(20, 230)).float()
    ramp = torch.linspace(0, 1, 256).expand(1, 3, 256, 256)
    torch.testing.assert_close(membrane(ramp * (1 - hole), hole), ramp, rtol=0, atol=0.02)


def test_spliced_keeps_the_source_to_the_bit_beyond_its_reach():
    source, edited = uniform(2, 3, 48, 40, seed=1), uniform(2, 3, 48, 40, seed=2)
    mask = torch.cat([rectangle(48, 40, slice(20, 28), slice(15, 25)), rectangle(48, 40, slice(0, 4), slice(0, 40))])
    image = spliced(edited, source, mask)
    far = rectangle(48, 40, slice(20 - REACH, 28 + REACH), slice(15 - REACH, 25 + REACH))[0, 0] == 0
    assert torch.equal(image[0][:, far], source[0][:, far])
    assert torch.equal(image[1][:, 4 + REACH :], source[1][:, 4 + REACH :])
    near = rectangle(48, 40, slice(20 - REACH // 2, 28 + REACH // 2), slice(13, 27))[0, 0] == 1
    assert (image[0][:, near] != source[0][:, near]).all()


def test_spliced_edit_is_leveled_to_its_source():
    """An edit that is the source with another brightness everywhere comes back as the source."""
    source = uniform(1, 3, 32, 32, seed=1)
    drifted = source + torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64).reshape(1, 3, 1, 1)
    mask = rectangle(32, 32, slice(10, 22), slice(12, 20))
    torch.testing.assert_close(spliced(drifted, source, mask), source, rtol=0, atol=2e-3)


def test_spliced_is_the_edit_where_the_mask_covers_everything():
    source, edited = uniform(2, 3, 16, 16, seed=1), uniform(2, 3, 16, 16, seed=2)
    whole = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(spliced(edited, source, whole), edited)


def test_soft_masks_splice_in_proportion():
    source, edited = torch.zeros(1, 3, 32, 32, dtype=torch.float64), uniform(1, 3, 32, 32, seed=2)
    whole, half = (spliced(edited, source, torch.full((1, 1, 32, 32), share)) for share in (1.0, 0.5))
    torch.testing.assert_close(half, 0.5 * whole, check_dtype=False)

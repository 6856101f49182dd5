"""Masks of regional prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dreamsampler.guidance.prompts.regions import coverage, feather_mask, partition, resize_mask
from scipy.ndimage import gaussian_filter
from torch import Tensor


def random_masks(count: int, *shape: int, seed: int = 0) -> list[Tensor]:
    """Soft masks that overlap and leave some pixels uncovered."""
    generator = torch.Generator().manual_seed(seed)
    return [(1.5 * torch.rand(shape, generator=generator) - 0.5).clamp(0, 1) for _ in range(count)]


def columns(first: int, last: int, size: int = 32) -> Tensor:
    mask = torch.zeros(1, size, size)
    mask[..., first:last] = 1
    return mask


def assert_sums_to_one(shares: list[Tensor]) -> None:
    torch.testing.assert_close(torch.stack(shares).sum(0), torch.ones_like(shares[0]), rtol=0, atol=5e-7)


# A partition


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_masks_sum_to_one(count: int):
    shares = partition(random_masks(count, 2, 16, 24))
    assert len(shares) == count + 1 and all(share.shape == (2, 16, 24) for share in shares)
    assert min(share.min() for share in shares) >= 0
    assert_sums_to_one(shares)


def test_masks_that_sum_to_less_than_one_are_unchanged():
    masks = [0.25 * columns(0, 8), 0.5 * columns(4, 32)]
    base, *shares = partition(masks)
    assert all(torch.equal(share, mask) for share, mask in zip(shares, masks))
    assert torch.equal(base[0, 0], torch.tensor([0.75] * 4 + [0.25] * 4 + [0.5] * 24))


def test_overlapping_masks_are_normalized():
    base, one, other = partition([columns(0, 20), 0.5 * columns(10, 32)])
    torch.testing.assert_close(one[0, 0, 10:20], torch.full((10,), 2 / 3))
    torch.testing.assert_close(other[0, 0, 10:20], torch.full((10,), 1 / 3))
    assert not base[..., :20].any() and (base[..., 20:] == 0.5).all()


@pytest.mark.parametrize("count", range(1, 10))
def test_fully_covered_pixels_have_no_base(count: int):
    base, *shares = partition([torch.ones(1, 4, 4)] * count)
    assert not base.any()
    torch.testing.assert_close(shares[0], torch.full((1, 4, 4), 1 / count))


def test_soft_masks_that_sum_to_one_leave_no_base():
    masks = [mask + 0.01 for mask in random_masks(3, 2, 32, 32)]
    base, *_ = partition([mask / coverage(masks) for mask in masks])
    assert not base.any()


def test_one_mask_broadcasts_over_a_batch():
    one, several = random_masks(1, 1, 8, 8)[0], random_masks(1, 3, 8, 8, seed=1)[0]
    shares = partition([one, several])
    assert_sums_to_one([share.expand(3, 8, 8) for share in shares])
    for i in range(3):
        for share, alone in zip(shares, partition([one, several[i : i + 1]])):
            assert torch.equal(share[i], alone[0])


def test_base_can_have_a_minimum():
    base, *shares = partition([columns(0, 16), columns(8, 16)], base_at_least=1e-6)
    assert torch.equal(base[0, 0], torch.tensor([1e-6] * 16 + [1.0] * 16))
    assert all(torch.equal(*pair) for pair in zip(shares, partition([columns(0, 16), columns(8, 16)])[1:]))


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (64, 64), (40, 100)])
def test_resized_masks_still_sum_to_one(size: tuple[int, int]):
    shares = [resize_mask(share, size) for share in partition(random_masks(3, 2, 32, 32))]
    assert shares[0].shape == (2, *size)
    assert_sums_to_one(shares)


def test_resizing_interpolates_between_pixels():
    mask = torch.tensor([[[0.0, 1.0]]])
    assert resize_mask(mask, (1, 4)).tolist() == [[[0.0, 0.25, 0.75, 1.0]]]
    assert resize_mask(mask, (1, 2)) is mask


def test_coverage_is_the_sum():
    assert torch.equal(coverage([columns(0, 8), columns(4, 16)]), columns(0, 16) + columns(4, 8))


# Soft edges


@pytest.mark.parametrize("radius", [2, 5, 16, 40])
def test_feathering_is_a_gaussian_cut_off_at_the_radius(radius: int):
    (mask,) = random_masks(1, 2, 32, 48)
    sigma = (0, radius / 2, radius / 2)
    expected = gaussian_filter(mask.double().numpy(), sigma, mode="nearest", radius=(0, radius, radius))
    np.testing.assert_allclose(feather_mask(mask, radius).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("radius", [1, 3.7, 8, 100])
@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_constant_masks_are_not_feathered_at_the_image_border(radius: float, value: float):
    mask = torch.full((1, 32, 24), value)
    assert torch.equal(feather_mask(mask, radius), mask)


@pytest.mark.parametrize("radius", [1.0, 3.7, 8.0])
def test_edges_are_soft_only_within_the_radius(radius: float):
    mask, reach = columns(16, 32), int(radius)
    row = feather_mask(mask, radius)[0, 0]
    assert torch.equal(feather_mask(mask, radius)[0], row.expand(32, 32))
    assert not row[: 16 - reach].any() and (row[16 + reach :] == 1).all()
    edge = row[15 - reach : 17 + reach]
    assert (edge.diff() > 0).all()
    torch.testing.assert_close(edge + edge.flip(0), torch.ones_like(edge))


@pytest.mark.parametrize("radius", [0, 0.9])
def test_radii_below_one_pixel_change_nothing(radius: float):
    mask = columns(3, 9)
    assert torch.equal(feather_mask(mask, radius), mask)


def test_feathered_neighbors_leave_no_base():
    neighbors = [feather_mask(columns(0, 13), 6), feather_mask(columns(13, 32), 6)]
    base, *shares = partition(neighbors)
    assert not base.any()
    for share, mask in zip(shares, neighbors):
        torch.testing.assert_close(share, mask)

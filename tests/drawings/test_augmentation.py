"""Random views, compared with kornia's perspective and plain cropping."""

from __future__ import annotations

import kornia.geometry.transform as oracle
import pytest
import torch
from dreamsampler.drawings.augmentation import Augmentation, random_augmentation
from support.tensors import generator, uniform
from torch import Tensor


def images(batch: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return uniform(batch, 3, height, width, seed=9, dtype=dtype)


def corners_in_view(view: Augmentation, height: int, width: int) -> Tensor:
    """The positions of the image corners in the views (B, 4, 2)."""
    corners = torch.tensor([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=torch.float64)
    view_of_image = torch.linalg.inv(view.homographies) @ corners.mT
    return (view_of_image[:, :2] / view_of_image[:, 2:]).mT


@pytest.mark.parametrize("seed", range(4))
def test_perspective_matches_kornia(seed):
    height, width, x = 40, 52, images(1, 40, 52)
    view = random_augmentation(height, width, generator(seed), crop=(30, 33), probability=1.0)
    # kornia's coordinates start at the center of the first pixel.
    half = torch.tensor([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]], dtype=torch.float64)
    matrix = torch.linalg.inv(half) @ torch.linalg.inv(view.homographies) @ half
    expected = oracle.warp_perspective(x, matrix, (30, 33), padding_mode="zeros", align_corners=True)
    assert not torch.allclose(expected, x[..., :30, :33], atol=0.1)
    torch.testing.assert_close(view(x, background=0.0), expected, rtol=0, atol=1e-10)


def test_corners_match_kornias_homography():
    view = random_augmentation(40, 52, generator(3), crop=(40, 52), probability=1.0)
    corners = torch.tensor([[[0, 0], [52, 0], [52, 40], [0, 40]]], dtype=torch.float64)
    expected = oracle.get_perspective_transform(corners_in_view(view, 40, 52), corners)
    normalized = view.homographies / view.homographies[:, 2:, 2:]
    torch.testing.assert_close(normalized, expected, rtol=1e-9, atol=1e-9)


def test_corners_move_inwards_by_up_to_the_distortion():
    height, width = 60, 80
    view = random_augmentation(height, width, generator(), crop=(height, width), probability=1.0, count=2000)
    corners = torch.tensor([[0, 0], [width, 0], [width, height], [0, height]], dtype=torch.float64)
    inward = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    moved = inward * (corners_in_view(view, height, width) - corners) / torch.tensor([width / 2, height / 2])
    assert moved.min() > -1e-9 and moved.max() < 0.5 + 1e-9
    torch.testing.assert_close(moved.mean(0), torch.full((4, 2), 0.25, dtype=torch.float64), rtol=0, atol=0.02)
    assert moved.min() < 0.01 and moved.max() > 0.49


def test_view_without_perspective_is_a_crop():
    x = images(1, 20, 24)
    view = random_augmentation(20, 24, generator(), crop=(17, 19), probability=0.0, count=400)
    positions = view.homographies[:, :2, 2].round().long()
    for (column, row), view_of_image in zip(positions.tolist(), view(x)):
        torch.testing.assert_close(view_of_image, x[0, :, row : row + 17, column : column + 19], rtol=0, atol=1e-12)
    # All positions occur, including the last ones.
    assert positions[:, 0].unique().tolist() == list(range(6)) and positions[:, 1].unique().tolist() == list(range(4))


@pytest.mark.parametrize("seed", range(4))
def test_crop_is_a_window_of_the_full_perspective(seed):
    x = images(1, 30, 34)
    whole = random_augmentation(30, 34, generator(seed), crop=(30, 34), probability=1.0)(x)[0]
    view = random_augmentation(30, 34, generator(seed), crop=(25, 27), probability=1.0)(x)[0]
    windows = whole.unfold(1, 25, 1).unfold(2, 27, 1)
    differences = (windows - view[:, None, None]).abs().amax((0, 3, 4))
    assert differences.shape == (6, 8) and (differences < 1e-10).sum() == 1


def test_perspective_is_applied_with_its_probability():
    view = random_augmentation(20, 24, generator(), crop=(20, 24), probability=0.7, count=3000)
    skewed = (view.homographies - torch.eye(3, dtype=torch.float64)).abs().amax((1, 2)) > 1e-9
    assert skewed.double().mean().item() == pytest.approx(0.7, abs=0.03)


def test_full_crop_returns_the_image_in_float32():
    x = images(2, 600, 600, torch.float32)
    view = random_augmentation(600, 600, generator(), crop=(600, 600), probability=0.0)
    torch.testing.assert_close(view(x), x, rtol=0, atol=2e-4)


def test_views_depend_only_on_the_seed():
    def views(seed: int) -> Tensor:
        return random_augmentation(30, 30, generator(seed), crop=(20, 20), count=3).homographies

    assert torch.equal(views(1), views(1))
    assert not torch.isclose(views(1), views(2)).all()


def test_one_view_of_many_images_and_many_views_of_one_image():
    x = images(3, 30, 32)
    view = random_augmentation(30, 32, generator(1), crop=(20, 22), probability=1.0)
    for together, alone in zip(view(x), x):
        torch.testing.assert_close(together, view(alone[None])[0])
    many = random_augmentation(30, 32, generator(1), crop=(20, 22), probability=1.0, count=3)
    for i, view_of_image in enumerate(many(x[:1])):
        torch.testing.assert_close(view_of_image, Augmentation(many.homographies[i : i + 1], 20, 22)(x[:1])[0])
    assert not torch.allclose(many(x[:1])[0], many(x[:1])[1])


def test_outside_the_image_is_the_background_color():
    view = random_augmentation(40, 40, generator(2), crop=(40, 40), probability=1.0)
    color = torch.tensor([0.2, 0.4, 0.9], dtype=torch.float64)
    plain = color[:, None, None].expand(2, 3, 40, 40)
    torch.testing.assert_close(view(plain, background=color), plain)
    x = images(2, 40, 40)
    corner = view(x, background=torch.stack([color, 1 - color]))[:, :, 0, 0]
    torch.testing.assert_close(corner, torch.stack([color, 1 - color]))
    assert (view(x)[:, :, 0, 0] == 1).all()


def test_gradients_of_image_and_background():
    view = random_augmentation(8, 9, generator(5), crop=(6, 7), probability=1.0)
    x, background = images(2, 8, 9).requires_grad_(), uniform(3).requires_grad_()
    assert torch.autograd.gradcheck(view, (x, background))


def test_crop_larger_than_the_image_raises_an_error():
    with pytest.raises(ValueError, match="does not fit"):
        random_augmentation(500, 600, generator(), crop=(512, 512))

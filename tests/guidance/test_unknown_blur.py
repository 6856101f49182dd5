"""A Gaussian blur of unknown sigma: fits to sharp images, where it starts, and batches."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import OPERATORS, GaussianBlur, OperatorSettings, UnknownGaussianBlur
from dreamsampler.guidance.restoration.operators.blur import LEAST_SIGMA, least
from support.tensors import normal
from torch import Tensor

SIDE = 72


def boxes(count: int = 1) -> Tensor:
    """Images (count, 3, SIDE, SIDE) of bright boxes of different sizes on dark backgrounds."""
    images = torch.full((count, 3, SIDE, SIDE), -0.6, dtype=torch.float64)
    for i in range(count):
        images[i, :, 20 : 40 + 5 * i, 16 : 44 + 4 * i] = 0.8 - 0.1 * i
    return images


def blurred(images: Tensor, sigma: float, noise_std: float = 0.0) -> Tensor:
    side = 2 * math.ceil(4 * sigma) + 1
    return GaussianBlur(SIDE, SIDE, side, sigma).forward(images) + noise_std * normal(*images.shape, seed=4)


@pytest.mark.parametrize("sigma", [0.6, 1.5, 3.0, 6.0])
def test_blur_is_the_gaussian_one_of_its_sigma(sigma: float):
    x = normal(1, 3, SIDE, SIDE)
    torch.testing.assert_close(UnknownGaussianBlur(SIDE, SIDE, sigma).forward(x), blurred(x, sigma))


@pytest.mark.parametrize("start", [0.5, 1.5, 6.0, 20.0])
@pytest.mark.parametrize("sigma", [1.0, 3.0, 5.0])
def test_sigma_of_a_sharp_image_is_found_from_any_start(sigma: float, start: float):
    images = boxes(2)
    y = blurred(images, sigma, noise_std=0.01)
    found = UnknownGaussianBlur(SIDE, SIDE, start).refitted(y, images)
    assert found.sigma.tolist() == pytest.approx([sigma] * 2, rel=0.02)


def test_images_of_a_batch_have_their_own_sigma():
    images, sigmas = boxes(3), (1.0, 2.0, 4.0)
    y = torch.cat([blurred(image, sigma) for image, sigma in zip(images.split(1), sigmas)])
    found = UnknownGaussianBlur(SIDE, SIDE, 2.0).refitted(y, images)
    assert found.sigma.tolist() == pytest.approx(sigmas, rel=0.01)
    x = normal(3, 3, SIDE, SIDE)
    for i in range(len(sigmas)):
        alone = UnknownGaussianBlur(SIDE, SIDE, 2.0).refitted(y[i : i + 1], images[i : i + 1])
        assert torch.equal(found.of_item(i).sigma, alone.sigma)
        one = x[i : i + 1]
        torch.testing.assert_close(found.forward(x)[i : i + 1], blurred(one, found.sigma[i].item()))
        torch.testing.assert_close(found.prox(y, x, 0.1)[i : i + 1], alone.prox(y[i : i + 1], one, 0.1))
    # One measurement for all images: each still has its own sigma.
    assert len(UnknownGaussianBlur(SIDE, SIDE, 2.0).refitted(y[:1], images).sigma) == 3


@pytest.mark.parametrize("sigma", [1.5, 3.0, 5.0])
def test_start_is_not_wider_than_the_steepest_slope_allows(sigma: float):
    y = blurred(boxes(2), sigma)
    for guess in (0.5, 2.0, 50.0):
        start = UnknownGaussianBlur(SIDE, SIDE, guess).started(y).sigma
        assert (start <= min(guess, 1.05 * sigma)).all()
        assert (start >= min(guess, 0.6 * sigma)).all()


def test_constant_and_noisy_images_stay_in_the_range_of_the_search():
    for y in (torch.zeros(1, 3, SIDE, SIDE), normal(1, 3, SIDE, SIDE).float()):
        start = UnknownGaussianBlur(SIDE, SIDE, 5.0).started(y)
        found = start.refitted(y, normal(1, 3, SIDE, SIDE, seed=2).float())
        for each in (start, found):
            assert LEAST_SIGMA <= each.sigma.item() <= SIDE / 6


def test_golden_sections_find_the_minimum_of_each_function():
    places = torch.tensor([-0.9, 0.2, 1.0], dtype=torch.float64)
    low, high = torch.full((3,), -1.0, dtype=torch.float64), torch.full((3,), 1.0, dtype=torch.float64)
    calls = []

    def error(x: Tensor) -> Tensor:
        calls.append(x)
        return (x - places).abs() ** 1.5

    assert (least(error, low, high, 20) - places).abs().max() < 0.6181**20
    assert len(calls) == 22


def test_known_operators_stay_as_they_are():
    x = normal(1, 3, SIDE, SIDE)
    hole = torch.zeros(1, 1, SIDE, SIDE)
    settings = OperatorSettings(scale=2, kernel_size=5, sigma=1.0, angle=0.0, mask=hole, left=8)
    for name, kind in OPERATORS.items():
        operator = kind.build(SIDE, SIDE, settings)
        measurement = Measurement(operator, operator.forward(x))
        same = measurement.started().operator is operator and measurement.refitted(x).operator is operator
        assert same == operator.known == (not operator.findings) == (name != "unknown gaussian blur")


def test_findings_name_the_sigmas():
    blur = UnknownGaussianBlur(SIDE, SIDE, torch.tensor([3.24, 0.5]))
    assert blur.findings == "The blur was fitted: sigma 3.2, 0.5 pixels."

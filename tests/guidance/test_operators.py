"""Degradation operators: properties of all registered operators, and the formula of each one.

New operators register themselves in `OPERATORS`, so these tests check them too.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from dreamsampler.guidance.restoration.operators import (
    JPEG,
    OPERATORS,
    Colorization,
    GaussianBlur,
    Inpainting,
    LinearOperator,
    MotionBlur,
    OperatorKind,
    OperatorSettings,
    Outpainting,
    SuperResolution,
    UnknownGaussianBlur,
    Widget,
)
from dreamsampler.guidance.restoration.operators.registry import register
from PIL import Image
from support.operators import matrix
from support.tensors import uniform
from torch import Tensor
from torch.nn import functional


def random_values(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Uniform values in [-1, 1)."""
    return uniform(*shape, seed=seed, low=-1, high=1, dtype=dtype)


def rectangular_hole(height: int, width: int, batch: int = 1) -> Tensor:
    """Masks with a rectangular hole, different for each item."""
    mask = torch.zeros(batch, 1, height, width)
    for i in range(batch):
        mask[i, :, 2 : 5 + i, 3 + i : 8] = 1
    return mask


def soft_hole(height: int, width: int, batch: int = 1) -> Tensor:
    """Soft masks with values from 0 to 0.95."""
    return 0.475 * (1 + random_values(batch, 1, height, width, seed=7))


def settings(height: int, width: int, **others: Any) -> OperatorSettings:
    """Settings that are valid for every operator on images of at least 16 x 16 pixels."""
    values = {"scale": 2, "kernel_size": 7, "sigma": 1.5, "angle": 30.0, "mask": rectangular_hole(height, width)}
    return OperatorSettings(**{**values, "left": 8, "top": 8, **others})


def builder(name: str, height: int, width: int) -> Callable[[], Any]:
    """Builds a registered operator."""
    return lambda: OPERATORS[name].build(height, width, settings(height, width))


LINEAR = [name for name in OPERATORS if isinstance(builder(name, 16, 18)(), LinearOperator)]
SIZES = {"even sides": (16, 18), "odd sides": (17, 19)}
REGISTERED = {f"{name}, {sides}": builder(name, *size) for name in LINEAR for sides, size in SIZES.items()}
SPECIAL = {
    "hole": lambda: Inpainting(rectangular_hole(9, 12)),
    "soft hole": lambda: Inpainting(soft_hole(8, 11)),
    "gray": lambda: Colorization(7, 10),
    "half, even sides": lambda: SuperResolution(16, 18, 2),
    "half, odd sides": lambda: SuperResolution(17, 15, 2),
    "third, indivisible sides": lambda: SuperResolution(23, 25, 3),
    "gaussian": lambda: GaussianBlur(9, 12, 5, 1.3),
    "gaussian as wide as the image": lambda: GaussianBlur(9, 10, 9, 4.0),
    "gaussian of one pixel": lambda: GaussianBlur(6, 7, 1, 2.0),
    "motion to the right": lambda: MotionBlur(9, 12, 5, 0.0),
    "motion upwards": lambda: MotionBlur(11, 8, 3, 90.0),
    "diagonal motion": lambda: MotionBlur(10, 13, 7, 37.0),
    "motion as long as the image": lambda: MotionBlur(9, 11, 9, 120.0),
    "motion of one pixel": lambda: MotionBlur(6, 7, 1, 20.0),
}
LARGE = {
    "sixteenth": lambda: SuperResolution(141, 256, 16),
    "wide gaussian": lambda: GaussianBlur(97, 128, 61, 5.0),
    "long motion": lambda: MotionBlur(128, 97, 61, -33.0),
}
PER_ITEM = {
    "holes": lambda: Inpainting(rectangular_hole(9, 12, batch=3)),
    "soft holes": lambda: Inpainting(soft_hole(8, 11, batch=3)),
    "unknown gaussians": lambda: UnknownGaussianBlur(9, 12, torch.tensor([0.5, 1.3, 2.5])),
}
EVERY = pytest.mark.parametrize("make", [*REGISTERED.values(), *SPECIAL.values()], ids=[*REGISTERED, *SPECIAL])
EVERY_AND_LARGE = pytest.mark.parametrize(
    "make",
    [*REGISTERED.values(), *SPECIAL.values(), *LARGE.values(), *PER_ITEM.values()],
    ids=[*REGISTERED, *SPECIAL, *LARGE, *PER_ITEM],
)
EVERY_KIND = pytest.mark.parametrize("kind", OPERATORS.values(), ids=OPERATORS.keys())


def pair(operator: LinearOperator, batch: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """A random image and an unrelated random measurement."""
    x = random_values(batch, *operator.image_shape, seed=1, dtype=dtype)
    return x, random_values(batch, *operator.measurement_shape, seed=2, dtype=dtype)


def assert_close(actual: Tensor, expected: Tensor, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


@EVERY_AND_LARGE
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_adjoint_is_exact(make, dtype, tolerance):
    operator = make()
    x, y = pair(operator, dtype=dtype)
    a_x, at_y = operator.forward(x), operator.adjoint(y)
    assert a_x.dtype == at_y.dtype == dtype
    assert a_x.shape == y.shape and at_y.shape == x.shape
    for i in range(len(x)):
        left, right = (a_x[i].double() * y[i].double()).sum(), (x[i].double() * at_y[i].double()).sum()
        assert abs(left - right) <= tolerance * a_x[i].double().norm() * y[i].double().norm()


@EVERY_AND_LARGE
def test_adjoint_matches_autograd(make):
    operator = make()
    x, y = (part.requires_grad_() for part in pair(operator))
    assert_close(torch.autograd.grad(operator.forward(x), x, y)[0], operator.adjoint(y))
    assert_close(torch.autograd.grad(operator.adjoint(y), y, x)[0], operator.forward(x))


@EVERY
def test_normal_is_the_adjoint_of_forward(make):
    operator = make()
    x, _ = pair(operator, batch=2)
    a = matrix(operator)
    assert_close(operator.normal(x).flatten(1), x.flatten(1) @ a.mT @ a)


@EVERY
@pytest.mark.parametrize("weight", [1e-4, 0.03, 2.0])
def test_prox_matches_a_dense_solution(make, weight):
    operator = make()
    x0, y = pair(operator, batch=2)
    a = matrix(operator)
    curvature = a.mT @ a + weight * torch.eye(a.shape[1], dtype=torch.float64)
    expected = torch.linalg.solve(curvature, (y.flatten(1) @ a + weight * x0.flatten(1)).mT).mT
    assert_close(operator.prox(y, x0, weight).flatten(1), expected, atol=1e-8)


@EVERY
def test_prox_is_independent_per_item_and_broadcasts_the_measurement(make):
    operator = make()
    x0, y = pair(operator)
    together = operator.prox(y[:1], x0, 0.1)
    assert together.shape == x0.shape
    for i in range(len(x0)):
        assert_close(together[i : i + 1], operator.prox(y[:1], x0[i : i + 1], 0.1), atol=1e-9)


@pytest.mark.parametrize(
    "masks", [rectangular_hole(9, 12, batch=3), soft_hole(8, 11, batch=3)], ids=["holes", "soft holes"]
)
def test_items_have_their_own_masks(masks):
    together, separate = Inpainting(masks), [Inpainting(masks[i : i + 1]) for i in range(len(masks))]
    x, y = pair(together)
    for i, single in enumerate(separate):
        image, measurement = x[i : i + 1], y[i : i + 1]
        assert torch.equal(together.forward(x)[i : i + 1], single.forward(image))
        assert torch.equal(together.adjoint(y)[i : i + 1], single.adjoint(measurement))
        assert torch.equal(together.prox(y, x, 0.1)[i : i + 1], single.prox(measurement, image, 0.1))
        assert torch.equal(together.back_projected(y)[i : i + 1], single.back_projected(measurement))
    assert not torch.equal(together.forward(x[:1])[0], together.forward(x[:1])[1])


@EVERY_AND_LARGE
def test_float32_is_close_to_float64(make):
    operator = make()
    x, y = pair(operator)
    for double, single, tolerance in (
        (operator.forward(x), operator.forward(x.float()), 1e-6),
        (operator.adjoint(y), operator.adjoint(y.float()), 1e-6),
        (operator.prox(y, x, 0.3), operator.prox(y.float(), x.float(), 0.3), 2e-5),
        (operator.back_projected(y), operator.back_projected(y.float()), 1e-3),
    ):
        assert single.dtype == torch.float32
        assert (single - double).abs().max() <= tolerance * double.abs().max()


@EVERY
def test_operators_follow_the_device(make):
    operator = make()
    x, y = pair(operator, dtype=torch.float32)
    operator.forward(x)
    assert operator.forward(x.to("meta")).device.type == "meta"
    assert operator.adjoint(y.to("meta")).device.type == "meta"


@EVERY
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_autograd_works_after_use_in_inference_mode(make, dtype, tolerance):
    with torch.inference_mode():
        operator = make()
        x, y = pair(operator, batch=1, dtype=dtype)
        expected_adjoint = operator.adjoint(y)
        expected_prox = operator.prox(y, x, 0.1)
    x, y = (part.clone().requires_grad_() for part in (x, y))
    assert_close(torch.autograd.grad(operator.forward(x), x, y.detach())[0], expected_adjoint, tolerance)
    assert_close(operator.prox(y, x, 0.1), expected_prox, tolerance)


@EVERY_AND_LARGE
@pytest.mark.parametrize("value", [-1.0, 0.0, 0.37])
def test_back_projection_recovers_a_constant_image_where_measured(make, value):
    operator = make()
    x = torch.full((3, *operator.image_shape), value, dtype=torch.float64)
    measured = torch.ones_like(x) if operator.hole is None else (operator.hole < 1).double().expand_as(x)
    assert_close(operator.back_projected(operator.forward(x)), value * measured, atol=1e-10)


def test_nearly_masked_pixels_count_as_not_measured():
    mask = torch.tensor([0.0, 0.9, 0.995, 1.0]).reshape(1, 1, 1, 4)
    image = Inpainting(mask).back_projected(torch.full((1, 3, 1, 4), 0.05))
    torch.testing.assert_close(image[0, 0, 0], torch.tensor([0.05, 0.5, 0.0, 0.0]))


WITHOUT_HOLE = {name: make for name, make in {**REGISTERED, **SPECIAL, **LARGE}.items() if make().hole is None}


@pytest.mark.parametrize("make", WITHOUT_HOLE.values(), ids=WITHOUT_HOLE.keys())
def test_operators_without_a_hole_keep_a_constant(make):
    operator = make()
    y = operator.forward(torch.full((1, *operator.image_shape), 0.37, dtype=torch.float64))
    assert_close(y, torch.full_like(y, 0.37))


def test_inpainting_zeroes_the_hole_and_keeps_the_rest():
    mask, x = rectangular_hole(9, 12), random_values(2, 3, 9, 12)
    y = Inpainting(mask).forward(x)
    inside = (mask == 1).expand_as(x)
    assert not y[inside].any()
    assert torch.equal(y[~inside], x[~inside])


def test_inpainting_prox_takes_the_hole_from_the_estimate_and_the_rest_from_the_measurement():
    mask, x0 = rectangular_hole(9, 12), random_values(1, 3, 9, 12)
    y = Inpainting(mask).forward(random_values(1, 3, 9, 12, seed=5))
    x = Inpainting(mask).prox(y, x0, 1e-9)
    assert_close(x, torch.where(mask == 1, x0, y), atol=1e-8)


def test_outpainting_is_inpainting_of_a_border():
    mask, x = torch.ones(1, 1, 40, 48), random_values(2, 3, 40, 48)
    mask[..., 16:40, 8:24] = 0  # as far from the left, top, right and bottom as below
    operator, other = Outpainting(40, 48, 8, 16, 24, 0), Inpainting(mask)
    assert operator.hole is not None and torch.equal(operator.hole, mask.double())
    y = operator.forward(x)
    assert torch.equal(y, other.forward(x)) and torch.equal(y, operator.read(x[..., 16:40, 8:24]))
    assert torch.equal(operator.projected(y, x, 0.0), other.projected(y, x, 0.0))
    assert torch.equal(operator.back_projected(y), y), "gray around the image"


def test_colorization_matches_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 10, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float64) / 127.5 - 1
    x = torch.from_numpy(pixels / 127.5 - 1).movedim(-1, 0)[None]
    assert_close(Colorization(7, 10).forward(x)[0, 0], torch.from_numpy(expected), atol=0.51 / 127.5)


@pytest.mark.parametrize("factor", [2, 3, 4, 7, 8, 16])
@pytest.mark.parametrize("height, width", [(128, 144), (129, 127), (150, 131)])
def test_super_resolution_matches_pytorch_and_pillow(height, width, factor):
    operator, x = SuperResolution(height, width, factor), random_values(1, 3, height, width)
    size = (-(-height // factor), -(-width // factor))
    assert operator.measurement_shape == (3, *size)
    y = operator.forward(x)
    assert_close(y, functional.interpolate(x, size, mode="bicubic", antialias=True), atol=1e-10)
    channel = Image.fromarray(x[0, 0].float().numpy()).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    assert_close(y[0, 0], torch.from_numpy(np.array(channel)).double(), atol=1e-5)


def test_averaged_is_the_number_of_pixels_per_measured_value():
    """Gaussian: 4 pi sigma^2. Keys' cubic: s / int k^2 = 1.68 s along each side. Box: its length."""
    cubic = np.linspace(-2, 2, 100_001)
    near, far = np.abs(cubic) <= 1, np.abs(cubic) > 1
    a = np.abs(cubic)
    weight = near * (1.5 * a**3 - 2.5 * a**2 + 1) + far * (-0.5 * a**3 + 2.5 * a**2 - 4 * a + 2)
    width = 8 * np.trapezoid(np.abs(weight), cubic) ** 2 / np.trapezoid(weight**2, cubic)
    assert SuperResolution(96, 96, 8).averaged == pytest.approx(width**2, rel=0.01)
    assert GaussianBlur(96, 96, 31, 3.0).averaged == pytest.approx(4 * math.pi * 9, rel=1e-3)
    assert MotionBlur(96, 96, 15, 0.0).averaged == pytest.approx(15, rel=1e-4)
    assert Colorization(7, 10).averaged == Inpainting(rectangular_hole(9, 12)).averaged == 1
    assert Inpainting(torch.ones(1, 1, 9, 12)).averaged == 1
    assert Inpainting(torch.zeros(1, 1, 9, 12)).averaged == Inpainting(torch.zeros(3, 1, 9, 12)).averaged == 1


@pytest.mark.parametrize("kernel_size, sigma", [(1, 1.0), (5, 0.8), (11, 2.5), (15, 30.0)])
def test_gaussian_blur_is_a_convolution_with_a_gaussian(kernel_size, sigma):
    x = random_values(2, 3, 15, 18)
    offsets = torch.arange(kernel_size) - kernel_size // 2
    squared = offsets[:, None] ** 2 + offsets**2
    kernel = torch.exp(-squared.double() / (2 * sigma**2))
    assert_close(GaussianBlur(15, 18, kernel_size, sigma).forward(x), convolved(x, kernel / kernel.sum()))


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """A direct convolution with a symmetric kernel (k, k), border pixels repeated."""
    padded = functional.pad(x, (len(kernel) // 2,) * 4, mode="replicate")
    return functional.conv2d(padded, kernel.expand(3, 1, *kernel.shape), groups=3)


def motion_kernel(kernel_size: int, angle: float) -> Tensor:
    """The blur's response (k, k) to a single bright pixel."""
    side = 2 * kernel_size + 1
    x = torch.zeros(1, 3, side, side + 2, dtype=torch.float64)
    x[:, :, kernel_size, kernel_size] = 1
    y = MotionBlur(side, side + 2, kernel_size, angle).forward(x)[0, 0]
    reach = slice(kernel_size - kernel_size // 2, kernel_size + kernel_size // 2 + 1)
    assert y.abs().sum() - y[reach, reach].abs().sum() < 1e-12
    return y[reach, reach]


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0, 90.0, 133.0])
@pytest.mark.parametrize("kernel_size", [3, 9, 15])
def test_motion_blur_is_a_convolution_up_to_the_border(kernel_size, angle):
    x = random_values(2, 3, 15, 22)
    assert_close(MotionBlur(15, 22, kernel_size, angle).forward(x), convolved(x, motion_kernel(kernel_size, angle)))


def test_motion_blur_along_the_axes_is_a_moving_average():
    row = torch.zeros(7, 7, dtype=torch.float64)
    row[3] = 1 / 7
    assert_close(motion_kernel(7, 0.0), row)
    assert_close(motion_kernel(7, 180.0), row)
    assert_close(motion_kernel(7, 90.0), row.mT)
    assert_close(motion_kernel(7, -90.0), row.mT)


@pytest.mark.parametrize("angle", [0.0, 10.0, 30.0, 45.0, 75.0, 90.0, 110.0, 135.0, 170.0])
def test_motion_kernel_is_a_line_of_the_given_length_and_angle(angle):
    kernel = motion_kernel(21, angle)
    assert kernel.min() > -1e-12
    assert kernel.sum().item() == pytest.approx(1)
    right = torch.arange(21, dtype=torch.float64) - 10
    up = -right[:, None]
    xx, yy, xy = (kernel * right**2).sum(), (kernel * up**2).sum(), (kernel * right * up).sum()
    found = math.degrees(0.5 * math.atan2(2 * xy, xx - yy))
    assert abs((found - angle + 90) % 180 - 90) < 1.0
    along = xx + yy
    assert along.item() == pytest.approx(21**2 / 12, rel=0.05)  # a uniform segment's variance


def test_motion_blur_changes_smoothly_with_the_angle():
    steps = [motion_kernel(15, 30.0 + 0.5 * i) for i in range(5)]
    assert max((after - before).abs().max() for before, after in zip(steps, steps[1:])) < 0.1 / 15


def test_prox_warns_if_it_does_not_converge(caplog):
    operator = MotionBlur(33, 35, 15, 20.0)
    x0, y = pair(operator, batch=1)
    with caplog.at_level(logging.WARNING, logger="dreamsampler"):
        operator.prox(y, x0, 1e-2)
        assert not caplog.records
        operator.prox(y, x0, 1e-13)
    (record,) = caplog.records
    assert "stopped after 1000 iterations" in record.getMessage()


MASK_ERROR = r"mask has the shape \(.*\); give it as \(batch, 1, height, width\)"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Inpainting(torch.zeros(9, 12)), MASK_ERROR),
        (lambda: Inpainting(torch.zeros(1, 9, 12)), MASK_ERROR),
        (lambda: Inpainting(torch.zeros(1, 3, 9, 12)), MASK_ERROR),
        (lambda: SuperResolution(64, 64, 1), "input 'scale' is 1: choose a whole number from 2 to 16"),
        (lambda: SuperResolution(999, 999, 17), "input 'scale' is 17: choose a whole number from 2 to 16"),
        (
            lambda: SuperResolution(64, 56, 8),
            "'scale' is 8, which leaves 7 x 8 pixels of a 56 x 64 image: choose a smaller",
        ),
        (
            lambda: SuperResolution(112, 512, 16),
            "which leaves 32 x 7 pixels of a 512 x 112 image: choose a smaller 'scale'",
        ),
        (lambda: GaussianBlur(32, 32, 4, 1.0), "input 'kernel_size' is 4: choose an odd number"),
        (lambda: GaussianBlur(32, 32, 0, 1.0), "input 'kernel_size' is 0: choose an odd number of pixels"),
        (lambda: GaussianBlur(32, 32, -3, 1.0), "input 'kernel_size' is -3: choose an odd number of pixels"),
        (lambda: GaussianBlur(9, 32, 11, 1.0), "is 11, more than a side of the 32 x 9 image: choose a smaller"),
        (lambda: GaussianBlur(32, 9, 11, 1.0), "is 11, more than a side of the 9 x 32 image: choose a smaller"),
        (lambda: GaussianBlur(32, 32, 5, 0.0), "input 'sigma' of the Gaussian blur is 0.0: choose a number above 0"),
        (lambda: GaussianBlur(32, 32, 5, -1.0), "input 'sigma' of the Gaussian blur is -1.0: choose a number above 0"),
        (
            lambda: GaussianBlur(32, 32, 5, math.nan),
            "input 'sigma' of the Gaussian blur is nan: choose a number above 0",
        ),
        (lambda: MotionBlur(32, 32, 6, 0.0), "input 'kernel_size' is 6: choose an odd number of pixels"),
        (lambda: MotionBlur(32, 32, -1, 0.0), "input 'kernel_size' is -1: choose an odd number of pixels"),
        (lambda: MotionBlur(32, 9, 11, 0.0), "is 11, more than a side of the 9 x 32 image: choose a smaller"),
        (lambda: UnknownGaussianBlur(32, 32, 0.0), "input 'sigma' of the unknown blur is 0.0: choose a number above 0"),
        (lambda: JPEG(32, 32, 0), "input 'quality' is 0: choose a whole number from 1 to 100"),
        (lambda: JPEG(32, 32, 101), "input 'quality' is 101: choose a whole number from 1 to 100"),
        (lambda: JPEG(32, 32, 75, "4:1:1"), "input 'subsampling' is '4:1:1': choose 4:2:0 or 4:4:4"),  # type: ignore
        (
            lambda: Outpainting(32, 48, 0, 0, 0, 0),
            "'outpaint' needs a border to fill: set 'left', 'top', 'right' or 'bottom' to a number of pixels, for",
        ),
        (
            lambda: Outpainting(32, 48, 8, 5, 0, 0),
            "'left', 'top', 'right' and 'bottom' are 8, 5, 0 and 0: set them to multiples of 8, or to 0",
        ),
        (lambda: Outpainting(32, 48, 0, 0, -8, 0), "are 0, 0, -8 and 0: set them to multiples of 8"),
        (
            lambda: Outpainting(32, 48, 24, 0, 24, 0),
            "are 24, 0, 24 and 0, which leaves nothing of a 48 x 32 image: choose smaller numbers",
        ),
        (lambda: Outpainting(32, 48, 0, 40, 0, 0), "leaves nothing of a 48 x 32 image"),
    ],
)
def test_invalid_settings_raise_an_error_that_says_what_to_change(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_smallest_allowed_sizes():
    assert SuperResolution(57, 64, 8).measurement_shape == (3, 8, 8)
    assert GaussianBlur(11, 12, 11, 1.0).image_shape == (3, 11, 12)


# The registry


def test_operator_names_and_order_are_frozen():
    known = ["inpaint", "super-resolution", "gaussian blur", "motion blur", "colourisation", "outpaint", "jpeg"]
    assert list(OPERATORS)[:8] == [*known, "unknown gaussian blur"]
    assert [kind.order for kind in OPERATORS.values()] == sorted({kind.order for kind in OPERATORS.values()})


def test_widgets_are_the_fields_of_the_settings():
    assert set(get_args(Widget)) == {each.name for each in fields(OperatorSettings)}


OTHER_VALUES: dict[Widget, Any] = {
    "scale": 3,
    "kernel_size": 9,
    "sigma": 3.0,
    "angle": 75.0,
    "mask": 1 - rectangular_hole(24, 24),
    "left": 0,
    "top": 16,
    "right": 8,
    "bottom": 8,
    "quality": 20,
    "subsampling": "4:4:4",
}


@pytest.mark.parametrize("widget", get_args(Widget))
@EVERY_KIND
def test_an_operator_reads_the_widgets_it_declares(kind: OperatorKind, widget: Widget):
    values = settings(24, 24)
    operator, other = (kind.build(24, 24, each) for each in (values, replace(values, **{widget: OTHER_VALUES[widget]})))
    x = random_values(1, *operator.image_shape)
    used = not torch.equal(operator.forward(x), other.forward(x))
    assert used == (widget in kind.reads), (
        f"'{kind.name}' {'uses' if used else 'does not use'} '{widget}': see `reads`."
    )


@pytest.mark.parametrize("simulate", [False, True], ids=["given", "simulated"])
@EVERY_KIND
def test_measured_has_the_declared_shape(kind: OperatorKind, simulate: bool):
    images = random_values(2, 3, 16, 18)
    operator, y = kind.measured(images, settings(16, 18), simulate=simulate)
    assert y.shape == (2, *operator.measurement_shape)
    assert operator.back_projected(y).shape == (2, *operator.image_shape)
    if simulate:
        assert operator.image_shape == (3, 16, 18) and torch.equal(y, operator.forward(images))


@EVERY_KIND
def test_measuring_a_degraded_image_gives_its_measurement(kind: OperatorKind):
    """Whether the operator applies A again or takes the image as the measurement."""
    operator, y = kind.measured(random_values(2, 3, 16, 32), settings(16, 32), simulate=True)
    degraded = {"jpeg": operator.back_projected, "outpaint": lambda y: y[..., 8:, 8:]}
    image = degraded.get(kind.name, lambda y: y.expand(-1, 3, -1, -1))(y)
    again, measured = kind.measured(image, settings(16, 32), simulate=False)
    assert again.image_shape == operator.image_shape
    assert_close(measured, y)


@pytest.mark.parametrize("changes", [{"name": "inpaint", "order": 99}, {"name": "new", "order": 1}])
def test_duplicate_names_and_orders_are_rejected(changes: dict[str, Any]):
    before = list(OPERATORS)
    with pytest.raises(ValueError, match="clashes with 'inpaint' of order 1: choose another name, and an order above"):
        register(OperatorKind(**changes, tooltip="a toy", build=OPERATORS["inpaint"].build))
    assert list(OPERATORS) == before

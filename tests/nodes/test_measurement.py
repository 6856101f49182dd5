"""The Measurement node: what it measures and shows with each operator, and invalid inputs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import dreamsampler
import numpy as np
import pytest
import torch
from comfy_api.latest import io
from dreamsampler.drawings.tasks import restoration_weights
from dreamsampler.guidance.core.noise import SeededNoise, item_seeds
from dreamsampler.guidance.restoration import operators
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import OPERATORS
from dreamsampler.nodes.measurement import MeasurementNode
from PIL import Image
from support.tensors import uniform
from support.tiny_models import measure, photo, square_hole
from torch import Tensor
from torch.nn import functional as F

from tools.reference.host_access import host_nodes

every_operator = pytest.mark.parametrize("operator", OPERATORS)


def operator_inputs(operator: str) -> dict[str, Any]:
    """The operator, and a mask or a border if it needs one."""
    return {"operator": operator, **({"mask": square_hole()} if reads_mask(operator) else {}), **border(operator)}


def border(operator: str) -> dict[str, Any]:
    return {"left": 16, "bottom": 8} if operator == "outpaint" else {}


def reads_mask(operator: str) -> bool:
    return "mask" in OPERATORS[operator].reads


def signed(image: Tensor) -> Tensor:
    """An IMAGE as images (B, C, H, W) in [-1, 1]."""
    return 2 * image.movedim(-1, 1) - 1


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def convolved(images: Tensor, kernel: Tensor) -> Tensor:
    """A convolution by PyTorch with replicate padding."""
    side = kernel.shape[-1] // 2
    padded = F.pad(images, (side,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.expand(3, 1, *kernel.shape), groups=3)


def gaussian(kernel_size: int, sigma: float) -> Tensor:
    offsets = torch.arange(kernel_size) - kernel_size // 2
    line = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = line[:, None] * line
    return kernel / kernel.sum()


# The measurement


def test_inpaint_measures_everything_outside_the_hole():
    image, mask = photo(), square_hole()
    for simulate in (False, True):
        measurement, observed = measure(image, mask=mask, simulate=simulate)
        assert_close(measurement.y, (1 - mask) * signed(image))
        assert_close(observed[mask == 0], image[mask == 0], 1e-7)
        assert (observed[mask == 1] == 0.5).all()


def test_soft_hole_is_partly_known_and_shown_at_full_brightness():
    image, mask = photo(), 0.5 * square_hole()
    measurement, observed = measure(image, mask=mask)
    assert_close(measurement.y, (1 - mask) * signed(image))
    assert_close(observed, image)


@pytest.mark.parametrize("size", [(60, 60), (48, 32)])
def test_super_resolution_matches_pillow_downscaling(size: tuple[int, int]):
    height, width = size
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(0))
    measurement, observed = measure(image, "super-resolution", scale=4)
    assert measurement.operator.image_shape == (3, height, width)
    assert measurement.y.shape == (1, 3, height // 4, width // 4)
    for channel in range(3):
        pillow = Image.fromarray(image[0, ..., channel].numpy(), mode="F")
        small = np.asarray(pillow.resize((width // 4, height // 4), Image.Resampling.BICUBIC))
        assert_close(measurement.y[0, channel], 2 * torch.from_numpy(small.copy()) - 1)
    assert observed.shape == image.shape


@pytest.mark.parametrize("scale", [2, 4])
def test_small_image_is_the_measurement_of_a_larger_one(scale: int):
    small = torch.rand(2, 8, 12, 3, generator=torch.Generator().manual_seed(0))
    measurement, observed = measure(small, "super-resolution", scale=scale, simulate=False)
    assert measurement.operator.image_shape == (3, 8 * scale, 12 * scale)
    assert torch.equal(measurement.y, signed(small))
    assert observed.shape == (2, 8 * scale, 12 * scale, 3)
    seen = 2 * observed.movedim(-1, 1) - 1
    smaller = F.interpolate(seen, size=(8, 12), mode="area")
    assert (smaller - signed(small)).std() < 0.5 * signed(small).std()


def test_gaussian_blur_is_a_convolution():
    image = photo(2)
    measurement, observed = measure(image, "gaussian blur", kernel_size=9, sigma=1.5)
    assert_close(measurement.y, convolved(signed(image), gaussian(9, 1.5)))
    assert observed.shape == image.shape


@pytest.mark.parametrize(("angle", "shape"), [(0.0, (1, 7)), (90.0, (7, 1)), (180.0, (1, 7))])
def test_motion_blur_averages_along_its_angle(angle: float, shape: tuple[int, int]):
    image = photo()
    measurement, _ = measure(image, "motion blur", kernel_size=7, angle=angle)
    padded = F.pad(signed(image), (3,) * 4, mode="replicate")
    means = F.avg_pool2d(padded, shape, stride=1)
    crop = means[..., 3:-3, :] if shape[0] == 1 else means[..., 3:-3]
    assert_close(measurement.y, crop)


def test_motion_blur_angle_is_counterclockwise():
    image = torch.zeros(1, 33, 33, 3)
    image[:, 16, 16] = 1
    measurement, _ = measure(image, "motion blur", kernel_size=9, angle=45.0)
    y = measurement.y[0, 0] + 1
    assert y[14, 18] > 0.1 and y[18, 14] > 0.1, "from bottom left to top right"
    assert y[14, 14] < 1e-4 and y[18, 18] < 1e-4


def test_colorization_measures_luma():
    image = photo(2)
    for simulate in (False, True):
        measurement, observed = measure(image, "colourisation", simulate=simulate)
        luma = (image * torch.tensor([0.299, 0.587, 0.114])).sum(-1)
        assert_close(measurement.y, 2 * luma[:, None] - 1)
        assert_close(observed, luma[..., None].expand(-1, -1, -1, 3))


def test_gray_image_is_shown_unchanged():
    gray = photo()[..., :1]
    measurement, observed = measure(gray, "colourisation", simulate=False)
    assert_close(measurement.y, signed(gray))
    assert measurement.operator.image_shape == (3, 64, 64) and observed.shape == (1, 64, 64, 3)


@pytest.mark.parametrize("operator", ["gaussian blur", "motion blur"])
def test_blurred_image_is_used_as_the_measurement(operator: str):
    image = photo(2)
    measurement, observed = measure(image, operator, simulate=False)
    assert torch.equal(measurement.y, signed(image))
    assert measurement.operator.image_shape == (3, 64, 64) and observed.shape == image.shape


@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
@pytest.mark.parametrize("quality", [20, 75])
def test_jpeg_is_the_image_that_pillow_compresses(quality: int, subsampling: str):
    pixels = (photo(size=64, seed=3) * 255).round()
    file = BytesIO()
    jpeg = {"quality": quality, "subsampling": {"4:4:4": 0, "4:2:0": 2}[subsampling]}
    Image.fromarray(pixels[0].numpy().astype(np.uint8)).save(file, "JPEG", **jpeg)
    decoded = torch.from_numpy(np.array(Image.open(file)))[None] / 255
    options = {"operator": "jpeg", "quality": quality, "subsampling": subsampling}
    given, shown = measure(decoded, **options, simulate=False)
    simulated, observed = measure(pixels / 255, **options)
    assert_close(shown, decoded, 2.5 / 255)
    assert (observed - decoded).abs().mean() < 2 / 255
    assert ((given.y - simulated.y).abs() > 1e-4).double().mean() < 0.01
    for measurement in (given, simulated):
        assert measurement.distance(signed(pixels / 255)) < 0.05 and measurement.distance(signed(photo())) > 1


def test_noise_of_a_jpeg_is_there_before_its_compression():
    image, options = photo(2), {"operator": "jpeg", "quality": 40}
    noisy, _ = measure(image, **options, noise_std=0.1, seed=7)
    assert noisy.noise_std == 0.1
    noise = SeededNoise(item_seeds(7, [0, 1])).like(signed(image))
    clean, _ = measure(image + 0.05 * noise.movedim(1, -1), **options)
    assert ((noisy.y - clean.y).abs() > 1e-4).double().mean() < 1e-3
    alone, _ = measure(image[1:], **options, noise_std=0.1, seed=item_seeds(7, [1])[0])
    assert torch.equal(alone.y, noisy.y[1:])


def test_outpaint_adds_a_gray_border_as_comfyui_pads():
    image, sides = photo(2)[:, :40], {"left": 16, "top": 8, "right": 0, "bottom": 24}
    measurement, observed = measure(image, "outpaint", **sides, simulate=False)
    padded, mask = host_nodes().ImagePadForOutpaint().expand_image(image, *sides.values(), feathering=0)
    assert_close(observed, padded, 1e-7)
    hole = measurement.operator.hole
    assert hole is not None and torch.equal(hole[:, 0], mask.double())
    assert measurement.operator.image_shape == (3, 72, 80)


def test_outpaint_of_a_clean_image_hides_its_border():
    measurement, observed = measure(photo(), "outpaint", right=16, simulate=True)
    mask = torch.zeros(1, 64, 64)
    mask[..., 48:] = 1
    expected, shown = measure(photo(), mask=mask)
    assert torch.equal(measurement.y, expected.y) and torch.equal(observed, shown)


# The observed image


@every_operator
@pytest.mark.parametrize("simulate", [False, True], ids=["given", "simulated"])
def test_observed_image_has_the_restored_size(operator: str, simulate: bool):
    image = torch.rand(2, 64, 48, 3, generator=torch.Generator().manual_seed(3)).round()
    options = {**operator_inputs(operator), **({"mask": torch.ones(1, 64, 48).triu()} if reads_mask(operator) else {})}
    measurement, observed = measure(image, **options, simulate=simulate, noise_std=0.5)
    assert observed.shape == (2, *measurement.operator.image_shape[1:], 3)
    assert observed.min() >= 0 and observed.max() <= 1 and observed.isfinite().all()
    assert observed.dtype == torch.float32


@every_operator
def test_constant_image_is_shown_unchanged(operator: str):
    image = torch.full((1, 64, 64, 3), 0.3)
    measurement, observed = measure(image, **operator_inputs(operator))
    hole = measurement.operator.hole
    seen = observed if hole is None else observed[hole[:, 0] == 0]
    step = 8 / 8 / 255  # of JPEG's quantization of a mean, at quality 75
    assert_close(seen, torch.full_like(seen, 0.3), step / 2 if operator == "jpeg" else 1e-4)


@every_operator
def test_inputs_are_unchanged(operator: str):
    image, mask = photo(2), square_hole()
    before = image.clone(), mask.clone()
    measure(image, operator, mask=mask, noise_std=0.1, **border(operator))
    assert torch.equal(image, before[0]) and torch.equal(mask, before[1])


# Noise


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "jpeg"])
def test_noise_has_the_given_std_and_one_seed_per_image(operator: str):
    image, options = photo(3), operator_inputs(operator)
    clean, _ = measure(image, **options)
    noisy, _ = measure(image, **options, noise_std=0.1, seed=7)
    noise = noisy.y - clean.y
    if clean.operator.hole is not None:
        noise = noise[..., clean.operator.hole[0, 0] == 0]
    assert abs(noise.std().item() - 0.1) < 0.005
    assert noisy.noise_std == 0.1
    for i in range(3):
        alone, _ = measure(image[i : i + 1], **options, noise_std=0.1, seed=item_seeds(7, [i])[0])
        assert_close(alone.y, noisy.y[i : i + 1], 1e-6)
    other, _ = measure(image[[1, 2, 0]], **options, noise_std=0.1, seed=8)
    assert not any(torch.equal(a, b) for a, b in zip(other.y[[2, 0, 1]], noisy.y))
    next_item, _ = measure(image[1:2], **options, noise_std=0.1, seed=8)
    assert not torch.equal(next_item.y, noisy.y[1:2])


@every_operator
def test_no_noise_is_added_to_a_real_measurement(operator: str):
    given, _ = measure(photo(), **operator_inputs(operator), simulate=False)
    noisy, _ = measure(photo(), **operator_inputs(operator), simulate=False, noise_std=0.1)
    assert torch.equal(given.y, noisy.y) and noisy.noise_std == 0.1


def test_no_noise_is_added_in_the_hole():
    noisy, observed = measure(photo(), mask=square_hole(), noise_std=0.2)
    hole = square_hole()[0] == 1
    assert (noisy.y[..., hole] == 0).all()
    images = signed(photo(seed=5))
    restored = noisy.projected(images)
    smooth = measure(photo(), mask=square_hole())[0].projected(images)
    rough, calm = ((image - images)[..., hole].diff(dim=-1).std() for image in (restored, smooth))
    assert rough < 2 * calm + 0.05


def test_global_rng_is_unchanged():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    measure(photo(), "gaussian blur", noise_std=0.1)
    assert torch.equal(torch.get_rng_state(), before)


# Image and mask formats


@every_operator
def test_alpha_is_ignored_and_gray_is_expanded(operator: str):
    image, options = photo(2), operator_inputs(operator)
    plain, observed = measure(image, **options)
    for given in (torch.cat([image, uniform(2, 64, 64, 1, dtype=torch.float32)], -1), image.double()):
        measurement, shown = measure(given, **options)
        assert_close(measurement.y, plain.y)
        assert_close(shown, observed)
    gray, _ = measure(image[..., :1], **options)
    threefold, _ = measure(image[..., :1].expand(-1, -1, -1, 3), **options)
    assert_close(gray.y, threefold.y)
    with_alpha, _ = measure(torch.cat([image[..., :1], uniform(2, 64, 64, 1, dtype=torch.float32)], -1), **options)
    assert_close(with_alpha.y, gray.y)


def test_mask_resolution_does_not_matter():
    image = photo()
    exact = measure(image, mask=square_hole())[0].operator.hole
    assert exact is not None and torch.equal(exact[0, 0], square_hole()[0].double())
    for size in (32, 128):
        mask = F.interpolate(square_hole()[:, None], (size, size), mode="nearest")[:, 0]
        hole = measure(image, mask=mask)[0].operator.hole
        assert hole is not None and hole.shape == exact.shape
        assert (hole - exact).abs().mean() < 0.02
        inside, outside = exact[0, 0] == 1, exact[0, 0] == 0
        assert hole[0, 0, 24:32, 32:40].min() > 0.999 and hole[0, 0, inside].mean() > 0.9
        assert hole[0, 0, :8].max() < 1e-6 and hole[0, 0, outside].mean() < 0.02


def test_each_image_uses_its_own_mask():
    image, masks = photo(2), torch.cat([square_hole(), square_hole().mT])
    together, observed = measure(image, mask=masks)
    for i in range(2):
        alone, shown = measure(image[i : i + 1], mask=masks[i : i + 1])
        assert torch.equal(together.y[i : i + 1], alone.y)
        assert torch.equal(observed[i : i + 1], shown)
        hole, own = together.of_item(i).operator.hole, alone.operator.hole
        assert hole is not None and own is not None and torch.equal(hole, own)


def test_mask_without_batch_dimension_or_beyond_0_to_1_is_accepted():
    expected, _ = measure(photo(), mask=square_hole())
    actual, _ = measure(photo(), mask=3 * square_hole()[0] - 1)
    assert torch.equal(actual.y, expected.y)


@pytest.mark.parametrize("operator", [name for name in OPERATORS if not reads_mask(name)])
@pytest.mark.parametrize(
    "mask", [torch.zeros(1, 64, 64), torch.ones(1, 64, 128), torch.ones(3, 64, 64)], ids=["empty", "wide", "three"]
)
def test_mask_is_ignored_by_operators_without_a_hole(operator: str, mask: Tensor):
    expected, _ = measure(photo(), operator, **border(operator))
    actual, _ = measure(photo(), operator, mask=mask, **border(operator))
    assert torch.equal(actual.y, expected.y)


# Invalid inputs

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no mask": ({"operator": "inpaint"}, "'inpaint' needs a hole to fill: connect a mask to input 'mask'"),
    "empty mask": (
        {"mask": torch.zeros(1, 64, 64)},
        "mask is empty: paint what to change in the Mask Editor, or invert",
    ),
    "negative mask": ({"mask": -torch.ones(1, 64, 64)}, "mask is empty: paint what to change"),
    "one empty mask of two": (
        {"image": photo(2), "mask": torch.cat([square_hole(), 0 * square_hole()])},
        "mask is empty: paint what to change",
    ),
    "mask of other aspect ratio": (
        {"mask": torch.ones(1, 64, 128)},
        "mask is 128x64 pixels, 2:1, but image is 64x64 pixels, 1:1: crop or resize",
    ),
    "mask of almost the same aspect ratio": (
        {"image": torch.ones(1, 1024, 1024, 3), "mask": torch.ones(1, 1024, 1026)},
        "mask is 1026x1024 pixels, 1.002:1, but image is 1024x1024 pixels, 1:1: crop or resize",
    ),
    "three masks for two images": (
        {"image": photo(2), "mask": torch.ones(3, 64, 64)},
        "mask holds 3 masks but image holds 2 images: connect one mask, or one for each",
    ),
    "mask NaN": ({"mask": torch.full((1, 64, 64), float("nan"))}, "mask.* contains NaN or infinite"),
    "image NaN": (
        {"image": photo() * float("nan"), "mask": square_hole()},
        "Input 'image' contains NaN or infinite values: check",
    ),
    "image infinite": (
        {"image": photo() / 0, "operator": "colourisation"},
        "Input 'image' contains NaN or infinite values: check the node",
    ),
    "large gaussian kernel": (
        {"operator": "gaussian blur", "kernel_size": 65},
        "input 'kernel_size' is 65, more than a side of the 64 x 64 image: choose a smaller 'kernel_size'",
    ),
    "large motion kernel": (
        {"operator": "motion blur", "kernel_size": 65},
        "input 'kernel_size' is 65, more than a side of the 64 x 64 image: choose a smaller 'kernel_size'",
    ),
    "even gaussian kernel": (
        {"operator": "gaussian blur", "kernel_size": 8},
        "input 'kernel_size' is 8: choose an odd number",
    ),
    "even motion kernel": (
        {"operator": "motion blur", "kernel_size": 8},
        "input 'kernel_size' is 8: choose an odd number",
    ),
    "no sigma": (
        {"operator": "gaussian blur", "sigma": 0.0},
        "Input 'sigma' is 0: set it to a number from 0.01",
    ),
    "no border": (
        {"operator": "outpaint"},
        "'outpaint' needs a border to fill: set 'left', 'top', 'right' or 'bottom' to a number of pixels",
    ),
    "border that splits a latent cell": (
        {"operator": "outpaint", "left": 12},
        "'left', 'top', 'right' and 'bottom' are 12, 0, 0 and 0: set them to multiples of 8",
    ),
    "border as wide as the image": (
        {"operator": "outpaint", "left": 32, "right": 32, "simulate": True},
        "which leaves nothing of a 64 x 64 image: choose smaller numbers",
    ),
    "quality": ({"operator": "jpeg", "quality": 0}, "Input 'quality' is 0: set it to a number from 1 to 100"),
    "no sigma to start from": (
        {"operator": "unknown gaussian blur", "sigma": 0.0},
        "Input 'sigma' is 0: set it to a number from 0.01",
    ),
    "large scale": (
        {"operator": "super-resolution", "scale": 16},
        "'scale' is 16, which leaves 4 x 4 pixels of a 64 x 64 image: choose a smaller 'scale' or a larger image",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_a_full_sentence(case: str):
    options, words = REFUSED[case]
    with pytest.raises(ValueError, match=f"(?s){words}") as refusal:
        measure(**{"image": photo(), **options})
    message = str(refusal.value)
    assert message.startswith(("The ", "A ", "Input ")) and message.endswith(".")


# The node


def test_node_schema():
    extension = asyncio.run(dreamsampler.comfy_entrypoint())
    assert MeasurementNode in asyncio.run(extension.get_node_list())
    schema = MeasurementNode.GET_SCHEMA()
    assert (schema.node_id, schema.display_name, schema.category) == ("DSMeasurement", "Measurement", "DreamSampler")
    optional = [given.id for given in schema.inputs if given.optional]
    assert optional == ["mask", "angle", "left", "top", "right", "bottom", "quality", "subsampling"]


@every_operator
def test_help_page_explains_every_operator(operator: str):
    page = Path(__file__).resolve().parents[2] / "js" / "docs" / "DSMeasurement.md"
    assert f"\n| {operator} | " in page.read_text("utf-8")


@every_operator
def test_default_settings_work(operator: str):
    defaults = {
        given.id: given.default
        for given in MeasurementNode.GET_SCHEMA().inputs
        if isinstance(given, io.WidgetInput) and given.default is not None
    }
    options = {**defaults, **operator_inputs(operator), "image": photo(size=64)}
    measurement, _ = measure(**options)
    assert isinstance(measurement, Measurement) and measurement.y.isfinite().all()


# Contributed operators

FLIP = """
from .base import LinearOperator
from .registry import OperatorKind, register


class Flip(LinearOperator):
    lambda_sds, lambda_dc = 1.5, 2.0

    def __init__(self, height, width, times):
        super().__init__((3, height, width), (3, height, width))
        self.times = times

    def forward(self, x):
        return x.flip(-1) if self.times % 2 else x

    adjoint = forward


register(
    OperatorKind(
        name="flip",
        order=1000,
        tooltip="mirrored horizontally",
        reads=("scale",),
        build=lambda height, width, settings: Flip(height, width, settings.scale),
    )
)
"""
"""The source file of a contributed operator."""


@pytest.fixture
def flip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the operator's file where the operators package discovers it."""
    (tmp_path / "flip.py").write_text(FLIP, "utf-8")
    monkeypatch.setattr(operators, "__path__", [*operators.__path__, str(tmp_path)])
    OPERATORS.discover(operators.__name__)
    yield
    del OPERATORS["flip"], sys.modules[f"{operators.__name__}.flip"]
    delattr(operators, "flip")


def test_operator_in_a_new_file_is_offered_and_used(flip: None):
    inputs: dict[str, Any] = {given.id: given for given in MeasurementNode.define_schema().inputs}
    assert inputs["operator"].options[-1] == "flip"
    assert "flip: mirrored horizontally" in inputs["operator"].tooltip
    assert ", flip: " in inputs["scale"].tooltip and "flip" not in inputs["sigma"].tooltip
    image = photo()
    for scale, expected in ((3, image.flip(2)), (4, image)):
        measurement, observed = measure(image, "flip", scale=scale, simulate=True)
        assert_close(measurement.y, signed(expected))
        assert_close(observed, image)
    given, _ = measure(image, "flip", scale=3, simulate=False)
    assert_close(given.y, signed(image))
    assert restoration_weights(given.operator) == (1.5, 2.0)


def test_removed_operator_is_not_offered():
    offered: Any = MeasurementNode.define_schema().inputs[1]
    assert "flip" not in OPERATORS and offered.options == list(OPERATORS)

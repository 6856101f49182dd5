"""JPEG compression as a measurement, against Pillow, brute force and closed forms."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED
from dreamsampler.guidance.restoration.measurement import DataConsistency, Measurement
from dreamsampler.guidance.restoration.operators import JPEG, Subsampling
from dreamsampler.guidance.restoration.operators.jpeg import _CHROMA_STEPS, _LUMA_STEPS, quantization_steps
from PIL import Image
from support.autoencoders import IdentityAutoencoder
from support.tensors import uniform
from torch import Tensor

LEVEL = 1 / 127.5
"""A step of 8 bits."""
PILLOW = {"4:4:4": 0, "4:2:0": 2}
EVERY_SUBSAMPLING = pytest.mark.parametrize("subsampling", PILLOW)


def grainy(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image (height, width, 3) in 8 bits with smooth colors and fine grain, none of them saturated."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 225, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), dtype=float)
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).round().astype(np.uint8)


def signed(pixels: Any) -> Tensor:
    """Pixels as an image (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).double().movedim(-1, 0)[None] * LEVEL - 1


def compressed(pixels: np.ndarray, quality: int, subsampling: str) -> Image.Image:
    """What Pillow decodes from the JPEG that it writes."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=PILLOW[subsampling])
    return Image.open(file)


@pytest.mark.parametrize("quality", [1, 10, 25, 49, 50, 51, 75, 90, 100])
def test_quantization_steps_are_those_of_pillow(quality: int):
    tables: Any = compressed(grainy(8, 8), quality, "4:4:4").quantization  # type: ignore[attr-defined]
    for number, table in enumerate((_LUMA_STEPS, _CHROMA_STEPS)):
        assert quantization_steps(table, quality).flatten().tolist() == list(tables[number])


@EVERY_SUBSAMPLING
@pytest.mark.parametrize("quality", [10, 30, 50, 75, 90])
def test_image_agrees_with_its_jpeg_by_pillow(quality: int, subsampling: Subsampling):
    pixels = grainy(64, 96)
    decoded = signed(compressed(pixels, quality, subsampling))
    operator = JPEG(64, 96, quality, subsampling)
    y = operator.read(decoded)
    # Pillow rounds luma and color differences to 8 bits before the transform, and pixels after it.
    away = operator.residual(y, signed(pixels)).abs()
    assert away.max() < 2 * LEVEL and away.square().mean().sqrt() < 0.05 * LEVEL
    # Decoded again, what was read is the same image, up to the rounding of its pixels.
    shown = operator.back_projected(y).clamp(-1, 1) - decoded
    assert shown.abs().max() < 2.5 * LEVEL and shown.square().mean().sqrt() < 0.75 * LEVEL
    # It is what the operator makes of the image, except for frequencies that rounding moves across the edge of a bin.
    same = (y - operator.forward(signed(pixels))).abs() < 1e-9
    assert same.double().mean() > 0.97
    other = signed(grainy(64, 96, seed=1))
    assert operator.residual(y, other).norm() > 100 * away.norm()


@EVERY_SUBSAMPLING
@pytest.mark.parametrize("quality", [95, 100])
def test_high_quality_is_read_up_to_a_step(quality: int, subsampling: Subsampling):
    pixels, operator = grainy(64, 96), JPEG(64, 96, quality, subsampling)
    away = operator.residual(operator.read(signed(compressed(pixels, quality, subsampling))), signed(pixels)).abs()
    assert away.max() < 2.5 * LEVEL and away.square().mean().sqrt() < 0.3 * LEVEL


def test_image_from_pillow_is_its_own_projection():
    for quality in (10, 50, 90):
        operator = JPEG(64, 96, quality, "4:4:4")
        decoded = signed(compressed(grainy(64, 96), quality, "4:4:4"))
        assert torch.equal(operator.projected(operator.read(decoded), decoded, 0.0), decoded)


def test_colors_that_were_repeated_and_not_interpolated_are_their_own_projection():
    operator = JPEG(64, 96, 50, "4:2:0")
    y = operator.forward(signed(grainy(64, 96)))
    smooth = operator.back_projected(y)
    # Interpolation makes colors smoother than the file's, which the projection undoes, and only in colors.
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).reshape(3, 1, 1)
    sharp = operator.projected(y, smooth, 0.0)
    assert 0.05 * LEVEL < (sharp - smooth).abs().mean() < LEVEL
    assert (luma * (sharp - smooth)).sum(1).abs().max() < 1e-12
    assert (operator.projected(y, sharp, 0.0) - sharp).abs().max() < 1e-12


# The projection


@EVERY_SUBSAMPLING
def test_projection_agrees_and_is_idempotent(subsampling: Subsampling):
    operator = JPEG(32, 48, 20, subsampling)
    y, x0 = operator.forward(uniform(2, 3, 32, 48, seed=1, low=-1, high=1)), uniform(2, 3, 32, 48, low=-1, high=1)
    x = operator.projected(y, x0, 0.0)
    assert operator.residual(y, x0).norm() > 1
    assert operator.residual(y, x).abs().max() < 1e-12
    torch.testing.assert_close(operator.projected(y, x, 0.0), x, rtol=0, atol=1e-12)
    for i in range(2):
        assert torch.equal(operator.projected(y[i : i + 1], x0[i : i + 1], 0.0), x[i : i + 1])
        assert torch.equal(operator.projected(y[:1], x0, 0.0)[i], operator.projected(y[:1], x0[i : i + 1], 0.0)[0])


def ycc(x: Tensor) -> Tensor:
    """Luma and color differences by the formulas of JFIF."""
    red, green, blue = x.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([luma, (blue - luma) / 1.772, (red - luma) / 1.402], 1)


@EVERY_SUBSAMPLING
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_projection_is_the_nearest_image_of_one_block(weight: float, subsampling: Subsampling):
    """Brute force: no image nearby is better, and gradient descent on the distance to all bins arrives there."""
    operator = JPEG(16, 16, 20, subsampling)
    y, x0 = operator.forward(uniform(1, 3, 16, 16, seed=1, low=-1, high=1)), uniform(1, 3, 16, 16, low=-1, high=1)
    x = operator.projected(y, x0, weight)

    def cost(candidates: Tensor) -> Tensor:
        far = ycc(candidates - x0).square().flatten(1).sum(1)
        away = operator.residual(y, candidates).square().flatten(1).sum(1)
        return away + weight * far if weight else far + 1e9 * (away > 1e-20)

    candidates = x + torch.cat([s * uniform(500, 3, 16, 16, seed=3, low=-1, high=1) for s in (1e-3, 1e-2, 0.1)])
    if not weight:  # only those that agree compare
        candidates = operator.projected(y, candidates, 0.0)
    assert (cost(candidates) > cost(x)).all()
    if weight:
        state = x0.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([state], lr=1, max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = cost(state).sum()
            value.backward()
            return value

        optimizer.step(closure)
        torch.testing.assert_close(state.detach(), x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(24, 40), (21, 35)])
def test_projection_of_blocks_beyond_the_image_comes_close(size: tuple[int, int]):
    operator = JPEG(*size, 20)
    y, x0 = operator.forward(signed(grainy(*size))), signed(grainy(*size, seed=1))
    assert operator.residual(y, operator.projected(y, x0, 0.0)).norm() < 0.15 * operator.residual(y, x0).norm()
    assert operator.residual(y, signed(grainy(*size))).abs().max() < 1e-12


# Gradients and fits


def test_gradient_of_the_distance_points_to_the_nearest_image():
    operator = JPEG(16, 32, 20, "4:4:4")
    measurement = Measurement(operator, operator.forward(signed(grainy(16, 32))))
    x = signed(grainy(16, 32, seed=1))
    data = DataConsistency(measurement, IdentityAutoencoder())
    _, gradient = data.posterior_gradient(lambda z: z, SCALED, x, torch.tensor(1e-9, dtype=torch.float64))
    step = x - operator.projected(measurement.y, x, 0.0)
    # In luma and color differences T the distance is |T step|, with the gradient T^T T step / |T step|.
    basis = ycc(torch.eye(3, dtype=torch.float64).reshape(3, 3, 1, 1)).reshape(3, 3)
    expected = torch.einsum("ij,bjhw->bihw", basis @ basis.mT, step) / ycc(step).norm()
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(measurement.distance(x), ycc(step).norm()[None])
    inside = operator.projected(measurement.y, x, 0.0)
    _, none = data.posterior_gradient(lambda z: z, SCALED, inside, torch.tensor(1e-9, dtype=torch.float64))
    assert none.isfinite().all()


def test_fit_of_an_image_that_agrees_changes_nothing():
    operator = JPEG(32, 32, 30)
    x = signed(grainy(32, 32))
    measurement = Measurement(operator, operator.forward(x))
    assert torch.equal(DataConsistency(measurement, IdentityAutoencoder()).fit(x), x)
    assert torch.equal(measurement.projected(x), x)


def test_noise_is_there_before_the_compression():
    operator, x = JPEG(32, 32, 30), signed(grainy(32, 32))
    y = operator.degraded(x, 0.1, SeededNoise([5]))
    assert torch.equal(y, operator.forward(x + 0.1 * SeededNoise([5]).like(x)))
    assert not torch.equal(y, operator.forward(x))

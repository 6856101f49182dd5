"""The Triton kernels, compared with the PyTorch blend: on a GPU if there is one, else in Triton's interpreter."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from dreamsampler.svg.document import Document, Fill, Group, LinearGradient, Matrix, Point, Shape, Stop, ViewBox
from dreamsampler.svg.raster import compositing
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import Scene, scene
from support.drawings import BLUE, RED, drawing, leaves, square, with_leaves
from torch import Tensor

GPU = torch.cuda.is_available()
gpu = pytest.mark.skipif(not GPU, reason="needs a CUDA device")
FADING = LinearGradient(Point(3, 3), Point(30, 30), (Stop(0, RED, 0.9), Stop(1, BLUE, 0.2)), Matrix(1, 0.2, 0, 1, 0, 0))
"""A gradient with opacities that varies along every edge."""


@pytest.fixture(scope="module")
def kernel() -> ModuleType:
    """The module, if Triton supports this platform."""
    pytest.importorskip("triton")
    from dreamsampler.svg.raster import blending_kernel

    return blending_kernel


def device() -> str:
    return "cuda" if GPU else "cpu"


def documents() -> dict[str, Document]:
    """Drawings on 40 x 40 pixels: several kernel blocks, the last ones only partly on the canvas."""
    shapes = drawing(3, 40.0, 4).children
    faded = Shape((square(4.2, 6.3, 37.1, 30.4),), Fill(FADING, 0.8))
    beside = drawing(5, 80.0, 6).children
    box = ViewBox(0, 0, 40, 40)
    return {
        "blobs and lines": Document(box, shapes),
        "gradients": Document(box, (shapes[0], faded, shapes[1], faded)),
        "a group": Document(box, (shapes[0], Group((faded, shapes[1]), 0.6), shapes[2])),
        "partly outside": Document(box, beside),
        "outside": Document(ViewBox(500, 500, 40, 40), shapes),
    }


def image_and_gradients(canvas_scene: Scene, blend: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, ...]:
    monkeypatch.setattr(compositing, "Blend", blend)
    monkeypatch.setattr(compositing, "_triton_blend", lambda *_: blend)
    background = canvas_scene.colors.new_tensor([[0.2, 0.9, 0.6]]).requires_grad_()
    parameters = background, *leaves(canvas_scene)
    image = rasterize([with_leaves(canvas_scene, *parameters[1:])], background)
    target = torch.linspace(0, 20, image.numel()).sin().view(image.shape).to(image)
    return image.detach(), *torch.autograd.grad((image - target).square().sum(), parameters, allow_unused=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", documents())
def test_images_and_gradients_match_the_pytorch_blend(
    name: str, dtype: torch.dtype, kernel: ModuleType, monkeypatch: pytest.MonkeyPatch
):
    canvas_scene = scene(documents()[name], 40, 40, torch.empty(0, dtype=dtype, device=device()))
    pytorch_blend = compositing.Blend
    expected, found = (
        image_and_gradients(canvas_scene, pytorch_blend, monkeypatch),
        image_and_gradients(canvas_scene, kernel.Blend, monkeypatch),
    )
    tolerance = 1e3 * torch.finfo(dtype).eps
    for a, b in zip(expected, found, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a - b).abs().max() <= tolerance * a.abs().max().clamp(min=1) if a.numel() else True


def test_kernel_works_in_inference_mode(kernel: ModuleType, monkeypatch: pytest.MonkeyPatch):
    canvas_scene = scene(documents()["a group"], 40, 40, torch.empty(0, device=device()))
    expected = rasterize([canvas_scene])
    monkeypatch.setattr(compositing, "Blend", kernel.Blend)
    with torch.inference_mode():
        assert (rasterize([canvas_scene]) - expected).abs().max() < 1e-6


def test_wrong_kernels_are_detected_before_use(kernel: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog):
    like = torch.zeros((), dtype=torch.float64, device=device())
    assert kernel.deviation(compositing.Blend, like) < 1e-12

    class Wrong(torch.autograd.Function):
        forward = staticmethod(compositing.Blend.forward)
        right = staticmethod(compositing.Blend.backward)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
            return tuple(None if g is None else 1.01 * g for g in Wrong.right(ctx, *gradients))

    assert kernel.deviation(Wrong, like) > 0.005
    monkeypatch.setattr(compositing, "Blend", Wrong)
    compositing._triton_blend.cache_clear()
    assert compositing._triton_blend(like.device, like.dtype) is None
    compositing._triton_blend.cache_clear()
    assert "deviates by 0.0" in caplog.text


def test_falls_back_to_pytorch_if_triton_cannot_compile(kernel: ModuleType, monkeypatch, caplog):
    def fails(*_: Any) -> float:
        raise RuntimeError("Failed to find C compiler.")

    monkeypatch.setattr(kernel, "deviation", fails)
    compositing._triton_blend.cache_clear()
    assert compositing._triton_blend(torch.device("cpu"), torch.float32) is None
    compositing._triton_blend.cache_clear()
    assert "blended without Triton on cpu" in caplog.text and "C compiler" in caplog.text


def test_kernels_compile_for_cuda_without_a_gpu(tmp_path: Path):
    pytest.importorskip("triton")
    settings = {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(Path(__file__).parents[1] / "support" / "kernel_compiler.py")]
    result = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert result.stdout.split("\n")[:-1] == [
        f"{name} {real} True" for name in ("_forward", "_backward") for real in ("fp32", "fp64")
    ], result.stderr


@gpu
@pytest.mark.gpu
def test_gpu_matches_cpu(kernel: ModuleType):
    assert compositing._triton_blend(torch.device("cuda"), torch.float32) is kernel.Blend
    for document in documents().values():
        here, there = (rasterize([scene(document, 40, 40, torch.empty(0, device=d))]) for d in ("cpu", "cuda"))
        assert math.isclose((here - there.cpu()).abs().max().item(), 0, abs_tol=1e-5)

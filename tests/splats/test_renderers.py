"""Renderers by name. A stand-in for gsplat draws by its documented conventions; where it is there, it is compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from dreamsampler.splats import Camera, orbit, render
from dreamsampler.splats.renderers import RendererUnavailable, available, renderer, with_gsplat
from dreamsampler.splats.scene import Scene
from support.splats import ball, rendered_by_loop
from torch import Tensor

CAMERA = orbit(azimuth=20, elevation=-30, distance=3, fov=40, width=18, height=12, target=(0.1, 0.2, 0.3))
BACKGROUND = torch.tensor([0.1, 0.5, 0.9])


def stand_in(
    means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor, viewmats: Tensor, Ks: Tensor,
    width: int, height: int, *, near_plane: float, eps2d: float, sh_degree: int, backgrounds: Tensor,
) -> tuple[Tensor, Tensor, dict[str, Any]]:  # fmt: skip
    """gsplat.rasterization: splats (N, ...) in the views of matrices (C, 4, 4) from world to camera, and lenses."""
    assert near_plane == 0.01 and eps2d == 0.3 and colors.shape[1] == (sh_degree + 1) ** 2
    (view,), (lens,) = viewmats.double(), Ks.double()
    position = torch.linalg.inv(view)[:3, 3]
    focal, center = (lens[0, 0].item(), lens[1, 1].item()), (lens[0, 2].item(), lens[1, 2].item())
    camera = Camera(position, view[:3, :3], focal, center, width, height)
    scene = Scene.activated(means, scales, quats, opacities, colors).map(Tensor.double)
    image = rendered_by_loop(scene, camera, backgrounds[0].double()).movedim(0, -1)
    return image[None, ..., :3], image[None, ..., 3:], {}


@pytest.mark.parametrize("background", [None, BACKGROUND])
def test_gsplat_is_called_by_its_conventions(background: Tensor | None):
    scene = ball(15, coefficients=4, dtype=torch.float32)
    theirs = with_gsplat(SimpleNamespace(rasterization=stand_in))(scene, CAMERA, background)
    mine = render(scene.map(Tensor.double), CAMERA, background)
    torch.testing.assert_close(theirs.color, mine.color, atol=1e-4, rtol=0)
    torch.testing.assert_close(theirs.alpha, mine.alpha, atol=1e-4, rtol=0)


def test_renderers_are_found_by_name():
    assert renderer("built-in") is render and available()[0] == "built-in"
    with pytest.raises(ValueError, match="There is no renderer 'fast'. Choose one of built-in, gsplat."):
        renderer("fast")


@pytest.mark.skipif("gsplat" in available(), reason="gsplat can be used here")
def test_without_gsplat_or_cuda_a_sentence_says_so():
    with pytest.raises(RendererUnavailable, match="^The renderer 'gsplat' needs .*choose 'built-in'[.]$"):
        renderer("gsplat")


@pytest.mark.gpu
@pytest.mark.skipif("gsplat" not in available(), reason="needs gsplat and a CUDA device")
@pytest.mark.parametrize("coefficients", [1, 16])
def test_gsplat_draws_the_same_images_and_gradients(coefficients: int):
    camera, background = CAMERA.scaled(180, 120), BACKGROUND.cuda()
    found = []
    for name in ("built-in", "gsplat"):
        scene = ball(500, coefficients=coefficients, dtype=torch.float32).map(lambda each: each.cuda().requires_grad_())
        view = renderer(name)(scene, camera, background)
        torch.cat([view.color, view.alpha]).square().mean().backward()
        found.append((view, [each.grad for each in scene.parameters]))
    (mine, slopes), (theirs, others) = found
    assert (mine.color - theirs.color).abs().mean() < 1 / 255 and (mine.alpha - theirs.alpha).abs().mean() < 1 / 255
    for one, other in zip(slopes, others, strict=True):
        assert one is not None and other is not None
        assert (one - other).norm() < 0.02 * one.norm() + 1e-7

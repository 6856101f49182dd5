"""The choice of renderers by name.

`built-in` works everywhere. `gsplat` needs CUDA and the package gsplat. Both follow the conventions of 3D Gaussian
Splatting, so their images are the same but for rounding, and for splats near the camera that are so long that gsplat
drops them or gets another shape in single precision.

    render = renderer("gsplat")     # RendererUnavailable without gsplat or CUDA
    view = render(scene, camera, background)
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .camera import Camera
from .projection import LOW_PASS, NEAR
from .rasterizer import View, render
from .scene import Scene

BUILT_IN, GSPLAT = "built-in", "gsplat"
NAMES = (BUILT_IN, GSPLAT)
"""All names, whether available here or not; the default is first."""
Renderer = Callable[[Scene, Camera, Tensor | None], View]
"""Draws a scene over a background (3,), black if it is None."""


class RendererUnavailable(RuntimeError):
    """A renderer cannot be used here; the message says why and what to do instead."""


def available() -> tuple[str, ...]:
    """The names that can be used here; the default is first. gsplat is looked up, but not imported."""
    installed = sys.modules.get(GSPLAT) is not None or importlib.util.find_spec(GSPLAT) is not None
    return NAMES if installed and torch.cuda.is_available() else (BUILT_IN,)


def renderer(name: str) -> Renderer:
    """The renderer called `name`. Raises ValueError for another name than `NAMES`, and RendererUnavailable."""
    if name not in NAMES:
        raise ValueError(f"There is no renderer '{name}'. Choose one of {', '.join(NAMES)}.")
    if name == BUILT_IN:
        return render
    try:
        library = importlib.import_module(GSPLAT)
    except ImportError as error:
        raise RendererUnavailable(
            f"The renderer 'gsplat' needs the package gsplat ({error}): run pip install gsplat, or choose 'built-in'."
        ) from error
    if not torch.cuda.is_available():
        raise RendererUnavailable("The renderer 'gsplat' needs CUDA, and PyTorch finds none: choose 'built-in'.")
    return with_gsplat(library)


def with_gsplat(library: Any) -> Renderer:
    """A renderer that calls the module gsplat in float32."""

    def draw(scene: Scene, camera: Camera, background: Tensor | None = None) -> View:
        scene = scene.map(Tensor.float)
        like = scene.positions
        camera = camera.to(like)
        view = torch.eye(4).to(like)
        view[:3, :3] = camera.axes
        view[:3, 3] = -camera.axes @ camera.position
        (fx, fy), (cx, cy) = camera.focal, camera.center
        lens = like.new_tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        color, alpha, _ = library.rasterization(
            scene.positions,
            scene.rotations,
            scene.scales,
            scene.opacities,
            scene.harmonics,
            view[None],
            lens[None],
            camera.width,
            camera.height,
            near_plane=NEAR,
            eps2d=LOW_PASS,
            sh_degree=math.isqrt(scene.harmonics.shape[1]) - 1,
            backgrounds=(like.new_zeros(3) if background is None else background.to(like))[None],
        )
        return View(color[0].movedim(-1, 0), alpha[0].movedim(-1, 0))

    return draw

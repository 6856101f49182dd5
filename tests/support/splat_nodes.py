"""Helpers that run Splat Optimizer on tiny models."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from dreamsampler.nodes import host
from dreamsampler.nodes.orbit_cameras import OrbitCameras
from dreamsampler.nodes.splat_optimizer import SplatOptimizer
from dreamsampler.splats.camera import Camera
from dreamsampler.splats.scene import Scene
from torch import Tensor

from support.splats import ball
from support.svg_nodes import model_inputs
from support.tiny_models import EPS, Family

SIZE = 32


class Optimized(NamedTuple):
    """The result of Splat Optimizer: the SPLAT and its scene, the IMAGE, the cameras, the data for the page."""

    splat: Any
    scene: Scene
    image: Tensor
    cameras: tuple[Camera, ...]
    page_data: dict[str, Any]

    @property
    def notes(self) -> list[str]:
        return self.page_data["text"]


def optimized(family: Family | None = EPS, **inputs: Any) -> Optimized:
    """Run Splat Optimizer like ComfyUI, in inference mode, on a tiny model and its VAE, or on none.

    `inputs` are inputs of the node. None leaves an input unconnected.
    """
    widgets = {"splats": 40, "steps": 2, "guidance_scale": -1.0, "render_size": SIZE, "views": 1, "seed": 7}
    values = {**widgets, "fit_steps": 2, "frames": 2, **model_inputs(family), **inputs}
    with torch.inference_mode():
        output = SplatOptimizer.execute(**{name: each for name, each in values.items() if each is not None})
    splat, image, cameras = output.args
    assert isinstance(output.ui, dict)
    return Optimized(splat, host.splat_scenes("splat", splat)[0], image, cameras, output.ui)


def splat(count: int = 60, coefficients: int = 1) -> Any:
    """A SPLAT of a random ball of radius 1."""
    scene = ball(count, size=0.2, coefficients=coefficients, dtype=torch.float32)
    scene.opacity_logits[:] += 2
    return host.splat_value([scene])


def cameras(count: int = 3, size: int = SIZE) -> tuple[Camera, ...]:
    """Cameras in an orbit around a ball of radius 1."""
    target = {"target_x": 0.0, "target_y": 0.0, "target_z": 0.0}
    return OrbitCameras.execute(
        count=count, elevation=10.0, distance=4.0, fov=49.1, width=size, height=size, **target
    ).args[0]


def views_of(value: Any, seen_by: tuple[Camera, ...]) -> Tensor:
    """The IMAGE of a SPLAT seen by cameras, on white."""
    return optimized(None, steps=0, splat=value, cameras=seen_by, fit_steps=None).image

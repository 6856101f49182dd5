"""A solid object of the reference world as Gaussian splats, and views of it with their cameras.

A ball of one color looks like a circle of the world from all sides.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from dreamsampler.splats import Camera, Scene, orbit, render
from dreamsampler.splats.harmonics import from_colors
from dreamsampler.splats.initialization import in_ball
from PIL import Image
from torch import Tensor

from . import world

RADIUS, FOV, DISTANCE = 0.36, 49.1, 2.0
"""The ball has the size of the world's circles in images by these cameras."""


def ball(color: str, count: int = 800) -> Scene:
    """An opaque ball in a color of the palette."""
    generator = torch.Generator().manual_seed(0)
    scene = in_ball(count, generator, radius=RADIUS, colors=torch.tensor(world.PALETTE[color]).expand(count, 3))
    return replace(scene, opacity_logits=torch.full((count,), 3.0))


def two_colored_ball(front: str, back: str, count: int = 800) -> Scene:
    """A ball with another color behind than in front."""
    scene = ball(front, count)
    shade = from_colors(torch.tensor(world.PALETTE[back]).expand(count, 3))
    return replace(scene, harmonics=torch.where(scene.positions[:, 2:, None] > 0, shade, scene.harmonics))


def cameras_around(
    count: int,
    size: int = world.SIZE,
    *,
    elevations: tuple[float, float] = (-10, 30),
    distance: float = DISTANCE,
    fov: float = FOV,
) -> list[Camera]:
    """Cameras evenly around the origin, at changing heights between two elevations, the first at the front."""
    lowest, highest = elevations
    return [
        orbit(
            azimuth=360 * i / count,
            elevation=lowest + (highest - lowest) * (i * 0.618 % 1),
            distance=distance,
            fov=fov,
            width=size,
            height=size,
        )
        for i in range(count)
    ]


@torch.no_grad()
def views_of(scene: Scene, cameras: Sequence[Camera]) -> Tensor:
    """The scene on white: (V, 3, H, W) in [0, 1]."""
    return torch.stack([render(scene, camera, torch.ones(3)).color for camera in cameras]).clamp(0, 1)


def write_posed_views(folder: Path, images: Tensor, cameras: Sequence[Camera]) -> Path:
    """Write images (V, 3, H, W) and their transforms.json, in which z is up and cameras look along -z."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = []
    for number, (image, camera) in enumerate(zip(images, cameras, strict=True)):
        pixels = (image.movedim(0, -1) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / f"{number}.png")
        right, down, forward = camera.axes
        columns = torch.stack([right, -down, -forward, camera.position], dim=1)
        matrix = torch.stack([columns[0], columns[2], -columns[1], columns.new_tensor([0.0, 0.0, 0.0, 1.0])])
        frames.append({"file_path": f"{number}.png", "transform_matrix": matrix.tolist()})
    angle = 2 * math.atan(cameras[0].width / 2 / cameras[0].focal[0])
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}), "utf-8")
    return folder

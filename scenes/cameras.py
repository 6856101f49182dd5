"""Where cameras stand: at random around an object, or as given, with the object found that they look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..splats.camera import Camera, orbit
from ..splats.scene import Scene

Side = Literal["front", "side", "back", "overhead"]
SIDES: tuple[Side, ...] = get_args(Side)
"""The words of view-dependent prompts (DreamFusion: Poole et al., 2022, section 3.2)."""
OVERHEAD, FRONT = 60.0, 45.0
"""From this elevation on a view is overhead (DreamFusion); up to this azimuth, to either side, it is of the front."""
RADIUS, DISTANCE = 0.5, 2.0
"""The radius of a new object and the distance to it (DreamGaussian: Tang et al., 2023)."""
OUTLIERS = 0.05
"""The share of splats that may lie outside the radius of a scene."""


@dataclass(frozen=True)
class Look:
    """A look at a scene: the camera, the color (3,) behind the scene, and the place of a given camera in its list."""

    camera: Camera
    background: Tensor
    index: int = 0


Draw = Callable[[], Sequence[Look]]
"""Draws the looks of a step, always equally many, all of one size."""

RANDOM = "random"
BACKGROUNDS = {"white": 1.0, "gray": 0.5, "black": 0.0}
"""Grays behind a scene, by name."""
Background = Callable[[], Tensor]
"""Draws the color (3,) behind a view."""


def backgrounds(name: str, generator: torch.Generator) -> Background:
    """That of `BACKGROUNDS`, or a new color each time for "random"."""
    if name == RANDOM:
        return lambda: torch.rand(3, generator=generator)
    return lambda: torch.full((3,), BACKGROUNDS[name])


@dataclass(frozen=True)
class Ball:
    """A ball around an object: `center` (x, y, z) and `radius`, in world units."""

    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    radius: float = RADIUS


@dataclass(frozen=True)
class CameraRange:
    """Where random cameras stand: on a sphere around an object, at angles in degrees.

    The elevation is -90 to 90; at azimuth 0 a camera sees the front. `distance` is in world units; None is four radii,
    as in DreamGaussian, which also gives the angle of view `fov`. Elevations are those of threestudio.
    """

    elevation: tuple[float, float] = (-10.0, 45.0)
    azimuth: tuple[float, float] = (-180.0, 180.0)
    distance: float | None = None
    fov: float = 49.1

    def camera(self, ball: Ball, azimuth: float, elevation: float, size: int) -> Camera:
        """The camera of `size` x `size` pixels at two angles."""
        return orbit(
            azimuth=azimuth,
            elevation=elevation,
            distance=self.distance or ball.radius * DISTANCE / RADIUS,
            fov=self.fov,
            width=size,
            height=size,
            target=ball.center,
        )

    def orbit(self, ball: Ball, count: int, size: int) -> list[Camera]:
        """`count` cameras evenly around an object, the first at its front, in the middle of the elevations."""
        elevation = sum(self.elevation) / 2
        return [self.camera(ball, 360 * i / count, elevation, size) for i in range(count)]

    def random(self, ball: Ball, count: int, size: int, background: Background, generator: torch.Generator) -> Draw:
        """Draws `count` cameras of `size` x `size` pixels, each in its own part of the azimuths."""
        (down, up), (left, right) = self.elevation, self.azimuth

        def draw() -> list[Look]:
            shares = torch.rand(count, 2, generator=generator, dtype=torch.float64).tolist()
            cameras = (
                self.camera(ball, left + (right - left) * (i + around) / count, down + (up - down) * high, size)
                for i, (around, high) in enumerate(shares)
            )
            return [Look(camera, background()) for camera in cameras]

        return draw


def among(cameras: Sequence[Camera], count: int, background: Background, generator: torch.Generator) -> Draw:
    """Draws `count` of given cameras: all of them in random order before any comes again."""
    waiting: list[int] = []

    def draw() -> list[Look]:
        while len(waiting) < count:
            waiting[:0] = torch.randperm(len(cameras), generator=generator).tolist()
        return [Look(cameras[index], background(), index) for index in (waiting.pop() for _ in range(count))]

    return draw


def seen_side(camera: Camera) -> Side:
    """The side of an upright object whose front looks against z."""
    x, y, z = camera.axes[2].tolist()
    if math.degrees(math.asin(max(-1.0, min(1.0, y)))) > OVERHEAD:
        return "overhead"
    azimuth = abs(math.degrees(math.atan2(-x, z)))
    return "front" if azimuth <= FRONT else "back" if azimuth >= 180 - FRONT else "side"


def ball_around(scene: Scene) -> Ball:
    """The ball that holds most of a scene: its center is the median of visible splats."""
    visible = scene.opacities >= scene.opacities.max() / 10  # all of them where all are 0
    points = scene.positions[visible].detach().cpu().double()
    center = points.median(0).values
    distances = (points - center).norm(dim=1).sort().values
    radius = float(distances[math.ceil((1 - OUTLIERS) * len(points)) - 1] + scene.scales[visible].median())
    return Ball((float(center[0]), float(center[1]), float(center[2])), max(radius, 1e-6))


def ball_seen(cameras: Sequence[Camera]) -> Ball:
    """The ball in the middle of what cameras look at, as large as the images of the farthest half show."""
    # The point p nearest to all optical axes o + s d minimizes sum |(I - d d^T)(p - o)|^2. A weak pull to the point one
    # unit in front of the cameras decides where all axes are parallel.
    positions = torch.stack([camera.position.cpu().double() for camera in cameras])
    forward = torch.stack([camera.axes[2].cpu().double() for camera in cameras])
    across = torch.eye(3, dtype=torch.float64) - forward[:, :, None] * forward[:, None, :]
    pull, ahead = 1e-4 * len(cameras), (positions + forward).mean(0)
    normal = across.sum(0) + pull * torch.eye(3, dtype=torch.float64)
    center = torch.linalg.solve(normal, torch.einsum("nij,nj->i", across, positions) + pull * ahead)
    depths = ((center - positions) * forward).sum(1)
    tangents = [max(c.width / c.focal[0], c.height / c.focal[1]) / 2 for c in cameras]
    radius = float((depths.abs() * depths.new_tensor(tangents)).median())
    return Ball((float(center[0]), float(center[1]), float(center[2])), max(radius, 1e-6))


def fitted_size(camera: Camera, longer: int, cell: int) -> tuple[int, int]:
    """Width and height of a camera's images with a longer side of `longer` pixels, multiples of `cell`."""
    scale = longer / max(camera.width, camera.height)
    width, height = (max(cell, round(side * scale / cell) * cell) for side in (camera.width, camera.height))
    return width, height

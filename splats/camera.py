"""Pinhole cameras: poses, and orbits around a target."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Camera:
    """A camera of `width` x `height` pixels.

    Attributes:
        position: (3,), in world units.
        axes: (3, 3), the directions right, down and forward of the image as rows, in the world.
        focal: horizontal and vertical focal length in pixels.
        center: the pixel coordinates of the optical axis; the middle of the first pixel is at 0.5.
    """

    position: Tensor
    axes: Tensor
    focal: tuple[float, float]
    center: tuple[float, float]
    width: int
    height: int

    def to(self, like: Tensor) -> Camera:
        """The same camera on the device and in the dtype of a tensor."""
        moved = self.position.to(like), self.axes.to(like)
        return Camera(*moved, self.focal, self.center, self.width, self.height)

    def scaled(self, width: int, height: int) -> Camera:
        """The same view in another number of pixels."""
        x, y = width / self.width, height / self.height
        focal = self.focal[0] * x, self.focal[1] * y
        return Camera(self.position, self.axes, focal, (self.center[0] * x, self.center[1] * y), width, height)


def looking_at(position: Tensor, target: Tensor, *, fov: float, width: int, height: int) -> Camera:
    """A camera at `position` (3,) that looks at `target` (3,), upright.

    `fov` is the angle of view over the shorter side in degrees, between 0 and 180.
    """
    forward = F.normalize(target - position, dim=0)
    down = forward.new_tensor([0.0, 1.0, 0.0])
    if forward.dot(down).abs() > 0.9999:  # straight up or down: any direction can be right
        down = forward.new_tensor([0.0, 0.0, 1.0])
    right = F.normalize(torch.linalg.cross(down, forward), dim=0)
    axes = torch.stack([right, torch.linalg.cross(forward, right), forward])
    focal = min(width, height) / 2 / math.tan(math.radians(fov) / 2)
    return Camera(position, axes, (focal, focal), (width / 2, height / 2), width, height)


def orbit(
    *,
    azimuth: float,
    elevation: float,
    distance: float,
    fov: float,
    width: int,
    height: int,
    target: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Camera:
    """A camera on a sphere around `target`, in float64.

    `azimuth` turns it to the right in degrees; at 0 it looks at the front, along z. `elevation` lifts it, -90 to 90.
    """
    around, up = math.radians(azimuth), math.radians(elevation)
    offset = math.sin(around) * math.cos(up), -math.sin(up), -math.cos(around) * math.cos(up)
    center = torch.tensor(target, dtype=torch.float64)
    position = center + distance * torch.tensor(offset, dtype=torch.float64)
    return looking_at(position, center, fov=fov, width=width, height=height)

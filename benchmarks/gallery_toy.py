"""A toy to fit splats to: a mushroom house on grass, and photographs of it by sphere tracing.

The toy is a union of solids, each the distance to its surface and a color. y points down, as in the pack's cameras, and
the front is at negative z. The renderer knows nothing of splats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from dreamsampler.splats import Camera
from torch import Tensor

Points = np.ndarray
"""(..., 3)."""
Distance = Callable[[Points], np.ndarray]
RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Solid:
    """A color, and for points (..., 3) their distance (...) to the surface, negative inside."""

    color: RGB
    distance: Distance


def ellipsoid(center: Sequence[float], radii: Sequence[float], *, above: float = np.inf) -> Distance:
    """A first-order estimate of the distance to an ellipsoid, of which only what lies above a height is kept."""
    middle, size = np.array(center, np.float32), np.array(radii, np.float32)

    def distance(points: Points) -> np.ndarray:
        offset = points - middle
        level = np.linalg.norm(offset / size, axis=-1)
        slope = np.linalg.norm(offset / size**2, axis=-1)
        return np.maximum(level * (level - 1) / np.maximum(slope, 1e-6), points[..., 1] - above)

    return distance


def cone(top: Sequence[float], bottom: Sequence[float], radii: tuple[float, float]) -> Distance:
    """A bound of the distance to a rounded cone between two points, with the radii there."""
    start = np.array(top, np.float32)
    axis = np.array(bottom, np.float32) - start

    def distance(points: Points) -> np.ndarray:
        offset = points - start
        along = np.clip(offset @ axis / (axis @ axis), 0, 1)
        radius = radii[0] + along * (radii[1] - radii[0])
        return 0.8 * (np.linalg.norm(offset - along[..., None] * axis, axis=-1) - radius)

    return distance


def on_cap(azimuth: float, elevation: float, center: Sequence[float], radii: Sequence[float]) -> list[float]:
    """The point of a cap in a direction given in degrees."""
    around, up = np.radians([azimuth, elevation])
    ray = np.array([np.cos(up) * np.sin(around), -np.sin(up), -np.cos(up) * np.cos(around)])
    return (np.array(center) + 0.95 * ray * np.array(radii)).tolist()


def _mushroom(x: float, z: float, size: float, spots: Sequence[tuple[float, float, float]], color: RGB) -> list[Solid]:
    """A stem, a cap, and round spots on it: their azimuth, elevation and radius."""
    foot, head = 0.42, 0.42 - 0.62 * size
    middle, radii = (x, head, z), (0.46 * size, 0.40 * size, 0.46 * size)
    cream, white = (0.97, 0.91, 0.78), (0.98, 0.97, 0.94)
    return [
        Solid(cream, cone((x, head, z), (x, foot, z), (0.15 * size, 0.23 * size))),
        Solid(color, ellipsoid(middle, radii, above=head + 0.05 * size)),
        Solid(cream, ellipsoid((x, head + 0.05 * size, z), (0.40 * size, 0.03 * size, 0.40 * size))),
        *(
            Solid(white, ellipsoid(on_cap(around, up, middle, radii), (radius * size,) * 3))
            for around, up, radius in spots
        ),
    ]


BIG = [(0, 38, 0.09), (62, 22, 0.07), (-58, 26, 0.08), (120, 40, 0.09), (180, 24, 0.08), (-125, 44, 0.07)]
BIG += [(30, 78, 0.1), (-20, 8, 0.05), (92, 6, 0.05), (-95, 8, 0.05), (150, 6, 0.05), (-155, 6, 0.05)]
SMALL = [(0, 40, 0.12), (90, 30, 0.12), (180, 45, 0.12), (-90, 30, 0.12), (0, 85, 0.12)]
TOY = [
    Solid((0.36, 0.66, 0.26), ellipsoid((0.0, 0.47, 0.0), (0.60, 0.08, 0.60))),
    *_mushroom(-0.05, 0.05, 1.0, BIG, (0.84, 0.13, 0.12)),
    *_mushroom(0.36, -0.14, 0.42, SMALL, (0.95, 0.55, 0.12)),
    Solid((0.50, 0.29, 0.14), ellipsoid((-0.05, 0.35, -0.165), (0.085, 0.15, 0.05))),
    Solid((0.98, 0.80, 0.25), ellipsoid((0.0, 0.36, -0.215), (0.016, 0.016, 0.016))),
    Solid((0.30, 0.55, 0.88), ellipsoid((-0.25, 0.17, 0.05), (0.05, 0.065, 0.065))),
    Solid((0.30, 0.55, 0.88), ellipsoid((0.14, 0.17, 0.08), (0.05, 0.065, 0.065))),
    Solid((0.62, 0.62, 0.66), ellipsoid((-0.12, 0.41, -0.34), (0.08, 0.03, 0.06))),
    Solid((0.62, 0.62, 0.66), ellipsoid((-0.10, 0.42, -0.47), (0.06, 0.025, 0.05))),
    Solid((0.25, 0.55, 0.20), ellipsoid((-0.38, 0.36, -0.16), (0.10, 0.10, 0.10))),
    Solid((0.25, 0.55, 0.20), ellipsoid((-0.26, 0.37, 0.36), (0.12, 0.11, 0.11))),
    Solid((0.93, 0.45, 0.65), ellipsoid((-0.36, 0.28, -0.22), (0.03, 0.03, 0.03))),
    Solid((0.93, 0.45, 0.65), ellipsoid((-0.43, 0.31, -0.21), (0.03, 0.03, 0.03))),
]  # fmt: skip
LIGHT = (np.array([-0.42, -0.84, -0.34]) / np.linalg.norm([-0.42, -0.84, -0.34])).astype(np.float32)
STEPS, CLOSE = 60, np.float32(2e-3)
"""How many steps a ray takes, to what distance from a surface."""
RADIUS = 0.8
"""Of a ball around the origin that holds the toy."""
SHADOW_STEPS = 14
OVERSAMPLING = 2


def photographed(cameras: Sequence[Camera]) -> Tensor:
    """The toy on white: (V, 3, H, W) in [0, 1]."""
    return torch.stack([torch.from_numpy(_photograph(camera)).movedim(-1, 0) for camera in cameras])


def _photograph(camera: Camera) -> np.ndarray:
    height, width = camera.height * OVERSAMPLING, camera.width * OVERSAMPLING
    position, rays = _rays(camera.scaled(width, height))
    nearest_to_origin = -(rays @ position)
    inside = RADIUS**2 - (position @ position - nearest_to_origin**2)
    (moving,) = np.nonzero(inside > 0)
    half = np.sqrt(np.maximum(inside, 0))
    travelled, end = nearest_to_origin - half, nearest_to_origin + half
    for _ in range(STEPS):
        gap = _nearest(position + travelled[moving, None] * rays[moving])[0]
        travelled[moving] += gap
        moving = moving[(gap > CLOSE) & (travelled[moving] < end[moving])]
    image, hit = np.ones_like(rays), (inside > 0) & (travelled < end)
    image[hit] = _shaded(position + travelled[hit, None] * rays[hit])
    blocks = image.reshape(camera.height, OVERSAMPLING, camera.width, OVERSAMPLING, 3)
    return blocks.mean((1, 3))


def _rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The camera's position (3,) and the unit directions (H W, 3) of its pixels."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    across, down = (x - camera.center[0]) / camera.focal[0], (y - camera.center[1]) / camera.focal[1]
    rays = np.stack([across, down, np.ones_like(x)], -1).reshape(-1, 3) @ camera.axes.double().numpy()
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    return camera.position.numpy().astype(np.float32), rays.astype(np.float32)


def _nearest(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """The distance (N,) to the toy and the index (N,) of the nearest solid."""
    distances = np.stack([solid.distance(points) for solid in TOY])
    return distances.min(0), distances.argmin(0)


def _shaded(points: Points) -> np.ndarray:
    """Colors (N, 3) under a lamp and a bright sky, which is hidden in corners."""
    colors = np.array([solid.color for solid in TOY], np.float32)[_nearest(points)[1]]
    sides = 2e-3 * np.eye(3, dtype=np.float32)
    normals = np.stack([_nearest(points + side)[0] - _nearest(points - side)[0] for side in sides], -1)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    lamp = np.clip(normals @ LIGHT, 0, 1) * _lit(points + 0.01 * normals)
    open_sky = np.clip(_nearest(points + 0.08 * normals)[0] / 0.08, 0, 1)
    sky = (0.8 - 0.2 * normals[:, 1]) * (0.5 + 0.5 * open_sky)
    return np.clip(colors * (0.36 * lamp + 0.8 * sky)[:, None], 0, 1)


def _lit(points: Points) -> np.ndarray:
    """How much of the lamp is seen, with soft edges of shadows: (N,) in [0, 1]."""
    travelled, seen = np.full(len(points), 0.03, np.float32), np.ones(len(points), np.float32)
    for _ in range(SHADOW_STEPS):
        gap = _nearest(points + travelled[:, None] * LIGHT)[0]
        seen = np.minimum(seen, 10 * gap / travelled)
        travelled += np.clip(gap, 0.03, 0.2)
    return np.clip(seen, 0, 1)

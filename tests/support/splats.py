"""Scenes of splats for tests, and a renderer that loops over them."""

from __future__ import annotations

import torch
from dreamsampler.splats.camera import Camera
from dreamsampler.splats.projection import Ellipses, project
from dreamsampler.splats.scene import Scene
from torch import Tensor


def ball(count: int, *, size: float = 0.1, coefficients: int = 1, dtype: torch.dtype = torch.float64) -> Scene:
    """Random splats inside a ball of radius 1."""
    generator = torch.Generator().manual_seed(count)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    directions = torch.nn.functional.normalize(normal(count, 3), dim=-1)
    positions = directions * torch.rand(count, 1, generator=generator, dtype=dtype)
    log_scales = torch.tensor(size, dtype=dtype).log() + 0.4 * normal(count, 3)
    return Scene(positions, log_scales, normal(count, 4), normal(count), 0.5 * normal(count, coefficients, 3))


def conics(ellipses: Ellipses) -> Tensor:
    """The entries xx, xy, yy (M, 3) of the inverse covariances of ellipses."""
    a, s, e = ellipses.forms.unbind(-1)
    return torch.stack([a, a * s, a * s * s + e], dim=-1)


def rendered_by_loop(scene: Scene, camera: Camera, background: Tensor) -> Tensor:
    """The image (4, H, W), color and alpha, by one splat after the other over whole images.

    Only the blending is its own: the ellipses are those of `project`, which tests/splats/test_projection.py checks.
    """
    ellipses = project(scene, camera)
    rows, columns = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (camera.height, camera.width))
    color, light = torch.zeros(3, camera.height, camera.width, dtype=torch.float64), torch.ones(())
    for (x, y), (a, b, c), opacity, shade in zip(
        ellipses.centers, conics(ellipses), ellipses.opacities, ellipses.colors
    ):
        dy, dx = torch.meshgrid(rows - y, columns - x, indexing="ij")
        alpha = opacity * torch.exp(-(a * dx * dx + 2 * b * dx * dy + c * dy * dy) / 2)
        alpha = torch.where(alpha < 1 / 255, 0, alpha.clamp(max=0.999))
        color, light = color + shade[:, None, None] * alpha * light, light * (1 - alpha)
    return torch.cat([color + light * background[:, None, None], (1 - light)[None]])

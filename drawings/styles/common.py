"""Building blocks that several styles share."""

from __future__ import annotations

import torch
from torch import Tensor

from ..initialization import Centers, Paths, random_fills


def with_random_fills(points: Tensor, generator: torch.Generator, widths: Tensor | None = None) -> Paths:
    """Paths with the random colors and opacities of VectorFusion, from their control points (N, n, 2)."""
    colors, opacities = random_fills(len(points), generator)
    return Paths(points, torch.cat([colors, opacities[:, None]], 1), widths)


def opaque(colors: Tensor) -> Tensor:
    """Colors (N, 3) with an opacity of 1, (N, 4)."""
    return torch.cat([colors, torch.ones_like(colors[:, :1])], 1)


def moved_to(points: Tensor, centers: Centers) -> Tensor:
    """Control points (N, n, 2), moved so that their means are at the centers."""
    return points - points.mean(1, keepdim=True) + centers.points[:, None]

"""Real spherical harmonics of degree 0 to 3: how the color of a splat depends on the direction it is seen from."""

from __future__ import annotations

import torch
from torch import Tensor

COUNTS = (1, 4, 9, 16)
"""How many coefficients there are up to each degree."""
CONSTANT = 0.28209479177387814
"""The harmonic of degree 0, 1 / (2 sqrt(pi))."""


def basis(directions: Tensor, count: int) -> Tensor:
    """The first `count` harmonics (N, count) in unit `directions` (N, 3), with the signs of 3DGS files."""
    x, y, z = directions.unbind(-1)
    found = [torch.full_like(x, CONSTANT)]
    if count > 1:
        found += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    xx, yy, zz = x * x, y * y, z * z
    if count > 4:
        found += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if count > 9:
        found += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(found, dim=-1)


def seen_colors(harmonics: Tensor, directions: Tensor) -> Tensor:
    """The colors (N, 3), at least 0, of splats with coefficients `harmonics` (N, K, 3) seen along unit `directions`."""
    weights = basis(directions, harmonics.shape[1])
    return (torch.einsum("nk,nkc->nc", weights, harmonics) + 0.5).clamp(min=0)


def from_colors(colors: Tensor) -> Tensor:
    """The coefficients (N, 1, 3) of `colors` (N, 3) in [0, 1] that are the same from all sides."""
    return ((colors - 0.5) / CONSTANT)[:, None]

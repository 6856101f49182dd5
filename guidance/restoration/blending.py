"""Filling holes so that no seam shows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .solvers import conjugate_gradient

ITERATIONS, TOLERANCE = 4000, 1e-3
COARSEST = 16
"""Side in pixels of the smallest picture from which larger ones begin."""


def membrane(values: Tensor, hole: Tensor) -> Tensor:
    """`values` (B, C, H, W) outside the hole, spanned like a soap film inside (Poisson image editing, eq. 3).

    `hole` (B or 1, 1, H, W) is 1 inside, 0 outside. The film solves Laplace's equation, so it takes the values at the
    hole's edge, lies between their extremes and is as smooth as can be; the picture's own border does not hold it. An
    item that is hole all over gets 0.
    """
    known = (1 - hole) * values
    if min(values.shape[-2:]) <= COARSEST:
        start = torch.zeros_like(values)
    else:
        start = functional.interpolate(membrane(*_halved(known, hole)), values.shape[-2:], mode="bilinear")
    held = (hole < 1).flatten(1).any(dim=1).reshape(-1, 1, 1, 1)
    film = conjugate_gradient(
        lambda v: hole * _laplacian(hole * v),
        -hole * held * _laplacian(known),
        hole * held * start,
        tolerance=TOLERANCE,
        iterations=ITERATIONS,
    )
    return known + film.x


def _halved(known: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """The means of the known pixels of each two by two, and a hole where there are none."""
    total, count = (functional.avg_pool2d(v, 2, ceil_mode=True) for v in (known, 1 - hole))
    return total / count.clamp(min=0.25), (count == 0).to(hole)


def _laplacian(v: Tensor) -> Tensor:
    """Sum of the differences of each pixel from its neighbours, of which those on the border have fewer."""
    down, right = v.diff(dim=-2), v.diff(dim=-1)
    total = torch.zeros_like(v)
    total[..., :-1, :] -= down
    total[..., 1:, :] += down
    total[..., :-1] -= right
    total[..., 1:] += right
    return total

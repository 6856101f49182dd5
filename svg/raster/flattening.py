"""Cubic Bézier curves as edges: polygons that keep within a tolerance of the curve."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 0.0025
"""Furthest an edge may lie from its curve, in pixels; a pixel's coverage is off by this much at most."""


class Flattened(NamedTuple):
    """Curves in edges: ends (E, 2, 2), the parameters (E, 2) of those ends and the curve's index (E,)."""

    edges: Tensor
    t: Tensor
    curve: Tensor


def flatten(cubics: Tensor, tolerance: float = TOLERANCE, finest_turn: Tensor | None = None) -> Flattened:
    """Cubics (S, 4, 2), in pixels, as edges that join exactly; differentiable in the control points.

    `finest_turn` (S,) bounds the angle, in radians, that each edge of a curve may stand for.
    """
    count = _count(cubics.detach(), tolerance, finest_turn)
    curve, nth = enumerated(count)
    t = torch.stack((nth, nth + 1), 1).to(cubics) / count.index_select(0, curve)[:, None]
    return Flattened(bernstein(t) @ cubics.index_select(0, curve), t, curve)


def enumerated(count: Tensor) -> tuple[Tensor, Tensor]:
    """Each index of `count` (N,) as often as it says, and which time it is: (0, 0, 2), (0, 1, 0) for (2, 0, 1)."""
    index = torch.repeat_interleave(count)
    first = count.cumsum(0) - count
    return index, torch.arange(len(index), device=count.device) - first.index_select(0, index)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product of vectors (..., 2): |a| |b| times the sine of the angle from a to b."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def bernstein(t: Tensor) -> Tensor:
    """Weights (..., 4) of the control points at t (...)."""
    s = 1 - t
    return torch.stack((s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t), -1)


def bernstein_derivative(t: Tensor) -> Tensor:
    """Weights (..., 4) of the control points in the curve's derivative at t (...)."""
    s = 1 - t
    return 3 * torch.stack((-s * s, s * s - 2 * s * t, 2 * s * t - t * t, t * t), -1)


def _count(cubics: Tensor, tolerance: float, finest_turn: Tensor | None) -> Tensor:
    """Edges each curve needs: a chord's distance is at most |B''| / (8 n²)."""
    bends = cubics[:, :-2] - 2 * cubics[:, 1:-1] + cubics[:, 2:]
    count = (0.75 / tolerance * bends.norm(dim=2).amax(1)).sqrt().ceil().clamp(min=1)
    if finest_turn is not None:
        count = count.maximum((_turn(cubics) / finest_turn).ceil())
    return count.long()


def _turn(cubics: Tensor) -> Tensor:
    """The angle by which the control polygon turns, which no part of the curve exceeds."""
    legs = cubics[:, 1:] - cubics[:, :-1]
    a, b = legs[:, :-1], legs[:, 1:]
    return torch.atan2(cross(a, b), (a * b).sum(2)).abs().sum(1)

"""Linear systems, solved by what the matrix does to a tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.path import per_item


@dataclass(frozen=True)
class Solution:
    """Where a solver of A x = rhs stopped, item by item.

    `x` (B, ...) is the estimate, `iterations` (B,) counts the steps that led there, `residual` (B,) is
    |rhs - A x| / |rhs| computed anew from `x`, 0 where `rhs` is 0, and `tolerance` what was asked of it.
    """

    x: Tensor
    iterations: Tensor
    residual: Tensor
    tolerance: float

    @property
    def converged(self) -> Tensor:
        """(B,) true where the residual is within the tolerance."""
        return self.residual <= self.tolerance


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    start: Tensor | None = None,
    *,
    tolerance: float = 1e-4,
    iterations: int = 10,
) -> Solution:
    """Solve A x = rhs for every item of a batch on its own (Hestenes and Stiefel, 1952).

    `apply` maps v (B, ...) to A v. It must be linear, symmetric and positive semi-definite and keep the items apart.
    `rhs` and `start` are (B, ...); without a start it is 0. An item stops changing once its residual is at most
    `tolerance` |rhs|, after `iterations` steps, or where A is not positive along the next direction. So its result is
    the one it has alone. Costs one call of `apply` per step, one for the residual, and one for a start.
    """
    scale = _norm(rhs)
    x = torch.zeros_like(rhs) if start is None else torch.where(per_item(scale > 0, rhs), start, 0)
    r = rhs if start is None else rhs - apply(x)
    p, rr = r, _dot(r, r)
    steps = torch.zeros_like(rr, dtype=torch.int64)
    active = torch.ones_like(rr, dtype=torch.bool)
    for _ in range(iterations):
        active = active & (rr.sqrt() > tolerance * scale)
        if not active.any():
            break
        a_p = apply(p)
        curvature = _dot(p, a_p)
        active = active & (curvature > 0)
        # A step of exactly 0 leaves x and r of the items at rest as they are, to the last bit.
        alpha = torch.where(active, rr / curvature, 0)
        x = x + per_item(alpha, x) * p
        r = r - per_item(alpha, r) * a_p
        rr_next = _dot(r, r)
        p = r + per_item(torch.where(active, rr_next / rr, 0), p) * p
        rr = rr_next
        steps = steps + active
    # The recursion's r drifts from the true residual by rounding, and is then too small.
    residual = torch.where(scale > 0, _norm(rhs - apply(x)) / scale, 0)
    return Solution(x, steps, residual, tolerance)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    """The inner product of each item: (B,)."""
    return (u * v).flatten(1).sum(1)


def _norm(u: Tensor) -> Tensor:
    """The Euclidean norm of each item: (B,)."""
    return torch.linalg.vector_norm(u.flatten(1), dim=1)

"""Matrix-free solvers of linear systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.path import per_item


@dataclass(frozen=True)
class Solution:
    """The result of a solver of A x = rhs, for each item of a batch.

    `x` (B, ...) is the solution, `iterations` (B,) the number of steps it took, and `residual` (B,) the relative
    residual |rhs - A x| / |rhs| recomputed from `x` (0 where `rhs` is 0).
    """

    x: Tensor
    iterations: Tensor
    residual: Tensor


def conjugate_gradient(
    apply: Callable[[Tensor], Tensor],
    rhs: Tensor,
    start: Tensor | None = None,
    *,
    tolerance: float = 1e-4,
    iterations: int = 10,
) -> Solution:
    """Solve A x = rhs by conjugate gradients, separately for each item of a batch (Hestenes and Stiefel, 1952).

    An item stops once its residual is at most `tolerance` |rhs|, after `iterations` steps, or if A is not positive
    along the next direction. Its result is the same in any batch.

    Args:
        apply: maps v (B, ...) to A v; linear, symmetric and positive semidefinite, without mixing items.
        rhs: (B, ...).
        start: (B, ...); None starts from 0.
        tolerance: relative residual at which an item stops.
        iterations: the most steps to take.

    Returns:
        The solution. Costs one call of `apply` per step, one for the residual, and one for `start`.
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
        # A step of exactly 0 leaves x and r of finished items unchanged, to the last bit.
        alpha = torch.where(active, rr / curvature, 0)
        x = x + per_item(alpha, x) * p
        r = r - per_item(alpha, r) * a_p
        rr_next = _dot(r, r)
        p = r + per_item(torch.where(active, rr_next / rr, 0), p) * p
        rr = rr_next
        steps = steps + active
    # By rounding, the recursion's r drifts from the true residual and becomes too small.
    residual = torch.where(scale > 0, _norm(rhs - apply(x)) / scale, 0)
    return Solution(x, steps, residual)


def _dot(u: Tensor, v: Tensor) -> Tensor:
    """The inner product of each item: (B,)."""
    return (u * v).flatten(1).sum(1)


def _norm(u: Tensor) -> Tensor:
    """The Euclidean norm of each item: (B,)."""
    return torch.linalg.vector_norm(u.flatten(1), dim=1)

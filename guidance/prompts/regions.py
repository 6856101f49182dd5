"""Where each text acts: masks that share out the picture (DreamSampler, eq. 19)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

EXACT = 2**23
"""Weights that are multiples of 1 / EXACT and sum to 1 sum without rounding in float32, in any order."""
ROUNDING = 1e-6
"""A remainder as small as this is none: two masks that are each other's inverse leave about a tenth of it."""


def partition(masks: Sequence[Tensor], *, base_at_least: float = 0.0) -> list[Tensor]:
    """The M_i of `eps_hat = sum_i M_i eps_hat(c_i)` (DreamSampler, eq. 19): they are at least 0 and sum to 1.

    `masks` (B or 1, H, W) in [0, 1], at least one, say where the regions are. What they leave goes to the base, which
    comes first in the result; where they sum to more than 1, each is divided by the sum. A place that they cover has
    no base at all. `base_at_least`, a share far below 1, is what the base has there instead; the sum is more than 1 by
    it.
    """
    total = covered(masks)
    left = 1 - total
    base = left.where(left > ROUNDING, 0).clamp(min=base_at_least)
    return [base, *(mask / total.clamp(min=1) for mask in masks)]


def covered(masks: Sequence[Tensor]) -> Tensor:
    """What masks (B or 1, H, W), at least one, cover together, each place as often as they do."""
    return sum(masks[1:], start=masks[0])


def resized(mask: Tensor, size: Sequence[int]) -> Tensor:
    """A mask (B, h, w) at another resolution (H, W), bilinear: masks that sum to 1 still do."""
    if mask.shape[-2:] == torch.Size(size):
        return mask
    return interpolate(mask[:, None], size=tuple(size), mode="bilinear")[:, 0]


def feathered(mask: Tensor, radius: float) -> Tensor:
    """A mask (B, H, W) in [0, 1], float32, with soft edges: from `radius` pixels inside to as many outside.

    The blur is a Gaussian of standard deviation `radius` / 2, cut off at `radius`, so what lies further from every edge
    stays as it is, to the last bit. The picture's border is no edge: the mask goes on beyond it.
    """
    kernel = _gaussian(radius).to(mask)
    reach = len(kernel) // 2
    if reach == 0:
        return mask
    wider = pad(mask[:, None], [reach] * 4, mode="replicate")
    return conv2d(conv2d(wider, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))[:, 0]


def _gaussian(radius: float) -> Tensor:
    """The weights (2 floor(radius) + 1,) of the blur, rounded so that they sum to exactly 1."""
    reach = math.floor(radius)
    if reach == 0:
        return torch.ones(1)
    distance = torch.arange(-reach, reach + 1, dtype=torch.float64) / (radius / 2)
    weights = torch.exp(-(distance**2) / 2)
    parts = (weights / weights.sum() * EXACT).round()
    parts[reach] += EXACT - parts.sum()
    return (parts / EXACT).float()

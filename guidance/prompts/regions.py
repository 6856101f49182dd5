"""Masks for prompts that act on regions of an image (DreamSampler, eq. 19)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

WEIGHT_UNITS = 2**23
"""Weights that are multiples of 1 / WEIGHT_UNITS and sum to 1 do so exactly in float32, in any order."""
ROUNDING = 1e-6
"""Remainders up to this are rounding errors; a mask and its inverse leave about a tenth of it."""


def partition(masks: Sequence[Tensor], *, base_at_least: float = 0.0) -> list[Tensor]:
    """The masks M_i of `eps_hat = sum_i M_i eps_hat(c_i)`, at least 0 and summing to 1 (DreamSampler, eq. 19).

    The base gets what the masks leave. Where they sum to more than 1, each is divided by the sum; where they sum to 1
    or more, the base is 0.

    Args:
        masks: at least one (B or 1, H, W) in [0, 1], a region each.
        base_at_least: the smallest value of the base mask, far below 1; the sum exceeds 1 by as much.

    Returns:
        The mask of the base, then those of the regions.
    """
    total = coverage(masks)
    left = 1 - total
    base = left.where(left > ROUNDING, 0).clamp(min=base_at_least)
    return [base, *(mask / total.clamp(min=1) for mask in masks)]


def coverage(masks: Sequence[Tensor]) -> Tensor:
    """The sum of one or more masks (B or 1, H, W); overlaps count once for each mask."""
    return sum(masks[1:], start=masks[0])


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a mask (B, h, w) to (H, W), bilinearly: masks that sum to 1 still do."""
    if mask.shape[-2:] == torch.Size(size):
        return mask
    return interpolate(mask[:, None], size=tuple(size), mode="bilinear")[:, 0]


def feather_mask(mask: Tensor, radius: float) -> Tensor:
    """Soften the edges of a mask (B, H, W) in [0, 1], float32, over `radius` pixels to each side.

    The blur is a Gaussian of standard deviation `radius` / 2, cut off at `radius`, so the mask is unchanged further
    away from all edges, to the last bit. The border of the image is no edge: the mask is continued beyond it.
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
    units = (weights / weights.sum() * WEIGHT_UNITS).round()
    units[reach] += WEIGHT_UNITS - units.sum()
    return (units / WEIGHT_UNITS).float()

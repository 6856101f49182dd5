"""Masks of regions and holes."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from .pictures import finite


def mask(value: Tensor | None, samples: Tensor) -> Tensor | None:
    """A MASK as (B or 1, 1, [1,] H, W) in [0, 1], any resolution but the proportions of `samples` (B, C, [1,] h, w)."""
    if value is None:
        return None
    return _fitted_mask(value, samples, "latent_image", "cells")


def hole(value: Tensor | None, pictures: Tensor) -> Tensor | None:
    """A MASK as a hole (B or 1, 1, H, W) in [0, 1] in `pictures` (B, 3, H, W), with something to fill in it."""
    if value is None:
        return None
    something_to_change(value)
    masks = _fitted_mask(value, pictures, "image", "pixels")
    return F.interpolate(masks, pictures.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)


def something_to_change(value: Tensor) -> None:
    """A MASK with pixels above 0 for each picture; what is NaN is told elsewhere."""
    if (value.reshape(-1, value.shape[-2] * value.shape[-1]) <= 0).all(dim=1).any():
        raise ValueError(
            "The mask has no pixels to change: paint what to change in it, or invert it if you painted what to keep."
        )


def _fitted_mask(value: Tensor, samples: Tensor, name: str, unit: str) -> Tensor:
    """A MASK as (B or 1, 1, [1,] H, W) in [0, 1], checked to fit the tensor (B, C, [1,] h, w) of input `name`."""
    masks = value.reshape(-1, 1, *(1,) * (samples.ndim - 4), *value.shape[-2:])
    if len(masks) not in (1, len(samples)):
        raise ValueError(
            f"The mask holds {len(masks)} masks but {name} holds {len(samples)} pictures: connect one mask, or one "
            "each."
        )
    (height, width), (rows, columns) = masks.shape[-2:], samples.shape[-2:]
    if not math.isclose(height / rows, width / columns, rel_tol=max(1 / rows, 1 / columns)):
        raise ValueError(
            f"The mask is {width}x{height} pixels, but {name} is {columns}x{rows} {unit}, which is another shape "
            "of picture. Crop or resize the mask like the picture."
        )
    finite("The mask", masks)
    return masks.clamp(0, 1).float()

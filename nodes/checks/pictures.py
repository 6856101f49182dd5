"""Pictures with something finite in them."""

from __future__ import annotations

import torch
from torch import Tensor


def finite(name: str, value: Tensor) -> None:
    """A tensor without NaN and infinity."""
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinite values: check the node that makes it.")


def some_pixels(image: Tensor) -> None:
    """An IMAGE with something in it."""
    if not image.numel():
        count, height, width = image.shape[:3]
        raise ValueError(
            f"The image is empty ({count} pictures of {width}x{height} pixels): connect a node that makes pictures to "
            "input 'image'."
        )


def picture(value: Tensor) -> Tensor:
    """An IMAGE's three colours (B, H, W, 3), finite, in float32."""
    finite("The image", value)
    colours = value[..., : 3 if value.shape[-1] >= 3 else 1].float()  # one or two channels are grey, and its alpha
    return colours.expand(*colours.shape[:-1], 3)

"""Progress and previews on the running node. Each update is also a point where the host can cancel it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import comfy.model_management
import comfy.utils
import torch
from PIL import Image
from torch import Tensor

Item = TypeVar("Item")
Cancelled = comfy.model_management.InterruptProcessingException
"""What the host raises after the user has canceled."""
PREVIEW_INTERVAL = 0.5
"""Minimum time between previews, in seconds: each costs a copy from the device and an encoded image."""
PREVIEW_SIZE = 512
"""Maximum side of a preview in pixels."""


class Previews:
    """A progress bar of `total` steps with preview images."""

    def __init__(self, total: int):
        self._bar, self._shown_at = comfy.utils.ProgressBar(total), -PREVIEW_INTERVAL
        self._last: tuple[int, Tensor] | None = None

    def __call__(self, done: int, image: Tensor) -> None:
        """Report `done` steps, and show an image (3, H, W) in [0, 1] unless one was shown just before.

        Raises `Cancelled` if the user has canceled.
        """
        self._last = done, image.detach()
        comfy.model_management.throw_exception_if_processing_interrupted()
        if time.monotonic() - self._shown_at >= PREVIEW_INTERVAL:
            self.show_last()
        else:
            self._bar.update_absolute(done)

    def show_last(self) -> None:
        """Show the image of the last step, if there was one."""
        if self._last is not None:
            done, image = self._last
            self._shown_at = time.monotonic()
            self._bar.update_absolute(done, preview=("PNG", _to_pil(image), PREVIEW_SIZE))


def with_progress(items: Sequence[Item]) -> Iterator[Item]:
    """The items, with an update of the node's progress after each. Raises `Cancelled` if the user has canceled."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        yield item
        bar.update(1)  # newer hosts skip updates that follow each other closely, so cancel here too
        comfy.model_management.throw_exception_if_processing_interrupted()


def device() -> torch.device:
    """The device the host computes on."""
    return comfy.model_management.get_torch_device()


def _to_pil(image: Tensor) -> Image.Image:
    pixels = (255 * image.detach().clamp(0, 1)).round().to(torch.uint8).movedim(0, -1)
    return Image.fromarray(pixels.cpu().numpy())

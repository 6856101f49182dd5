"""Progress and previews on the node that runs, and where the host stops it when the user cancels."""

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
"""What the host raises where the user cancelled."""
BETWEEN = 0.5
"""Seconds between previews at least: they cost a copy from the device and an encoded picture."""
LARGEST = 512
"""Pixels of a preview's longer side."""


class Previews:
    """A progress bar of `total` steps with pictures."""

    def __init__(self, total: int):
        self._bar, self._shown = comfy.utils.ProgressBar(total), -BETWEEN
        self._last: tuple[int, Tensor] | None = None

    def __call__(self, done: int, picture: Tensor) -> None:
        """Say that steps are done, and show a picture (3, H, W) in [0, 1] unless one was just shown.

        Raises the host's own exception if the user has cancelled.
        """
        self._last = done, picture.detach()
        comfy.model_management.throw_exception_if_processing_interrupted()
        if time.monotonic() - self._shown >= BETWEEN:
            self.show_last()
        else:
            self._bar.update_absolute(done)

    def show_last(self) -> None:
        """Show the picture of the last step, if there was one."""
        if self._last is not None:
            done, picture = self._last
            self._shown = time.monotonic()
            self._bar.update_absolute(done, preview=("PNG", _image(picture), LARGEST))


def with_progress(items: Sequence[Item]) -> Iterator[Item]:
    """The items, with progress on the node after each, where the host also notices that the user cancelled."""
    bar = comfy.utils.ProgressBar(len(items))
    for item in items:
        yield item
        bar.update(1)


def device() -> torch.device:
    """Where the host computes."""
    return comfy.model_management.get_torch_device()


def _image(picture: Tensor) -> Image.Image:
    rows = (255 * picture.detach().clamp(0, 1)).round().to(torch.uint8).movedim(0, -1)
    return Image.fromarray(rows.cpu().numpy())

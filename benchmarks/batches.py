"""Images that take long to make, kept in the work folder a batch at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .provenance import Run, stamp, stamped

log = logging.getLogger("dreamsampler.benchmarks")
Batch = tuple[Path, int, Callable[[], Tensor]]
"""The file of a batch, how many cases it holds, and what makes its images (B, 3, H, W) in [0, 1]."""


def made(batches: Iterable[Batch]) -> tuple[Tensor, float, list[Run]]:
    """All images (N, 3, H, W) to 8 bits, the CPU seconds of a case, and the runs that made them.

    Only what is not in the work folder is made. The seconds are the median over batches.
    """
    images, seconds, runs = [], [], []
    for file, cases, make in batches:
        if not file.exists():
            began = time.process_time()
            with torch.inference_mode():
                fresh = make()
            each = (time.process_time() - began) / cases
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, images=(fresh * 255).round().byte().numpy(), seconds=each)
            stamp(file)
            log.info("%s: %.1f CPU seconds per case", file.stem, each)
        found = np.load(file)
        images.append(torch.from_numpy(found["images"]).float() / 255)
        seconds.append(float(found["seconds"]))
        runs.append(stamped(file))
    return torch.cat(images), float(np.median(seconds)), runs

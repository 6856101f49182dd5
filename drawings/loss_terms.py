"""Losses on drawings, added to score distillation at each step of the loop, summed over the batch.

They are means over pixels, as those of `guidance.distillation.regularizers`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..guidance.distillation.objective import Sample
from .drawing import DrawingBatch
from .losses import saturation_penalty, xing


@dataclass(frozen=True)
class XingTerm:
    """The self-intersection loss (LIVE; VectorFusion, eq. 6): keeps outlines from crossing themselves."""

    batch: DrawingBatch
    weight: float = 0.01

    def __call__(self, sample: Sample) -> Tensor:
        drawings = self.batch.drawings
        return self.weight * sum((xing(drawing.cubics()) for drawing in drawings), start=sample.z.new_zeros(()))


@dataclass(frozen=True)
class SaturationTerm:
    """The saturation penalty on rendered images (VectorFusion, supplement F.3)."""

    batch: DrawingBatch
    weight: float = 0.05

    def __call__(self, sample: Sample) -> Tensor:
        return self.weight * len(self.batch.images) * saturation_penalty(self.batch.images)

"""What else pulls during distillation: at the latent, as gradients on it, or at the parameters, as losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .objective import Sample


class Regularizer(Protocol):
    """The gradient (B, ...) of a penalty at the clean latent z (B, ...)."""

    def __call__(self, z: Tensor) -> Tensor: ...


class Loss(Protocol):
    """A scalar of the generator's parameters at one step, whose latent, time and level are the sample's."""

    def __call__(self, sample: Sample) -> Tensor: ...


@dataclass(frozen=True)
class L2ToSource:
    """`weight |z - source|^2`, which keeps an edit near its source (LMC-SDS; DreamSampler, Algorithm 2)."""

    source: Tensor
    weight: float

    def __call__(self, z: Tensor) -> Tensor:
        return 2 * self.weight * (z - self.source)

"""What else pulls at a latent during distillation, as gradients on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Regularizer(Protocol):
    """The gradient (B, ...) of a penalty at the clean latent z (B, ...)."""

    def __call__(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class L2ToSource:
    """`weight |z - source|^2`, which keeps an edit near its source (LMC-SDS; DreamSampler, Algorithm 2)."""

    source: Tensor
    weight: float

    def __call__(self, z: Tensor) -> Tensor:
        return 2 * self.weight * (z - self.source)

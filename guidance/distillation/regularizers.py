"""Regularizers: gradients on the latent (`Regularizer`) or losses on the parameters (`Loss`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .objective import Sample


class Regularizer(Protocol):
    """Maps a clean latent z (B, ...) to the gradient (B, ...) of a penalty."""

    def __call__(self, z: Tensor) -> Tensor: ...


class Loss(Protocol):
    """A scalar loss on the generator's parameters at one step; the sample holds its latent, time and noise level."""

    def __call__(self, sample: Sample) -> Tensor: ...


@dataclass(frozen=True)
class L2ToSource:
    """`weight |z - source|^2`, which keeps an edit close to its source (LMC-SDS; DreamSampler, Algorithm 2)."""

    source: Tensor
    weight: float

    def __call__(self, z: Tensor) -> Tensor:
        return 2 * self.weight * (z - self.source)

"""What every method asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Denoiser(Protocol):
    """A diffusion model with named conditionings, such as "positive" and "negative".

    Called with a state x (B, ...), a noise level sigma (scalar, above 0) and the names of conditionings, it returns the
    posterior mean E[z0 | x, c] (B, ...) under each of them, from one batched call of the model.
    """

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]: ...

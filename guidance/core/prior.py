"""A diffusion model as a prior: what it believes, how it noises, and where its time goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import PairedDenoiser
from .path import Path


@dataclass(frozen=True)
class Prior:
    """A denoiser, its noising path and its clock.

    `sigma_at` maps times t in [0, 1] (any shape), 0 clean and 1 pure noise, to the model's noise levels; it rises, and
    is 0 at 0.
    """

    denoise: PairedDenoiser
    path: Path
    sigma_at: Callable[[Tensor], Tensor]

    def levels_below(self, t: Tensor, steps: int) -> Tensor:
        """Noise levels that fall from times `t` (B,) to 0 in even steps of time: (steps + 1, B)."""
        share = torch.linspace(1, 0, steps + 1, dtype=t.dtype, device=t.device)
        return self.sigma_at(share[:, None] * t)

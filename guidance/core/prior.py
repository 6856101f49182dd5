"""A diffusion model as a prior: its denoiser, its noising path and its time scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .denoiser import PairedDenoiser
from .path import NoisePath


@dataclass(frozen=True)
class Prior:
    """A denoiser with its noising path and its noise level at each time.

    `sigma_at` maps times t in [0, 1] (any shape; 0 is clean, 1 is pure noise) to noise levels, rising from 0.
    """

    denoise: PairedDenoiser
    path: NoisePath
    sigma_at: Callable[[Tensor], Tensor]

    def levels_below(self, t: Tensor, steps: int) -> Tensor:
        """Noise levels (steps + 1, B) that fall from times `t` (B,) to 0 in equal steps of time."""
        share = torch.linspace(1, 0, steps + 1, dtype=t.dtype, device=t.device)
        return self.sigma_at(share[:, None] * t)

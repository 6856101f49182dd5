"""The run that finds the region of an edit: a short FlowEdit, whose differences are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...guidance.core.noise import SeededNoise
from ...guidance.editing.region import energy, velocity_differences
from .. import host

HIGHEST_TIME = 0.66
"""Where FlowEdit starts on SD3: above it, the layout would change."""


@dataclass
class RegionSearch:
    """The search of one batch. Afterwards `energy` is (B, h, w), how much the prompts differ in each latent cell."""

    steps: int
    seeds: list[int]
    energy: Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        times = torch.linspace(HIGHEST_TIME, 0, self.steps + 1, dtype=run.latent.dtype, device=run.latent.device)
        walk = velocity_differences(run.prior, run.latent, run.prior.sigma_at(times), SeededNoise(self.seeds))
        differences, z = [], run.latent
        for index, step in enumerate(walk):
            run.progress(index, step.z, step.z)
            differences.append(step.difference)
            z = step.z
        self.energy = energy(differences).float().cpu()
        return (z,)

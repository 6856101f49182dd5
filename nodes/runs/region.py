"""The run that finds the region of an edit: a short FlowEdit, whose differences are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core.denoiser import SOURCE, TARGET
from ...guidance.core.noise import SeededNoise
from ...guidance.editing.region import energy, relative, soft_mask, velocity_differences
from .. import host

Region = Literal["off", "find"]
"""Whether a sampler edits everywhere, or where `find_region` finds that the prompts differ."""
REGIONS = get_args(Region)
STEPS, THRESHOLD, SOFTNESS = 12, 0.3, 0.08
"""The settings that `found_mask` uses and Find Edit Region starts with."""

HIGHEST_TIME = 0.66
"""Where FlowEdit starts on SD3: above it, the layout would change."""


@dataclass
class _Search:
    """The search of one batch. Afterwards `energy` is (B, h, w), how much the prompts differ in each latent cell."""

    steps: int
    seeds: Sequence[int]
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


def find_region(
    model: Any, target: Any, source: Any, samples: Tensor, seeds: Sequence[int], *, steps: int, notes: list[str]
) -> Tensor:
    """How much two CONDITIONINGs differ in each latent cell of `samples` (B, C, [1,] h, w): (B, h, w) in [0, 1].

    Costs 2 model evaluations a step. `notes` collects sentences for the user.
    """
    search = _Search(steps, seeds)
    host.run_in_sampler(
        search,
        model=model,
        conditionings={TARGET: target, SOURCE: source},
        samples=samples,
        sigmas=host.full_range(model),
        evaluations=steps,
        seed=seeds[0],
        notes=notes,
    )
    found = relative(search.energy)
    if not found.any():
        notes.append("No edit region was found: the model predicts the same with source and target prompt.")
    return found


def to_pixels(values: Tensor, model: Any, samples: Tensor) -> Tensor:
    """Values of latent cells (B, h, w) at the size of the image that `samples` encode: (B, H, W)."""
    return F.interpolate(values[:, None], host.image_size(model, samples), mode="bilinear")[:, 0]


def found_mask(
    model: Any,
    target: Any,
    source: Any,
    samples: Tensor,
    seeds: Sequence[int],
    *,
    within: Tensor | None,
    notes: list[str],
) -> Tensor:
    """The mask that Find Edit Region makes by default, times the mask `within`, if there is one: (B, 1, [1,] H, W).

    `within` is (B or 1, 1, [1,] H, W) of any resolution.
    """
    found = find_region(model, target, source, samples, seeds, steps=STEPS, notes=notes)
    mask = to_pixels(soft_mask(found, THRESHOLD, SOFTNESS), model, samples)
    mask = mask.reshape(len(mask), 1, *(1,) * (samples.ndim - 4), *mask.shape[1:])
    if within is None:
        return mask
    mask = mask * _resized(within, mask)
    if found.any() and not (mask > 0.5).any():
        notes.append("The region that was found lies outside the mask, so little can change.")
    return mask


def _resized(mask: Tensor, like: Tensor) -> Tensor:
    """A mask (B, 1, [1,] H, W) at the resolution of another."""
    plain = F.interpolate(mask.reshape(-1, 1, *mask.shape[-2:]), like.shape[-2:], mode="bilinear", antialias=True)
    return plain.reshape(len(mask), *like.shape[1:])

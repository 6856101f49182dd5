"""Where an edit goes: a mask from how differently a model predicts under two prompts (DecFlowEdit, eq. 2 to 4).

A short FlowEdit without guidance leads the image from its source prompt to the target prompt. Where the two velocities
differ most is where the prompts differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.denoiser import SOURCE, TARGET
from ..core.noise import SeededNoise
from ..core.path import per_item
from ..core.prior import Prior

LOW, HIGH = 0.1, 0.9
"""The quantiles of the energy that are mapped to 0 and 1."""
CELLS_OF_THE_PAPER = 128
"""The side of the paper's latents (SD3 at 1024 x 1024), on which it takes the mean of 5 x 5 cells."""


@dataclass(frozen=True)
class RegionStep:
    """One step: the `difference` of the velocities under both prompts and the edited latent `z` after it, (B, ...)."""

    difference: Tensor
    z: Tensor


def velocity_differences(prior: Prior, source: Tensor, sigmas: Tensor, noise: SeededNoise) -> Iterator[RegionStep]:
    """Run FlowEdit with guidance 1 from the latent `source` (B, ...) down `sigmas` (n + 1,), which fall to 0.

    At each level the source and the latent on its way to the target prompt carry the same fresh noise:

        q = a z_src + b eps,    p = q + (a + b) (z - z_src),    difference = v(p, target) - v(q, source)

    with velocities `eps_hat - z0_hat` per unit of flow time, on any path (see `FlowDelta`). One model call of 2 each.
    """
    path, z = prior.path, source
    for sigma, sigma_next in pairwise(sigmas):
        eps = noise.like(source)
        q = path.noised(source, eps, sigma)
        p = path.noised(z, eps + (z - source), sigma)
        ((target,), (own,)) = prior.denoise.paired([p, q], sigma, [(TARGET,), (SOURCE,)])
        difference = path.velocity(p, target, sigma) - path.velocity(q, own, sigma)
        z = z + per_item(path.flow_time(sigma_next) - path.flow_time(sigma), z) * difference
        yield RegionStep(difference, z)


def energy(differences: Sequence[Tensor]) -> Tensor:
    """How much the prompts differ in each cell: the norm over channels of the sum over the middle half of the steps.

    The sum comes before the norm, so that what changes its sign from step to step, such as noise, cancels.

    Args:
        differences: one per step, (B, C, [1,] h, w).

    Returns:
        (B, h, w), at least 0.
    """
    quarter = len(differences) // 4
    total = torch.stack(list(differences[quarter : len(differences) - quarter])).sum(0)
    return total.norm(dim=1).reshape(len(total), *total.shape[-2:])


def relative(energy: Tensor) -> Tensor:
    """An energy (B, h, w) averaged over neighboring cells and mapped to [0, 1], from its 10th to its 90th percentile.

    Where all cells have the same energy it is 0.
    """
    # The paper's 5 x 5 cells cover 4 % of its side. Smaller latents have fewer, but 3 x 3 at least.
    half = max(1, round(2 * min(energy.shape[-2:]) / CELLS_OF_THE_PAPER))
    mean = F.avg_pool2d(energy[:, None], 2 * half + 1, stride=1, padding=half, count_include_pad=False)[:, 0]
    low, high = (mean.flatten(1).quantile(share, dim=1)[:, None, None] for share in (LOW, HIGH))
    return torch.where(high > low, (mean - low) / (high - low), 0).clamp(0, 1)


def soft_mask(relative: Tensor, threshold: float = 0.55, softness: float = 0.08) -> Tensor:
    """A mask in [0, 1] from a `relative` energy: 0.5 at `threshold`; smaller `softness` gives harder edges."""
    return torch.sigmoid((relative - threshold) / softness)

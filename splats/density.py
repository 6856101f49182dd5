"""Splats where they are needed: those that have become transparent move to visible ones (3DGS-MCMC: Kheradmand et al.,
2024, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from .scene import Scene

DEAD = 0.005
"""Splats of a lower opacity are moved (the paper)."""
MOST_COPIES = 50
"""At most so many splats share a place, as in the authors' code: the sums of eq. 9 lose precision beyond."""


@torch.no_grad()
def relocated(scene: Scene, generator: torch.Generator) -> tuple[Scene, Tensor]:
    """The scene with dead splats moved onto living ones, drawn by opacity; and the splats (N,) that changed, as a mask.

    N splats that share a place take the opacity and size with which they together look as the one before (eq. 9).
    """
    opacities = scene.opacities
    dead = opacities < DEAD
    changed = torch.zeros_like(dead)
    if not dead.any() or dead.all():
        return scene, changed
    weights = torch.where(dead, 0, opacities).cpu().double()
    homes = torch.multinomial(weights, int(dead.sum()), replacement=True, generator=generator).to(dead.device)
    copies = (1 + torch.bincount(homes, minlength=len(scene))).clamp(max=MOST_COPIES)
    moved = torch.arange(len(scene), device=dead.device)
    moved[dead] = homes
    together = copies > 1
    changed = dead | together
    result = scene[moved]
    # On the CPU, as not every device has float64.
    opacity, factor = _shared(opacities[moved].cpu().double(), copies[moved].cpu())
    logits = opacity.clamp(DEAD, 1 - 1e-6).logit().to(result.opacity_logits)
    grown = result.log_scales + factor.log()[:, None].to(result.log_scales)
    return replace(
        result,
        log_scales=torch.where(changed[:, None], grown, result.log_scales),
        opacity_logits=torch.where(changed, logits, result.opacity_logits),
    ), changed


def _shared(opacity: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """The opacity of each of `copies` splats that look together as one of `opacity`, and the factor on their size."""
    # At the center, N splats let through (1 - o')^N = 1 - o. Along a line through it, with g the Gaussian of the new
    # size s', they cover
    #     int 1 - (1 - o' g)^N = sum_{i=1}^N o' int g (1 - o' g)^{i-1} = sqrt(2 pi) s' sum_i sum_k C(i-1, k) (-1)^k
    #     o'^{k+1} / sqrt(k+1),
    # which is sqrt(2 pi) s o for one splat of the size s before.
    new = 1 - (1 - opacity) ** (1 / copies)
    most = int(copies.max())
    covered = torch.zeros_like(opacity)
    for i in range(1, most + 1):
        terms = [math.comb(i - 1, k) * (-1) ** k / math.sqrt(k + 1) * new ** (k + 1) for k in range(i)]
        covered += torch.where(copies >= i, torch.stack(terms).sum(0), 0)
    return new, opacity / covered

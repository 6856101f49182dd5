"""Distillation as a bridge from what the picture is to what it should be (SDS-Bridge)."""

from __future__ import annotations

from dataclasses import dataclass

from ..ddim import ddim_inversion, ddim_sampling
from ..denoiser import Guided
from ..prior import Prior
from .base import SOURCE, TARGET, Direction, Objective, Sample, eps_hats


@dataclass(frozen=True)
class TextBridge:
    """The bridge between two texts in one step (SDS-Bridge, eq. 3.5): `w (eps_hat(y_tgt) - eps_hat(y_src))`.

    `scale` is w. One call of 2.
    """

    scale: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        target, source = eps_hats(prior, sample, TARGET, SOURCE)
        return Direction(self.scale * (target - source), target)


@dataclass(frozen=True)
class FullBridge:
    """The bridge solved in full (SDS-Bridge, eq. 3.4, and chapter 4): `-(psi_tgt - psi_src)`.

    psi_src is the picture as it is. The probability-flow ODE carries it up to time t under the source text and down
    again under the target text, guided by `guidance_scale`, to psi_tgt; `steps` DDIM steps each way. 3 `steps` model
    evaluations.
    """

    guidance_scale: float
    steps: int

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        levels = prior.levels_below(sample.t, self.steps)
        *_, top = ddim_inversion(prior.denoise, prior.path, sample.z, levels, SOURCE)
        down = Guided(prior.denoise, self.guidance_scale)
        psi_target = ddim_sampling(down, prior.path, top.x, levels, "guided")
        return Direction(sample.z - psi_target, top.eps_hat)


@dataclass(frozen=True)
class Stages:
    """One objective after another: `first` for the first `share` of the steps, then `second`."""

    first: Objective
    second: Objective
    share: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        return (self.first if sample.progress < self.share else self.second)(prior, sample)

"""ChordEdit: an edit in one step, for models of few steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.denoiser import SOURCE, TARGET
from ...core.path import per_item
from ...core.prior import Prior
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample
from .delta import NEEDS


@dataclass(frozen=True)
class Chord:
    """ChordEdit (Lu et al., 2026): the first step edits the `reference`, each further step refines the image.

    The first step compares both prompts at two noise levels of the reference, with the same noise:

        z - (reference + lambda u),    u = (t R(t - delta) + delta R(t)) / (t + delta),
        R(t) = z0_hat(a reference + b eps, y_tgt) - z0_hat(a reference + b eps, y_src)

    so SGD with the learning rate 1 moves the image to its clean estimate, the reference plus lambda u. delta is
    `window`, at most half of t; `guidance_scale` is lambda. R is the change of clean estimates, as in the authors'
    code: -t times the change of velocities where t is the flow time. If each prompt has a single image, R is the way
    from one to the other at any level and on any path, so lambda 1 is a complete edit.

    Further steps move the image to its clean estimate under the target prompt at the time `refinement_time`, whatever
    the sample's: `z - z0_hat(z_t, y_tgt)`. One model call of 4 in the first step, one of 1 in the others.
    """

    reference: Tensor
    guidance_scale: float
    window: float
    refinement_time: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        return self._edit(prior, sample) if sample.progress == 0 else self._refinement(prior, sample)

    def _edit(self, prior: Prior, sample: Sample) -> Direction:
        reference = self.reference.expand_as(sample.z)
        lower = torch.maximum(sample.t - self.window, sample.t / 2)
        levels = torch.stack([sample.sigma, prior.sigma_at(lower)])
        states = [prior.path.noised(reference, sample.eps, sigma) for sigma in levels]
        (source, target), (low_source, low_target) = prior.denoise.paired(states, levels, [(SOURCE, TARGET)] * 2)
        t, delta = per_item(sample.t, sample.z), per_item(sample.t - lower, sample.z)
        chord = (t * (low_target - low_source) + delta * (target - source)) / (t + delta)
        eps_hat = prior.path.eps_hat(states[0], target, sample.sigma)
        gradient = sample.z - (reference + self.guidance_scale * chord)
        return Direction(gradient, eps_hat, gradient)

    def _refinement(self, prior: Prior, sample: Sample) -> Direction:
        sigma = prior.sigma_at(torch.full_like(sample.t, self.refinement_time))
        x = prior.path.noised(sample.z, sample.eps, sigma)
        (z0_hat,) = prior.denoise(x, sigma, (TARGET,))
        gradient = sample.z - z0_hat
        return Direction(gradient, prior.path.eps_hat(x, z0_hat, sigma), gradient)


@dataclass(frozen=True)
class ChordSettings:
    """ChordEdit's settings for SD-Turbo: step scale (`guidance_scale`), window and time of the refinement."""

    guidance_scale: float = 1.0
    window: float = 0.15
    refinement_time: float = 0.3


LOOP = LoopSettings(
    steps=1,
    learning_rate=1.0,
    optimizer="sgd",
    weighting="uniform",
    time_schedule="descending",
    t_min=0.0,
    t_max=0.9,
    noise_policy="fixed",
)
"""ChordEdit without the refinement, which is optional and changes more; 2 steps have it. `t_max` is its t."""


def build(s: ChordSettings, resources: Resources) -> Chord:
    return Chord(resources.need("reference"), s.guidance_scale, s.window, s.refinement_time)


register(Method("chord", build, ChordSettings(), LOOP, needs=NEEDS, edits=True, without_null={}, order=12))

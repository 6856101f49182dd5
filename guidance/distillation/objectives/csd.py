"""Classifier score distillation (CSD)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.denoiser import NULL, SOURCE, TARGET, guide
from ...core.prior import Prior
from ..method import Method, Resources, register
from ..objective import Direction, Sample, eps_hats


@dataclass(frozen=True)
class CSD:
    """Classifier score distillation (Yu et al., 2023).

        w1 (eps_hat(y) - eps_hat(0)) + w2 (eps_hat(0) - eps_hat(y_src))

    `guidance_scale` is w1; `source_prompt_weight`, w2, falls linearly to 0 over the first `anneal` of the steps. One
    model call of 3, of 2 once w2 is 0.
    """

    guidance_scale: float
    source_prompt_weight: float
    anneal: float = 0.5

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        w2 = self.source_prompt_weight * max(0.0, 1 - sample.progress / self.anneal)
        null, target, *source = eps_hats(prior, sample, NULL, TARGET, *([SOURCE] if w2 else []))
        gradient = self.guidance_scale * (target - null) + sum((w2 * (null - s) for s in source), torch.zeros(()))
        return Direction(gradient, guide(null, target, self.guidance_scale))


@dataclass(frozen=True)
class CSDSettings:
    """w1 and w2 of SDS-Bridge's comparison; `source_prompt_weight` None is as much as w1."""

    guidance_scale: float = 40.0
    source_prompt_weight: float | None = None


def build(settings: CSDSettings, _: Resources) -> CSD:
    w2 = settings.guidance_scale if settings.source_prompt_weight is None else settings.source_prompt_weight
    return CSD(settings.guidance_scale, w2)


register(Method("csd", build, CSDSettings(), needs=frozenset({"source"}), order=3))

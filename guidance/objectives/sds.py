"""Score distillation and what was made of it by exchanging terms: SDS, NFSD and CSD."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..denoiser import guided
from ..path import per_item
from ..prior import Prior
from .base import NULL, SOURCE, TARGET, Direction, Sample, eps_hats


@dataclass(frozen=True)
class SDS:
    """Score distillation sampling (DreamFusion, eq. 3): `eps_hat^s(y) - eps`.

    `guidance_scale` is s. One call of 2.
    """

    guidance_scale: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        null, target = eps_hats(prior, sample, NULL, TARGET)
        eps_hat = guided(null, target, self.guidance_scale)
        return Direction(eps_hat - sample.eps, eps_hat)


@dataclass(frozen=True)
class NFSD:
    """Noise-free score distillation (Katzir et al., 2023): `delta_D + s (eps_hat(y) - eps_hat(0))`.

    `delta_D`, what would bring the picture back to the natural ones, is `eps_hat(0)` below the time `switch`, where
    little noise is in it, and `eps_hat(0) - eps_hat(y_neg)` above; the source text is y_neg, which describes bad
    pictures. One call of 3.
    """

    guidance_scale: float
    switch: float = 0.2

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        null, target, bad = eps_hats(prior, sample, NULL, TARGET, SOURCE)
        domain = null - torch.where(per_item(sample.t < self.switch, null), 0, bad)
        return Direction(domain + self.guidance_scale * (target - null), guided(null, target, self.guidance_scale))


@dataclass(frozen=True)
class CSD:
    """Classifier score distillation (Yu et al., 2023): `w1 (eps_hat(y) - eps_hat(0)) + w2 (eps_hat(0) -
    eps_hat(y_src))`.

    `guidance_scale` is w1; `source_scale`, w2, falls linearly to 0 over the first `anneal` of the steps. One call of 3,
    of 2 once w2 is 0.
    """

    guidance_scale: float
    source_scale: float
    anneal: float = 0.5

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        w2 = self.source_scale * max(0.0, 1 - sample.progress / self.anneal)
        null, target, *source = eps_hats(prior, sample, NULL, TARGET, *([SOURCE] if w2 else []))
        gradient = self.guidance_scale * (target - null) + sum((w2 * (null - s) for s in source), torch.zeros(()))
        return Direction(gradient, guided(null, target, self.guidance_scale))

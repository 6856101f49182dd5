"""Noise-free score distillation (NFSD)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.denoiser import NULL, SOURCE, TARGET, guide
from ...core.path import per_item
from ...core.prior import Prior
from ..method import Method, register
from ..objective import Direction, Sample, eps_hats, in_clean_estimates


@dataclass(frozen=True)
class NFSD:
    """Noise-free score distillation (Katzir et al., 2023): `delta_D + s (eps_hat(y) - eps_hat(0))`.

    `delta_D`, which pulls the image back to the natural ones, is `eps_hat(0)` below the time `switch`, where the image
    holds little noise, and `eps_hat(0) - eps_hat(y_neg)` above. The source prompt is y_neg, which describes low-quality
    images. Below `switch` the gradient is the guided prediction itself; its clean estimate is the model's guided one,
    which holds no noise: b / a `(eps_hat^s(y) - eps)` away, the same in the mean over eps. One model call of 3.
    """

    guidance_scale: float
    switch: float = 0.2

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        null, target, bad = eps_hats(prior, sample, NULL, TARGET, SOURCE)
        clear = per_item(sample.t < self.switch, null)
        prompt = self.guidance_scale * (target - null)
        gradient = null - torch.where(clear, 0, bad) + prompt
        noises = null - torch.where(clear, sample.eps, bad) + prompt
        pull = in_clean_estimates(noises, prior.path, sample.sigma)
        return Direction(gradient, guide(null, target, self.guidance_scale), pull)


@dataclass(frozen=True)
class NFSDSettings:
    """The paper's guidance scale."""

    guidance_scale: float = 7.5


register(
    Method(
        "nfsd",
        lambda s, _: NFSD(s.guidance_scale),
        NFSDSettings(),
        needs=frozenset({"source"}),
        source_preset="low quality",
        order=2,
    )
)

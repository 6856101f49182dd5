"""Interval score matching (ISM)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...core.denoiser import NULL
from ...core.inversion import ddim_invert
from ...core.prior import Prior
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample, guided_eps_hat


@dataclass(frozen=True)
class ISM:
    """Interval score matching (LucidDreamer: Liang et al., 2023, section 3.2).

        eps_hat^s(x_t, y) - eps_hat(x_s, 0),    x_t = a_t z0_hat(x_s, 0) + b_t eps_hat(x_s, 0)

    x_s is the image at the time s = t - `interval`, inverted by DDIM under the negative prompt in `inversion_steps`
    steps; one more such step leads to x_t. s is at least half of t, so that it has noise. `guidance_scale` is that of
    eps_hat^s.

    The sample's noise is not used, so the noise policy has no effect. `inversion_steps` + 1 model calls of 1, one of 2.
    """

    guidance_scale: float
    interval: float
    inversion_steps: int

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        s = torch.maximum(sample.t - self.interval, sample.t / 2)
        levels = torch.cat([sample.sigma[None], prior.levels_below(s, self.inversion_steps)])
        # The last step leads from x_s to x_t, and is made of the prediction at x_s.
        *_, last = ddim_invert(prior.denoise, prior.path, sample.z, levels, NULL)
        eps_hat = guided_eps_hat(prior, last.x, sample.sigma, self.guidance_scale)
        return Direction(eps_hat - last.eps_hat, eps_hat)


@dataclass(frozen=True)
class ISMSettings:
    """The paper's interval, 50 of 1000 times; guidance scale and number of inversion steps of the authors' code.

    Their inversion steps are 200 of 1000 times long. Ours divide the way to s evenly, so none is longer.
    """

    guidance_scale: float = 7.5
    interval: float = 0.05
    inversion_steps: int = 5


LOOP = LoopSettings(weighting="snr")
"""The weight of the authors' code. It optimizes 3D scenes, so the rest of the loop is SDS-Bridge's for images."""


def build(s: ISMSettings, _: Resources) -> ISM:
    return ISM(s.guidance_scale, s.interval, s.inversion_steps)


register(Method("ism", build, ISMSettings(), LOOP, order=10))

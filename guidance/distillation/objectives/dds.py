"""Delta denoising score (DDS)."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.prior import Prior
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample
from .delta import NEEDS, PLAIN, Delta


@dataclass(frozen=True)
class DDS:
    """Delta denoising score (Hertz et al., 2023): `eps_hat^s(z_t, y_tgt) - eps_hat^s(z_t^ref, y_src)`, same noise.

    One model call of 4.
    """

    delta: Delta

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        pair = self.delta.pair(prior, sample, sample.eps)
        return Direction(pair.eps_target - pair.eps_source, pair.eps_target)


@dataclass(frozen=True)
class DDSSettings:
    """Hertz et al.: one guidance scale for both predictions."""

    guidance_scale: float = 7.5
    source_guidance_scale: float | None = None


def build(s: DDSSettings, resources: Resources) -> DDS:
    return DDS(Delta(resources.need("reference"), s.guidance_scale, s.source_guidance_scale))


LOOP = LoopSettings(steps=200, learning_rate=0.05, optimizer="sgd", weighting="uniform", t_min=0.05, t_max=0.95)
"""Steps and times of the authors' code."""

register(Method("dds", build, DDSSettings(), LOOP, needs=NEEDS, edits=True, without_null=PLAIN, order=1))

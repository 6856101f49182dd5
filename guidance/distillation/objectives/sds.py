"""Score distillation sampling (SDS)."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.denoiser import NULL, TARGET, guide
from ...core.prior import Prior
from ..method import Method, register
from ..objective import Direction, Sample, eps_hats


@dataclass(frozen=True)
class SDS:
    """Score distillation sampling (DreamFusion, eq. 3): `eps_hat^s(y) - eps`.

    `guidance_scale` is s. One model call of 2.
    """

    guidance_scale: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        null, target = eps_hats(prior, sample, NULL, TARGET)
        eps_hat = guide(null, target, self.guidance_scale)
        return Direction(eps_hat - sample.eps, eps_hat)


@dataclass(frozen=True)
class SDSSettings:
    """DreamFusion's guidance scale."""

    guidance_scale: float = 100.0


register(Method("sds", lambda s, _: SDS(s.guidance_scale), SDSSettings(), order=0))

"""Score distillation sampling (SDS)."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.prior import Prior
from ..method import Method, register
from ..objective import Direction, Sample, guided_eps_hat


@dataclass(frozen=True)
class SDS:
    """Score distillation sampling (DreamFusion, eq. 3): `eps_hat^s(y) - eps`.

    `guidance_scale` is s. One model call of 2, of 1 at scale 1.
    """

    guidance_scale: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        eps_hat = guided_eps_hat(prior, sample.noised(prior.path), sample.sigma, self.guidance_scale)
        return Direction(eps_hat - sample.eps, eps_hat)


@dataclass(frozen=True)
class SDSSettings:
    """DreamFusion's guidance scale."""

    guidance_scale: float = 100.0


register(
    Method("sds", lambda s, _: SDS(s.guidance_scale), SDSSettings(), without_null={"guidance_scale": 1.0}, order=0)
)

"""The comparison that DDS, PDS and flow edits share: image and reference, each under its own prompt."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.denoiser import NULL, SOURCE, TARGET, GuidanceOverride, guide, guided_estimate
from ...core.prior import Prior
from ..method import Need
from ..objective import Sample

NEEDS: frozenset[Need] = frozenset({"source", "reference"})
PLAIN = {"guidance_scale": 1.0, "source_guidance_scale": 1.0}
"""The settings with which only the two prompts are compared, without unconditional predictions."""


@dataclass(frozen=True)
class Pair:
    """An image and its reference under the same noise: guided noises and clean estimates of both, (B, ...) each."""

    eps_target: Tensor
    eps_source: Tensor
    z0_target: Tensor
    z0_source: Tensor


@dataclass(frozen=True)
class Delta:
    """What is compared: the image with the target prompt against `reference` (B or 1, ...) with the source prompt.

    Guidance scales are those of the two predictions; `source_guidance_scale` None is the same for both. One model call
    of 4: two latents, each with and without its prompt. Of 2 where both scales are 1 (`PLAIN`), each with its prompt.
    """

    reference: Tensor
    guidance_scale: float
    source_guidance_scale: float | None = None

    def pair(self, prior: Prior, sample: Sample, target_eps: Tensor) -> Pair:
        """Both predictions; the reference carries the sample's noise, the image `target_eps`."""
        source_scale = self.guidance_scale if self.source_guidance_scale is None else self.source_guidance_scale
        z_t = prior.path.noised(sample.z, target_eps, sample.sigma)
        z_t_ref = prior.path.noised(self.reference.expand_as(sample.z), sample.eps, sample.sigma)
        z0_target, z0_source = self._guided(prior, sample.sigma, z_t, z_t_ref, source_scale)
        eps_target = prior.path.eps_hat(z_t, z0_target, sample.sigma)
        eps_source = prior.path.eps_hat(z_t_ref, z0_source, sample.sigma)
        return Pair(eps_target, eps_source, z0_target, z0_source)

    def _guided(
        self, prior: Prior, sigma: Tensor, z_t: Tensor, z_t_ref: Tensor, source_scale: float
    ) -> tuple[Tensor, Tensor]:
        """The clean estimates of image and reference, each guided to its prompt."""
        if isinstance(prior.denoise, GuidanceOverride):
            mine = guided_estimate(prior.denoise, z_t, sigma, self.guidance_scale)
            return mine, guided_estimate(prior.denoise, z_t_ref, sigma, source_scale, (NULL, SOURCE))
        if self.guidance_scale == source_scale == 1:
            (target,), (source,) = prior.denoise.paired([z_t, z_t_ref], sigma, [(TARGET,), (SOURCE,)])
            return target, source
        mine, reference = prior.denoise.paired([z_t, z_t_ref], sigma, [(NULL, TARGET), (NULL, SOURCE)])
        return guide(mine[0], mine[1], self.guidance_scale), guide(reference[0], reference[1], source_scale)

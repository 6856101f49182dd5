"""Distillation by difference to a reference picture and its text: DDS, and flow editing, which is DDS with a shift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..denoiser import guided
from ..prior import Prior
from .base import NULL, SOURCE, TARGET, Direction, Sample


@dataclass(frozen=True)
class Pair:
    """A picture and its reference under the same noise: guided noises and clean estimates of both, (B, ...) each."""

    eps_target: Tensor
    eps_source: Tensor
    z0_target: Tensor
    z0_source: Tensor


@dataclass(frozen=True)
class Delta:
    """What is compared: the picture with the target text against `reference` (B or 1, ...) with the source text.

    Guidance scales are those of the two predictions. One call of 4: two latents, each with and without its text.
    """

    reference: Tensor
    guidance_scale: float
    source_guidance_scale: float

    def pair(self, prior: Prior, sample: Sample, target_eps: Tensor) -> Pair:
        """Both predictions; the reference carries the sample's noise, the picture `target_eps`."""
        z_t = prior.path.noised(sample.z, target_eps, sample.sigma)
        z_t_ref = prior.path.noised(self.reference.expand_as(sample.z), sample.eps, sample.sigma)
        mine, reference = prior.denoise.paired([z_t, z_t_ref], sample.sigma, [(NULL, TARGET), (NULL, SOURCE)])
        z0_target = guided(mine[0], mine[1], self.guidance_scale)
        z0_source = guided(reference[0], reference[1], self.source_guidance_scale)
        eps_target = prior.path.eps_hat(z_t, z0_target, sample.sigma)
        eps_source = prior.path.eps_hat(z_t_ref, z0_source, sample.sigma)
        return Pair(eps_target, eps_source, z0_target, z0_source)


@dataclass(frozen=True)
class DDS:
    """Delta denoising score (Hertz et al., 2023): `eps_hat^s(z_t, y_tgt) - eps_hat^s(z_t^ref, y_src)`, same noise."""

    delta: Delta

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        pair = self.delta.pair(prior, sample, sample.eps)
        return Direction(pair.eps_target - pair.eps_source, pair.eps_target)


@dataclass(frozen=True)
class FlowDelta:
    """Flow editing as distillation (DVRF, eq. 6 and 8), on any family.

    The picture is noised along its way from the reference, `z_t = a z + b eps + c_t (z - z_ref)`, that is with the
    noise `eps + shift (z - z_ref)` where `c_t = shift b`; what is compared is how far each velocity `v_hat = eps_hat -
    z0_hat` is from its own noise and picture:

        (v_hat_tgt - v_hat_src) + (1 - shift) (z - z_ref)

    `shift` 0 is DDS with the weight `(a + b) / a`; `shift` 1 is the field of FlowEdit (Kulikov et al., 2024), which an
    SGD step of the fall in flow time integrates. `shift` is a function of the progress in [0, 1]: constant 1 for
    FlowEdit, the progress itself for DVRF. Velocities are per unit of flow time b / (a + b), the model's own for flow
    models.
    """

    delta: Delta
    shift: Callable[[float], float]

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        shift = self.shift(sample.progress)
        moved = sample.z - self.delta.reference
        pair = self.delta.pair(prior, sample, sample.eps + shift * moved)
        velocity = (pair.eps_target - pair.z0_target) - (pair.eps_source - pair.z0_source)
        return Direction(velocity + (1 - shift) * moved, pair.eps_target)


def flow_time(prior: Prior, sigma: Tensor) -> Tensor:
    """The flow time b / (a + b) in [0, 1] of a noise level, whichever the family: that of a flow model is its sigma."""
    a, b = prior.path.a(sigma), prior.path.b(sigma)
    return b / (a + b)

"""Distillation as a bridge from the current image to the target (SDS-Bridge)."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.ddim import ddim_sample
from ...core.denoiser import GUIDED, SOURCE, TARGET, GuidedDenoiser
from ...core.inversion import ddim_invert
from ...core.prior import Prior
from ..method import Method, Resources, register
from ..objective import Direction, Objective, Sample, eps_hats
from .sds import SDS


@dataclass(frozen=True)
class PromptBridge:
    """The bridge between two prompts in one step (SDS-Bridge, eq. 3.5): `w (eps_hat(y_tgt) - eps_hat(y_src))`.

    `scale` is w. One model call of 2.
    """

    scale: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        target, source = eps_hats(prior, sample, TARGET, SOURCE)
        return Direction(self.scale * (target - source), target)


@dataclass(frozen=True)
class FullBridge:
    """The bridge solved in full (SDS-Bridge, eq. 3.4, and chapter 4): `-(psi_tgt - psi_src)`.

    psi_src is the current image. The probability-flow ODE carries it up to time t under the source prompt and down
    again under the target prompt, guided by `guidance_scale`, to psi_tgt; `steps` DDIM steps each way. 3 `steps` model
    evaluations, 2 `steps` at scale 1.
    """

    guidance_scale: float
    steps: int

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        levels = prior.levels_below(sample.t, self.steps)
        *_, top = ddim_invert(prior.denoise, prior.path, sample.z, levels, SOURCE)
        down = GuidedDenoiser(prior.denoise, self.guidance_scale)
        psi_target = ddim_sample(down, prior.path, top.x, levels, GUIDED)
        gradient = sample.z - psi_target  # psi_tgt is the clean estimate
        return Direction(gradient, top.eps_hat, gradient)


@dataclass(frozen=True)
class Stages:
    """One objective after another: `first` for the first `share` of the steps, then `second`."""

    first: Objective
    second: Objective
    share: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        return (self.first if sample.progress < self.share else self.second)(prior, sample)


@dataclass(frozen=True)
class BridgeSettings:
    """SDS-Bridge, section 4.1: SDS at guidance 40 for the first `sds_stage` of the steps, then the bridge at 25."""

    guidance_scale: float = 25.0
    sds_stage: float = 0.5
    sds_guidance_scale: float = 40.0


@dataclass(frozen=True)
class FullBridgeSettings:
    """SDS-Bridge, chapter 4, after the same first stage; `ode_steps` DDIM steps each way."""

    guidance_scale: float = 7.5
    sds_stage: float = 0.5
    sds_guidance_scale: float = 40.0
    ode_steps: int = 10


def build_bridge(s: BridgeSettings, _: Resources) -> Stages:
    return Stages(SDS(s.sds_guidance_scale), PromptBridge(s.guidance_scale), s.sds_stage)


def build_full_bridge(s: FullBridgeSettings, _: Resources) -> Stages:
    return Stages(SDS(s.sds_guidance_scale), FullBridge(s.guidance_scale, s.ode_steps), s.sds_stage)


EDIT = {"sds_stage": 0.0}
"""An image needs no first stage (SDS-Bridge, section 3.4)."""

register(
    Method(
        "bridge",
        build_bridge,
        BridgeSettings(),
        needs=frozenset({"source"}),
        from_image=EDIT,
        without_null={"sds_stage": 0.0},
        order=5,
    )
)
register(
    Method(
        "full bridge",
        build_full_bridge,
        FullBridgeSettings(),
        needs=frozenset({"source"}),
        from_image=EDIT,
        without_null={"sds_stage": 0.0, "guidance_scale": 1.0},
        order=6,
    )
)

"""Flow editing as distillation (FlowEdit, DVRF, now called DRFS): DDS along a descending schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...core.prior import Prior
from ..ending import PlainSampling
from ..method import LoopSettings, Method, Resources, register
from ..objective import Direction, Sample
from ..schedules import FLOW_TIME, HUMP
from .delta import NEEDS, PLAIN, Delta


@dataclass(frozen=True)
class FlowDelta:
    """Flow editing as distillation (DVRF, eq. 6 and 8), on any model family.

    The image is noised along its way from the reference, `z_t = a z + b eps + c_t (z - z_ref)`, that is with the noise
    `eps + shift (z - z_ref)` where `c_t = shift b`. The gradient compares how far each velocity `v_hat = eps_hat -
    z0_hat` is from its own noise and image:

        (v_hat_tgt - v_hat_src) + (1 - shift) (z - z_ref)

    `shift` 0 is DDS with the weight `(a + b) / a`; `shift` 1 is the field of FlowEdit (Kulikov et al., 2024), which an
    SGD step of the fall in flow time integrates. `shift` is a function of the progress in [0, 1]: constant 1 for
    FlowEdit, the progress itself for DVRF. Velocities are per unit of flow time b / (a + b), the model's own for flow
    models. The clean estimate is `z_ref + z0_hat_tgt - z0_hat_src`. One model call of 4.
    """

    # Divided by a + b, the state of any path is that of the flow path (1 - tau) z + tau eps at the flow time tau =
    # b / (a + b), whose velocity is eps - z. So `eps_hat - z0_hat` is the velocity per unit of flow time everywhere.
    #
    # The gradient is the difference of two residuals, velocity minus that of the own noise and image:
    #     (v_hat_tgt - (eps + shift moved - z)) - (v_hat_src - (eps - z_ref)),    moved = z - z_ref
    #     = v_hat_tgt - v_hat_src + (1 - shift) moved
    # Noise predictions are eps_hat_tgt = eps + shift moved + a / b (z - z0_hat_tgt) and, of the source,
    # eps + a / b (z_ref - z0_hat_src). Inserted,
    #     gradient = (a + b) / b (moved - (z0_hat_tgt - z0_hat_src))
    # which is 0 at the clean estimate z_ref + z0_hat_tgt - z0_hat_src, at any shift.
    # shift 1: the target state is a z_ref + b eps + (a + b) moved, FlowEdit's z_src_t + moved on the flow path, and the
    #     gradient is the velocity difference alone.
    # shift 0: v_hat = ((a + b) eps_hat - z_t) / a and the states differ by a moved, so v_hat_tgt - v_hat_src + moved
    #     = (a + b) / a (eps_hat_tgt - eps_hat_src), which is DDS.

    delta: Delta
    shift: Callable[[float], float]

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        shift = self.shift(sample.progress)
        moved = sample.z - self.delta.reference
        pair = self.delta.pair(prior, sample, sample.eps + shift * moved)
        velocity = (pair.eps_target - pair.z0_target) - (pair.eps_source - pair.z0_source)
        pull = moved - (pair.z0_target - pair.z0_source)
        return Direction(velocity + (1 - shift) * moved, pair.eps_target, pull)


@dataclass(frozen=True)
class FlowEditSettings:
    """FlowEdit's guidance scales for SD3; `source_guidance_scale` None is as much as the target's.

    The last `n_min` steps sample with the target prompt; the paper's tables have none.
    """

    guidance_scale: float = 13.5
    source_guidance_scale: float | None = 3.5
    n_min: int = 0


@dataclass(frozen=True)
class DVRFSettings:
    """DVRF's guidance scales for SD3; `source_guidance_scale` None is as much as the target's.

    `shift` None grows with the progress, as in the paper; a number in [0, 1] is that of the whole run. `n_min` is that
    of FlowEdit; the paper has none.
    """

    guidance_scale: float = 16.5
    source_guidance_scale: float | None = 6.0
    shift: float | None = None
    n_min: int = 0


FLOWEDIT_LOOP = LoopSettings(
    steps=33,
    learning_rate=1.0,
    learning_rate_schedule=FLOW_TIME,
    optimizer="sgd",
    weighting="uniform",
    time_schedule="descending",
    t_min=0.0,
    t_max=0.66,
)
"""FlowEdit on SD3: the last 33 of 50 steps. Times of the model's clock are spaced evenly before its shift, as in the
paper, so `t_max` is n_max / T and `steps` n_max: 24 / 28 and 24 on Flux dev."""
DVRF_LOOP = LoopSettings(
    steps=50,
    learning_rate=0.84,
    learning_rate_schedule=HUMP,
    optimizer="sgd",
    weighting="uniform",
    time_schedule="descending",
    t_min=0.0,
    t_max=1.0,
)
"""DVRF on SD3: the learning rates of its code, which add up to 0.84."""


def _delta(settings: FlowEditSettings | DVRFSettings, resources: Resources) -> Delta:
    return Delta(resources.need("reference"), settings.guidance_scale, settings.source_guidance_scale)


def build_flowedit(settings: FlowEditSettings, resources: Resources) -> FlowDelta:
    return FlowDelta(_delta(settings, resources), lambda _: 1.0)


def build_dvrf(settings: DVRFSettings, resources: Resources) -> FlowDelta:
    constant = settings.shift
    return FlowDelta(_delta(settings, resources), lambda progress: progress if constant is None else constant)


def ending(settings: FlowEditSettings | DVRFSettings) -> PlainSampling:
    return PlainSampling(settings.guidance_scale)


register(
    Method(
        "flowedit",
        build_flowedit,
        FlowEditSettings(),
        FLOWEDIT_LOOP,
        needs=NEEDS,
        edits=True,
        ending=ending,
        without_null=PLAIN,
        order=7,
    )
)
register(
    Method(
        "dvrf",
        build_dvrf,
        DVRFSettings(),
        DVRF_LOOP,
        needs=NEEDS,
        edits=True,
        ending=ending,
        without_null=PLAIN,
        order=8,
    )
)

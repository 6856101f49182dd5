"""The published methods: each one's settings, and its objective made from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .corrective.storage import ManifoldCorrective
from .noise import Estimated, Inverted, NoisePolicy, SeededNoise, fixed, fresh
from .objectives.base import WEIGHTS, Objective
from .objectives.bridge import FullBridge, Stages, TextBridge
from .objectives.delta import DDS, Delta, FlowDelta, flow_time
from .objectives.lmc import LMC, Patching
from .objectives.sds import CSD, NFSD, SDS
from .objectives.vsd import VSD, ParticleModel
from .optimize import Plan, at_rates
from .prior import Prior
from .schedules import LEARNING_RATES, TIME_SCHEDULES

PLACES, TEXT_NOISE = 1, 2
"""Streams of random numbers beside that of the noise: places of patches, and noise that stays."""
FLOW_TIME = "flow time"
"""The learning-rate schedule under which SGD integrates an ODE: each step's rate is the flow time it covers."""


@dataclass(frozen=True)
class Settings:
    """Everything a distillation can be told, with the values that SDS-Bridge's 2D experiments share as defaults.

    `guidance_scale` weighs the text; `source_guidance_scale` the second prediction of the methods that have one, None
    for as much as the first. For the first `first_stage` of the steps the bridges distil by SDS with
    `first_stage_guidance`, and LMC looks at large pictures as a whole. `ode_steps` are those of the full bridge and of
    inverted noise; `eta` is the share of fresh noise in noise that is not. `diversity` keeps the noise of LMC's text
    gradient.
    """

    guidance_scale: float
    source_guidance_scale: float | None = None
    steps: int = 1000
    learning_rate: float = 0.01
    learning_rate_schedule: str = "constant"
    optimizer: str = "adamw"
    weighting: str = "1-alpha_bar"
    time_schedule: str = "uniform"
    t_min: float = 0.02
    t_max: float = 0.98
    noise_policy: str = "fresh"
    eta: float = 0.0
    ode_steps: int = 10
    first_stage: float = 0.0
    first_stage_guidance: float = 40.0
    lora_rank: int = 4
    lora_learning_rate: float = 1e-4
    diversity: bool = False

    @property
    def second_guidance(self) -> float:
        """The scale of the second prediction."""
        return self.guidance_scale if self.source_guidance_scale is None else self.source_guidance_scale


@dataclass(frozen=True)
class Parts:
    """What an objective may be made of besides settings: a reference latent, a trainable model, random numbers.

    `corrective` is that of LMC, in the type and on the device of the latents.
    """

    reference: Tensor | None
    particles: ParticleModel | None
    noise: SeededNoise
    corrective: ManifoldCorrective | None = None

    def delta(self, settings: Settings) -> Delta:
        """The comparison with the reference."""
        if self.reference is None:
            raise ValueError("This method compares with a reference latent, and there is none.")
        return Delta(self.reference, settings.guidance_scale, settings.second_guidance)

    def vsd(self, settings: Settings) -> VSD:
        """The distillation against a trainable model."""
        if self.particles is None:
            raise ValueError("This method needs a trainable model of the particles, and there is none.")
        return VSD(settings.guidance_scale, self.particles, self.noise)

    def lmc(self, settings: Settings) -> LMC:
        """The distillation with a manifold corrective, whose native size is the one it was trained at."""
        if self.corrective is None:
            raise ValueError("This method needs a manifold corrective, and there is none.")
        about = self.corrective.about
        patching = Patching(about.size, settings.first_stage, self.noise.apart(PLACES))
        text_noise = self.noise.apart(TEXT_NOISE) if settings.diversity else None
        return LMC(self.corrective, about.statistics, settings.guidance_scale, patching, text_noise)


@dataclass(frozen=True)
class Method:
    """A published method.

    `needs` names, of "source", "reference", "particles" and "corrective", what it cannot do without.
    """

    settings: Settings
    needs: frozenset[str]
    objective: Callable[[Settings, Parts], Objective]
    edits: bool = False
    """Whether it starts from a picture by nature."""
    lowest_time: float = 0.0
    """The smallest t it is defined at."""
    from_grey: bool = False
    """Whether it begins at the empty latent, and not at noise, where there is no picture."""
    from_picture: dict[str, Any] = field(default_factory=lambda: {"first_stage": 0.0})
    """Its settings that differ where it begins at a picture; the bridges need no first stage (SDS-Bridge, 3.4)."""


def _bridge(s: Settings, _: Parts) -> Objective:
    return Stages(SDS(s.first_stage_guidance), TextBridge(s.guidance_scale), s.first_stage)


def _full_bridge(s: Settings, _: Parts) -> Objective:
    return Stages(SDS(s.first_stage_guidance), FullBridge(s.guidance_scale, s.ode_steps), s.first_stage)


_DDS = Settings(
    guidance_scale=7.5, steps=200, learning_rate=0.05, optimizer="sgd", weighting="uniform", t_min=0.05, t_max=0.95
)
_FLOWEDIT = Settings(
    guidance_scale=13.5,
    source_guidance_scale=3.5,
    steps=33,
    learning_rate=1.0,
    learning_rate_schedule=FLOW_TIME,
    optimizer="sgd",
    weighting="uniform",
    time_schedule="descending",
    t_min=0.0,
    t_max=0.66,
)
_DVRF = Settings(
    guidance_scale=16.5,
    source_guidance_scale=6.0,
    steps=50,
    learning_rate=0.02,
    optimizer="sgd",
    weighting="uniform",
    time_schedule="descending",
    t_min=0.0,
    t_max=1.0,
)

_LMC = Settings(
    guidance_scale=8.0,
    steps=500,
    learning_rate=0.1,
    learning_rate_schedule="cosine to 0.03",
    optimizer="adam",
    weighting="uniform",
    first_stage=0.3,
)
_LMC_EDIT = {
    "guidance_scale": 15.0,
    "learning_rate": 0.02,
    "learning_rate_schedule": "cosine to 0.8",
    "first_stage": 0.4,
}

METHODS: dict[str, Method] = {
    "sds": Method(Settings(100.0), frozenset(), lambda s, _: SDS(s.guidance_scale)),
    "dds": Method(_DDS, frozenset({"source", "reference"}), lambda s, p: DDS(p.delta(s)), edits=True),
    "nfsd": Method(Settings(7.5), frozenset({"source"}), lambda s, _: NFSD(s.guidance_scale)),
    "csd": Method(Settings(40.0), frozenset({"source"}), lambda s, _: CSD(s.guidance_scale, s.second_guidance)),
    "vsd": Method(Settings(7.5), frozenset({"particles"}), lambda s, p: p.vsd(s)),
    "bridge": Method(Settings(25.0, first_stage=0.5), frozenset({"source"}), _bridge),
    "full bridge": Method(Settings(7.5, first_stage=0.5), frozenset({"source"}), _full_bridge),
    "flowedit": Method(
        _FLOWEDIT, frozenset({"source", "reference"}), lambda s, p: FlowDelta(p.delta(s), lambda _: 1.0), edits=True
    ),
    "dvrf": Method(
        _DVRF, frozenset({"source", "reference"}), lambda s, p: FlowDelta(p.delta(s), lambda done: done), edits=True
    ),
    "lmc": Method(_LMC, frozenset({"corrective"}), lambda s, p: p.lmc(s), from_grey=True, from_picture=_LMC_EDIT),
}
"""By name, in the order of the node's list."""

NOISE_POLICIES: dict[str, Callable[[Settings], NoisePolicy]] = {
    "fresh": lambda s: fresh,
    "fixed": lambda s: fixed,
    "estimated": lambda s: Estimated(s.eta),
    "inverted": lambda s: Inverted(s.ode_steps, eta=s.eta),
}


def plan(settings: Settings, prior: Prior, like: Tensor) -> Plan:
    """How a distillation with these settings goes, on the device and in the type of `like`."""
    return Plan(
        settings.steps,
        at_rates(settings.optimizer, learning_rates(settings, prior, like)),
        TIME_SCHEDULES[settings.time_schedule](settings.t_min, settings.t_max),
        NOISE_POLICIES[settings.noise_policy](settings),
        WEIGHTS[settings.weighting],
    )


def learning_rates(settings: Settings, prior: Prior, like: Tensor) -> Sequence[float]:
    """The rate of each step."""
    shares = [step / settings.steps for step in range(settings.steps)]
    if settings.learning_rate_schedule != FLOW_TIME:
        factor = LEARNING_RATES[settings.learning_rate_schedule]
        return [settings.learning_rate * factor(share) for share in shares]
    t = like.new_tensor([settings.t_max - (settings.t_max - settings.t_min) * s for s in [*shares, 1.0]])
    falls = -flow_time(prior, prior.sigma_at(t)).diff()
    return [settings.learning_rate * fall for fall in falls.tolist()]

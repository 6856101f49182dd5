"""Distillation methods: an objective, the settings of its paper, and how the loop runs it.

Each file in `objectives/` declares its methods and registers them here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from ..core.denoiser import TrainableDenoiser
from ..core.noise import SeededNoise
from ..core.prior import Prior
from ..core.registry import Registry
from ..networks.corrective.storage import ManifoldCorrective
from .ending import PlainSampling
from .loop import Plan, descent_at_rates
from .objective import WEIGHTS, Objective
from .schedules import (
    FLOW_TIME,
    HUMP,
    LEARNING_RATES,
    NOISE_POLICIES,
    TIME_SCHEDULES,
    Descending,
    flow_time_rates,
    hump_shares,
)

Need = Literal["source", "reference", "particles", "corrective"]
"""What a method cannot run without: a source prompt, a reference latent, a trainable copy of the model, a manifold
corrective."""


@dataclass(frozen=True)
class LoopSettings:
    """How the loop runs, whatever the objective. The defaults are those of SDS-Bridge's 2D experiments.

    `inversion_steps` and `inversion_guidance_scale` are those of the noise policy "inverted"; the scale is SDI's.
    `eta` in [0, 1] is the share of fresh noise in estimated or inverted noise; `n_avg` is the number of noises that
    each step averages over. All names are keys of the tables in `schedules`, `objective` and `loop`.
    """

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
    inversion_steps: int = 10
    n_avg: int = 1
    inversion_guidance_scale: float = -7.5

    def plan(self, prior: Prior, like: Tensor) -> Plan:
        """The plan of the loop, for latents on the device and in the dtype of `like`."""
        return Plan(
            self.steps,
            descent_at_rates(self.optimizer, self.learning_rates(prior, like)),
            TIME_SCHEDULES[self.time_schedule](self.t_min, self.t_max),
            NOISE_POLICIES[self.noise_policy](self.eta, self.inversion_steps, self.inversion_guidance_scale),
            WEIGHTS[self.weighting],
            self.n_avg,
        )

    def learning_rates(self, prior: Prior, like: Tensor) -> Sequence[float]:
        """The learning rate of each step."""
        if self.learning_rate_schedule == FLOW_TIME:
            factors = flow_time_rates(prior, self.t_min, self.t_max, self.steps, like)
        elif self.learning_rate_schedule == HUMP:
            factors = hump_shares(self.steps)
        else:
            factor = LEARNING_RATES[self.learning_rate_schedule]
            factors = [factor(step / self.steps) for step in range(self.steps)]
        return [self.learning_rate * factor for factor in factors]


@dataclass(frozen=True)
class Config:
    """All settings of one distillation: the method's own dataclass, and the loop's."""

    own: Any
    loop: LoopSettings

    @property
    def n_min(self) -> int:
        """How many steps at the end sample plainly; 0 for a method that has no such setting."""
        return getattr(self.own, "n_min", 0)

    @property
    def edit(self) -> LoopSettings:
        """The loop of all steps but the last `n_min`."""
        if not self.n_min:
            return self.loop
        return replace(self.loop, steps=self.loop.steps - self.n_min, t_min=self._ending_time)

    @property
    def ending_times(self) -> Descending:
        """The times of the last `n_min` steps."""
        return Descending(self.loop.t_min, self._ending_time)

    @property
    def _ending_time(self) -> float:
        return Descending(self.loop.t_min, self.loop.t_max).time(1 - self.n_min / self.loop.steps)

    def has(self, name: str) -> bool:
        """Whether there is a setting of that name."""
        return name in _names(self.own) or name in _names(self.loop)

    def updated(self, values: Mapping[str, Any]) -> Config:
        """With these values, each in the field of its name. Raises KeyError for a name that neither has."""
        for name in values:
            if not self.has(name):
                raise KeyError(f"{type(self.own).__name__} and LoopSettings have no field {name!r}.")
        return Config(_replaced(self.own, values), _replaced(self.loop, values))


def _names(settings: Any) -> set[str]:
    return {each.name for each in dataclasses.fields(settings)}


def _replaced(settings: Any, values: Mapping[str, Any]) -> Any:
    return dataclasses.replace(settings, **{name: values[name] for name in _names(settings) & values.keys()})


@dataclass(frozen=True)
class Resources:
    """What an objective is built from besides its settings.

    `reference` (B or 1, ...) is the latent to compare with, in model scale; `corrective` is in the type and on the
    device of the latents; `particles(rank, learning_rate)` makes a trainable copy of the model (a LoRA).
    """

    noise: SeededNoise
    reference: Tensor | None = None
    corrective: ManifoldCorrective | None = None
    particles: Callable[[int, float], TrainableDenoiser] | None = None

    def need(self, name: Literal["reference", "corrective", "particles"]) -> Any:
        """One of them. Raises ValueError where it is missing."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"This method needs a {name}, and there is none.")
        return value


@dataclass(frozen=True)
class Method:
    """A distillation method, as one of the files in `objectives/` declares it.

    `build(settings, resources)` makes the objective; `settings` is an instance of the method's own dataclass with the
    paper's values, `loop` how the paper runs it. `from_image` names what differs, of either, where the run starts from
    an image instead of from scratch. `edits` says that it needs an image to start from; `from_zeros` that it starts
    from the empty latent where others start from noise.

    `ending` makes the sampling of the last `n_min` steps, for methods with that setting. `without_null` names
    the settings with which it does without the unconditional prompt, which models with embedded guidance lack: None if
    it never does, empty if it always does. `source_preset` names the preset of Text-Source Descriptor that is its
    source prompt, where that is the same for every image.

    `order` is its place in the method list of Distillation Sampler: the highest number plus one. None leaves it out,
    for a method that has a node of its own.
    """

    name: str
    build: Callable[[Any, Resources], Objective]
    settings: Any
    loop: LoopSettings = LoopSettings()
    needs: frozenset[Need] = frozenset()
    from_image: Mapping[str, Any] = field(default_factory=dict)
    edits: bool = False
    from_zeros: bool = False
    ending: Callable[[Any], PlainSampling] | None = None
    without_null: Mapping[str, float | str] | None = None
    source_preset: str | None = None
    order: int | None = None

    def config(self, *, from_image: bool = False) -> Config:
        """The paper's settings."""
        return Config(self.settings, self.loop).updated(self.from_image if from_image else {})

    def needs_null(self, config: Config) -> bool:
        """Whether a run needs the unconditional prompt. The noise policy "inverted" always does."""
        if self.without_null is None or config.loop.noise_policy == "inverted":
            return True
        return any(getattr(config.own, name) not in (None, value) for name, value in self.without_null.items())

    def check(self, config: Config) -> None:
        """Raise ValueError where steps, times or schedules do not fit together."""
        loop = config.loop
        if config.n_min >= loop.steps:
            raise ValueError(
                f"n_min is {config.n_min} and steps {loop.steps}: n_min counts the last of these steps, so set it "
                "lower."
            )
        if not 0 <= loop.t_min < loop.t_max <= 1:
            raise ValueError(
                f"t_min is {loop.t_min:g} and t_max {loop.t_max:g}: t_min must be below t_max, both between 0 and 1."
            )
        if loop.learning_rate_schedule == FLOW_TIME and loop.time_schedule != "descending":
            raise ValueError(
                f"learning_rate_schedule '{FLOW_TIME}' follows falling noise levels: set time_schedule to descending, "
                "or choose another learning_rate_schedule."
            )


METHODS: Registry[Method] = Registry("method")
"""By name: those of Distillation Sampler's list in its order, then those with a node of their own."""

register = METHODS.register

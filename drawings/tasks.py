"""The four SVG tasks and their defaults from the papers."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..guidance.distillation.method import LoopSettings
from ..guidance.restoration.operators import LinearOperator
from .optimizer import EDITING, LearningRates
from .styles import ArtStyle, Canvas, scale_of

Task = Literal["draw", "refine", "edit", "restore"]
"""Draw from scratch, refine a traced image, edit a given drawing, restore what a measurement saw."""


class TaskDefaults(NamedTuple):
    """How a task distills unless the user says otherwise: `method` is the name of its objective."""

    method: str
    guidance_scale: float
    loop: LoopSettings


_FROM_PROMPT = TaskDefaults("sds", 100.0, LoopSettings(t_min=0.05, t_max=0.95))
DEFAULTS: dict[Task, TaskDefaults] = {
    "draw": _FROM_PROMPT,
    "refine": _FROM_PROMPT,
    "edit": TaskDefaults("pds", 100.0, LoopSettings(weighting="uniform", t_min=0.1, t_max=0.98)),
    "restore": TaskDefaults("sds", 7.5, LoopSettings(time_schedule="descending", noise_policy="estimated")),
}
"""From VectorFusion, section 4.3; PDS's code for SVGs; DreamSampler, section 4.3, with times and noise of Algorithm 2.

A restoration does not use DreamSampler's guidance of 100: its noise estimate would be so far off that the next step
sees no image, and the prompt would change almost nothing. With fresh noise instead, 100 removes what the measurement
does not hold in place (benchmarks/results/drawings.md)."""

SHOWN = 512 / 600
"""Fraction of the canvas's side that an augmented view shows (VectorFusion: 512-pixel crops of 600)."""
RENEWALS, RENEWED_UNTIL = 10, 0.8
"""Dead paths are reinitialized every tenth of the steps, until that share of them (VectorFusion, table 2)."""


class Terms(NamedTuple):
    """Weights of the two terms of a restoration (DreamSampler, eq. 21)."""

    sds: float
    data: float


def restoration_terms(operator: LinearOperator) -> Terms:
    """The weights that the operator declares for drawings."""
    return Terms(operator.lambda_sds, operator.lambda_dc)


def rates_of(task: Task, style: ArtStyle, canvas: Canvas) -> LearningRates:
    """Learning rates on a canvas of some height and width in pixels."""
    rates = {"draw": style.rates, "restore": style.rates, "refine": style.refining, "edit": EDITING}[task]
    return rates.scaled(scale_of(canvas))


def renews(step: int, steps: int) -> bool:
    """Whether dead paths are reinitialized after a step."""
    every = max(steps // RENEWALS, 1)
    return (step + 1) % every == 0 and step + 1 <= RENEWED_UNTIL * steps

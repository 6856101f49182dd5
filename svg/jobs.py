"""What drawings are optimised for, with the published settings of each."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..guidance.methods import Settings
from ..guidance.operators import GaussianBlur, LinearOperator, MotionBlur
from .art_styles import ArtStyle, Canvas, scale_of
from .schedules import EDITING, LearningRates

Job = Literal["draw", "refine", "edit", "restore"]
"""Draw from nothing, refine a fit to a picture, edit a given drawing, restore what a measurement saw."""

_FROM_TEXT = Settings(100.0, steps=1000, t_min=0.05, t_max=0.95)
SETTINGS: dict[Job, Settings] = {
    "draw": _FROM_TEXT,
    "refine": _FROM_TEXT,
    "edit": Settings(100.0, steps=1000, weighting="uniform", t_min=0.1, t_max=0.98),
    "restore": Settings(7.5, steps=1000, time_schedule="descending", noise_policy="estimated"),
}
"""VectorFusion, section 4.3; PDS's code for drawings; DreamSampler, section 4.3 with times and noise of Algorithm 2.

Not its guidance, 100: what that takes for the noise is so far from it that the next step sees no picture, and the text
changes next to nothing. With fresh noise instead it takes away what the measurement cannot hold
(benchmarks/results/drawings.md)."""

SHOWN = 512 / 600
"""The share of the canvas's sides that a view for the model shows (VectorFusion: crops of 512 pixels from 600)."""
RENEWALS, RENEWED_UNTIL = 10, 0.8
"""Dead paths start again every tenth of the steps, until that share of them (VectorFusion, table 2)."""


class Terms(NamedTuple):
    """Weights of the two terms of a restoration (DreamSampler, eq. 21)."""

    sds: float
    data: float


def restoration_terms(operator: LinearOperator) -> Terms:
    """Published for downsampling by 8 and for Gaussian blur; other blurs take the latter's, all else the former's."""
    return Terms(2.4, 3.0) if isinstance(operator, (GaussianBlur, MotionBlur)) else Terms(1.0, 4.0)


def rates_of(job: Job, style: ArtStyle, canvas: Canvas) -> LearningRates:
    """Learning rates on a canvas of some height and width in pixels."""
    rates = {"draw": style.rates, "restore": style.rates, "refine": style.refining, "edit": EDITING}[job]
    return rates.scaled(scale_of(canvas))


def renews(step: int, steps: int) -> bool:
    """Whether dead paths start again after a step."""
    every = max(steps // RENEWALS, 1)
    return (step + 1) % every == 0 and step + 1 <= RENEWED_UNTIL * steps

"""The four SVG tasks and the papers' settings for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from ..guidance.distillation.method import LoopSettings
from ..guidance.restoration.operators import Operator
from .initialization import Canvas, canvas_scale
from .optimizer import EDITING, LearningRates
from .styles import ArtStyle

Task = Literal["draw", "refine", "edit", "restore"]
"""Draw from a prompt, refine a traced image by a prompt, edit an SVG, restore an image from its measurement."""


class TaskDefaults(NamedTuple):
    """The defaults of a task: the name of its method, the guidance scale, and the settings of the loop."""

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
"""draw and refine: VectorFusion, section 4.3. edit: the SVG code of PDS. restore: DreamSampler, section 4.3, with the
noise levels and the noise of Algorithm 2.

Deviation: restore uses a guidance scale of 7.5, DreamSampler 100. With estimated noise, 100 makes the noise estimate so
wrong that the next step no longer sees the image, and the prompt has almost no effect. With fresh noise, 100 removes
what the measurement does not hold in place (benchmarks/results/drawings.md)."""

MOVES: dict[str, frozenset[str]] = {
    "all": frozenset({"points", "width", "color"}),
    "colors": frozenset({"color"}),
    "shapes": frozenset({"points", "width"}),
    "all and opacity": frozenset({"points", "width", "color", "opacity"}),
}
"""What changes in a drawing that is given, as `drawing.OPTIMIZABLE` names it: entries of the input 'move'.

Deviation: the SVG code of PDS optimizes the opacities of fills too. That makes opaque drawings translucent."""

REGION_POINTS = 0.1
"""The factor of the learning rate of points in drawings that started as the regions of an image."""
VIEW_FRACTION = 512 / 600
"""The fraction of the canvas's side that an augmented view shows (VectorFusion: 512-pixel crops of 600 pixels)."""


class RestorationWeights(NamedTuple):
    """The weights lambda_SDS and lambda_DC of a restoration (DreamSampler, eq. 21)."""

    sds: float
    data: float


def restoration_weights(operator: Operator) -> RestorationWeights:
    """The weights that an operator declares for restorations as drawings."""
    return RestorationWeights(operator.lambda_sds, operator.lambda_dc)


def learning_rates(task: Task, style: ArtStyle, canvas: Canvas, from_regions: bool = False) -> LearningRates:
    """The learning rates of a task on a canvas.

    The outlines of drawings that started as the regions of an image are where they belong: their points move at a tenth
    of the rate of circles that have to grow into shapes, which would make them ragged.
    """
    rates = {
        "draw": style.rates,
        "restore": style.rates,
        "refine": style.rates_after_tracing,
        "edit": EDITING,
    }[task]
    if from_regions:
        rates = replace(rates, points=REGION_POINTS * rates.points)
    return rates.scaled(canvas_scale(canvas))

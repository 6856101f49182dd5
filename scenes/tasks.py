"""The tasks of scenes and the papers' settings for them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..guidance.distillation.method import LoopSettings
from .optimizer import EDITING, FITTING, GENERATING, LearningRates

Task = Literal["generate", "sketch", "edit", "restore"]
"""Make a scene from a prompt, turn a mesh into an object, edit a scene, restore one from degraded views."""


class TaskDefaults(NamedTuple):
    """The defaults of a task: the name of its method, guidance scale, settings of the loop, and learning rates.

    `geometry` multiplies the learning rates of positions, scales and rotations.
    """

    method: str
    guidance_scale: float
    loop: LoopSettings
    rates: LearningRates
    geometry: float = 1.0


DEFAULTS: dict[Task, TaskDefaults] = {
    "generate": TaskDefaults("sds", 100.0, LoopSettings(), GENERATING),
    "sketch": TaskDefaults("sds", 100.0, LoopSettings(), GENERATING, geometry=0.1),
    "edit": TaskDefaults("pds", 100.0, LoopSettings(weighting="uniform"), EDITING),
    "restore": TaskDefaults("sds", 2.0, LoopSettings(time_schedule="descending", t_max=0.5), FITTING),
}
"""generate: DreamFusion's guidance and times (Poole et al., 2022). sketch: SDS-Bridge, appendix, which lowers the rates
of geometry. edit: PDS, section 4.1. restore: DreamSampler, supplement 4.1, with fresh noise: a camera's noise of the
step before belongs to another view, so Algorithm 2's estimated noise has no meaning for views at random.

Deviation: restore starts at t = 0.5 and has a guidance scale of 2; the paper gives neither. Higher levels undo what the
data has found, and at 7.5 the prompt's own idea of the object counts more than the data
(benchmarks/results/scenes_restore.md)."""

SETTINGS: dict[str, dict[str, float]] = {
    "bridge": {"guidance_scale": 1.0, "sds_stage": 0.8, "sds_guidance_scale": 100.0},
    "lmc": {"guidance_scale": 20.0},
}
"""Settings of methods that differ in 3D. bridge: SDS-Bridge, appendix, SDS for 20,000 of 25,000 steps. lmc: LMC-SDS,
section 5.3."""

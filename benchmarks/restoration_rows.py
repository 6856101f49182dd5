"""The tables of `restoration`, and what measures each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from .consistency_choices import (
    CHOICES,
    COMPARED,
    HOLE_CHOICES,
    LAST,
    SIDE_BY_SIDE,
    SMOOTHED,
    chosen_for_hole,
    chosen_for_operator,
    last_step,
    last_step_of_hole,
)
from .degraded import DEGRADATIONS, SIGMAS, WAYS, restoration, unknown_blur
from .holes import FILLED, IN_ORDER, REVERSED, inpainting, two_prompts
from .restoration_studio import Figures

Task = Callable[..., dict[str, Figures]]
"""Measures rows with the keyword arguments `studio` and `batch`."""


def tasks() -> dict[str, dict[str, Task]]:
    """The functions that measure the rows of each table, by table and task."""
    fixed = [(given, "consistency only") for given in SIGMAS]
    guesses = [*fixed, *((given, "both") for given in SIGMAS if "not" not in given)]
    prompts = ("one prompt for each hole", IN_ORDER, REVERSED, "real images")
    return {
        "Inpainting": _in_ways(inpainting, FILLED),
        "Two prompts in two holes": {name: partial(two_prompts, name=name) for name in prompts},
        **{f"Restoration: {each}": _in_ways(restoration, WAYS, degradation=each) for each in DEGRADATIONS},
        "Restoration: blur of unknown sigma 3": {
            f"{given}, {way}": partial(unknown_blur, given=given, way=way) for given, way in guesses
        },
        "Last step": {
            f"{each}, {last}": partial(last_step, degradation=each, last=last) for each in SMOOTHED for last in LAST
        },
        "Last step: a hole": _in_ways(last_step_of_hole, LAST),
        f"{SIDE_BY_SIDE}: a hole": _in_ways(chosen_for_hole, HOLE_CHOICES),
        **{f"{SIDE_BY_SIDE}: {each}": _in_ways(chosen_for_operator, CHOICES, degradation=each) for each in COMPARED},
    }


def _in_ways(measure: Task, ways: Iterable[str], **what: str) -> dict[str, Task]:
    return {way: partial(measure, way=way, **what) for way in ways}

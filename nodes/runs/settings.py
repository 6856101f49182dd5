"""The settings of a run in words, with the paper's values where the user left them to the paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ...guidance.distillation.method import Config, LoopSettings

CHOICES = ("optimizer", "learning_rate_schedule", "weighting", "time_schedule", "noise_policy")
"""The settings of the loop that are names."""
OF_THE_DESCENT = ("learning_rate", "optimizer", "learning_rate_schedule")
"""The settings that a generator with an optimizer of its own does not use."""


def used_settings(config: Config, beside: Mapping[str, float] | None = None, *, descends: bool = True) -> str:
    """Such as "learning rate 0.01, t 0.02 to 0.98, guidance scale 25, optimizer adamw".

    `beside` are settings that are not the method's, such as weights. `descends` is False where what is optimized has
    its own optimizer and learning rates. What has no effect is left out.
    """
    loop = config.loop
    unused = () if descends else OF_THE_DESCENT
    numbers = {**_numbers(config.own), **_extras(loop), **(beside or {})}
    choices = {name: getattr(loop, name) for name in CHOICES if name not in unused}
    if choices.get("learning_rate_schedule") == "constant":
        del choices["learning_rate_schedule"]
    rate = {} if "learning_rate" in unused else {"learning_rate": loop.learning_rate}
    times = f"t {loop.t_min:g} to {loop.t_max:g}"
    return ", ".join([*_words(rate), times, *_words(numbers), *_words(choices)])


def _numbers(own: object) -> dict[str, float]:
    """The numbers among a method's own settings that are set."""
    values = {each.name: getattr(own, each.name) for each in dataclasses.fields(own)}  # pyright: ignore[reportArgumentType]
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and (name, value) != ("n_min", 0)
    }


def _extras(loop: LoopSettings) -> dict[str, float]:
    """Settings of the loop that only some runs use."""
    used: dict[str, float] = {}
    if loop.n_avg > 1:
        used["n_avg"] = loop.n_avg
    if loop.noise_policy in ("estimated", "inverted"):
        used["eta"] = loop.eta
    if loop.noise_policy == "inverted":
        used |= {"inversion_steps": loop.inversion_steps, "inversion_guidance_scale": loop.inversion_guidance_scale}
    return used


def _words(settings: Mapping[str, float | str]) -> list[str]:
    return [
        f"{name.replace('_', ' ')} {value if isinstance(value, str) else f'{value:g}'}"
        for name, value in settings.items()
    ]

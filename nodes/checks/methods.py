"""What a distillation method needs and which settings it takes."""

from __future__ import annotations

from typing import Any

from ...guidance.methods import FLOW_TIME, Settings
from .. import host
from ..sockets import ObjectiveSocket
from .correctives import corrective_of
from .latents import autoencoder
from .schedules import steps
from .texts import conditioning, true_negative


def distillation(model: Any, chosen: ObjectiveSocket, settings: Settings, vae: Any) -> None:
    """What a distillation needs is connected and its settings make sense."""
    host.model_path(model)
    _conditionings(model, chosen)
    autoencoder(model, vae)
    _times(chosen, settings)
    _not_negative(settings)
    if "corrective" in chosen.method.needs:
        _corrective(model, chosen, settings)
    steps(settings.steps)
    for name in ("ode_steps", "lora_rank"):
        if getattr(settings, name) < 1:
            raise ValueError(
                f"{name} is {getattr(settings, name)}: set it to 1 or more, or to -1 for the method's own."
            )


def _not_negative(settings: Settings) -> None:
    """-1 alone is no number; a value between it and 0 would climb instead of descend."""
    rates, scales = ("learning_rate", "lora_learning_rate"), ("guidance_scale", "source_guidance_scale")
    for name in (*rates, *scales, "eta", "first_stage"):
        value = getattr(settings, name)
        if value is not None and value < 0:
            raise ValueError(f"{name} is {value:g}: set it to 0 or more, or to -1 for the method's own.")


def _conditionings(model: Any, chosen: ObjectiveSocket) -> None:
    if "source" in chosen.method.needs and "source" not in chosen.conditionings:
        raise ValueError(
            f"The method '{chosen.name}' needs a text of what the picture is now: connect a conditioning to input "
            "'source', for example from Text-Source Descriptor."
        )
    for name, value in chosen.conditionings.items():
        conditioning(name, value)
        true_negative(model, name, value)


def _corrective(model: Any, chosen: ObjectiveSocket, settings: Settings) -> None:
    if chosen.corrective is None:
        raise ValueError(
            f"The method '{chosen.name}' needs a manifold corrective of this model: connect Load Manifold Corrective, "
            "or Train Manifold Corrective where there is none yet, to input 'corrective'."
        )
    if settings.guidance_scale <= 0:
        raise ValueError(
            f"guidance_scale is {settings.guidance_scale:g}, and '{chosen.name}' divides by it: set it above 0 (15 is "
            "published for edits, 8 for pictures from nothing)."
        )
    corrective_of(model, chosen.corrective)


def _times(chosen: ObjectiveSocket, settings: Settings) -> None:
    if not 0 <= settings.t_min < settings.t_max <= 1:
        raise ValueError(
            f"t_min is {settings.t_min:g} and t_max {settings.t_max:g}: t_min must be below t_max, both "
            "between 0 and 1."
        )
    if settings.t_min < chosen.method.lowest_time:
        raise ValueError(
            f"t_min is {settings.t_min:g}, and '{chosen.name}' also looks at noise levels below it: set it to "
            f"{chosen.method.lowest_time:g} or more."
        )
    if settings.learning_rate_schedule == FLOW_TIME and settings.time_schedule != "descending":
        raise ValueError(
            f"learning_rate_schedule '{FLOW_TIME}' follows falling noise levels: set time_schedule to descending, or "
            "choose another learning_rate_schedule."
        )

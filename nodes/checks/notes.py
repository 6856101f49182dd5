"""Notes on inputs that are allowed, but seldom meant: shown on the node while the run goes on.

Each returns sentences for the user, none where nothing is unusual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.denoiser import NULL, SOURCE, TARGET
from ...guidance.distillation.method import Config
from .. import host
from ..sockets import ObjectiveSocket
from .inputs import SIGNED, checked_settings, fields_of, prompts_by_input

HIGH_GUIDANCE = 4.0
"""Guidance scales above this are seldom meant for a model that was distilled without guidance."""
NOTHING_KEPT = "so nothing is kept: paint only what to change, or disconnect the mask."
RESIZE = "resize the image."
OWN_PROMPTS = "The objective brings its own method and prompts."

Prompts = Mapping[str, tuple[str, Any]]
"""The input and the CONDITIONING of each kind of prompt: `TARGET`, `NULL`, `SOURCE`."""


def notes_on_edit(
    model: Any, samples: Tensor, positive: Any, negative: Any, mask: Tensor | None, guidance_scale: float
) -> list[str]:
    """Notes on what is edited, by which prompts and where. A `guidance_scale` of 0 is none."""
    return [
        *_notes_on_prompts(("positive", positive), ("negative", negative)),
        *notes_on_size(model, samples),
        *notes_on_mask(mask, NOTHING_KEPT),
        *_notes_on_guidance(model, guidance_scale),
    ]


def notes_on_settings(chosen: ObjectiveSocket, config: Config, values: dict[str, Any]) -> list[str]:
    """On settings that were changed, but that the method does not have. `values` are those of the node's widgets."""
    changed = [name for name, value in checked_settings(values).items() if value is not False and name not in SIGNED]
    unused = [name for name in changed if not any(map(config.has, fields_of(name)))]
    return [f"No effect with {chosen.method.name}: {', '.join(unused)}."] if unused else []


def notes_on_unused(without_effect: Sequence[str], why: str) -> list[str]:
    """On inputs that are connected or set, but not read."""
    return [f"No effect here: {', '.join(without_effect)}. {why}"] if without_effect else []


def notes_on_distillation(
    model: Any,
    samples: Tensor,
    chosen: ObjectiveSocket,
    config: Config,
    mask: Tensor | None = None,
    *,
    views: Sequence[Prompts] = (),
    resize: str = RESIZE,
) -> list[str]:
    """The same for a distillation, as far as its method uses these inputs. `views` are the prompts of each view."""
    guided = chosen.method.needs_null(config)
    return [
        *(note for prompts in views or [prompts_by_input(chosen)] for note in _notes_on_view(prompts, chosen, guided)),
        *notes_on_size(model, samples, resize),
        *notes_on_mask(mask, NOTHING_KEPT),
        *_notes_on_guidance(model, getattr(config.own, "guidance_scale", 0.0) if guided else 0.0),
    ]


def _notes_on_view(prompts: Prompts, chosen: ObjectiveSocket, guided: bool) -> list[str]:
    """On the prompts that the method compares. A negative prompt that is also the source goes by its own name."""
    compared = SOURCE if "source" in chosen.method.needs else NULL
    if compared not in prompts or (compared == NULL and not guided):
        return []
    other = prompts[compared]
    if NULL in prompts and prompts[NULL][1] is other[1]:
        other = prompts[NULL]
    return _notes_on_prompts(prompts[TARGET], other)


def _notes_on_prompts(target: tuple[str, Any], other: tuple[str, Any]) -> list[str]:
    """On two inputs with the same prompt. Empty ones are found so: a CONDITIONING has no text."""
    if not _are_equal(target[1], other[1]):
        return []
    return [
        f"The prompts on {target[0]} and {other[0]} are the same, maybe both empty, so there is nothing to change "
        f"toward: write in {target[0]} what the image should show."
    ]


def notes_on_size(model: Any, samples: Tensor, resize: str = RESIZE) -> list[str]:
    """On images far from the size that the model was trained on. `resize` says what to do."""
    side = host.size_far_from(model, samples)
    if side is None:
        return []
    height, width = host.image_size(model, samples)
    return [
        f"The image is {width}x{height}, but models of the family {host.family(model)} are made for about "
        f"{side}x{side}, and change smaller or larger images badly unless trained for them: {resize}"
    ]


def notes_on_mask(mask: Tensor | None, otherwise: str) -> list[str]:
    """On a mask (B, ..., H, W) that covers a whole image; `otherwise` says what follows and what to do."""
    if mask is None or not (mask >= 1).flatten(1).all(1).any():
        return []
    return [f"The mask covers the whole image, {otherwise}"]


def _notes_on_guidance(model: Any, scale: float) -> list[str]:
    if scale <= HIGH_GUIDANCE or not host.is_distilled(model):
        return []
    return [
        f"The model was distilled to few steps without guidance, and the guidance scale is {scale:g}, which burns its "
        "colors: set it to 1 to 2, or use the model that it was distilled from."
    ]


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two values from CONDITIONINGs are equal, whatever they hold."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return isinstance(one, (str, int, float)) and one == other

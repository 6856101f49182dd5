"""Texts, and what models with distilled guidance ask of them."""

from __future__ import annotations

from typing import Any

import torch

from .. import host

DEFAULT_DISTILLED_GUIDANCE = 3.5
"""What the host feeds a guidance-distilled model when the conditioning does not say."""


def conditioning(name: str, value: Any) -> None:
    """A CONDITIONING with at least one entry."""
    if not value:
        raise ValueError(f"The conditioning on input '{name}' is empty: connect a CLIP Text Encode node to it.")


def true_negative(model: Any, name: str, value: Any) -> None:
    """A guidance-distilled MODEL must be asked for its plain prediction: at guidance 1, or with guidance disabled."""
    if not host.distilled_guidance(model):
        return
    guidances = (entry[1].get("guidance", DEFAULT_DISTILLED_GUIDANCE) for entry in value)
    for guidance in (g for g in guidances if g not in (None, 1.0)):
        raise ValueError(
            f"This model has guidance distilled into it (guidance {guidance:g} on input '{name}'), so it has no true "
            "negative prediction to edit against. Put a FluxGuidance node with guidance 1.0 behind both text encoders, "
            "or use a model that was not guidance-distilled."
        )


def same_text(one: Any, other: Any) -> bool:
    """Whether two CONDITIONINGs say the same."""
    return len(one) == len(other) and all(
        a[0].shape == b[0].shape and torch.equal(a[0], b[0]) for a, b in zip(one, other)
    )

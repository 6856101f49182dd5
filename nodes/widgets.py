"""Schemas of nodes, and widgets with a value that leaves the setting to the method's paper."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

OWN = "method's own"
"""The choice that leaves a setting to the method's paper. For numbers it is `UNSET`."""
UNSET = -1
UNSET_NOTE = "-1 uses the paper's value."


NEWER = {"search_aliases", "essentials_category", "has_intermediate_output"}
"""Fields of `io.Schema` that the oldest supported host does not have."""


def schema(*, search_aliases: str, advanced: str = "", **fields: Any) -> io.Schema:
    """An `io.Schema` with what this host knows of `NEWER`.

    Both texts are lists: `search_aliases` by commas; `advanced` by spaces, the widgets that newer pages hide until the
    user asks for them.
    """
    known = {each.name for each in dataclasses.fields(io.Schema)}
    fields["search_aliases"] = search_aliases.split(", ")
    made = io.Schema(**{name: value for name, value in fields.items() if name in known or name not in NEWER})
    inputs = {each.id: each for each in made.inputs}
    for each in (inputs[name] for name in advanced.split()):
        if hasattr(each, "advanced"):
            vars(each)["advanced"] = True
    return made


def number(
    name: str, tooltip: str, *, high: float, step: float = 0.01, optional: bool = False, note: str = UNSET_NOTE
) -> io.Input:
    """A number from 0 to `high`, or `UNSET`; `note` says in the tooltip what that means."""
    return io.Float.Input(
        name,
        default=UNSET,
        min=UNSET,
        max=high,
        step=step,
        round=False,
        optional=optional,
        tooltip=f"{tooltip} {note}",
    )


def whole(name: str, tooltip: str, *, high: int, optional: bool = False) -> io.Input:
    """A whole number up to `high`, or `UNSET` for the paper's value."""
    return io.Int.Input(name, default=UNSET, min=UNSET, max=high, optional=optional, tooltip=f"{tooltip} {UNSET_NOTE}")


def choice(name: str, options: Iterable[str], tooltip: str, *, optional: bool = False) -> io.Input:
    """One of `options`, or `OWN` for the paper's choice."""
    return io.Combo.Input(name, options=[OWN, *options], default=OWN, optional=optional, tooltip=tooltip)


def restoration_weights() -> list[io.Input]:
    """The weights of prompt and measurement where something other than an image is restored."""
    return [
        number(
            "sds_weight",
            "With a measurement: weight of the prompt. The paper uses 2.4 for blurs, 1 for super-resolution.",
            high=1e4,
            optional=True,
        ),
        number(
            "data_weight",
            "With a measurement: weight of the measurement. The paper uses 3 for blurs, 4 for super-resolution.",
            high=1e4,
            optional=True,
        ),
    ]


def seed(tooltip: str) -> io.Input:
    """A seed, with the host's control after generate."""
    return io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True, tooltip=tooltip)

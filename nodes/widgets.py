"""Widgets with a value that leaves the setting to the method's paper."""

from __future__ import annotations

from collections.abc import Iterable

from comfy_api.latest import io

OWN = "method's own"
"""The choice that leaves a setting to the method's paper. For numbers it is `UNSET`."""
UNSET = -1
UNSET_NOTE = "-1 uses the paper's value."


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


def seed(tooltip: str) -> io.Input:
    """A seed, with the host's control after generate."""
    return io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True, tooltip=tooltip)

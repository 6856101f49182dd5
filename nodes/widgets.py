"""Widgets that may be left to the method's paper."""

from __future__ import annotations

from collections.abc import Iterable

from comfy_api.latest import io

OWN = "method's own"
"""The choice that leaves a setting to the method's paper; for numbers it is `UNSET`."""
UNSET = -1


def number(name: str, tooltip: str, *, high: float, step: float = 0.01, optional: bool = False) -> io.Input:
    """A number that may be left to the paper."""
    return io.Float.Input(
        name,
        default=UNSET,
        min=UNSET,
        max=high,
        step=step,
        round=False,
        optional=optional,
        tooltip=f"{tooltip} -1 uses the paper's value.",
    )


def whole(name: str, tooltip: str, *, high: int, optional: bool = False) -> io.Input:
    """A whole number that may be left to the paper."""
    return io.Int.Input(
        name, default=UNSET, min=UNSET, max=high, optional=optional, tooltip=f"{tooltip} -1 uses the paper's value."
    )


def choice(name: str, options: Iterable[str], tooltip: str, *, optional: bool = False) -> io.Input:
    """A choice that may be left to the paper."""
    return io.Combo.Input(name, options=[OWN, *options], default=OWN, optional=optional, tooltip=tooltip)


def seed(tooltip: str) -> io.Input:
    """The seed of a run."""
    return io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True, tooltip=tooltip)

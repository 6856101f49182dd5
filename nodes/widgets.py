"""Widgets whose values a method may know best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from comfy_api.latest import io

OWN = "method's own"
"""The choice, in a list, of what the method was published with; in a number it is `UNSET`."""
UNSET = -1


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The values that were chosen."""
    return {name: value for name, value in values.items() if value not in (UNSET, OWN)}


def number(name: str, tooltip: str, *, high: float, step: float = 0.01, optional: bool = False) -> io.Input:
    """A number that the method knows best."""
    return io.Float.Input(
        name,
        default=UNSET,
        min=UNSET,
        max=high,
        step=step,
        round=False,
        optional=optional,
        tooltip=f"{tooltip} -1: the method's own.",
    )


def whole(name: str, tooltip: str, *, high: int, optional: bool = False) -> io.Input:
    """A whole number that the method knows best."""
    return io.Int.Input(
        name, default=UNSET, min=UNSET, max=high, optional=optional, tooltip=f"{tooltip} -1: the method's own."
    )


def choice(name: str, options: Iterable[str], tooltip: str, *, optional: bool = False) -> io.Input:
    """A choice that the method knows best."""
    return io.Combo.Input(name, options=[OWN, *options], default=OWN, optional=optional, tooltip=tooltip)


def seed(tooltip: str) -> io.Input:
    """The seed of a run."""
    return io.Int.Input("seed", default=0, min=0, max=2**64 - 1, control_after_generate=True, tooltip=tooltip)

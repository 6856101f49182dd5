"""What SVG Optimizer needs for what it is asked to do."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...guidance.measurement import Measurement


def something_to_trace(image: Tensor | None, measurement: Measurement | None) -> None:
    """A picture or a measurement for SVG Optimizer when it does nothing but trace."""
    if image is None and measurement is None:
        raise ValueError(
            "steps is 0, which only traces a picture, and no picture is connected: connect one to input 'image', or a "
            "measurement, or set steps to 1 or more (1000 is published)."
        )


def needed_for_steps(name: str, value: Any) -> None:
    """An input that SVG Optimizer can only do without when it does nothing but trace."""
    if value is None:
        raise ValueError(
            f"Input '{name}' is not connected, and distillation needs it: connect it, or set steps to 0 to trace a "
            "picture without a model."
        )

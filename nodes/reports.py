"""What a distillation tells of itself: its curve, and the sentence it ends with when a gradient breaks."""

from __future__ import annotations

import math
import time
from typing import Any

from ..guidance.optimize import NonFiniteGradient, Step
from . import host

EVENT = "dreamsampler.curve"
"""Its data: `node` that runs, how many `steps` it makes, and the part of the `curve` that is new."""
MEASURES = ("step", "t", "gradient_norm", "loss")
BETWEEN = 0.3
"""Seconds between events at least."""


class Curve:
    """What each step of a distillation did; the page is told while it grows.

    `whole` has lists with one entry for each step, and the method's name. Times, norms and losses are lists themselves,
    with one number for each item of the batch.
    """

    def __init__(self, method: str, steps: int):
        self.whole: dict[str, Any] = {"method": method, **{name: [] for name in MEASURES}}
        self._steps, self._told, self._when = steps, 0, -math.inf

    def note(self, step: Step) -> None:
        """Add a step."""
        norm = step.gradient_norm.cpu().double()
        values = (step.index, step.t.tolist(), norm.tolist(), (0.5 * norm.square()).tolist())
        for name, value in zip(MEASURES, values):
            self.whole[name].append(value)
        if time.monotonic() - self._when >= BETWEEN or step.index == self._steps - 1:
            self._tell()

    def _tell(self) -> None:
        part = {name: self.whole[name][self._told :] for name in MEASURES}
        host.tell_page(EVENT, {"curve": {**part, "method": self.whole["method"]}, "steps": self._steps})
        self._told, self._when = len(self.whole["step"]), time.monotonic()


def broken(name: str, steps: int, error: NonFiniteGradient) -> ValueError:
    """The error to raise instead of `error`."""
    times = ", ".join(f"{t:.3f}" for t in error.t.tolist())
    return ValueError(
        f"The gradient of '{name}' became NaN or infinite at step {error.index + 1} of {steps} (t = {times}). The "
        "preview, if previews are on, shows the last good picture. Lower learning_rate or guidance_scale, or load the "
        "model in a wider type (bf16 or fp32 instead of fp16)."
    )

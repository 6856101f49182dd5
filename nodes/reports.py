"""What a distillation tells of itself: its curve, and the sentence it ends with when a gradient breaks."""

from __future__ import annotations

from typing import Any

from ..guidance.optimize import NonFiniteGradient, Step


def empty_curve(name: str) -> dict[str, Any]:
    """A curve for `note` to write: lists with one entry for each step, and the method's name."""
    return {"step": [], "t": [], "gradient_norm": [], "loss": [], "method": name}


def note(curve: dict[str, Any], step: Step) -> None:
    """Add a step to a curve; times and norms are lists with one number for each item of the batch."""
    curve["step"].append(step.index)
    curve["t"].append(step.t.tolist())
    curve["gradient_norm"].append(step.gradient_norm.tolist())
    curve["loss"].append((0.5 * step.gradient_norm.square()).tolist())


def broken(name: str, steps: int, error: NonFiniteGradient) -> ValueError:
    """The error to raise instead of `error`."""
    times = ", ".join(f"{t:.3f}" for t in error.t.tolist())
    return ValueError(
        f"The gradient of '{name}' became NaN or infinite at step {error.index + 1} of {steps} (t = {times}). The "
        "preview shows the last good picture. Lower learning_rate or guidance_scale, or load the model in a wider type "
        "(bf16 or fp32 instead of fp16)."
    )

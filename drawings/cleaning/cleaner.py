"""From an optimized drawing to a clean one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...svg.document import Document
from ..initialization import Canvas
from .changes import image, mean_change
from .compounds import compounded
from .opacities import composited, rounded_up
from .outlines import simplified
from .palette import merged_colors
from .removal import Speck, without_unseen

Step = Callable[[Document], Document]

ROUNDS = 3
"""How often all steps are taken at most: one may open the way for another."""
TRIES = 4
"""How many distances of colors and tolerances of outlines are tried, each half of the last."""


@dataclass(frozen=True)
class Limits:
    """How far a clean-up may go.

    Attributes:
        speck: What is too small to stay.
        distance: The largest distance in OKLab of colors that become one.
        tolerance: How far curves may move, in pixels.
        compounds: Whether neighbors with the same paint become one path.
        step: Bound of the mean change of the image by one step.
        total: Bound of the mean change by all of them.
    """

    speck: Speck
    distance: float
    tolerance: float
    compounds: bool
    step: float
    total: float


LIMITS: dict[str, Limits] = {
    "on": Limits(Speck(0.0005, 0.000125), 0.02, 0.25, False, 0.5 / 255, 1 / 255),
    "strong": Limits(Speck(0.002, 0.000125), 0.04, 0.5, True, 0.5 / 255, 2 / 255),
}


def cleaned(document: Document, canvas: Canvas, *, strength: str = "on") -> Document:
    """The drawing as a designer would keep it: opaque shapes that are seen, few colors, few and smooth curves.

    Shapes with a name stay, with their colors, groups and order. A step that changes the image by more than its bound
    is left out, so that on the canvas the mean change on any background is below 1/255, for "strong" below 2/255.

    Args:
        document: The drawing.
        canvas: Height and width in pixels of the canvas that it is for; lengths and areas are measured there.
        strength: A key of `LIMITS`. "on" changes nothing that is seen, "strong" removes more and joins shapes of one
            color.
    """
    limits = LIMITS[strength]
    progress = _Progress(document, canvas, limits)
    steps = _steps(canvas, limits)
    idle = 0
    for step in steps * ROUNDS:
        idle = 0 if progress.take(step) else idle + 1
        if idle == len(steps) - 1:  # and the last one that changed something is done with its own work
            break
    return progress.document


def _steps(canvas: Canvas, limits: Limits) -> list[list[Step]]:
    """The steps in order, each with what is tried in its place if it changes too much."""
    steps: list[list[Step]] = [
        [rounded_up],
        [lambda document: composited(document, canvas, limits.step)],
        [_palette(canvas, limits.distance / 2**halvings) for halvings in range(TRIES)],
        [lambda document: without_unseen(document, canvas, limits.speck, limits.step)],
        [_outlines(canvas, limits.tolerance / 2**halvings) for halvings in range(TRIES)],
    ]
    if limits.compounds:
        steps.insert(-1, [lambda document: compounded(document, canvas)])
    return steps


def _palette(canvas: Canvas, distance: float) -> Step:
    return lambda document: merged_colors(document, canvas, distance)


def _outlines(canvas: Canvas, tolerance: float) -> Step:
    return lambda document: simplified(document, canvas, tolerance)


class _Progress:
    """A document that is changed step by step, and its images before the first step and after the last."""

    def __init__(self, document: Document, canvas: Canvas, limits: Limits):
        self.document = document
        self._canvas, self._limits = canvas, limits
        self._first: Tensor = image(document, canvas)
        self._last = self._first

    def take(self, ways: Sequence[Step]) -> bool:
        """Take a step the first way that changes the image within the bounds. Returns whether the document changes."""
        for way in ways:
            changed = way(self.document)
            if changed == self.document:
                return False
            after = image(changed, self._canvas)
            step, total = mean_change(self._last, after), mean_change(self._first, after)
            if step < self._limits.step and total < self._limits.total:
                self.document, self._last = changed, after
                return True
        return False

"""The list of styles that the node SVG Optimizer offers, each declared in its own file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ...guidance.core.registry import Registry
from ...svg.document import IDENTITY, WHITE, Document
from ..drawing import OPTIMIZABLE, Drawing
from ..initialization import Canvas, Centers, Paths, on_canvas
from ..optimizer import FROM_SCRATCH, REFINING, LearningRates


@dataclass(frozen=True, kw_only=True)
class ArtStyle:
    """What new drawings are made of, and how they are optimized: an entry of the input 'style' of SVG Optimizer.

    Attributes:
        name: The word in the list. Saved workflows hold it, so it never changes.
        order: The place in the list. Take the highest number plus one; numbers of existing styles never change.
        elements: What drawings are made of, in the plural and without a period, such as "closed shapes".
        prompt_suffix: Words that users append to the prompt, as a tooltip tells them; starts with a comma and a space.
        source: The paper and section of these settings, or "our choice".
        path_count: How many paths a drawing has by default.
        random_paths: New paths at random positions: `random_paths(count, canvas, generator)`. Their number may differ
            from `count` if the style needs it (a grid).
        paths_at: New paths at given centers, with the target's colors where the style has colors:
            `paths_at(centers, canvas, generator)`. None if paths have fixed positions; then they are never added in
            groups or reinitialized.
        traced: The drawing of an image with at most so many paths: `traced(image, count, alpha)`, with the image
            (3, H, W) and its alpha (H, W) in [0, 1], or None. None if the style cannot be traced.
        descends: Whether gradient descent brings a traced drawing closer to its image. Black lines it would only move
            to where the image is dark.
        optimized: Which of `drawing.OPTIMIZABLE` are optimized; the others keep their first values.
        rates: Learning rates for drawing and restoring, on VectorFusion's canvas of 600 pixels.
        rates_after_tracing: Learning rates for refining a traced image, on the same canvas.
        xing_weight: Weight of the self-intersection loss.
        saturation_weight: Weight of the saturation penalty.
    """

    name: str
    order: int
    elements: str
    prompt_suffix: str
    source: str
    path_count: int
    random_paths: Callable[[int, Canvas, torch.Generator], Paths]
    paths_at: Callable[[Centers, Canvas, torch.Generator], Paths] | None
    optimized: frozenset[str]
    traced: Callable[[Tensor, int, Tensor | None], Document] | None = None
    descends: bool = True
    rates: LearningRates = FROM_SCRATCH
    rates_after_tracing: LearningRates = REFINING
    xing_weight: float = 0.0
    saturation_weight: float = 0.0

    def __post_init__(self) -> None:
        unknown = ", ".join(sorted(self.optimized.difference(OPTIMIZABLE)))
        if unknown:
            raise ValueError(
                f"The style '{self.name}' optimizes {unknown}, which no drawing has: choose from "
                f"{', '.join(OPTIMIZABLE)}."
            )

    def random_drawing(self, count: int, canvas: Canvas, generator: torch.Generator, like: Tensor) -> Drawing:
        """A drawing of `count` random paths on white, in the dtype and on the device of `like`."""
        return self.drawing(self.random_paths(count, canvas, generator), canvas, like)

    def drawing(self, paths: Paths, canvas: Canvas, like: Tensor) -> Drawing:
        """A drawing of given paths on white, in the dtype and on the device of `like`."""
        return Drawing(document_of(paths, canvas), *canvas, like, optimized=self.optimized, background=WHITE)

    def traced_drawing(self, image: Tensor, count: int, alpha: Tensor | None = None) -> Drawing:
        """The drawing of an image (3, H, W) with at most `count` paths. What is opaque stays so, on white."""
        assert self.traced is not None
        document = self.traced(image, count, alpha)
        moving = self.optimized - {"opacity", "background"}
        return Drawing(document, image.shape[-2], image.shape[-1], image, optimized=moving, background=WHITE)


def document_of(paths: Paths, canvas: Canvas) -> Document:
    """Paths as a document whose user units are the canvas's pixels."""
    return on_canvas(paths.shapes(IDENTITY), canvas)


ART_STYLES: Registry[ArtStyle] = Registry("style")
"""The styles by name, in the order of the list."""

register = ART_STYLES.register

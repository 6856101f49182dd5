"""The canvas of a drawing, and how lengths from the papers scale to it."""

from __future__ import annotations

import math

Canvas = tuple[int, int]
"""Height and width in pixels."""
VECTORFUSION_SIDE = 600.0
"""Side in pixels of VectorFusion's canvas, which its lengths and learning rates are for."""


def canvas_side(canvas: Canvas) -> float:
    """The side in pixels of a square with the area of the canvas."""
    return math.sqrt(canvas[0] * canvas[1])


def canvas_scale(canvas: Canvas) -> float:
    """The factor from lengths on VectorFusion's canvas to lengths on this one."""
    return canvas_side(canvas) / VECTORFUSION_SIDE

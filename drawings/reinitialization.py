"""Reinitialization of dead paths during distillation (VectorFusion, section 4.3 and table 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.optim import Optimizer

from .drawing import Drawing
from .initialization import Canvas, canvas_scale
from .styles import ArtStyle

ROUNDS, LAST_ROUND = 10, 0.8
"""Every tenth of the steps, over the first 80% of them: the paper uses every 100 of the first 800 of 1000 steps."""


def reinitialization_due(step: int, steps: int) -> bool:
    """Whether dead paths are reinitialized after step number `step`, counted from 0, of `steps`."""
    interval = max(steps // ROUNDS, 1)
    return (step + 1) % interval == 0 and step + 1 <= LAST_ROUND * steps


def reinitialize_dead(
    drawing: Drawing, style: ArtStyle, canvas: Canvas, generator: torch.Generator, optimizer: Optimizer
) -> int:
    """Replace dead paths by random ones of the style and reset their optimizer state. Returns how many there were.

    Fills are dead if they are faint or small, strokes if they are faint. Styles whose paths have fixed positions (a
    grid) are left alone.
    """
    if style.paths_at is None:
        return 0
    area = polygon_area(drawing.control_points) / canvas_scale(canvas) ** 2
    area = torch.full_like(area, math.inf) if len(drawing.widths) else area
    rows = dead(drawing.colors.detach()[:, 3], area).nonzero().squeeze(1)
    if len(rows):
        drawing.replace(rows, style.random_paths(len(rows), canvas, generator), optimizer)
    return len(rows)


def dead(opacity: Tensor, area: Tensor, *, min_opacity: float = 0.05, min_area: float = 64.0) -> Tensor:
    """Which paths (N,) are too faint or too small to matter (VectorFusion, section 4.3 and table 2).

    Args:
        opacity: (N,) in [0, 1].
        area: (N,) in square pixels of VectorFusion's canvas of 600 pixels.
        min_opacity: Paths below it are dead.
        min_area: Paths below it are dead.
    """
    return (opacity < min_opacity) | (area < min_area)


def polygon_area(points: Tensor) -> Tensor:
    """The unsigned area (...,) in square pixels of a closed contour's control polygon (..., P, 2).

    By the shoelace formula. The two lobes of a figure eight cancel, so such a path counts as small.
    """
    # Relative to the first point: far from the origin, the products would swamp a small area.
    x, y = (points - points[..., :1, :]).unbind(-1)
    return 0.5 * (x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1).abs()

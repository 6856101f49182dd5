"""Brush strokes: an image painted with brushes of falling width, each where the painting still differs most.

Painterly rendering with curved strokes (Hertzmann, 1998). For each brush, the image is blurred as much as the brush is
wide. In every cell of a grid a stroke starts where the painting is farthest from it. It has the color found there and
follows the direction across the gradient of brightness, along edges, until the painting is better without it.

Here the number of strokes is bounded: a wide brush covers the canvas with a quarter of them, and finer ones take half
of what is left where the error is largest, the last one all of it. The lowest stroke grounds the canvas.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from ..svg.document import Color, Document, Shape, Stroke
from ..svg.raster.rasterizer import rasterize
from ..svg.raster.scene import scene
from .initialization import canvas_side, on_canvas
from .regions.curves import contour, fitted_line
from .regions.segmentation import Flags, Floats, as_array

BRUSHES = 4
"""The number of brushes; each is half as wide as the one before."""
NARROWEST = 1.0
"""The smallest width of a brush in pixels."""
BLUR = 0.25
"""The standard deviation of the blur of the image, in widths of the brush."""
VISIBLE = 0.05
"""A stroke starts where the painting is off by at least this much, as a distance of colors."""
SHORTEST, LONGEST = 2, 8
"""How many steps of half a width a stroke has."""
CURVATURE = 0.5
"""How much of a step's direction is new; the rest is that of the step before."""
TOLERANCE = 0.2
"""How far curves may be from the steps, in widths of the brush."""


class _Brush(NamedTuple):
    """A brush of a width in pixels, the image (H, W, 3) as it sees it, and the gradient (H, W, 2) of its brightness."""

    width: float
    image: Floats
    gradient: Floats


def painted(image: Tensor, most: int, alpha: Tensor | None = None) -> Document:
    """A painting of an image, in pixels: at most `most` opaque strokes with round ends.

    Args:
        image: (3, H, W) in [0, 1].
        most: The largest number of strokes.
        alpha: (H, W) in [0, 1]. No stroke starts where it is below 1/2, and if it is so anywhere, none is the ground.
    """
    pixels = as_array(image)
    height, width, _ = pixels.shape
    there = np.ones((height, width), bool) if alpha is None else alpha.detach().cpu().numpy() >= 0.5
    strokes = [_ground(pixels)] if there.all() else []
    diameter = 2 * canvas_side((height, width)) / math.sqrt(max(most, 1))
    for number in range(BRUSHES):
        left = most - len(strokes)
        share = left if number == BRUSHES - 1 else math.ceil(left / 2)
        brush = _brush(pixels, max(diameter / 2**number, NARROWEST))
        strokes += _layer(brush, _seen(strokes, height, width), share, there)
    return on_canvas(strokes, (height, width))


def _seen(strokes: list[Shape], height: int, width: int) -> Floats:
    """What has been painted (H, W, 3)."""
    drawn = rasterize([scene(on_canvas(strokes, (height, width)), height, width)], torch.ones(1, 3))
    seen: Floats = drawn[0, :3].movedim(0, -1).double().numpy()
    return seen


def _ground(pixels: Floats) -> Shape:
    """A stroke as wide as the canvas, in the mean color."""
    height, width, _ = pixels.shape
    line = np.array([[0.0, height / 2], [float(width), height / 2]])
    return _stroke(line, pixels.mean((0, 1)), float(height))


def _brush(pixels: Floats, width: float) -> _Brush:
    blurred = gaussian_filter(pixels, (BLUR * width, BLUR * width, 0))
    gradient = np.stack(np.gradient(blurred.mean(-1))[::-1], -1)
    return _Brush(width, blurred, gradient)


def _layer(brush: _Brush, canvas: Floats, most: int, there: Flags) -> list[Shape]:
    """At most `most` strokes of a brush, one for each of the cells with the largest errors; the largest is on top."""
    error = np.where(there, np.linalg.norm(brush.image - canvas, axis=-1), 0)
    starts = sorted(_starts(error, max(round(brush.width), 1)), key=lambda start: -start[0])[: max(most, 0)]
    return [
        _stroke(_path(brush, canvas, row, column), brush.image[row, column], brush.width)
        for _, row, column in reversed(starts)
    ]


def _starts(error: Floats, cell: int) -> list[tuple[float, int, int]]:
    """The mean error of each cell that is off, and the pixel of its largest error, as row and column."""
    found = []
    for top in range(0, error.shape[0], cell):
        for left in range(0, error.shape[1], cell):
            part = error[top : top + cell, left : left + cell]
            row, column = np.unravel_index(int(part.argmax()), part.shape)
            if part.mean() >= VISIBLE:
                found.append((float(part.mean()), top + int(row), left + int(column)))
    return found


def _path(brush: _Brush, canvas: Floats, row: int, column: int) -> Floats:
    """The points (K, 2) of a stroke from the middle of a pixel, half a width apart."""
    color, step = brush.image[row, column], brush.width / 2
    size = np.array([canvas.shape[1], canvas.shape[0]])
    points, before = [np.array([column + 0.5, row + 0.5])], np.zeros(2)
    for count in range(LONGEST):
        column, row = np.floor(points[-1]).astype(int)
        here = brush.image[row, column]
        if count >= SHORTEST and np.linalg.norm(here - canvas[row, column]) < np.linalg.norm(here - color):
            break
        across = brush.gradient[row, column]
        along = np.array([-across[1], across[0]])
        along = along if along @ before >= 0 else -along
        if (length := np.linalg.norm(along)) < 1e-9:
            along, length = (before, 1.0) if before.any() else (np.array([1.0, 0.0]), 1.0)
        direction = CURVATURE * along / length + (1 - CURVATURE) * before
        before = direction / max(float(np.linalg.norm(direction)), 1e-9)
        following = points[-1] + step * before
        if (following < 0).any() or (following >= size).any():
            break
        points.append(following)
    return np.stack(points)


def _stroke(points: Floats, color: Floats, width: float) -> Shape:
    """A stroke along points; a single one is a dab."""
    if len(points) == 1:
        points = points + width / 4 * np.array([[-1.0, 0.0], [1.0, 0.0]])
    line = contour(fitted_line(points, TOLERANCE * width), closed=False)
    paint = Color(*color.clip(0, 1).tolist())
    return Shape((line,), stroke=Stroke(paint, width=width, cap="round", join="round"))

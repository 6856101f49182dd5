"""Paints: the color of a region, or the linear gradient that describes it better.

Over the pixels of a region, let I be the colors and q = L^-1 (p - center) the positions, whitened so that their
covariance is the identity. Least squares gives the ramp I = mean + B q with a matrix B (C x 2). A linear gradient
changes along one direction only, so it is a ramp of rank 1, and the best one keeps B's largest singular value s, with
B = s v u^T + ...: it takes s^2 per pixel from the error. Its parameter is

    t(p) = u^T L^-1 (p - center) = g . (p - center)    with    g = L^-T u,

so the points center + g t / |g|^2 have the parameter t, and the gradient runs between the lowest and highest t of the
region.
"""

from __future__ import annotations

import numpy as np

from ...svg.document import Color, LinearGradient, Paint, Point, Stop
from .segmentation import Flags, Floats

SMALLEST_GAIN = 4.0
"""How many pixels of border a gradient must be worth."""


def paint(image: Floats, mask: Flags, scale: float) -> Paint:
    """The paint of the pixels `mask` (H, W) of an image (H, W, 3): a color, or a gradient if it pays.

    A gradient pays if it takes more error than `SMALLEST_GAIN` pixels of border, and at least half of all, so that
    noise and texture do not make one.
    """
    rows, columns = np.nonzero(mask)
    colors = image[rows, columns]
    mean = colors.mean(0)
    if len(colors) < 16:
        return _color(mean)
    places = np.stack([columns, rows], 1) + 0.5
    center = places.mean(0)
    covariance = np.cov((places - center).T, bias=True)
    if np.linalg.det(covariance) < 1e-6:
        return _color(mean)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    slopes = (colors - mean).T @ ((places - center) @ whitening.T) / len(colors)
    v, s, u = np.linalg.svd(slopes)
    gain, error = len(colors) * s[0] ** 2, ((colors - mean) ** 2).sum()
    if gain < SMALLEST_GAIN * scale * np.sqrt(len(colors)) or gain < error / 2:
        return _color(mean)
    direction = whitening.T @ u[0]
    times = (places - center) @ direction
    ends = [float(times.min()), float(times.max())]
    start, end = (Point(*(center + direction * t / (direction @ direction)).tolist()) for t in ends)
    stops = tuple(Stop(float(offset), _color(mean + s[0] * v[:, 0] * t)) for offset, t in enumerate(ends))
    return LinearGradient(start, end, stops)


def _color(values: Floats) -> Color:
    return Color(*values.clip(0, 1).tolist())

"""Fitting: many cubics along many rows of points at once.

With chord-length parameters t_k, the cubic with given ends p0, p3 and unit tangents u0, u3 is linear in the lengths of
its handles, which least squares gives. The parameters then move to the nearest points of the curve by Newton's method,
and the fit is repeated (Schneider, 1990; `drawings.regions.curves` does the same for one curve at a time).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REFITS = 6
"""How often the parameters are improved."""


def bernstein(times: Floats) -> Floats:
    """The four cubic Bernstein polynomials (4, ...)."""
    other = 1 - times
    return np.stack([other**3, 3 * other**2 * times, 3 * other * times**2, times**3])


def fitted(points: Floats, first: Floats, last: Floats) -> tuple[Floats, Floats]:
    """Cubics (B, 4, 2) along points (B, K, 2) with unit tangents (B, 2) at both ends, pointing inward.

    Args:
        points: The points, in order.
        first: The tangents at the first points.
        last: The tangents at the last points.

    Returns:
        The cubics, and the largest distance (B,) of a point to where the cubic is nearest.
    """
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2).cumsum(1)
    length = np.maximum(steps[:, -1], 1e-12)
    times = np.pad(steps, ((0, 0), (1, 0))) / length[:, None]
    best, error = np.zeros((len(points), 4, 2)), np.full(len(points), np.inf)
    for _ in range(REFITS):
        cubics = _least_squares(points, times, first, last, length)
        times = _nearer(cubics, points, times)
        off = np.linalg.norm(np.einsum("kbt,bkd->btd", bernstein(times), cubics) - points, axis=2).max(1)
        better = off < error
        best[better], error[better] = cubics[better], off[better]
    return best, error


def _least_squares(points: Floats, times: Floats, first: Floats, last: Floats, length: Floats) -> Floats:
    """With p0, p3 and the unit tangents u0, u3 given, the handles a0, a3 that minimize |B(t_k) - points|^2."""
    start, end = points[:, 0], points[:, -1]
    b = bernstein(times)
    rest = points - (b[0] + b[1])[..., None] * start[:, None] - (b[2] + b[3])[..., None] * end[:, None]
    cosine = (first * last).sum(1)
    m00, m01, m11 = (b[1] ** 2).sum(1), cosine * (b[1] * b[2]).sum(1), (b[2] ** 2).sum(1)
    r0 = (b[1] * (rest * first[:, None]).sum(2)).sum(1)
    r1 = (b[2] * (rest * last[:, None]).sum(2)).sum(1)
    determinant = m00 * m11 - m01**2
    regular = determinant > 1e-9 * m00 * m11
    scale = np.where(regular, determinant, 1.0)
    handles = np.stack([(r0 * m11 - r1 * m01) / scale, (r1 * m00 - r0 * m01) / scale], 1)
    sensible = regular & (handles.min(1) > 1e-3 * length) & (handles.max(1) < length)
    third = np.linalg.norm(end - start, axis=1) / 3
    handles = np.where(sensible[:, None], handles, third[:, None])
    return np.stack([start, start + handles[:, :1] * first, end + handles[:, 1:] * last, end], 1)


def _nearer(cubics: Floats, points: Floats, times: Floats) -> Floats:
    """One step of Newton's method towards the parameters of the nearest points, kept in [0, 1]."""
    velocity = 3 * np.diff(cubics, axis=1)
    curvature = 2 * np.diff(velocity, axis=1)
    other = 1 - times
    offset = np.einsum("kbt,bkd->btd", bernstein(times), cubics) - points
    first = np.einsum("kbt,bkd->btd", np.stack([other**2, 2 * other * times, times**2]), velocity)
    second = np.einsum("kbt,bkd->btd", np.stack([other, times]), curvature)
    slope = (first**2).sum(2) + (offset * second).sum(2)
    step = (offset * first).sum(2) / np.where(abs(slope) < 1e-12, np.inf, slope)
    return (times - step).clip(0, 1)

"""Fitting: cubics along rows of points, by least squares, as plain arrays.

With parameters t_k, the cubic with given ends p0, p3 and unit tangents u0, u3 there is

    B(t) = (b0 + b1) p0 + (b2 + b3) p3 + a0 b1 u0 + a3 b2 u3,

linear in the lengths a0, a3 of its handles, which a 2 x 2 system gives. The parameters start as chord lengths, then
move to the nearest points of the curve by Newton's method, and the fit is repeated (Schneider, 1990).

Shapes are those of one curve, after any batch dimensions: points (..., K, 2), parameters (..., K), cubics (..., 4, 2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

REFITS = 6
"""How often `fitted` improves the parameters."""


def bernstein(times: Floats) -> Floats:
    """The four cubic Bernstein polynomials (..., 4)."""
    other = 1 - times
    return np.stack([other**3, 3 * other**2 * times, 3 * other * times**2, times**3], -1)


def at(cubics: Floats, times: Floats) -> Floats:
    """Points (..., K, 2) of cubics."""
    points: Floats = bernstein(times) @ cubics
    return points


def line(start: Floats, end: Floats) -> Floats:
    """The straight cubic (4, 2) between two points."""
    return np.stack([start, start + (end - start) / 3, end - (end - start) / 3, end])


def cross(a: Floats, b: Floats) -> Floats:
    """Cross products of vectors (..., 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def turn(a: Floats, b: Floats) -> Floats:
    """The unsigned angle between vectors (..., 2)."""
    angles: Floats = abs(np.arctan2(cross(a, b), (a * b).sum(-1)))
    return angles


def chord_lengths(points: Floats) -> tuple[Floats, Floats]:
    """Parameters in proportion to the way along points, and its length (...,)."""
    along = np.linalg.norm(np.diff(points, axis=-2), axis=-1).cumsum(-1)
    length = np.maximum(along[..., -1], 1e-12)
    return np.concatenate([np.zeros_like(along[..., :1]), along], -1) / length[..., None], length


def fitted(points: Floats, first: Floats, last: Floats) -> tuple[Floats, Floats]:
    """Cubics along points with unit tangents (..., 2) at both ends, pointing inward.

    Returns:
        The cubics, and the largest distance (...,) of a point to where the cubic is nearest.
    """
    times, length = chord_lengths(points)
    best, error = np.zeros((len(points), 4, 2)), np.full(len(points), np.inf)
    for _ in range(REFITS):
        cubics = least_squares(points, times, first, last, length)
        times = nearer(cubics, points, times)
        off = np.linalg.norm(at(cubics, times) - points, axis=-1).max(-1)
        better = off < error
        best[better], error[better] = cubics[better], off[better]
    return best, error


def least_squares(points: Floats, times: Floats, first: Floats, last: Floats, length: Floats) -> Floats:
    """The cubics with the handles that minimize |B(t_k) - points|^2, or a third of the chord if none are sensible."""
    start, end = points[..., 0, :], points[..., -1, :]
    b0, b1, b2, b3 = np.moveaxis(bernstein(times), -1, 0)
    rest = points - (b0 + b1)[..., None] * start[..., None, :] - (b2 + b3)[..., None] * end[..., None, :]
    cosine = (first * last).sum(-1)
    m00, m01, m11 = (b1**2).sum(-1), cosine * (b1 * b2).sum(-1), (b2**2).sum(-1)
    r0 = (b1 * (rest * first[..., None, :]).sum(-1)).sum(-1)
    r1 = (b2 * (rest * last[..., None, :]).sum(-1)).sum(-1)
    determinant = m00 * m11 - m01**2
    regular = determinant > 1e-9 * m00 * m11
    scale = np.where(regular, determinant, 1.0)
    handles = np.stack([(r0 * m11 - r1 * m01) / scale, (r1 * m00 - r0 * m01) / scale], -1)
    sensible = regular & (handles.min(-1) > 1e-3 * length) & (handles.max(-1) < length)
    third = np.linalg.norm(end - start, axis=-1) / 3
    handles = np.where(sensible[..., None], handles, third[..., None])
    return np.stack([start, start + handles[..., :1] * first, end + handles[..., 1:] * last, end], -2)


def nearer(cubics: Floats, points: Floats, times: Floats) -> Floats:
    """One step of Newton's method towards the parameters of the nearest points, kept in [0, 1]."""
    velocity = 3 * np.diff(cubics, axis=-2)
    curvature = 2 * np.diff(velocity, axis=-2)
    other = 1 - times
    offset = at(cubics, times) - points
    first = np.stack([other**2, 2 * other * times, times**2], -1) @ velocity
    second = np.stack([other, times], -1) @ curvature
    slope = (first**2).sum(-1) + (offset * second).sum(-1)
    step = (offset * first).sum(-1) / np.where(abs(slope) < 1e-12, np.inf, slope)
    return (times - step).clip(0, 1)

"""Chains: the curves of a contour as an array in pixels, and the repairs of one chain.

Every function returns a new chain; consecutive cubics share their ends exactly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...svg.document import Contour, Matrix, Point
from ..fitting import Floats, cross, line, turn

Flags = NDArray[np.bool_]

STRAIGHT = 0.1
"""How far the handles of a line may be from its chord, and its ends from its row or column, in pixels."""
SHORT = 0.05
"""Cubics whose control points are all as near to their start have no length, in pixels."""
FLATTEST = 0.25
"""Lines whose ends differ by more than this part of their length are neither horizontal nor vertical."""
SMOOTH = math.radians(12)
"""Joins that turn by less are smooth."""
CORNER = math.radians(40)
"""Joins that turn by at least this much are corners."""
EXACT = 1e-5
"""Joins that turn by less are smooth already."""
TINY_HANDLE = 0.1
"""Shorter handles, in pixels, have no direction."""
SWING = 4 / 9
"""How far a curve moves at most when one of its handles moves by 1: the maximum of 3 t (1 - t)^2."""


@dataclass(frozen=True)
class Chain:
    """The curves of a contour in pixels.

    Attributes:
        cubics: Control points (S, 4, 2); each cubic starts where the one before it ends.
        closed: Whether the last one ends where the first one starts.
    """

    cubics: Floats
    closed: bool

    @property
    def straight(self) -> Flags:
        """Which cubics (S,) are lines with handles at their thirds."""
        start, one, two, end = self.cubics.transpose(1, 0, 2)
        offsets = np.stack([one - (2 * start + end) / 3, two - (start + 2 * end) / 3])
        return abs(offsets).max((0, 2), initial=0) < 1e-6

    @property
    def joins(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The cubics (J,) before and after each join."""
        before = np.arange(len(self.cubics) if self.closed else len(self.cubics) - 1)
        return before, (before + 1) % len(self.cubics)

    def area(self) -> float:
        """The enclosed area, by Green's theorem: half the integral of x dy - y dx over the cubics."""
        p0, p1, p2, p3 = self.cubics.transpose(1, 0, 2)
        terms = 6 * (cross(p0, p1) + cross(p2, p3)) + 3 * (cross(p0, p2) + cross(p1, p2) + cross(p1, p3))
        return abs(float((terms + cross(p0, p3)).sum())) / 20


def chain_of(contour: Contour, placement: Matrix) -> Chain:
    """The chain of a contour; `placement` maps user units to pixels by a scale and a shift."""
    points = np.array(contour.points) * placement.a + np.array(placement[4:])
    if contour.closed:
        points = np.concatenate([points, points[:1]])
    starts = np.arange(0, len(points) - 1, 3)
    return Chain(points[starts[:, None] + np.arange(4)], contour.closed)


def contour_of(chain: Chain, placement: Matrix) -> Contour:
    """The contour of a chain that is not empty."""
    points = chain.cubics[:, :3].reshape(-1, 2)
    if not chain.closed:
        points = np.concatenate([points, chain.cubics[-1:, 3]])
    return Contour(tuple(Point(*p) for p in ((points - placement[4:]) / placement.a).tolist()), chain.closed)


def tangents(cubics: Floats) -> Floats:
    """Unit tangents (S, 2, 2) at the start and at the end, in the direction of travel; 0 for a cubic of no length."""
    return np.stack([_direction(cubics), -_direction(cubics[:, ::-1])], 1)


def _direction(cubics: Floats) -> Floats:
    """The unit direction (S, 2) from the start to the first control point that is away from it."""
    legs = cubics[:, 1:] - cubics[:, :1]
    lengths = np.linalg.norm(legs, axis=2)
    first = (lengths > TINY_HANDLE).argmax(1)
    rows = np.arange(len(cubics))
    return legs[rows, first] / np.maximum(lengths[rows, first], 1e-12)[:, None]


def turns(chain: Chain) -> Floats:
    """The angle (J,) by which the direction turns at each join."""
    before, after = chain.joins
    ends = tangents(chain.cubics)
    return turn(ends[before, 1], ends[after, 0])


def without_stubs(chain: Chain) -> Chain:
    """The chain without cubics of no length. Their neighbors meet at their start."""
    reach = np.linalg.norm(chain.cubics[:, 1:] - chain.cubics[:, :1], axis=2).max(1, initial=0)
    if (reach > SHORT).all():
        return chain
    kept = chain.cubics[reach > SHORT].copy()
    if not len(kept):
        return Chain(kept, chain.closed)
    last = chain.cubics[-1, 3].copy()
    if chain.closed:
        kept[:, 3] = np.roll(kept[:, 0], -1, 0)
    else:
        kept[:-1, 3], kept[0, 0], kept[-1, 3] = kept[1:, 0], chain.cubics[0, 0], last
    return Chain(kept, chain.closed)


def straightened(chain: Chain) -> Chain:
    """The chain with cubics made lines whose handles are along their chord and in order."""
    cubics = chain.cubics
    chord = cubics[:, 3] - cubics[:, 0]
    length = np.linalg.norm(chord, axis=1)
    unit = chord / np.maximum(length, 1e-12)[:, None]
    legs = cubics[:, 1:3] - cubics[:, :1]
    along, across = (legs * unit[:, None]).sum(2), cross(unit[:, None], legs)
    stations = np.column_stack([np.zeros(len(cubics)), along, length])
    flat = (abs(across).max(1, initial=0) <= STRAIGHT) & (np.diff(stations, axis=1) >= -STRAIGHT).all(1)
    new = cubics.copy()
    for n in np.flatnonzero(flat & (length > SHORT)):
        new[n] = line(cubics[n, 0], cubics[n, 3])
    return Chain(new, chain.closed)


def with_long_lines(chain: Chain) -> Chain:
    """The chain with consecutive lines joined that are one within the tolerance of lines."""
    chain = _from_a_corner(chain)
    straight, cubics = chain.straight, chain.cubics
    new, n = [], 0
    while n < len(cubics):
        end = n + 1
        while straight[n] and end < len(cubics) and straight[end] and _on_one_line(cubics[n : end + 1]):
            end += 1
        new.append(cubics[n] if end == n + 1 else line(cubics[n, 0], cubics[end - 1, 3]))
        n = end
    return chain if len(new) == len(cubics) else Chain(np.stack(new), chain.closed)


def _from_a_corner(chain: Chain) -> Chain:
    """A closed chain that does not start within a line, if it can be helped."""
    straight, cubics = chain.straight, chain.cubics
    for n in range(len(cubics) if chain.closed else 0):
        if not (straight[n - 1] and straight[n] and _on_one_line(cubics[[n - 1, n]])):
            return Chain(np.roll(cubics, -n, 0), True)
    return chain


def _on_one_line(lines: Floats) -> bool:
    """Whether the inner ends of lines (N, 4, 2) are near the chord of all, and in order."""
    chord = lines[-1, 3] - lines[0, 0]
    length = float(np.linalg.norm(chord))
    if length <= SHORT:
        return False
    legs = lines[1:, 0] - lines[0, 0]
    stations = np.concatenate([[0.0], legs @ chord / length, [length]])
    return bool(abs(cross(chord / length, legs)).max() <= STRAIGHT and (np.diff(stations) > 0).all())


def aligned(chain: Chain) -> Chain:
    """The chain with lines that are almost horizontal or vertical made exactly so. Handles move with their ends."""
    cubics, straight = chain.cubics.copy(), chain.straight
    for axis in (0, 1):
        run, rise = (abs(cubics[:, 3, k] - cubics[:, 0, k]) for k in (1 - axis, axis))
        level = straight & (rise <= STRAIGHT) & (rise <= FLATTEST * run) & (rise > 0)
        for n in np.flatnonzero(level):
            middle = (cubics[n, 0, axis] + cubics[n, 3, axis]) / 2
            before, after = (n - 1, (n + 1) % len(cubics)) if chain.closed else (n - 1, n + 1)
            cubics[n, :, axis] = middle
            if chain.closed or n > 0:
                cubics[before, 2:, axis] += middle - cubics[before, 3, axis]
            if chain.closed or after < len(cubics):
                cubics[after, :2, axis] += middle - cubics[after, 0, axis]
    for n in np.flatnonzero(straight):
        cubics[n] = line(cubics[n, 0], cubics[n, 3])
    return Chain(cubics, chain.closed)


def smoothed(chain: Chain, tolerance: float) -> Chain:
    """The chain with joins of almost one direction made smooth, where no curve moves by more than a tolerance.

    Both handles turn to the direction of their sum, so that the longer one turns less; beside a line, only the other.
    """
    if not len(chain.cubics):
        return chain
    before, after = chain.joins
    into = chain.cubics[before, 3] - chain.cubics[before, 2]
    out = chain.cubics[after, 1] - chain.cubics[after, 0]
    length_in, length_out = np.linalg.norm(into, axis=1), np.linalg.norm(out, axis=1)
    straight = chain.straight
    fixed_in, fixed_out = straight[before], straight[after]
    common = np.where(fixed_in[:, None], into, np.where(fixed_out[:, None], out, into + out))
    common /= np.maximum(np.linalg.norm(common, axis=1), 1e-12)[:, None]
    angle = turn(into, out)
    move_in, move_out = length_in[:, None] * common - into, length_out[:, None] * common - out
    moves = np.maximum(np.linalg.norm(move_in, axis=1), np.linalg.norm(move_out, axis=1))
    turned = (angle > EXACT) & (angle < SMOOTH) & (SWING * moves <= tolerance) & ~(fixed_in & fixed_out)
    turned &= np.minimum(length_in, length_out) > TINY_HANDLE
    cubics = chain.cubics.copy()
    cubics[before[turned & ~fixed_in], 2] -= move_in[turned & ~fixed_in]
    cubics[after[turned & ~fixed_out], 1] += move_out[turned & ~fixed_out]
    return Chain(cubics, chain.closed)

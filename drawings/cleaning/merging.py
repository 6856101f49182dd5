"""Merging: consecutive cubics that one cubic fits become it.

Two neighbors that do not meet at a corner are replaced by the cubic through their outer ends, with the tangents that
they have there (`drawings.fitting`). The best fits of all chains go first, in rounds; each round fits all new pairs at
once. A fit is judged by points of the curves as they were at first, so errors do not add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..fitting import Floats, at, fitted, turn
from .chains import CORNER, Chain, tangents, turns

Flags = NDArray[np.bool_]

SAMPLES = 12
"""Points per original cubic."""
POINTS = 2 * SAMPLES + 1
"""Points by which a fit is judged."""
LARGEST_TURN = math.radians(135)
"""No cubic turns by more: circles keep their quarters."""
LONG_LINE = 3.0
"""Longer lines, in pixels, stay lines."""


def merged(chains: Sequence[Chain], tolerance: float) -> list[Chain]:
    """Chains of fewer cubics, within a tolerance in pixels of the given ones. Closed ones keep at least two."""
    runs = [_Run(chain) for chain in chains]
    fits: dict[tuple[int, int, int], tuple[float, Floats]] = {}
    while True:
        pairs = [(number, *pair) for number, run in enumerate(runs) for pair in run.pairs()]
        if unknown := [pair for pair in pairs if pair[:1] + pair[2:] not in fits]:
            cubics, errors = fitted(*_stacked([runs[number].target(*span) for number, _, *span in unknown]))
            errors[_turn(cubics) > LARGEST_TURN] = np.inf
            for pair, cubic, error in zip(unknown, cubics, errors.tolist()):
                fits[pair[:1] + pair[2:]] = error, cubic
        good = [(*fits[pair[:1] + pair[2:]], pair) for pair in pairs]
        good = sorted((each for each in good if each[0] <= tolerance), key=lambda each: each[0])
        if not good:
            return [run.chain() for run in runs]
        for _, cubic, (number, piece, *_) in good:
            runs[number].join(piece, cubic)
        for run in runs:
            run.finish_round()


@dataclass
class _Piece:
    """A cubic in place of `count` original ones, from the number `first` on."""

    first: int
    count: int
    cubic: Floats
    taken: bool = False
    """Whether it has been joined in this round."""


class _Run:
    """A chain that is being merged."""

    def __init__(self, chain: Chain):
        self.closed, self.size = chain.closed, len(chain.cubics)
        self.pieces = [_Piece(n, 1, cubic) for n, cubic in enumerate(chain.cubics)]
        self.tangents = tangents(chain.cubics)
        self.joinable = self._joinable(chain)
        times = np.arange(SAMPLES) / SAMPLES
        self.points = at(chain.cubics, times).reshape(-1, 2)
        if not chain.closed and self.size:
            self.points = np.concatenate([self.points, chain.cubics[-1:, 3]])

    def _joinable(self, chain: Chain) -> Flags:
        """Whether the join after each original cubic is no corner and beside no long line."""
        if not self.size:
            return np.zeros(0, bool)
        before, after = chain.joins
        lengths = np.linalg.norm(chain.cubics[:, 3] - chain.cubics[:, 0], axis=1)
        straight = chain.straight
        kept = straight & (lengths > LONG_LINE)
        smooth = np.zeros(self.size, bool)
        smooth[before] = (turns(chain) < CORNER) & ~kept[before] & ~kept[after] & ~(straight[before] & straight[after])
        return smooth

    def pairs(self) -> Iterator[tuple[int, int, int]]:
        """Pieces that may be joined to the next, with the first original cubic of both and their number."""
        count = len(self.pieces)
        if count < (3 if self.closed else 2):
            return
        for n in range(count if self.closed else count - 1):
            one, other = self.pieces[n], self.pieces[(n + 1) % count]
            if self.joinable[other.first - 1]:
                yield n, one.first, one.count + other.count

    def target(self, first: int, count: int) -> tuple[Floats, Floats, Floats]:
        """Points (K, 2) along original cubics, and the tangents (2,) at both ends, pointing inward."""
        places = first * SAMPLES + np.linspace(0, count * SAMPLES, POINTS).round().astype(int)
        last = (first + count - 1) % self.size
        points = self.points[places % len(self.points)] if self.closed else self.points[places]
        return points, self.tangents[first, 0], -self.tangents[last, 1]

    def join(self, number: int, cubic: Floats) -> None:
        """Join a piece to the next, unless one of them has been joined in this round."""
        one, other = self.pieces[number], self.pieces[(number + 1) % len(self.pieces)]
        left = sum(piece.count > 0 for piece in self.pieces)
        if one.taken or other.taken or left < (3 if self.closed else 2):
            return
        one.count, one.cubic, one.taken = one.count + other.count, cubic, True
        other.count, other.taken = 0, True

    def finish_round(self) -> None:
        self.pieces = [piece for piece in self.pieces if piece.count]
        for piece in self.pieces:
            piece.taken = False

    def chain(self) -> Chain:
        cubics = [piece.cubic for piece in self.pieces]
        return Chain(np.stack(cubics) if cubics else np.zeros((0, 4, 2)), self.closed)


def _stacked(targets: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    points, first, last = zip(*targets)
    return np.stack(points), np.stack(first), np.stack(last)


def _turn(cubics: Floats) -> Floats:
    """By how much the control polygons of cubics (B, 4, 2) turn in all (B,)."""
    legs = np.diff(cubics, axis=1)
    return turn(legs[:, :-1], legs[:, 1:]).sum(1)

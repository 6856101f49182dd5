"""Dashed strokes as contours of their own: one for each dash."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from ..cubics import Cubic, cubics, length, parameter_at, split
from ..document import Contour, Point
from .outlines import cleaned

ENDLESS = 1e9
"""Dashes that are as good as infinitely many."""
SHORTEST_LEG = 0.1
"""Of a control polygon, relative to the way from its start to its end, for the curve to count as even."""
STEEPEST_LEG = 0.7
"""The cosine of the angle between a leg and that way."""
SMALLEST_PART = 2.0**-12
"""Of the parameter; where a curve is not even there, it turns back, and lasts for about 1e-7 of its length."""


def dashed(
    contours: Iterable[Contour],
    lengths: Sequence[float],
    offset: float,
    spend_parts: Callable[[int], None],
    spend_dashes: Callable[[int], None],
) -> tuple[Contour, ...]:
    """The dashes of contours; `lengths` are those of dashes and gaps in turn, in user units, an even number of them.

    The pattern starts anew on each contour, `offset` units into itself. Where a closed contour begins and ends inside
    a dash, both parts are one. Two functions are told, before the work is done, in how many parts the curves are
    measured and about how many dashes there will be.
    """
    found: list[Contour] = []
    period = sum(lengths)
    for contour in contours:
        rulers = [_Ruler(cubic, spend_parts) for cubic in cubics(contour)]
        expected = len(lengths) * sum(ruler.length for ruler in rulers) / period / 2
        spend_dashes(math.ceil(min(expected, ENDLESS)))
        found += _dashes(contour, rulers, lengths, offset)
    return tuple(found)


class _Ruler:
    """Tells where on a curve a distance from its start is reached.

    The curve is measured once, in parts along which its speed changes little, so that each distance is soon found even
    where the curve turns back.
    """

    def __init__(self, cubic: Cubic, spend: Callable[[int], None]):
        self.cubic = cubic
        self._parts = _even_parts(cubic)
        spend(len(self._parts))
        self._lengths = [part.length() for part in self._parts]
        self._ends = [*accumulate(self._lengths)]
        self.length = self._ends[-1]

    def parameter_at(self, distance: float) -> float:
        """The parameter at which a distance in [0, length] has been gone."""
        index = min(bisect_left(self._ends, distance), len(self._parts) - 1)
        size = self._lengths[index]
        return self._parts[index].parameter_at(distance - self._ends[index] + size, size)


class _Part(NamedTuple):
    """A curve between two parameters of the curve that it is of."""

    cubic: Cubic
    start: float
    end: float

    def length(self) -> float:
        return math.dist(self.cubic[0], self.cubic[3]) if self.smallest else length(self.cubic)

    def parameter_at(self, distance: float, total: float) -> float:
        if self.smallest or not total:
            return self.end
        return self.start + (self.end - self.start) * parameter_at(self.cubic, distance, total)

    @property
    def smallest(self) -> bool:
        return self.end - self.start <= SMALLEST_PART


def _even_parts(cubic: Cubic, start: float = 0.0, end: float = 1.0) -> list[_Part]:
    if end - start <= SMALLEST_PART or _even(cubic):
        return [_Part(cubic, start, end)]
    middle = (start + end) / 2
    one, two = split(cubic, 0.5)
    return [*_even_parts(one, start, middle), *_even_parts(two, middle, end)]


def _even(cubic: Cubic) -> bool:
    """Whether all legs of the control points lead from the start towards the end, and each a fair part of the way."""
    start, _, _, end = cubic
    x, y = end.x - start.x, end.y - start.y
    way = math.hypot(x, y)
    if not way:  # back where it began, unless it never left
        return cubic[1] == cubic[2] == start
    legs = [(q.x - p.x, q.y - p.y) for p, q in zip(cubic, cubic[1:])]
    return all(dx * x + dy * y >= way * max(SHORTEST_LEG * way, STEEPEST_LEG * math.hypot(dx, dy)) for dx, dy in legs)


def _dashes(contour: Contour, rulers: Sequence[_Ruler], lengths: Sequence[float], offset: float) -> list[Contour]:
    runs: list[list[Cubic]] = []
    last, drawing, ended = -1, False, True
    for number, part, ends in _parts(rulers, lengths, offset):
        drawing = number % 2 == 0
        if drawing and number != last:
            runs.append([])
        if drawing:
            runs[-1].append(part)
        last, ended = number, ends
    first_drawn = _phase(lengths, offset)[0] % 2 == 0
    if contour.closed and drawing and not ended and first_drawn:
        if len(runs) == 1:
            return [contour]
        runs[0] = runs.pop() + runs[0]
    return [_contour(run) for run in runs]


def _phase(lengths: Sequence[float], offset: float) -> tuple[int, float]:
    """The number in the pattern with which it starts, and how much of that is left."""
    left = offset % sum(lengths)
    for number, size in enumerate(lengths):
        if left < size or left == size == 0:
            return number, size - left
        left -= size
    return 0, lengths[0]


def _parts(rulers: Iterable[_Ruler], lengths: Sequence[float], offset: float) -> Iterator[tuple[int, Cubic, bool]]:
    """The curves cut where dashes and gaps meet: the number of the dash or gap (dashes even), and whether it ends."""
    number, left = _phase(lengths, offset)
    for ruler in rulers:
        rest, size, gone, before = ruler.cubic, ruler.length, 0.0, 0.0
        while left <= size - gone:
            gone += left
            t = ruler.parameter_at(gone)
            part, rest = split(rest, min(1.0, (t - before) / (1 - before)) if before < 1 else 1.0)
            before = t
            yield number, part, True
            number += 1
            left = lengths[number % len(lengths)]
        if gone < size:
            left -= size - gone
            yield number, rest, False


def _contour(run: Sequence[Cubic]) -> Contour:
    points: list[Point] = [run[0][0]]
    for cubic in run:
        points += cubic[1:]
    return cleaned(Contour(tuple(points), closed=False))


def read_pattern(lengths: Sequence[float]) -> tuple[float, ...] | None:
    """Lengths as `stroke-dasharray` gives them, an even number; None where the stroke is solid."""
    if not sum(lengths) > 0 or not math.isfinite(sum(lengths)) or min(lengths) < 0:
        return None
    return tuple(lengths) if len(lengths) % 2 == 0 else (*lengths, *lengths)

"""Splits contours into dashes, one contour per dash."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from ..cubics import Cubic, cubics, length, parameter_at, split
from ..document import Contour, Point
from .outlines import cleaned

MAX_ESTIMATE = 1e9
"""Cap of the estimated number of dashes, which may be infinite."""
MIN_LEG = 0.1
"""Least progress of a control polygon's leg along the chord, relative to the chord, for a curve to be even."""
MIN_COSINE = 0.7
"""Least cosine of the angle between a leg and the chord, for a curve to be even."""
MIN_SPAN = 2.0**-12
"""Parameter span at which subdivision stops. A curve still uneven there has a cusp, about 1e-7 of its length."""


def dashed(
    contours: Iterable[Contour],
    lengths: Sequence[float],
    offset: float,
    spend_parts: Callable[[int], None],
    spend_dashes: Callable[[int], None],
) -> tuple[Contour, ...]:
    """Split contours into dashes.

    The pattern restarts on each contour. Where a closed contour starts and ends inside a dash, the two ends are joined.

    Args:
        contours: The outlines, in user units.
        lengths: Dash and gap lengths in turn, in user units; an even number of them (see `read_pattern`).
        offset: Where in the pattern each contour starts, in user units.
        spend_parts: Called with the number of curve parts measured, once per curve.
        spend_dashes: Called with the estimated number of dashes before they are made, once per contour.
    """
    result: list[Contour] = []
    period = sum(lengths)
    for contour in contours:
        rulers = [_Ruler(cubic, spend_parts) for cubic in cubics(contour)]
        expected = len(lengths) * sum(ruler.length for ruler in rulers) / period / 2
        spend_dashes(math.ceil(min(expected, MAX_ESTIMATE)))
        result += _dashes(contour, rulers, lengths, offset)
    return tuple(result)


class _Ruler:
    """Maps arc length to the parameter of a curve.

    The curve is measured once, in parts of nearly constant speed, so that Newton's method converges quickly for every
    distance, even near a cusp.
    """

    def __init__(self, cubic: Cubic, spend: Callable[[int], None]):
        self.cubic = cubic
        self._parts = _even_parts(cubic)
        spend(len(self._parts))
        self._lengths = [part.length() for part in self._parts]
        self._ends = [*accumulate(self._lengths)]
        self.length = self._ends[-1]

    def parameter_at(self, distance: float) -> float:
        """The parameter at arc length `distance` in [0, length]."""
        index = min(bisect_left(self._ends, distance), len(self._parts) - 1)
        size = self._lengths[index]
        return self._parts[index].parameter_at(distance - self._ends[index] + size, size)


class _Part(NamedTuple):
    """The part of a curve between two of its parameters."""

    cubic: Cubic
    start: float
    end: float

    def length(self) -> float:
        return math.dist(self.cubic[0], self.cubic[3]) if self.is_minimal else length(self.cubic)

    def parameter_at(self, distance: float, total: float) -> float:
        if self.is_minimal or not total:
            return self.end
        return self.start + (self.end - self.start) * parameter_at(self.cubic, distance, total)

    @property
    def is_minimal(self) -> bool:
        return self.end - self.start <= MIN_SPAN


def _even_parts(cubic: Cubic, start: float = 0.0, end: float = 1.0) -> list[_Part]:
    if end - start <= MIN_SPAN or _even(cubic):
        return [_Part(cubic, start, end)]
    middle = (start + end) / 2
    one, two = split(cubic, 0.5)
    return [*_even_parts(one, start, middle), *_even_parts(two, middle, end)]


def _even(cubic: Cubic) -> bool:
    """Whether each leg of the control polygon points along the chord and covers a fair share of it."""
    start, _, _, end = cubic
    x, y = end.x - start.x, end.y - start.y
    chord = math.hypot(x, y)
    if not chord:  # a loop, or a single point
        return cubic[1] == cubic[2] == start
    legs = [(q.x - p.x, q.y - p.y) for p, q in pairwise(cubic)]
    return all(dx * x + dy * y >= chord * max(MIN_LEG * chord, MIN_COSINE * math.hypot(dx, dy)) for dx, dy in legs)


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
    """The index of the dash or gap at `offset` into the pattern, and how much of it remains."""
    into = offset % sum(lengths)
    for index, size in enumerate(lengths):
        if into < size or into == size == 0:
            return index, size - into
        into -= size
    return 0, lengths[0]


def _parts(rulers: Iterable[_Ruler], lengths: Sequence[float], offset: float) -> Iterator[tuple[int, Cubic, bool]]:
    """Curves cut where dashes and gaps meet: (number, curve, whether it ends here); dashes have even numbers."""
    number, remaining = _phase(lengths, offset)
    for ruler in rulers:
        rest, size, distance, before = ruler.cubic, ruler.length, 0.0, 0.0
        while remaining <= size - distance:
            distance += remaining
            t = ruler.parameter_at(distance)
            part, rest = split(rest, min(1.0, (t - before) / (1 - before)) if before < 1 else 1.0)
            before = t
            yield number, part, True
            number += 1
            remaining = lengths[number % len(lengths)]
        if distance < size:
            remaining -= size - distance
            yield number, rest, False


def _contour(run: Sequence[Cubic]) -> Contour:
    points: list[Point] = [run[0][0]]
    for cubic in run:
        points += cubic[1:]
    return cleaned(Contour(tuple(points), closed=False))


def read_pattern(lengths: Sequence[float]) -> tuple[float, ...] | None:
    """The values of `stroke-dasharray` as an even number of lengths, or None if the stroke is solid."""
    if not sum(lengths) > 0 or not math.isfinite(sum(lengths)) or min(lengths) < 0:
        return None
    return tuple(lengths) if len(lengths) % 2 == 0 else (*lengths, *lengths)

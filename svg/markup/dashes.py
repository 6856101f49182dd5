"""Dashed strokes as contours of their own: one for each dash."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ..cubics import Cubic, cubics, length, parameter_at, split
from ..document import Contour, Point
from .outlines import cleaned
from .xml import SVGError


def dashed(contours: Iterable[Contour], lengths: Sequence[float], offset: float, most: int) -> tuple[Contour, ...]:
    """The dashes of contours; `lengths` are those of dashes and gaps in turn, in user units, an even number of them.

    The pattern starts anew on each contour, `offset` units into itself. Where a closed contour begins and ends inside
    a dash, both parts are one. Raises SVGError for more than about `most` dashes.
    """
    found: list[Contour] = []
    for contour in contours:
        pieces = [(cubic, length(cubic)) for cubic in cubics(contour)]
        expected = len(found) + len(lengths) * sum(size for _, size in pieces) / sum(lengths) / 2
        if expected > most:
            raise SVGError("The drawing has too many dashes: lengthen stroke-dasharray, or leave it out.")
        found += _dashes(contour, pieces, lengths, offset)
    return tuple(found)


def _dashes(
    contour: Contour, pieces: Sequence[tuple[Cubic, float]], lengths: Sequence[float], offset: float
) -> list[Contour]:
    runs: list[list[Cubic]] = []
    last, drawing, ended = -1, False, True
    for number, part, ends in _parts(pieces, lengths, offset):
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
        if left < size:
            return number, size - left
        left -= size
    return 0, lengths[0]


def _parts(
    pieces: Iterable[tuple[Cubic, float]], lengths: Sequence[float], offset: float
) -> Iterator[tuple[int, Cubic, bool]]:
    """The curves cut where dashes and gaps meet: the number of the dash or gap (dashes even), and whether it ends."""
    number, left = _phase(lengths, offset)
    for whole, size in pieces:
        rest, gone, before = whole, 0.0, 0.0
        while left <= size - gone:
            gone += left
            t = parameter_at(whole, gone, size) if size else 1.0
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

"""Long curves with few points, for what a node sends to the page and what the host keeps in its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_POINTS = 500
"""Maximum number of points of a curve in a node's output."""


def thinned_places(values: Sequence[float], most: int = MAX_POINTS) -> list[int]:
    """At most `most` places in a list, in order: the first, the last, and the extremes of equal parts between them.

    All places if there are no more. With the extremes, peaks stay visible and a plot keeps its outline.
    """
    count = len(values)
    if count <= most:
        return list(range(count))
    parts = (most - 2) // 2
    bounds = [1 + (count - 2) * part // parts for part in range(parts + 1)]
    places = {0, count - 1}
    for first, last in zip(bounds, bounds[1:]):
        part = range(first, last)
        places |= {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
    return sorted(places)


def thinned(columns: dict[str, Any], by: str, most: int = MAX_POINTS) -> dict[str, Any]:
    """Columns of equal length at few places, chosen by the column `by`; other entries stay as they are.

    An entry of `by` is a number or a list of numbers, one per batch item, of which the largest counts.
    """
    values = [max(value) if isinstance(value, list) else value for value in columns[by]]
    places = thinned_places(values, most)
    return {
        name: [column[place] for place in places] if isinstance(column, list) else column
        for name, column in columns.items()
    }

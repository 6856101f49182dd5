"""What reading a drawing takes altogether, counted so that every file is read or refused within seconds."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from .xml import Element, SVGError

MOST_EFFORT = 1_200_000
"""In a unit of roughly a microsecond on a slow core."""

Kind = Literal[
    "drawn elements",
    "control points",
    "dashes",
    "lengths of dashes",
    "curves with dashes",
    "declarations of style",
    "painted gradients",
    "gradient stops",
    "characters of transforms",
    "control points compared with boxes",
]


class _Cost(NamedTuple):
    each: float
    advice: str


_COSTS: dict[Kind, _Cost] = {
    "drawn elements": _Cost(40, "Draw fewer of them, or use them less often"),
    "control points": _Cost(3.5, "Simplify its paths, or use them less often"),
    "dashes": _Cost(100, "Lengthen stroke-dasharray, or leave it out"),
    "lengths of dashes": _Cost(5, "Shorten stroke-dasharray, or leave it out"),
    "curves with dashes": _Cost(40, "Leave stroke-dasharray out"),
    "declarations of style": _Cost(2, "Shorten its styles, or give its elements fewer classes"),
    "painted gradients": _Cost(80, "Use fewer gradients"),
    "gradient stops": _Cost(10, "Simplify its gradients"),
    "characters of transforms": _Cost(0.7, "Shorten its transforms"),
    "control points compared with boxes": _Cost(1.5, "Clip and nest fewer of them, or use fewer gradients"),
}


class Effort:
    """Adds up what has been read of one document; all kinds share one limit, as a file may be large in each of them."""

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._left: float = MOST_EFFORT

    def left(self, kind: Kind) -> int:
        """How many more there may be, if no others come."""
        return int(self._left / _COSTS[kind].each)

    def spend(self, kind: Kind, count: int, element: Element) -> None:
        """Raises SVGError, with what there is so far up to `element`, where it becomes too much."""
        self._counts[kind] += count
        self._left -= count * _COSTS[kind].each
        if self._left < 0:
            raise SVGError(
                f"The drawing is too large: up to {element.where()} it has {self._found()}. {self._advice()}."
            )

    def _found(self) -> str:
        *others, last = (f"{count:,} {kind}" for kind, count in self._counts.items() if count)
        return f"{', '.join(others)} and {last}" if others else last

    def _advice(self) -> str:
        heaviest = max(self._counts, key=lambda kind: self._counts[kind] * _COSTS[kind].each)
        return _COSTS[heaviest].advice

"""A cost budget for parsing: any file is either parsed or refused within seconds."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from .xml import Element, SVGError

TOTAL_COST = 1_200_000
"""The budget of one document, roughly in microseconds on a slow core."""

CostKind = Literal[
    "drawn elements",
    "control points",
    "copied control points",
    "dashes",
    "dash lengths",
    "dashed curves",
    "style declarations",
    "selector tests",
    "painted gradients",
    "gradient stops",
    "transform characters",
    "control points in bounding-box tests",
]


class _Cost(NamedTuple):
    each: float
    advice: str


_COSTS: dict[CostKind, _Cost] = {
    "drawn elements": _Cost(40, "Reduce the number of elements or of <use> references"),
    "control points": _Cost(3.5, "Simplify the paths or reduce the number of <use> references"),
    "copied control points": _Cost(1.5, "Reduce the number of <use> references"),
    "dashes": _Cost(100, "Use longer dashes or remove stroke-dasharray"),
    "dash lengths": _Cost(5, "Shorten or remove stroke-dasharray"),
    "dashed curves": _Cost(40, "Remove stroke-dasharray"),
    "style declarations": _Cost(2, "Shorten the style sheets or assign fewer classes per element"),
    "selector tests": _Cost(2, "Use classes in the style sheets instead of combined selectors"),
    "painted gradients": _Cost(80, "Use fewer gradients"),
    "gradient stops": _Cost(10, "Reduce the number of gradient stops"),
    "transform characters": _Cost(0.7, "Shorten the transforms"),
    "control points in bounding-box tests": _Cost(1.5, "Use fewer clip paths, nested <svg> elements or gradients"),
}


class ParseBudget:
    """Counts what has been parsed of one document.

    All kinds share a single budget, because a file may be large in several of them at once.
    """

    def __init__(self) -> None:
        self._counts: Counter[CostKind] = Counter()
        self._remaining: float = TOTAL_COST

    def remaining(self, kind: CostKind) -> int:
        """How many more of this kind fit if nothing else is added."""
        return int(self._remaining / _COSTS[kind].each)

    def spend(self, kind: CostKind, count: int, element: Element) -> None:
        """Charge `count` items found at `element`.

        Raises:
            SVGError: The budget is exceeded. The message lists the counts so far and says what to reduce.
        """
        self._counts[kind] += count
        self._remaining -= count * _COSTS[kind].each
        if self._remaining < 0:
            raise SVGError(f"The drawing is too large: {self._counted()} up to {element.where()}. {self._advice()}.")

    def _counted(self) -> str:
        *others, last = (f"{count:,} {kind}" for kind, count in self._counts.items() if count)
        return f"{', '.join(others)} and {last}" if others else last

    def _advice(self) -> str:
        costliest = max(self._counts, key=lambda kind: self._counts[kind] * _COSTS[kind].each)
        return _COSTS[costliest].advice

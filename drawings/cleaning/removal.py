"""Removal of what is not seen: hidden layers, and specks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from ...svg.document import Document
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Seen, sweep
from ..initialization import Canvas
from .changes import Ledger, worst
from .paints import layers, repainted

INVISIBLE = 2 / 255
"""Layers whose removal changes no pixel by as much are hidden."""
HIDDEN_SHARE = 0.25
"""The part of the bound that is for hidden layers; the rest is for specks."""


@dataclass(frozen=True)
class Speck:
    """What is a speck, and not the white dot in an eye, which is as small but stands out.

    Attributes:
        area: Less than this fraction of the canvas is seen of it.
        change: Its removal changes the image by less than a change of this fraction of the canvas from black to white.
    """

    area: float
    change: float


def without_unseen(document: Document, canvas: Canvas, speck: Speck, bound: float) -> Document:
    """The document without fills and strokes that are hidden or specks, and without shapes that have no other.

    Hidden layers go first, from the highest to the lowest, each if no pixel changes by 2/255 with those that are gone
    already. Then specks go, the least visible first. Shapes with a name stay as they are.

    Args:
        document: The drawing.
        canvas: Height and width in pixels.
        speck: What is a speck.
        bound: Bound of the mean change of the image.
    """
    hidden = Ledger(canvas, HIDDEN_SHARE * bound, INVISIBLE)
    specks = Ledger(canvas, (1 - HIDDEN_SHARE) * bound)
    while True:
        survey = _survey(document, canvas, hidden)
        gone = survey.hidden or _specks(document, canvas, survey, speck, specks)
        if not gone:
            return document
        document = _without(document, gone)


class _Survey(NamedTuple):
    """The hidden layers; of the others what is seen, and how much the image changes without it, in pixels."""

    hidden: set[int]
    areas: dict[int, float]
    changes: dict[int, float]


def _survey(document: Document, canvas: Canvas, ledger: Ledger) -> _Survey:
    found = _Survey(set(), {}, {})

    def decide(seen: Seen) -> bool:
        change = seen.change
        if ledger.takes(seen.box, change):
            found.hidden.add(seen.layer)
            return True
        found.areas[seen.layer] = float(seen.weight.sum())
        found.changes[seen.layer] = float(worst(change).mean(0).sum())
        return False

    _sweep(document, canvas, decide)
    return found


def _specks(document: Document, canvas: Canvas, survey: _Survey, speck: Speck, ledger: Ledger) -> set[int]:
    """Specks, the least visible first, as many as the ledger takes."""
    pixels = canvas[0] * canvas[1]
    area, change = speck.area * pixels, speck.change * pixels
    small = [n for n, seen in survey.areas.items() if seen < area and survey.changes[n] < change]
    small.sort(key=survey.changes.__getitem__)
    sums = accumulate(survey.changes[layer] / pixels for layer in small)
    chosen = {layer for layer, change in zip(small, sums) if change < ledger.left}
    found: set[int] = set()

    def decide(seen: Seen) -> bool:
        goes = seen.layer in chosen and ledger.takes(seen.box, seen.change)
        if goes:
            found.add(seen.layer)
        return goes

    if chosen:
        _sweep(document, canvas, decide)
    return found


def _sweep(document: Document, canvas: Canvas, decide: Callable[[Seen], bool]) -> None:
    """Visit the layers of shapes without a name, and remove those that are decided to go."""
    named = {layer for layer, (shape, _) in layers(document).items() if shape.name}
    sweep(scene(document, *canvas), lambda seen: 1.0 if seen.layer in named or not decide(seen) else 0.0)


def _without(document: Document, gone: set[int]) -> Document:
    return repainted(document, lambda layer, paint: None if layer in gone else paint)

"""Warnings about unsupported features of a file, merged into one sentence per kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .xml import Element

MAX_KINDS = 50
LENGTH_ADVICE = "Use a number, optionally with a unit such as px, mm or %"
FRACTION_ADVICE = "Use a number from 0 to 1 or a percentage"
COLOR_ADVICE = "Use a color name, #rrggbb, rgb() or another function of CSS"


@dataclass
class _Entry:
    count: int
    first: str
    advice: str


class Report:
    """Counts each kind of warning and remembers where it first occurred."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._omitted = 0
        self._muted = False

    def add(self, what: str, element: Element | None = None, advice: str = "") -> None:
        """Record a warning.

        Args:
            what: A clause without a period ("The filter property is ignored"). Equal clauses are merged.
            element: Where it occurred; None if it concerns the whole document.
            advice: What the author can change, as a clause without a period.
        """
        if self._muted:
            return
        if what not in self._entries:
            if len(self._entries) == MAX_KINDS:
                self._omitted += 1
                return
            self._entries[what] = _Entry(0, element.where() if element else "", advice)
        self._entries[what].count += 1

    @contextmanager
    def muted(self) -> Iterator[None]:
        """Record nothing meanwhile: for parts of a file that are read twice."""
        before, self._muted = self._muted, True
        try:
            yield
        finally:
            self._muted = before

    def sentences(self) -> tuple[str, ...]:
        """One warning per kind, in order of first occurrence."""
        sentences = [_sentence(what, entry) for what, entry in self._entries.items()]
        if self._omitted:
            sentences.append(f"{self._omitted} more warnings are not listed.")
        return tuple(sentences)


def _sentence(what: str, entry: _Entry) -> str:
    place = entry.first
    if entry.count > 1:
        place = f"{entry.count} times, first {entry.first}" if entry.first else f"{entry.count} times"
    sentence = f"{what}: {place}." if place else f"{what}."
    return f"{sentence} {entry.advice}." if entry.advice else sentence

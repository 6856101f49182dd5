"""Errors that the user can fix, and suggestions for mistyped names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

FEW = 20
"""How many names are listed when none is close to the given one."""


class QueueingError(Exception):
    """The request cannot be carried out. The message is a sentence that says what to change."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence, after a space, that suggests the names closest to ``name``, or lists all if none is close."""
    names = sorted(set(names))
    if close := closest(name, names):
        return did_you_mean(close)
    return f" Choose one of: {', '.join(names)}." if 0 < len(names) <= FEW else ""


def did_you_mean(suggestions: Sequence[str]) -> str:
    """The question, after a space: " Did you mean a, b or c?"."""
    *others, last = suggestions
    return f" Did you mean {' or '.join([', '.join(others), last] if others else [last])}?"


def closest(name: str, names: Iterable[str]) -> list[str]:
    """Up to three names most similar to ``name``, the most similar first. Empty if all are too different."""
    by_lower_case = {each.lower(): each for each in names}
    return [by_lower_case[each] for each in get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)]

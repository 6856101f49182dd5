"""What the user can put right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

FEW = 20
"""So many names are offered where none is like the one that was given."""


class QueueingError(Exception):
    """What was asked for cannot be done; the message is a sentence that says what to change."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A sentence, with a space before it, that offers the names most like ``name``, or all of them if they are few."""
    names = sorted(set(names))
    close = like(name, names)
    offered = close or (names if len(names) <= FEW else [])
    return f" {'Nearest' if close else 'There are'}: {', '.join(offered)}." if offered else ""


def like(name: str, names: Iterable[str]) -> list[str]:
    """Those of the names that are most like ``name``, the likest first. None if all are quite different."""
    by_lower_case = {each.lower(): each for each in names}
    return [by_lower_case[each] for each in get_close_matches(name.lower(), by_lower_case, n=3, cutoff=0.5)]

"""Suggestions for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from os.path import splitext

SHORTEST = 3
"""Characters that a part of a name needs to be taken for it."""


def nearest(name: object, names: Iterable[str]) -> str | None:
    """The one of `names` that is most like `name`, whatever the case, or None if none is."""
    if not isinstance(name, str):
        return None
    folded = {each.casefold(): each for each in reversed(list(names))}
    wanted = name.casefold()
    found = get_close_matches(wanted, folded, n=1) or [
        each for each in folded if len(wanted) >= SHORTEST and wanted in each
    ]
    return folded[found[0]] if found else None


def did_you_mean(file: str, files: Iterable[str]) -> str:
    """A question to append to an error message, with a space before it; empty if no file has a similar name."""
    stems = {splitext(each)[0]: each for each in files}
    found = nearest(splitext(file)[0], stems)
    return f" Did you mean '{stems[found]}'?" if found else ""

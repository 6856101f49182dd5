"""What of a drawing is not represented, gathered into one sentence for each kind."""

from __future__ import annotations

from .xml import Element

MOST_KINDS = 50


class Report:
    """Counts what is left out, and remembers where it was first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, str]] = {}
        self._further = 0

    def add(self, what: str, element: Element | None = None) -> None:
        """`what` is a sentence without its full stop."""
        if what not in self._found and len(self._found) == MOST_KINDS:
            self._further += 1
            return
        count, first = self._found.get(what) or (0, element.where() if element else "")
        self._found[what] = count + 1, first

    def sentences(self) -> tuple[str, ...]:
        """One for each kind, in the order in which they came up."""
        sentences = [_sentence(what, count, first) for what, (count, first) in self._found.items()]
        if self._further:
            sentences.append(f"There are {self._further} more things that are not represented.")
        return tuple(sentences)


def _sentence(what: str, count: int, first: str) -> str:
    if not first:
        return f"{what}." if count == 1 else f"{what} ({count} times)."
    return f"{what}: {first}." if count == 1 else f"{what}: {count} times, first {first}."

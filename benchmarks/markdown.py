"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a line for each row, and a line break at the end. Vertical bars in cells are escaped."""
    return "".join([_line(head), "|---" * len(head), "|\n", *map(_line, rows)])


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(" {} |".format(cell.replace("|", r"\|")) if cell else " |" for cell in cells) + "\n"

"""The text of CSS: its comments, and its strings and url(), in which braces and semicolons mean nothing."""

from __future__ import annotations

import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\[\\\"'(){};:,@\n]")
_TOKEN = re.compile(r"(/\*.*?(?:\*/|\Z))|\"[^\"\n]*[\"\n]?|'[^'\n]*['\n]?|(?i:url)\([^\"'()]*\)", re.DOTALL)
_MARKS = ("/*", '"', "'", "url(", "URL(", "\\")
"""Text without any of these is nothing but structure."""


class CSSText(NamedTuple):
    """CSS without comments.

    Attributes:
        text: The text.
        structure: As long as the text, with everything in strings and url() replaced by underscores.
    """

    text: str
    structure: str

    def part(self, start: int, end: int) -> CSSText:
        """What is between two positions."""
        return CSSText(self.text[start:end], self.structure[start:end])

    def split(self, separator: str) -> list[str]:
        """The texts between separators that are neither in strings nor in url()."""
        if self.text == self.structure:
            return self.text.split(separator)
        parts, start = [], 0
        for piece in self.structure.split(separator):
            parts.append(self.text[start : start + len(piece)])
            start += len(piece) + len(separator)
        return parts


def read_css(text: str) -> CSSText:
    """Find the comments, strings and url() of CSS; the marks of HTML comments around it are removed as well."""
    text = text.replace("<!--", " ").replace("-->", " ")
    if not any(mark in text for mark in _MARKS):
        return CSSText(text, text)
    # A comment ends at the first mark of its end, whatever precedes it, so that escapes may be removed first.
    plain, structure, end, escaped = [], [], 0, _ESCAPE.sub("__", text)
    for token in _TOKEN.finditer(escaped):
        start, before, end = token.start(), end, token.end()
        plain += text[before:start], " " if token[1] else text[start:end]
        structure += escaped[before:start], " " if token[1] else "_" * (end - start)
    return CSSText("".join((*plain, text[end:])), "".join((*structure, escaped[end:])))


def reading_cost(text: str) -> int:
    """How many comments, strings and functions there may be in CSS, each as costly to read as a declaration."""
    return sum(map(text.count, ("*/", '"', "'", "(")))

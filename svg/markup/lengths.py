"""Lengths, fractions and units of CSS and SVG attributes, and what relative lengths refer to."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from ..numbers import NUMBER

_LENGTH = re.compile(NUMBER + r"(%|[a-zA-Z]*)")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6}

DEGREES = {"": 1.0, "deg": 1.0, "grad": 0.9, "rad": 180 / math.pi, "turn": 360.0}
"""The units of angles; those of numbers without one where that is allowed."""
SHARES = {"left": 0.0, "top": 0.0, "center": 0.5, "right": 1.0, "bottom": 1.0}
"""The keywords of positions, as shares of a side."""

DEFAULT_FONT_SIZE = 16.0
MAX_LENGTH_CHARACTERS = 64
"""Characters of a length; matching it takes time quadratic in its digits."""
_SEPARATOR = r"(?:\s*,\s*|\s+)"
_SIZE = rf"{NUMBER}(?i:%|r?em|ex|{'|'.join(filter(None, _PIXELS))}|)"
_SIZES = re.compile(rf"{_SIZE}(?:{_SEPARATOR}{_SIZE})*")
_NEGATIVE = re.compile(r"(?<![eE])-[\d.]*[1-9]")


class Viewport(NamedTuple):
    """The nearest viewport, in user units: the reference for percentages; and the root element's font size, for rem."""

    width: float
    height: float
    root_font_size: float = DEFAULT_FONT_SIZE

    @property
    def diagonal(self) -> float:
        """Reference for percentages that are neither horizontal nor vertical, as SVG defines it."""
        return math.sqrt((self.width * self.width + self.height * self.height) / 2)


def read_length(
    text: str, whole: float, font_size: float = DEFAULT_FONT_SIZE, root_font_size: float = DEFAULT_FONT_SIZE
) -> float | None:
    """Parse a length.

    Args:
        text: A number, optionally followed by a CSS unit or %.
        whole: The length that 100% refers to, in user units.
        font_size: The length that 1em refers to, in user units.
        root_font_size: The length that 1rem refers to, in user units.

    Returns:
        The length in user units, or None if `text` is not a length, has an unknown unit or overflows.
    """
    match = _match_length(text)
    if match is None:
        return None
    unit = match[2].lower()
    relative = {"%": whole / 100, "em": font_size, "ex": font_size / 2, "rem": root_font_size}
    factor = _PIXELS.get(unit, relative.get(unit))
    return None if factor is None else _finite(float(match[1]) * factor)


def read_fraction(text: str) -> float | None:
    """Parse a number or percentage and clamp it to [0, 1]; None if it is neither."""
    match = _match_length(text)
    if match is None or match[2] not in ("", "%"):
        return None
    return min(max(float(match[1]) / (100 if match[2] else 1), 0.0), 1.0)


def is_list_of_sizes(text: str) -> bool:
    """Whether text is a list of lengths that are not negative, in time linear in the text.

    They may still overflow, or be too long for `read_length`.
    """
    text = text.strip()
    sizes = _SIZES.match(text)  # fullmatch would try shorter matches as well
    return sizes is not None and sizes.end() == len(text) and _NEGATIVE.search(text) is None


def _match_length(text: str) -> re.Match[str] | None:
    text = text.strip()
    return _LENGTH.fullmatch(text) if len(text) <= MAX_LENGTH_CHARACTERS else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

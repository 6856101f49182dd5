"""How numbers are written, numbers as short text, and how many decimals a purpose needs."""

from __future__ import annotations

import math
from collections.abc import Iterable

NUMBER = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
"""The pattern of a decimal number in SVG and CSS, as a group."""

MOST_PLACES = 30


def places_within(error: float) -> int:
    """How many decimals to round to, so that a number is off by `error` (above 0) at most."""
    # The slack keeps powers of ten from needing one more for the error of their logarithm.
    return min(max(math.ceil(-math.log10(2 * error) - 1e-9), 0), MOST_PLACES)


def significant_places(values: Iterable[float], digits: int) -> int:
    """How many decimals keep `digits` digits of the largest of some values; the same once they are rounded to it."""
    largest = max(map(abs, values), default=0.0)
    exponent = int(f"{largest:.{digits - 1}e}".partition("e")[2])
    return min(max(digits - 1 - exponent, 0), MOST_PLACES)


def short(value: float) -> str:
    """The shortest decimal that is read as this number, without what SVG can do without.

    Raises ValueError for NaN and infinity.
    """
    if not math.isfinite(value):
        raise ValueError(f"A number of the drawing is {value}, which no file can hold: check how it was made.")
    digits, _, exponent = repr(value).removesuffix(".0").partition("e")
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    digits = digits[1:] if digits.startswith("0.") else digits
    if digits == "0":
        return "0"
    return f"{sign}{digits}e{int(exponent)}" if exponent else f"{sign}{digits}"


def joined(numbers: Iterable[float]) -> str:
    """Numbers with a space between them, where no minus sign sets them apart."""
    first, *rest = (short(number) for number in numbers)
    return "".join([first, *(text if text.startswith("-") else f" {text}" for text in rest)])

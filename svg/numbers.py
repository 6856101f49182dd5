"""Number syntax of SVG and CSS, short number formatting, and rounding precision."""

from __future__ import annotations

import math
from collections.abc import Iterable

NUMBER = r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
"""Pattern of a decimal number in SVG and CSS, as one capturing group."""

MAX_PLACES = 30


def places_within(error: float) -> int:
    """Decimal places to round to for an absolute error of at most `error` (> 0)."""
    # The slack absorbs the rounding of log10, which would otherwise add a place at exact powers of ten.
    return min(max(math.ceil(-math.log10(2 * error) - 1e-9), 0), MAX_PLACES)


def significant_places(values: Iterable[float], digits: int) -> int:
    """Decimal places that keep `digits` significant digits of the largest value; stable under that rounding."""
    largest = max(map(abs, values), default=0.0)
    exponent = int(f"{largest:.{digits - 1}e}".partition("e")[2])
    return min(max(digits - 1 - exponent, 0), MAX_PLACES)


def short(value: float) -> str:
    """The shortest SVG notation that parses back to exactly this value (".5" for 0.5).

    Raises:
        ValueError: `value` is NaN or infinite.
    """
    if not math.isfinite(value):
        raise ValueError(f"The drawing contains {value}, which SVG cannot represent. Make all of its numbers finite.")
    digits, _, exponent = repr(value).removesuffix(".0").partition("e")
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    digits = digits[1:] if digits.startswith("0.") else digits
    if digits == "0":
        return "0"
    return f"{sign}{digits}e{int(exponent)}" if exponent else f"{sign}{digits}"


def joined(numbers: Iterable[float]) -> str:
    """Numbers separated by spaces, or by a minus sign alone."""
    first, *rest = (short(number) for number in numbers)
    return "".join([first, *(text if text.startswith("-") else f" {text}" for text in rest)])

"""The functions of CSS Color 4 and 5 that make colors: rgb(), hsl(), hwb(), lab(), oklch(), color-mix() and others."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from ..document import Color
from ..numbers import NUMBER
from .color_spaces import COLOR_SPACES, GIVEN_SPACES, ColorSpace, Triple
from .lengths import DEGREES

Found = tuple[Color, float]
"""A color and its opacity in [0, 1]."""
ReadColor = Callable[[str], Found | None]

_PART = re.compile(rf"(?:{NUMBER}(%|deg|rad|grad|turn)?|none)")
MAX_WORD = 64
"""Characters of a number."""
GRAY = 1e-4
"""A color that is less colorful than this is gray: the conversion of spaces rounds."""
FAR = 1e6
"""Bound of channels, far outside of every gamut: beyond it, the conversion of spaces overflows."""


class _Value(NamedTuple):
    number: float
    unit: str


class _Channel(NamedTuple):
    """A channel: the number that 100% stands for (None for a hue), what a plain number is divided by, and its range."""

    whole: float | None = 1.0
    divisor: float = 1.0
    low: float = 0.0
    high: float = FAR


_HUE, _SHARE, _BYTE = _Channel(None), _Channel(1.0, 100.0, high=1.0), _Channel(1.0, 255.0, high=1.0)
_CHANNELS: dict[str, tuple[_Channel, _Channel, _Channel]] = {
    "srgb": (_BYTE, _BYTE, _BYTE),
    "hsl": (_HUE, _SHARE, _SHARE),
    "hwb": (_HUE, _SHARE, _SHARE),
    "lab": (_Channel(100.0, high=100.0), _Channel(125.0, low=-FAR), _Channel(125.0, low=-FAR)),
    "oklab": (_Channel(high=1.0), _Channel(0.4, low=-FAR), _Channel(0.4, low=-FAR)),
    "lch": (_Channel(100.0, high=100.0), _Channel(150.0), _HUE),
    "oklch": (_Channel(high=1.0), _Channel(0.4), _HUE),
}
_LEGACY = ("srgb", "hsl")
"""Spaces whose functions are older than CSS Color 4 and may have commas."""
_SPACE_OF = {"rgb": "srgb", "rgba": "srgb", "hsla": "hsl"}


def read_function(name: str, text: str, read_color: ReadColor) -> Found | None:
    """The color of a function, or None if it is unknown or its arguments are invalid.

    Args:
        name: The function's name, in lower case.
        text: What is between its parentheses, in lower case.
        read_color: Reads the colors among its arguments.
    """
    if name == "light-dark":
        # A file is drawn as on a light page.
        light, *others = _arguments(text)
        return read_color(light) if len(others) == 1 and read_color(others[0]) else None
    if name == "color-mix":
        return _mixed(_arguments(text), read_color)
    if name == "color":
        space, _, text = text.strip().partition(" ")
        values, alpha = _values(text)
        if space not in GIVEN_SPACES or len(values) != 3 or alpha is None or any(v.unit not in "%" for v in values):
            return None
        red, green, blue = (_bounded(value.number / (100 if value.unit else 1), -FAR, FAR) for value in values)
        return _found(GIVEN_SPACES[space]((red, green, blue)), alpha)
    return _plain(_SPACE_OF.get(name, name), text)


def _plain(space: str, text: str) -> Found | None:
    if space not in _CHANNELS:
        return None
    values, alpha = _values(text, legacy=space in _LEGACY)
    # Commas are the old syntax, in which rgb() may not mix numbers and percentages.
    mixed = space == "srgb" and "," in text and len({value.unit for value in values}) > 1
    if len(values) != 3 or alpha is None or mixed:
        return None
    channels = [_channel(value, channel) for value, channel in zip(values, _CHANNELS[space], strict=True)]
    one, two, three = channels
    if one is None or two is None or three is None:
        return None
    return _found(COLOR_SPACES[space].to_srgb((one, two, three)), alpha)


def _values(text: str, *, legacy: bool = False) -> tuple[list[_Value], float | None]:
    """The three values of a color function and its opacity; None as opacity if any of it cannot be read.

    They are words, then the opacity after a slash; in the `legacy` syntax they may be separated by commas instead.
    """
    if legacy and "," in text:
        channels = [part.strip() for part in text.split(",")]
        channels, opacity = channels[:3], channels[3:]
    else:
        before, slash, after = text.partition("/")
        channels, opacity = before.split(), [after.strip()] if slash else []
    if len(channels) != 3 or len(opacity) > 1:
        return [], None
    values = [_value(word) for word in (*channels, *opacity)]
    read = [value for value in values if value]
    if len(read) < len(values):
        return [], None
    return read[:3], _opacity(read[3]) if opacity else 1.0


def _value(word: str) -> _Value | None:
    match = _PART.fullmatch(word) if len(word) <= MAX_WORD else None
    if match is None:
        return None
    value = _Value(float(match[1] or 0), match[2] or "")
    return value if math.isfinite(value.number) else None


def _opacity(value: _Value) -> float | None:
    if value.unit not in ("", "%"):
        return None
    return _clamped(value.number / (100 if value.unit else 1))


def _channel(value: _Value, channel: _Channel) -> float | None:
    if channel.whole is None:
        return value.number * DEGREES[value.unit] if value.unit in DEGREES else None
    if value.unit not in ("", "%"):
        return None
    number = value.number / 100 * channel.whole if value.unit else value.number / channel.divisor
    return _bounded(number, channel.low, channel.high)


def _found(values: Triple, alpha: float) -> Found | None:
    if not math.isfinite(sum(values)):
        return None
    return Color(*map(_clamped, values)), alpha


def _clamped(value: float) -> float:
    return _bounded(value, 0.0, 1.0)


def _bounded(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _arguments(text: str) -> list[str]:
    """The arguments of a function, separated by commas outside of parentheses."""
    parts, depth = [""], 0
    for piece in re.split(r"([(),])", text):
        depth += (piece == "(") - (piece == ")")
        if piece == "," and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return [part.strip() for part in parts]


def _mixed(arguments: list[str], read_color: ReadColor) -> Found | None:
    """color-mix(in <space>, <color> <share>?, <color> <share>?) (CSS Color 5, section 3), along the shorter hue."""
    if len(arguments) != 3 or not arguments[0].startswith("in "):
        return None
    space = COLOR_SPACES.get(arguments[0].removeprefix("in ").strip())
    (one, p), (two, q) = map(_with_share, arguments[1:])
    first, second = read_color(one), read_color(two)
    if space is None or first is None or second is None:
        return None
    p = (50.0 if q is None else 100 - q) if p is None else p
    q = 100 - p if q is None else q
    if not (0 <= p <= 100 and 0 <= q <= 100 and p + q > 0):
        return None
    share, opacity = q / (p + q), min(p + q, 100) / 100
    a, b = space.from_srgb(first[0]), space.from_srgb(second[0])
    alpha = first[1] * (1 - share) + second[1] * share
    # Colors are weighted by their opacity, hues are not.
    weight = second[1] * share / alpha if alpha else share
    mixed = [x + (y - x) * weight for x, y in zip(a, b, strict=True)]
    if space.hue is not None:
        start, end = _hues(space, a, b)
        mixed[space.hue] = start + ((end - start + 180) % 360 - 180) * share
    x, y, z = mixed
    return _found(space.to_srgb((x, y, z)), alpha * opacity)


def _hues(space: ColorSpace, one: Triple, two: Triple) -> tuple[float, float]:
    """The hues of two colors; a gray has none of its own and takes the other's (CSS Color 4, section 12.2)."""
    hues = one[space.hue or 0], two[space.hue or 0]
    if space.colorfulness(one) < GRAY:
        return hues[1], hues[1]
    return (hues[0], hues[0]) if space.colorfulness(two) < GRAY else hues


def _with_share(text: str) -> tuple[str, float | None]:
    """A color and its percentage, which may stand on either side of it."""
    words = text.split()
    for at in (0, len(words) - 1):
        value = _value(words[at]) if words else None
        if value and value.unit == "%":
            return " ".join(words[:at] + words[at + 1 :]), value.number
    return text, None

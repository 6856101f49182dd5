"""The CSS properties `transform` and `transform-origin`, whose syntax differs from the attribute of SVG.

Lengths and angles have units, and percentages refer to a box (CSS Transforms 1, sections 4 to 13).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from ..cubics import Box
from ..document import IDENTITY, Matrix, Point
from ..numbers import NUMBER
from ..transforms import compose, read_transform
from .lengths import DEGREES, SHARES

Length = Callable[[str, float], float | None]
"""A length in user units, or None if it is invalid; the second argument is what 100% refers to."""

_FUNCTION = re.compile(r"\s*([a-zA-Z]+)\(([^()]*)\)\s*")
_ANGLE = re.compile(NUMBER + r"(deg|grad|rad|turn)")
_FACTOR = re.compile(NUMBER + r"(%?)")
MAX_ARGUMENT = 64
"""Characters of an argument; matching it takes time quadratic in its digits."""


def read_css_transform(text: str, box: Box, length: Length) -> Matrix:
    """The map described by a list of CSS transform functions of the plane.

    Args:
        text: The list.
        box: What percentages refer to.
        length: Reads lengths.

    Raises:
        ValueError: `text` is not such a list. The message is a clause without a period.
    """
    total, position = IDENTITY, 0
    while text != "none" and position < len(text):
        match = _FUNCTION.match(text, position)
        if match is None:
            raise ValueError(f"'{text[position : position + 40]}' is not a transform function")
        arguments = [argument.strip() for argument in match[2].split(",")]
        total = compose(total, _function(match[1].lower(), arguments, box, length))
        position = match.end()
    return total


def _function(name: str, arguments: list[str], box: Box, length: Length) -> Matrix:
    """One function, as the attribute has it."""
    if name in ("translate", "translatex", "translatey"):
        wholes = (box.height,) if name == "translatey" else (box.width, box.height)
        offsets = [_length(text, whole, length) for text, whole in zip(arguments, wholes)]
        x, y = (0.0, offsets[0]) if name == "translatey" else (*offsets, 0.0)[:2]
        return _counted(name, arguments, len(wholes) if name == "translate" else 1, Matrix(e=x, f=y))
    if name in ("scale", "scalex", "scaley"):
        factors = [_factor(text) for text in arguments]
        x, y = {"scalex": (factors[0], 1.0), "scaley": (1.0, factors[0])}.get(name, (factors[0], factors[-1]))
        return _counted(name, arguments, 2 if name == "scale" else 1, Matrix(a=x, d=y))
    if name in ("rotate", "skewx", "skewy"):
        turn = _angle(arguments[0])
        names = {"skewx": "skewX", "skewy": "skewY"}
        return _counted(name, arguments, 1, read_transform(f"{names.get(name, name)}({turn!r})"))
    if name == "skew":
        x, y = (*(math.tan(math.radians(_angle(text))) for text in arguments), 0.0)[:2]
        return _counted(name, arguments, 2, Matrix(c=x, b=y))
    if name == "matrix":
        return read_transform(f"matrix({','.join(arguments)})")
    raise ValueError(f"'{name[:40]}' is not a transform function of the plane")


def _counted(name: str, arguments: list[str], most: int, matrix: Matrix) -> Matrix:
    if len(arguments) > most:
        raise ValueError(f"'{name}' does not take {len(arguments)} arguments")
    return matrix


def _length(text: str, whole: float, length: Length) -> float:
    # Other than in attributes, only zero needs no unit.
    value = length(text, whole)
    if value is None or (value and text[-1:].isdigit()):
        raise ValueError(f"'{text[:40]}' is not a length with a unit")
    return value


def _factor(text: str) -> float:
    match = _FACTOR.fullmatch(text) if len(text) <= MAX_ARGUMENT else None
    if match is None:
        raise ValueError(f"'{text[:40]}' is not a number")
    return float(match[1]) / (100 if match[2] else 1)


def _angle(text: str) -> float:
    """An angle in degrees."""
    match = _ANGLE.fullmatch(text.lower()) if len(text) <= MAX_ARGUMENT else None
    if match is None and text != "0":
        raise ValueError(f"'{text[:40]}' is not an angle with a unit")
    degrees = float(match[1]) * DEGREES[match[2]] if match else 0.0
    return math.fmod(degrees, 360) if math.isfinite(degrees) else 0.0


def read_origin(text: str, box: Box, length: Length) -> Point | None:
    """The point that `transform-origin` describes, in the units of `box`; None if it is invalid."""
    words = text.lower().split()
    # The third is a depth, which does not matter in the plane.
    if not 1 <= len(words) <= 3 or (len(words) == 3 and length(words[2], 0.0) is None):
        return None
    words = words[:2] if len(words) > 1 else [*words, "center"]
    # Keywords may come in either order.
    if words[0] in ("top", "bottom") or words[1] in ("left", "right"):
        words.reverse()
    if words[0] in ("top", "bottom") or words[1] in ("left", "right"):
        return None
    x, y = (_offset(word, whole, length) for word, whole in zip(words, (box.width, box.height), strict=True))
    return None if x is None or y is None else Point(box.x + x, box.y + y)


def _offset(word: str, whole: float, length: Length) -> float | None:
    return whole * SHARES[word] if word in SHARES else length(word, whole)


def about(origin: Point, matrix: Matrix) -> Matrix:
    """A map applied with `origin` in place of the origin."""
    moved = compose(Matrix(e=origin.x, f=origin.y), matrix)
    return compose(moved, Matrix(e=-origin.x, f=-origin.y))

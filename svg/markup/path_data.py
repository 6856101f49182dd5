"""Parses path data (the `d` attribute) and draws its commands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from ..document import Point
from ..numbers import NUMBER
from .outlines import Outlines

_COMMAND = re.compile(r"\s*([MmLlHhVvCcSsQqTtAaZz])\s*")
_NUMBER = re.compile(NUMBER + r"\s*,?\s*")
_FLAG = re.compile(r"([01])\s*,?\s*")
_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}
_ARGUMENTS = {command: (_NUMBER,) * count for command, count in _COUNTS.items()}
# A flag is a single digit and needs no separator after it.
_ARGUMENTS["A"] = (_NUMBER, _NUMBER, _NUMBER, _FLAG, _FLAG, _NUMBER, _NUMBER)


class _SyntaxError(Exception):
    """The data is invalid from here on."""


def draw_path(outlines: Outlines, data: str) -> str:
    """Draw path data up to the first syntax error, as the SVG specification asks.

    Returns:
        A description of the error, such as "has '#' at character 8, where h needs a number", or "".

    Raises:
        SVGError: A coordinate is beyond 1e9, or there are more control points than `outlines` takes.
    """
    pen, error = _Pen(outlines), ""
    try:
        for command, arguments in _commands(data):
            pen.draw(command, arguments)
    except _SyntaxError as syntax_error:
        error = str(syntax_error)
    outlines.finish()
    return error


def _commands(data: str) -> Iterator[tuple[str, list[float]]]:
    """Commands with their arguments; further argument sets repeat the command (as L after M)."""
    data = data.strip()
    position = 0
    if data[:1] not in ("", "M", "m"):
        raise _SyntaxError(f"starts with '{data[:10]}' instead of M")
    while position < len(data):
        match = _COMMAND.match(data, position)
        if match is None:
            found = data[position : position + 10]
            raise _SyntaxError(f"has '{found}' at character {position + 1}, which is not a command")
        command, position = match[1], match.end()
        arguments, position = _arguments(data, position, command)
        yield command, arguments
        repeated = {"M": "L", "m": "l"}.get(command, command)
        while position < len(data) and arguments and not data[position].isalpha():
            arguments, position = _arguments(data, position, command)
            yield repeated, arguments


def _arguments(data: str, position: int, command: str) -> tuple[list[float], int]:
    numbers: list[float] = []
    for pattern in _ARGUMENTS[command.upper()]:
        match = pattern.match(data, position)
        if match is None:
            found = f"has '{data[position : position + 10]}'" if position < len(data) else "ends"
            raise _SyntaxError(f"{found} at character {position + 1}, where {command} needs a number")
        numbers.append(float(match[1]))
        position = match.end()
    return numbers, position


class _Pen:
    """Resolves relative coordinates and the implied control points of smooth curves."""

    def __init__(self, outlines: Outlines):
        self.outlines = outlines
        self._previous = ""
        self._control = Point(0.0, 0.0)
        """The last control point of the previous curve."""

    def draw(self, command: str, arguments: list[float]) -> None:
        """Draw one command; lower case means relative coordinates."""
        kind = command.upper()
        origin = self.outlines.current if command.islower() else Point(0.0, 0.0)
        getattr(self, f"_{kind.lower()}")(arguments, origin)
        self._previous = kind

    def _m(self, arguments: list[float], origin: Point) -> None:
        self.outlines.move(*_points(arguments, origin))

    def _z(self, arguments: list[float], origin: Point) -> None:
        # A Z right after another Z draws nothing, not even a dot.
        if self._previous == "Z":
            self.outlines.spend(1)
        else:
            self.outlines.close()

    def _l(self, arguments: list[float], origin: Point) -> None:
        self.outlines.line(*_points(arguments, origin))

    def _h(self, arguments: list[float], origin: Point) -> None:
        self.outlines.line(Point(arguments[0] + origin.x, self.outlines.current.y))

    def _v(self, arguments: list[float], origin: Point) -> None:
        self.outlines.line(Point(self.outlines.current.x, arguments[0] + origin.y))

    def _c(self, arguments: list[float], origin: Point) -> None:
        one, self._control, to = _points(arguments, origin)
        self.outlines.cubic(one, self._control, to)

    def _s(self, arguments: list[float], origin: Point) -> None:
        one = self._mirrored("CS")
        self._control, to = _points(arguments, origin)
        self.outlines.cubic(one, self._control, to)

    def _q(self, arguments: list[float], origin: Point) -> None:
        self._control, to = _points(arguments, origin)
        self.outlines.quadratic(self._control, to)

    def _t(self, arguments: list[float], origin: Point) -> None:
        self._control = self._mirrored("QT")
        self.outlines.quadratic(self._control, *_points(arguments, origin))

    def _a(self, arguments: list[float], origin: Point) -> None:
        radius_x, radius_y, rotation, large, sweep = arguments[:5]
        if not math.isfinite(rotation):
            raise _SyntaxError("has an arc with an infinite rotation")
        radii = Point(abs(radius_x), abs(radius_y))
        self.outlines.arc(radii, rotation, large == 1, sweep == 1, *_points(arguments[5:], origin))

    def _mirrored(self, commands: str) -> Point:
        """The previous curve's last handle, mirrored about the current point; that point if it was another command."""
        current = self.outlines.current
        if self._previous not in commands:
            return current
        return Point(2 * current.x - self._control.x, 2 * current.y - self._control.y)


def _points(arguments: list[float], origin: Point) -> list[Point]:
    left, top = origin
    return [Point(x + left, y + top) for x, y in zip(arguments[::2], arguments[1::2], strict=True)]

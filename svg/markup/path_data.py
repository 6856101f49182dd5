"""The attribute `d`: its grammar, and what its commands draw."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..document import Contour, Point
from ..numbers import NUMBER
from .outlines import Outlines

_COMMAND = re.compile(r"\s*([MmLlHhVvCcSsQqTtAaZz])\s*")
_NUMBER = re.compile(NUMBER + r"\s*,?\s*")
_FLAG = re.compile(r"([01])\s*,?\s*")
_COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "Z": 0}
_ARGUMENTS = {command: (_NUMBER,) * count for command, count in _COUNTS.items()}
# A flag is a single digit, which need not be set apart from what follows.
_ARGUMENTS["A"] = (_NUMBER, _NUMBER, _NUMBER, _FLAG, _FLAG, _NUMBER, _NUMBER)


class Path(NamedTuple):
    """What was drawn, and where the data stopped making sense, if it did."""

    contours: tuple[Contour, ...]
    error: str = ""


class _Stop(Exception):
    """The data makes no sense from here on."""


def read_path(data: str, most_points: int = 340_000) -> Path:
    """The contours of path data, up to the first error in it.

    Raises SVGError for coordinates beyond 1e9 and for more than `most_points` control points.
    """
    outlines = Outlines(most_points)
    error = draw_path(outlines, data)
    return Path(tuple(outlines.contours), error)


def draw_path(outlines: Outlines, data: str) -> str:
    """Draws until the data makes no sense; what is wrong there, or "" if nothing is."""
    pen, error = _Pen(outlines), ""
    try:
        for command, arguments in _commands(data):
            pen.draw(command, arguments)
    except _Stop as stop:
        error = str(stop)
    outlines.finish()
    return error


def _commands(data: str) -> Iterator[tuple[str, list[float]]]:
    """Commands with their arguments; a command is repeated for each set of arguments that follows it."""
    data = data.strip()
    position = 0
    if data[:1] not in ("", "M", "m"):
        raise _Stop(f"begins with '{data[:10]}' instead of M")
    while position < len(data):
        match = _COMMAND.match(data, position)
        if match is None:
            raise _Stop(f"has '{data[position : position + 10]}' at character {position + 1}, which is no command")
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
            found = f"'{data[position : position + 10]}'" if position < len(data) else "its end"
            raise _Stop(f"has {found} at character {position + 1}, where {command} needs a number")
        numbers.append(float(match[1]))
        position = match.end()
    return numbers, position


class _Pen:
    """Makes commands absolute and gives the smooth ones their control points."""

    def __init__(self, outlines: Outlines):
        self.outlines = outlines
        self._previous = ""
        self._control = Point(0.0, 0.0)
        """The last control point of the previous curve."""

    def draw(self, command: str, arguments: list[float]) -> None:
        kind = command.upper()
        origin = self.outlines.current if command.islower() else Point(0.0, 0.0)
        getattr(self, f"_{kind.lower()}")(arguments, origin)
        self._previous = kind

    def _m(self, arguments: list[float], origin: Point) -> None:
        self.outlines.move(*_points(arguments, origin))

    def _z(self, arguments: list[float], origin: Point) -> None:
        # Without a command since the last Z it draws nothing, not a dot.
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
        radius_x, radius_y, turn, large, sweep = arguments[:5]
        if not math.isfinite(turn):
            raise _Stop("has an arc that is turned by an infinite angle")
        radii = Point(abs(radius_x), abs(radius_y))
        self.outlines.arc(radii, turn, large == 1, sweep == 1, *_points(arguments[5:], origin))

    def _mirrored(self, commands: str) -> Point:
        """The previous curve's last control point, mirrored at its end, if a curve of this kind came before."""
        current = self.outlines.current
        if self._previous not in commands:
            return current
        return Point(2 * current.x - self._control.x, 2 * current.y - self._control.y)


def _points(arguments: list[float], origin: Point) -> list[Point]:
    left, top = origin
    return [Point(x + left, y + top) for x, y in zip(arguments[::2], arguments[1::2])]

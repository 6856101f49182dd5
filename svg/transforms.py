"""Affine maps: compose, invert, apply, decompose, and parse the `transform` attribute."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable

from .document import IDENTITY, Contour, Matrix, Point
from .numbers import NUMBER

SIMILAR = 1e-5
"""A map counts as a similarity if its two singular values differ by at most this, relative to the larger."""
FLAT = 1e-6
"""A map counts as singular if |det| is at most this fraction of its squared Frobenius norm."""

_FUNCTION = re.compile(r"[\s,]*([a-zA-Z]+)\s*\(([^()]*)\)[\s,]*")
_ARGUMENT = re.compile(r"[\s,]*" + NUMBER + r"[\s,]*")


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The map that applies `inner` first, then `outer`."""
    return Matrix(
        outer.a * inner.a + outer.c * inner.b,
        outer.b * inner.a + outer.d * inner.b,
        outer.a * inner.c + outer.c * inner.d,
        outer.b * inner.c + outer.d * inner.d,
        outer.a * inner.e + outer.c * inner.f + outer.e,
        outer.b * inner.e + outer.d * inner.f + outer.f,
    )


def apply(matrix: Matrix, point: Point) -> Point:
    """The image of a point."""
    a, b, c, d, e, f = matrix
    x, y = point
    return Point(a * x + c * y + e, b * x + d * y + f)


def apply_to(matrix: Matrix, contours: Iterable[Contour]) -> tuple[Contour, ...]:
    """The images of contours."""
    if matrix == IDENTITY:
        return tuple(contours)
    a, b, c, d, e, f = matrix
    # As in `apply`, without a call for each point.
    return tuple(
        Contour(tuple([Point(a * x + c * y + e, b * x + d * y + f) for x, y in contour.points]), contour.closed)
        for contour in contours
    )


def determinant(matrix: Matrix) -> float:
    """The factor by which areas scale; negative if the map mirrors."""
    return matrix.a * matrix.d - matrix.b * matrix.c


def invertible(matrix: Matrix) -> bool:
    """Whether the map is finite and far enough from singular to be inverted accurately."""
    return math.isfinite(sum(matrix)) and abs(determinant(matrix)) > FLAT * _square(matrix)


def inverse(matrix: Matrix) -> Matrix:
    """The inverse map; `matrix` must be `invertible`."""
    a, b, c, d, e, f = matrix
    det = determinant(matrix)
    linear = Matrix(d / det, -b / det, -c / det, a / det)
    back = apply(linear, Point(e, f))
    return linear._replace(e=-back.x, f=-back.y)


def linear_part(matrix: Matrix) -> Matrix:
    """The map without its translation."""
    return matrix._replace(e=0.0, f=0.0)


def scales(matrix: Matrix) -> tuple[float, float]:
    """The largest and smallest factors by which lengths scale (the singular values)."""
    det, half = abs(determinant(matrix)), _square(matrix) / 2
    difference = math.sqrt(max(half - det, 0) * (half + det))
    largest = math.sqrt(half + difference)
    return largest, det / largest if largest else 0.0


def similarity(matrix: Matrix) -> float | None:
    """The factor by which all lengths scale, or None if it depends on the direction."""
    largest, smallest = scales(matrix)
    return math.sqrt(largest * smallest) if largest - smallest <= SIMILAR * largest else None


def polar(matrix: Matrix) -> tuple[Matrix, Matrix]:
    """Polar decomposition of the linear part of an invertible map: (symmetric stretch S, orthogonal Q), A = S Q.

    For 2 x 2 matrices it has a closed form. With C the cofactor matrix of A, A + sign(det) C is a multiple of Q, and
    S^2 = A A^T gives S = (A A^T + |det| I) / trace(S) by Cayley-Hamilton, where trace(S)^2 = |A|_F^2 + 2 |det|. Both
    are divided by that trace, `size`.
    """
    a, b, c, d, _, _ = matrix
    det = determinant(matrix)
    side = math.copysign(1.0, det)
    size = math.sqrt(_square(matrix) + 2 * abs(det))
    skew = (a * b + c * d) / size
    stretch = Matrix((a * a + c * c + abs(det)) / size, skew, skew, (b * b + d * d + abs(det)) / size)
    turn = Matrix((a + side * d) / size, (b - side * c) / size, (c - side * b) / size, (d + side * a) / size)
    return stretch, turn


def _square(matrix: Matrix) -> float:
    return matrix.a * matrix.a + matrix.b * matrix.b + matrix.c * matrix.c + matrix.d * matrix.d


def read_transform(text: str) -> Matrix:
    """The map described by a `transform` attribute: a list of functions of plain numbers, with angles in degrees.

    Raises:
        ValueError: `text` is not a list of transform functions. The message is a clause without a period.
    """
    total, position = IDENTITY, 0
    text = text.strip()
    if text == "none":
        return IDENTITY
    while position < len(text):
        match = _FUNCTION.match(text, position)
        if match is None:
            raise ValueError(f"'{text[position : position + 40]}' is not a transform function")
        total = compose(total, _function(match[1], _arguments(match[2])))
        position = match.end()
    return total


def _arguments(text: str) -> list[float]:
    numbers, position = [], 0
    while position < len(text):
        match = _ARGUMENT.match(text, position)
        if match is None:
            raise ValueError(f"'{text[position : position + 40]}' is not a number")
        numbers.append(float(match[1]))
        if not math.isfinite(numbers[-1]):
            raise ValueError(f"'{match[1][:40]}' is too large")
        position = match.end()
    return numbers


def _function(name: str, arguments: list[float]) -> Matrix:
    if name not in _FUNCTIONS:
        raise ValueError(f"'{name[:40]}' is not a transform function")
    counts, make = _FUNCTIONS[name]
    if len(arguments) not in counts:
        raise ValueError(f"'{name}' does not take {len(arguments)} arguments")
    return make(*arguments)


def _rotate(degrees: float, x: float = 0.0, y: float = 0.0) -> Matrix:
    radians = math.radians(math.fmod(degrees, 360))
    cos, sin = math.cos(radians), math.sin(radians)
    return Matrix(cos, sin, -sin, cos, x - cos * x + sin * y, y - sin * x - cos * y)


def _tangent(degrees: float) -> float:
    return math.tan(math.radians(math.fmod(degrees, 180)))


_FUNCTIONS: dict[str, tuple[tuple[int, ...], Callable[..., Matrix]]] = {
    "matrix": ((6,), Matrix),
    "translate": ((1, 2), lambda x, y=0.0: Matrix(e=x, f=y)),
    "scale": ((1, 2), lambda x, y=None: Matrix(a=x, d=x if y is None else y)),
    "rotate": ((1, 3), _rotate),
    "skewX": ((1,), lambda degrees: Matrix(c=_tangent(degrees))),
    "skewY": ((1,), lambda degrees: Matrix(b=_tangent(degrees))),
}
"""Allowed argument counts of each transform function, and the function that builds its map."""

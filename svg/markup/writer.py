"""Writes documents as compact SVG files that parse back to the same values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from ..cubics import cubics
from ..document import (
    IDENTITY,
    Color,
    Contour,
    Document,
    Group,
    LinearGradient,
    Node,
    Paint,
    Point,
    RadialGradient,
    Shape,
)
from ..numbers import joined, short
from .lengths import read_length
from .normal_form import Gradient
from .outlines import is_dot, line
from .rounding import rounded
from .xml import SVG_NAMESPACE, as_id, readable

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})


def write(document: Document, *, precision: int = 2) -> str:
    """The text of an SVG file.

    Unnamed groups without effect, zero-length cubics and anything that paints nothing are dropped. Parsing the text and
    writing it again gives the same text.

    Args:
        document: The drawing.
        precision: Coordinates are rounded to within 10^-precision pixels at a canvas size of 1000 pixels (the longer
            side of the view box). More than 2 makes no visible difference: drawings of icons rendered at 2048 pixels
            change by less than 0.01 dB.

    Raises:
        ValueError: The view box has no area, or a number is not finite.
    """
    box = document.view_box
    if not (math.isfinite(sum(box)) and box.width > 0 and box.height > 0):
        raise ValueError(f"The drawing's view box is {tuple(box)}. Set its width and height to finite numbers above 0.")
    error = max(box.width, box.height) * 10.0 ** (-precision - 3)
    body = _Body(rounded(document.children, error), document.name)
    title = " ".join(readable(document.title).split()).translate(_ESCAPES)
    head = [f"  <title>{title}</title>"] if title else []
    return "\n".join(
        [f"<svg{_attributes(_root(document, body.root_name))}>", *head, *body.definitions(), *body.lines, "</svg>\n"]
    )


def _root(document: Document, name: str) -> dict[str, str]:
    sizes = {"width": document.width, "height": document.height}
    return {
        "xmlns": SVG_NAMESPACE,
        **({"id": name} if name else {}),
        "viewBox": " ".join(map(short, map(float, document.view_box))),
        **{name: size.strip() for name, size in sizes.items() if size and (read_length(size, 100.0) or 0.0) > 0},
    }


class _Body:
    """The lines of the body, and the gradients and clips they refer to."""

    def __init__(self, nodes: Sequence[Node], root_name: str):
        self._names = _Names()
        self.root_name = self._names.unique(as_id(root_name))
        # All node names are reserved before any gradient gets one.
        walked = list(_walk(nodes))
        originals_first = sorted(range(len(walked)), key=lambda index: walked[index].copied)
        names = {index: self._names.unique(walked[index].name) for index in originals_first}
        self._next_name = iter([names[index] for index in range(len(walked))])
        self._gradients: dict[str, str] = {}
        """Gradient ids by the gradient's element without its id."""
        self._clips: dict[str, str] = {}
        """Clip ids by the <clipPath> element without its id."""
        self.lines = [line for node in nodes for line in self._lines(node, "  ")]

    def definitions(self) -> list[str]:
        """The lines of <defs>; empty without gradients and clips."""
        named = {**self._gradients, **self._clips}.items()
        elements = [re.sub(r"^<\w+", rf'\g<0> id="{name}"', text) for text, name in named]
        return ["  <defs>", *(f"    {element}" for element in elements), "  </defs>"] if elements else []

    def _lines(self, node: Node, indent: str) -> Iterator[str]:
        name = next(self._next_name)
        identity = {"id": name} if name else {}
        if isinstance(node, Shape):
            yield f"{indent}<path{_attributes({**identity, **self._shape(node)})}/>"
            return
        clip = {"clip-path": f"url(#{self._clip(node.clip)})"} if node.clip else {}
        yield f"{indent}<g{_attributes({**identity, **_unless_default('opacity', node.opacity, 1.0), **clip})}>"
        for child in node.children:
            yield from self._lines(child, indent + "  ")
        yield f"{indent}</g>"

    def _clip(self, nodes: Sequence[Node]) -> str:
        """The id of the <clipPath> with these nodes."""
        only, outer = nodes[0], {}
        if len(nodes) == 1 and isinstance(only, Group):
            nodes, outer = only.children, {"clip-path": f"url(#{self._clip(only.clip)})"}
        shapes = "".join(shape for node in nodes for shape in self._clip_shapes(node, ()))
        text = f"<clipPath{_attributes(outer)}>{shapes}</clipPath>"
        if text not in self._clips:
            self._clips[text] = self._names.numbered("clip")
        return self._clips[text]

    def _clip_shapes(self, node: Node, clip: Sequence[Node]) -> Iterator[str]:
        """The elements in a <clipPath> of a node that is clipped by `clip` too."""
        if isinstance(node, Group):
            inner = [Group(tuple(node.clip), clip=tuple(clip))] if clip else node.clip
            for child in node.children:
                yield from self._clip_shapes(child, inner)
            return
        rule = node.fill.rule if node.fill else "nonzero"
        attributes = {
            "d": "".join(_path_data(contour) for contour in node.contours),
            **_unless_default("clip-rule", rule, "nonzero"),
            **({"clip-path": f"url(#{self._clip(clip)})"} if clip else {}),
        }
        yield f"<path{_attributes(attributes)}/>"

    def _shape(self, shape: Shape) -> dict[str, str]:
        pen = shape.stroke.pen if shape.stroke else IDENTITY
        return {
            "d": "".join(_path_data(contour) for contour in shape.contours),
            **({} if pen == IDENTITY else {"transform": f"matrix({joined(pen)})"}),
            **self._fill(shape),
            **self._stroke(shape),
        }

    def _fill(self, shape: Shape) -> dict[str, str]:
        fill = shape.fill
        if fill is None:
            return {"fill": "none"}
        return {
            "fill": self._paint(fill.paint),
            **_unless_default("fill-opacity", fill.opacity, 1.0),
            **_unless_default("fill-rule", fill.rule, "nonzero"),
        }

    def _stroke(self, shape: Shape) -> dict[str, str]:
        stroke = shape.stroke
        if stroke is None:
            return {}
        return {
            "stroke": self._paint(stroke.paint),
            **_unless_default("stroke-opacity", stroke.opacity, 1.0),
            **_unless_default("stroke-width", stroke.width, 1.0),
            **_unless_default("stroke-linecap", stroke.cap, "butt"),
            **_unless_default("stroke-linejoin", stroke.join, "miter"),
            **_unless_default("stroke-miterlimit", stroke.miter_limit, 4.0),
        }

    def _paint(self, paint: Paint) -> str:
        if isinstance(paint, Color):
            return _hex(paint)
        text = _gradient(paint)
        if text not in self._gradients:
            self._gradients[text] = self._names.numbered("gradient")
        return f"url(#{self._gradients[text]})"


class _Names:
    """Hands out unique ids."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}
        """The number to try next, by stem: all before it are taken."""

    def unique(self, name: str) -> str:
        """An id with a numeric suffix if it is taken; "" stays ""."""
        if name in self._taken:
            name = self.numbered(f"{name}-", start=2)
        if name:
            self._taken.add(name)
        return name

    def numbered(self, stem: str, start: int = 1) -> str:
        """The first unused id of stem1, stem2, ..."""
        number = next(n for n in count(self._next.get(stem, start)) if f"{stem}{n}" not in self._taken)
        self._next[stem] = number + 1
        self._taken.add(f"{stem}{number}")
        return f"{stem}{number}"


def _walk(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        yield node
        if isinstance(node, Group):
            yield from _walk(node.children)


def _path_data(contour: Contour) -> str:
    start = contour.points[0]
    parts = [f"M{joined(start)}"]
    if is_dot(contour):
        return f"{parts[0]}H{short(start.x)}"
    pieces = list(cubics(contour))
    if contour.closed and pieces[-1][1:] == line(pieces[-1][0], pieces[-1][3]):
        pieces.pop()
    previous = "M"
    for p0, p1, p2, p3 in pieces:
        command, arguments = _command(p0, p1, p2, p3)
        numbers = joined(arguments)
        if command != previous:
            parts.append(command)
        elif not numbers.startswith("-"):
            parts.append(" ")
        parts.append(numbers)
        previous = command
    return "".join([*parts, "Z"] if contour.closed else parts)


def _command(p0: Point, p1: Point, p2: Point, p3: Point) -> tuple[str, tuple[float, ...]]:
    if (p1, p2, p3) != line(p0, p3):
        return "C", (*p1, *p2, *p3)
    if p0.y == p3.y:
        return "H", (p3.x,)
    return ("V", (p3.y,)) if p0.x == p3.x else ("L", p3)


def _gradient(gradient: Gradient) -> str:
    """The gradient element without an id."""
    if isinstance(gradient, LinearGradient):
        (x1, y1), (x2, y2) = gradient.start, gradient.end
        tag, places = "linearGradient", {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    else:
        tag, places = "radialGradient", _circle(gradient)
    transform = gradient.transform
    attributes = {
        "gradientUnits": "userSpaceOnUse",
        **{name: short(value) for name, value in places.items()},
        **({} if transform == IDENTITY else {"gradientTransform": f"matrix({joined(transform)})"}),
        **_unless_default("spreadMethod", gradient.spread, "pad"),
    }
    stops = "".join(
        f'<stop offset="{short(stop.offset)}" stop-color="{_hex(stop.color)}"'
        f"{_attributes(_unless_default('stop-opacity', stop.opacity, 1.0))}/>"
        for stop in gradient.stops
    )
    return f"<{tag}{_attributes(attributes)}>{stops}</{tag}>"


def _circle(gradient: RadialGradient) -> dict[str, float]:
    center, focus = gradient.center, gradient.focus
    places = {"cx": center.x, "cy": center.y, "r": gradient.radius}
    return places if focus == center else {**places, "fx": focus.x, "fy": focus.y}


def _unless_default(name: str, value: float | str, default: float | str) -> dict[str, str]:
    if value == default:
        return {}
    return {name: value if isinstance(value, str) else short(value)}


def _hex(color: Color) -> str:
    return "#" + "".join(f"{round(value * 255):02x}" for value in color)


def _attributes(values: Mapping[str, str]) -> str:
    return "".join(f' {name}="{value.translate(_ESCAPES)}"' for name, value in values.items())

"""Shape elements to shapes: their outlines, and how those are filled and stroked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar, get_args

from ..cubics import Box, bounds
from ..document import (
    BLACK,
    IDENTITY,
    Cap,
    Color,
    Contour,
    Fill,
    FillRule,
    Join,
    LinearGradient,
    Matrix,
    Paint,
    Shape,
    Stroke,
)
from ..transforms import apply_to, linear_part, similarity
from . import basic_shapes
from .colors import read_color
from .dashes import dashed, read_pattern
from .effort import Effort, Kind
from .gradients import GRADIENTS, Find, Gradients
from .normal_form import visible_paint
from .outlines import FARTHEST, Outlines, TooManyPoints, is_dot
from .path_data import draw_path
from .report import Report
from .styles import Cascade, Viewport, font_size, read_length, read_share
from .xml import Element, SVGError

_AXES = {
    "x": 0,
    "cx": 0,
    "rx": 0,
    "x1": 0,
    "x2": 0,
    "width": 0,
    "y": 1,
    "cy": 1,
    "ry": 1,
    "y1": 1,
    "y2": 1,
    "height": 1,
}
_NO_FILL = ("line",)
"""Elements that enclose no area."""
_ALIKE = ("path", "polyline", "polygon")
"""Elements whose outlines do not depend on what is around them, so that they need not be read for each <use>."""

_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True)
class _Subject:
    """A shape element with its outlines in its own units, and what it gets from around it."""

    element: Element
    style: dict[str, str]
    transform: Matrix
    viewport: Viewport
    contours: tuple[Contour, ...]

    @property
    def font_size(self) -> float:
        return font_size(self.style)

    @cached_property
    def box(self) -> Box | None:
        return bounds(self.contours)


class Painter:
    """Makes shapes of elements, within what a document may hold altogether."""

    def __init__(self, ids: dict[str, Element], find: Find, cascade: Cascade, effort: Effort, report: Report):
        self._ids, self._effort, self._report = ids, effort, report
        self._gradients = Gradients(find, cascade, effort, report)
        self._known: dict[Element, tuple[Contour, ...]] = {}

    def shapes(self, element: Element, style: dict[str, str], transform: Matrix, viewport: Viewport) -> list[Shape]:
        """One shape, or two where the stroke is dashed; none where nothing is painted."""
        if style.get("visibility", "visible") != "visible":
            return []
        contours = self._contours(element, style, viewport)
        subject = _Subject(element, style, transform, viewport, contours)
        fill, stroke = self._fill(subject), self._stroke(subject)
        if not contours or not (fill or stroke):
            return []
        name = element.attributes.get("id", "")
        pattern = self._pattern(subject) if stroke else None
        if not stroke or pattern is None:
            return self._placed(subject, contours, fill, stroke, name)
        filled = self._placed(subject, contours, fill, None, name)
        return filled + self._placed(subject, self._dashed(subject, *pattern), None, stroke, name)

    def referred(self, value: str) -> Element | None:
        """The element that url(#id) names, if it is in this document."""
        name, _ = _reference(value) or ("", "")
        return self._ids.get(name[1:]) if name.startswith("#") else None

    def _placed(
        self, subject: _Subject, contours: tuple[Contour, ...], fill: Fill | None, stroke: Stroke | None, name: str
    ) -> list[Shape]:
        """The shape in user units, without contours that cannot be seen."""
        if stroke is None or stroke.cap == "butt":
            contours = tuple(contour for contour in contours if not is_dot(contour))
        contours = apply_to(subject.transform, contours)
        if any(max(map(max, c.points)) > FARTHEST or min(map(min, c.points)) < -FARTHEST for c in contours):
            raise SVGError(
                f"A point of {subject.element.where()} lies beyond {FARTHEST:g} after its transforms: correct them."
            )
        return [Shape(contours, fill, stroke, name)] if contours and (fill or stroke) else []

    def _contours(self, element: Element, style: dict[str, str], viewport: Viewport) -> tuple[Contour, ...]:
        if (known := self._known.get(element)) is not None:
            self._effort.spend("control points", points_of(known), element)
            return known
        outlines = Outlines(self._effort.left("control points"))
        with _named(element), suppress(TooManyPoints):
            self._draw(outlines, element, style, viewport)
        # Where there were too many this says so, with all else that the drawing has.
        self._effort.spend("control points", outlines.spent, element)
        contours = tuple(outlines.contours)
        if element.tag in _ALIKE:
            self._known[element] = contours
        return contours

    def _draw(self, outlines: Outlines, element: Element, style: dict[str, str], viewport: Viewport) -> None:
        if element.tag == "path":
            if draw_path(outlines, element.attributes.get("d", "")):
                self._report.add("Path data with an error is drawn up to it", element)
        elif element.tag in ("polyline", "polygon"):
            points = element.attributes.get("points", "")
            if not basic_shapes.draw_polyline(outlines, points, closed=element.tag == "polygon"):
                self._report.add("A list of points with an error is drawn up to it", element)
        else:
            draw = {"rect": basic_shapes.draw_rect, "line": basic_shapes.draw_line}
            length = self._lengths(_Subject(element, style, IDENTITY, viewport, ()))
            draw.get(element.tag, basic_shapes.draw_ellipse)(outlines, length)

    def _lengths(self, subject: _Subject) -> Callable[[str], float | None]:
        wholes = (*subject.viewport, subject.viewport.diagonal)

        def length(name: str) -> float | None:
            text = subject.element.attributes.get(name, "auto").strip()
            if text == "auto":
                return None
            value = read_length(text, wholes[_AXES.get(name, 2)], subject.font_size)
            if value is None:
                self._report.add(f"A {name} that is no length is ignored", subject.element)
            return value

        return length

    def _fill(self, subject: _Subject) -> Fill | None:
        if subject.element.tag in _NO_FILL:
            return None
        found = self._paint(subject, "fill", "black")
        if found is None:
            return None
        paint, opacity = found
        rule = self._word(subject, "fill-rule", get_args(FillRule), "nonzero")
        return Fill(paint, opacity * self._share(subject, "fill-opacity"), rule)

    def _stroke(self, subject: _Subject) -> Stroke | None:
        width = self._length(subject, "stroke-width", "1")
        found = self._paint(subject, "stroke", "none") if width > 0 else None
        if found is None:
            return None
        paint, opacity = found
        scale = similarity(subject.transform)
        if scale is not None and width * scale > FARTHEST:
            raise SVGError(
                f"The stroke of {subject.element.where()} is wider than {FARTHEST:g} after its transforms: correct "
                "them, or its stroke-width."
            )
        return Stroke(
            paint,
            opacity * self._share(subject, "stroke-opacity"),
            width if scale is None else width * scale,
            self._word(subject, "stroke-linecap", get_args(Cap), "butt"),
            self._word(subject, "stroke-linejoin", get_args(Join), "miter"),
            self._miter_limit(subject),
            linear_part(subject.transform) if scale is None else IDENTITY,
        )

    def _miter_limit(self, subject: _Subject) -> float:
        text = subject.style.get("stroke-miterlimit", "4")
        limit = read_length(text, 0.0)
        if limit is None or limit < 1:
            self._report.add("A stroke-miterlimit that is no number from 1 is ignored", subject.element)
            return 4.0
        return min(limit, FARTHEST)

    def _paint(self, subject: _Subject, name: str, default: str) -> tuple[Paint, float] | None:
        """What a property paints with, in user units, and the opacity of that; None if it paints nothing."""
        text = subject.style.get(name, default)
        reference = _reference(text)
        if reference is None:
            return self._color(subject, name, text)
        element = self.referred(text)
        if element is not None and element.tag in GRADIENTS:
            self._effort.spend("control points compared with boxes", points_of(subject.contours), subject.element)
            self._effort.spend("painted gradients", 1, subject.element)
            gradient = self._gradients.read(element, subject.box, subject.viewport)
            found = visible_paint(gradient, subject.transform) if gradient else None
            if gradient and not found:
                self._report.add(
                    f"A {name} with a gradient whose transform flattens it is not painted", subject.element
                )
            if found and not _reachable(found[0]):
                self._report.add(f"A {name} with a gradient beyond {FARTHEST:g} is not painted", subject.element)
                found = None
        else:
            what = f"with a <{element.tag[:40]}>" if element else "that refers to nothing in the document"
            self._report.add(f"A {name} {what} is not painted", subject.element)
            found = None
        return found or (self._color(subject, name, reference[1]) if reference[1] else None)

    def _color(self, subject: _Subject, name: str, text: str) -> tuple[Color, float] | None:
        if text.strip().lower() == "none":
            return None
        current = read_color(subject.style.get("color", "black"))
        found = read_color(text, current[0] if current else BLACK)
        if found is None:
            self._report.add(f"The {name} '{text[:40]}' is no known colour and is left out", subject.element)
        return found

    def _pattern(self, subject: _Subject) -> tuple[tuple[float, ...], float] | None:
        """Lengths and offset of dashes in the shape's own units; None where the stroke is solid."""
        text = subject.style.get("stroke-dasharray", "none").strip()
        if text in ("none", ""):
            return None
        whole = subject.viewport.diagonal
        words = re.split(r"[\s,]+", text)
        self._effort.spend("lengths of dashes", len(words), subject.element)
        size = subject.font_size
        lengths = [read_length(word, whole, size) for word in words]
        known = [length for length in lengths if length is not None]
        if len(known) < len(lengths) or min(known) < 0:
            self._report.add("A stroke-dasharray with something else than lengths is ignored", subject.element)
            return None
        pattern = read_pattern(known)
        return None if pattern is None else (pattern, self._length(subject, "stroke-dashoffset", "0"))

    def _dashed(self, subject: _Subject, pattern: tuple[float, ...], offset: float) -> tuple[Contour, ...]:
        if "pathLength" in subject.element.attributes:
            self._report.add("The pathLength of a dashed outline is ignored", subject.element)

        def spend(kind: Kind, count: int) -> None:
            self._effort.spend(kind, count, subject.element)

        return dashed(subject.contours, pattern, offset, partial(spend, "curves with dashes"), partial(spend, "dashes"))

    def _length(self, subject: _Subject, name: str, default: str) -> float:
        text = subject.style.get(name, default)
        value = read_length(text, subject.viewport.diagonal, subject.font_size)
        if value is None:
            self._report.add(f"A {name} that is no length is ignored", subject.element)
            return float(default)
        if abs(value) > FARTHEST:
            self._report.add(f"A {name} beyond {FARTHEST:g} is ignored", subject.element)
            return float(default)
        return value

    def _share(self, subject: _Subject, name: str) -> float:
        share = read_share(subject.style.get(name, "1"))
        if share is None:
            self._report.add(f"A {name} that is no number is ignored", subject.element)
            return 1.0
        return share

    def _word(self, subject: _Subject, name: str, known: tuple[_Word, ...], default: _Word) -> _Word:
        text = subject.style.get(name, default)
        found = next((word for word in known if word == text), None)
        if found is None:
            self._report.add(f"The {name} '{text[:40]}' is not known; '{default}' is drawn", subject.element)
        return found or default


def _reachable(paint: Paint) -> bool:
    """Whether a paint lies where it can be computed with."""
    if isinstance(paint, Color):
        return True
    places = (paint.start, paint.end) if isinstance(paint, LinearGradient) else (paint.centre, paint.focus)
    size = 0.0 if isinstance(paint, LinearGradient) else paint.radius
    return all(abs(value) <= FARTHEST for value in (*places[0], *places[1], size, *paint.transform))


def points_of(contours: Iterable[Contour]) -> int:
    """How many control points contours have."""
    return sum(len(contour.points) for contour in contours)


@contextmanager
def _named(element: Element) -> Iterator[None]:
    """Errors say which element they are about."""
    try:
        yield
    except SVGError as error:
        raise SVGError(f"{element.where()} cannot be drawn. {error}") from None


def _reference(value: str) -> tuple[str, str] | None:
    """The address in `url(address) rest`, and the rest; None where a value is no reference."""
    value = value.strip()
    inside, closing, rest = value.removeprefix("url(").partition(")")
    if not (closing and value.startswith("url(")):
        return None
    return inside.strip().strip("\"'").strip(), rest.strip()

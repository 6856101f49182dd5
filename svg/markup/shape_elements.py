"""Turns shape elements (<path>, <rect>, ...) into `Shape`s: outlines, fill, stroke and dashes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar, get_args

from ..cubics import Box, bounds, cubics
from ..cubics import length as curve_length
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
    Node,
    Paint,
    Shape,
    Stroke,
)
from ..transforms import apply_to, linear_part, similarity
from . import basic_shapes
from .budget import CostKind, ParseBudget
from .colors import read_color
from .context import CONTEXT_PAINTS, Context
from .dashes import dashed, read_pattern
from .extents import point_count
from .gradients import GRADIENTS, Find, Gradients
from .lengths import Viewport, read_fraction, read_length
from .normal_form import visible_paint
from .outlines import MAX_COORDINATE, Outlines, TooManyPoints, is_dot
from .path_data import draw_path
from .properties import PAINTED, reference
from .report import LENGTH_ADVICE, Report
from .styles import Cascade, font_size
from .vertices import TracedOutlines, Vertex
from .xml import Element, SVGError

_AXES = {
    **dict.fromkeys(("x", "cx", "rx", "x1", "x2", "width"), 0),
    **dict.fromkeys(("y", "cy", "ry", "y1", "y2", "height"), 1),
}
"""Which side of the viewport percentages of an attribute refer to; the diagonal for all others."""
_NO_FILL = ("line",)
"""Elements without an interior. In bounding boxes, their outlines count like those of others."""
_DRAW = {
    "rect": basic_shapes.draw_rect,
    "circle": basic_shapes.draw_circle,
    "ellipse": basic_shapes.draw_ellipse,
    "line": basic_shapes.draw_line,
}
"""Elements whose attributes are lengths."""
_CACHEABLE = ("path", "polyline", "polygon")
"""Elements whose outlines do not depend on style or viewport, so each is parsed only once, however often used."""

_Keyword = TypeVar("_Keyword", bound=str)


@dataclass(frozen=True)
class _StyledShape:
    """A shape element with its computed style, its outlines in its own units, and the transform to user units."""

    element: Element
    style: dict[str, str]
    transform: Matrix
    viewport: Viewport
    contours: tuple[Contour, ...]
    classes: frozenset[str] = frozenset()

    def length(self, text: str, whole: float) -> float | None:
        """A length in user units, or None if it is invalid; `whole` is what 100% refers to."""
        return read_length(text, whole, font_size(self.style), self.viewport.root_font_size)

    @cached_property
    def box(self) -> Box | None:
        return bounds(self.contours)


class ShapeReader:
    """Reads the shape elements of one document, within its budget."""

    def __init__(self, ids: dict[str, Element], find: Find, cascade: Cascade, budget: ParseBudget, report: Report):
        self._ids, self._budget, self._report = ids, budget, report
        self._gradients = Gradients(find, cascade, budget, report)
        self._cached_contours: dict[Element, tuple[Contour, ...]] = {}

    def nodes(self, element: Element, context: Context, markers: Sequence[Node] = ()) -> list[Node]:
        """The shapes of an element and its markers, in the order in which they are painted.

        There are two shapes if its stroke is dashed or not painted right after its fill, none if it paints nothing.

        Args:
            element: A shape element.
            context: Its computed properties, its transform to user units, and its viewport.
            markers: Its markers.

        Raises:
            SVGError: The budget is exceeded, or a coordinate is out of range.
        """
        if context.style.get("visibility", "visible") != "visible":
            return []
        contours = self._contours(element, context.style, context.viewport)
        subject = _StyledShape(element, context.style, context.transform, context.viewport, contours, context.classes)
        has_fill = context.outlines == "box" or element.tag not in _NO_FILL
        fill, stroke = self._fill(subject) if has_fill else None, self._stroke(subject)
        pattern = self._dash_pattern(subject) if stroke else None
        order = [part for part in self._paint_order(subject) if markers or part != "markers"]
        parts: dict[str, Sequence[Node]] = {"fill": (), "stroke": (), "markers": markers}
        if fill and stroke and pattern is None and order.index("stroke") == order.index("fill") + 1:
            parts["fill"] = self._placed(subject, contours, fill, stroke)
        else:
            outlines = contours if pattern is None else self._dashed(subject, *pattern)
            parts["fill"] = self._placed(subject, contours, fill, None)
            parts["stroke"] = self._placed(subject, outlines, None, stroke)
        return [node for part in order for node in parts[part]]

    def vertices(self, element: Element, context: Context) -> list[Vertex]:
        """The vertices of a shape element in its own units."""
        outlines = TracedOutlines(self._budget.remaining("control points"))
        with _errors_name(element), suppress(TooManyPoints):
            self._draw(outlines, element, context.style, context.viewport)
        self._budget.spend("control points", outlines.spent, element)
        return outlines.vertices()

    def referred(self, value: str) -> Element | None:
        """The element that a url(#id) refers to, or None if it is not in this document."""
        name, _ = reference(value) or ("", "")
        return self._ids.get(name[1:]) if name.startswith("#") else None

    def _placed(
        self, subject: _StyledShape, contours: tuple[Contour, ...], fill: Fill | None, stroke: Stroke | None
    ) -> list[Shape]:
        """The shape in user units, without contours that are invisible."""
        if not (fill or stroke):
            return []
        if stroke is None or stroke.cap == "butt":
            contours = tuple(contour for contour in contours if not is_dot(contour))
        contours = apply_to(subject.transform, contours)
        if any(max(map(max, c.points)) > MAX_COORDINATE or min(map(min, c.points)) < -MAX_COORDINATE for c in contours):
            raise SVGError(
                f"A point of {subject.element.where()} lies beyond {MAX_COORDINATE:g} after its transforms. "
                "Correct them."
            )
        name = subject.element.attributes.get("id", "")
        return [Shape(contours, fill, stroke, name, subject.classes)] if contours else []

    def _contours(self, element: Element, style: dict[str, str], viewport: Viewport) -> tuple[Contour, ...]:
        if (cached := self._cached_contours.get(element)) is not None:
            self._budget.spend("copied control points", point_count(cached), element)
            return cached
        outlines = Outlines(self._budget.remaining("control points"))
        with _errors_name(element), suppress(TooManyPoints):
            self._draw(outlines, element, style, viewport)
        # Raises if there were too many points, with the counts of everything else in the drawing.
        self._budget.spend("control points", outlines.spent, element)
        contours = tuple(outlines.contours)
        if element.tag in _CACHEABLE:
            self._cached_contours[element] = contours
        return contours

    def _draw(self, outlines: Outlines, element: Element, style: dict[str, str], viewport: Viewport) -> None:
        if element.tag == "path":
            if error := draw_path(outlines, element.attributes.get("d", "")):
                self._report.add(
                    "Path data is drawn only up to its first syntax error",
                    element,
                    f"Correct the d attribute: it {error}",
                )
        elif element.tag in ("polyline", "polygon"):
            points = element.attributes.get("points", "")
            if not basic_shapes.draw_polyline(outlines, points, closed=element.tag == "polygon"):
                self._report.add(
                    "A list of points is drawn only up to its first syntax error",
                    element,
                    "Correct the points attribute",
                )
        else:
            length = self._length_reader(_StyledShape(element, style, IDENTITY, viewport, ()))
            _DRAW[element.tag](outlines, length)

    def _length_reader(self, subject: _StyledShape) -> Callable[[str], float | None]:
        wholes = (subject.viewport.width, subject.viewport.height, subject.viewport.diagonal)

        def length(name: str) -> float | None:
            text = subject.element.attributes.get(name, "auto").strip()
            if text == "auto":
                return None
            value = subject.length(text, wholes[_AXES.get(name, 2)])
            if value is None:
                self._report.add(f"An invalid {name} is ignored", subject.element, LENGTH_ADVICE)
            return value

        return length

    def _fill(self, subject: _StyledShape) -> Fill | None:
        found = self._paint(subject, "fill", "black")
        if found is None:
            return None
        paint, opacity = found
        rule = self._keyword(subject, "fill-rule", get_args(FillRule), "nonzero")
        return Fill(paint, opacity * self._fraction(subject, "fill-opacity"), rule)

    def _stroke(self, subject: _StyledShape) -> Stroke | None:
        width = self._length(subject, "stroke-width", "1")
        found = self._paint(subject, "stroke", "none") if width > 0 else None
        if found is None:
            return None
        paint, opacity = found
        scale = similarity(subject.transform)
        if scale is not None and width * scale > MAX_COORDINATE:
            raise SVGError(
                f"The stroke of {subject.element.where()} is wider than {MAX_COORDINATE:g} after its transforms. "
                "Correct them or its stroke-width."
            )
        return Stroke(
            paint,
            opacity * self._fraction(subject, "stroke-opacity"),
            width if scale is None else width * scale,
            self._keyword(subject, "stroke-linecap", get_args(Cap), "butt"),
            self._keyword(subject, "stroke-linejoin", get_args(Join), "miter"),
            self._miter_limit(subject),
            linear_part(subject.transform) if scale is None else IDENTITY,
        )

    def _miter_limit(self, subject: _StyledShape) -> float:
        limit = subject.length(subject.style.get("stroke-miterlimit", "4"), 0.0)
        return MAX_COORDINATE if limit is None else min(limit, MAX_COORDINATE)

    def _paint(self, subject: _StyledShape, name: str, default: str) -> tuple[Paint, float] | None:
        """The paint of `fill` or `stroke` in user units and its opacity; None if it paints nothing."""
        text = subject.style.get(name, default)
        split = reference(text)
        if split is None:
            return self._color(subject, name, text)
        element = self.referred(text)
        if element is not None and element.tag in GRADIENTS:
            self._budget.spend("control points in bounding-box tests", point_count(subject.contours), subject.element)
            self._budget.spend("painted gradients", 1, subject.element)
            gradient = self._gradients.read(element, subject.box, subject.viewport)
            found = visible_paint(gradient, subject.transform) if gradient else None
            if gradient and not found:
                self._report.add(
                    f"A {name} is not painted because its gradient's transform is singular",
                    subject.element,
                    "Correct the gradientTransform or the element's transform",
                )
            if found and not _in_range(found[0]):
                self._report.add(
                    f"A {name} is not painted because its gradient extends beyond {MAX_COORDINATE:g}",
                    subject.element,
                    "Correct the gradient's coordinates",
                )
                found = None
        else:
            if element:
                what = f"<{element.tag[:40]}> is not supported as a {name}"
            else:
                what = f"The url() of a {name} refers to nothing in the document"
            self._report.add(what, subject.element, "Use a color, <linearGradient> or <radialGradient>")
            found = None
        return found or (self._color(subject, name, split[1]) if split[1] else None)

    def _color(self, subject: _StyledShape, name: str, text: str) -> tuple[Color, float] | None:
        text = text.strip()
        if text.lower() == "none":
            return None
        if text in CONTEXT_PAINTS:
            advice = "Use a color, <linearGradient> or <radialGradient>"
            self._report.add(f"The {name} '{text}' is not painted", subject.element, advice)
            return None
        current = read_color(subject.style.get("color", "black")) or (BLACK, 1.0)
        return read_color(text, current)

    def _dash_pattern(self, subject: _StyledShape) -> tuple[tuple[float, ...], float] | None:
        """Dash lengths and offset in the shape's own units; None if the stroke is solid."""
        text = subject.style.get("stroke-dasharray", "none")
        if text == "none":
            return None
        words = text.replace(",", " ").split()
        self._budget.spend("dash lengths", len(words), subject.element)
        lengths = [subject.length(word, subject.viewport.diagonal) for word in words]
        pattern = read_pattern([math.inf if length is None else length for length in lengths])
        if pattern is None:
            return None
        scale, offset = self._dash_scale(subject), self._length(subject, "stroke-dashoffset", "0")
        # Dashes of infinite length are a solid stroke.
        return (tuple(length * scale for length in pattern), offset * scale) if math.isfinite(scale) else None

    def _dash_scale(self, subject: _StyledShape) -> float:
        """How much longer the outline is than its `pathLength` says: the factor of all lengths along it."""
        text = subject.element.attributes.get("pathLength")
        if text is None:
            return 1.0
        said = read_length(text, 0.0)
        if said is None or said < 0:
            self._report.add("An invalid pathLength is ignored", subject.element, "Use a number of at least 0")
            return 1.0
        curves = [cubic for contour in subject.contours for cubic in cubics(contour)]
        self._budget.spend("dashed curves", len(curves), subject.element)
        total = math.fsum(map(curve_length, curves))
        return (total / said if said else math.inf) if total else 1.0

    def _paint_order(self, subject: _StyledShape) -> tuple[str, ...]:
        """Fill, stroke and markers in the order of `paint-order`; what it does not list follows in the usual order."""
        words = subject.style.get("paint-order", "normal").replace("normal", "").split()
        return (*words, *(part for part in PAINTED if part not in words))

    def _dashed(self, subject: _StyledShape, pattern: tuple[float, ...], offset: float) -> tuple[Contour, ...]:
        def spend(kind: CostKind, count: int) -> None:
            self._budget.spend(kind, count, subject.element)

        return dashed(subject.contours, pattern, offset, partial(spend, "dashed curves"), partial(spend, "dashes"))

    def _length(self, subject: _StyledShape, name: str, default: str) -> float:
        value = subject.length(subject.style.get(name, default), subject.viewport.diagonal)
        if value is None or abs(value) > MAX_COORDINATE:
            self._report.add(f"A {name} beyond {MAX_COORDINATE:g} is ignored", subject.element, "Correct it")
            return float(default)
        return value

    def _fraction(self, subject: _StyledShape, name: str) -> float:
        fraction = read_fraction(subject.style.get(name, "1"))
        return 1.0 if fraction is None else fraction

    def _keyword(self, subject: _StyledShape, name: str, known: tuple[_Keyword, ...], default: _Keyword) -> _Keyword:
        return next((keyword for keyword in known if keyword == subject.style.get(name)), default)


def _in_range(paint: Paint) -> bool:
    """Whether all coordinates of a paint are within `MAX_COORDINATE`."""
    if isinstance(paint, Color):
        return True
    if isinstance(paint, LinearGradient):
        geometry = (*paint.start, *paint.end)
    else:
        geometry = (*paint.center, *paint.focus, paint.radius)
    return all(abs(value) <= MAX_COORDINATE for value in (*geometry, *paint.transform))


@contextmanager
def _errors_name(element: Element) -> Iterator[None]:
    """Prefix any SVGError with the element it concerns."""
    try:
        yield
    except SVGError as error:
        raise SVGError(f"{element.where()} cannot be drawn. {error}") from None

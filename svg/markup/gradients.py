"""Reads gradient elements: attributes, stops, and templates referenced by href."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import get_args

from ..cubics import Box
from ..document import BLACK, IDENTITY, Color, LinearGradient, Matrix, Point, RadialGradient, Spread, Stop
from ..transforms import compose, read_transform
from .budget import ParseBudget
from .colors import read_color
from .css_transforms import about, read_css_transform, read_origin
from .lengths import Viewport, read_fraction, read_length
from .report import LENGTH_ADVICE, Report
from .styles import Cascade, font_size
from .xml import Element, SVGError

_GEOMETRY = {"linearGradient": ("x1", "y1", "x2", "y2"), "radialGradient": ("cx", "cy", "r", "fx", "fy", "fr")}
_COMMON = ("gradientUnits", "gradientTransform", "spreadMethod")
GRADIENTS = tuple(_GEOMETRY)
MAX_CHAIN = 10
MAX_STOPS = 1000

Find = Callable[[Element], Element | None]
"""Resolves the `href` of an element within the document."""


@dataclass(frozen=True)
class _Definition:
    """A gradient element with its own and inherited attributes and stops."""

    element: Element
    attributes: dict[str, str]
    stops: tuple[Stop, ...]


class Gradients:
    """Resolves gradient elements for the shapes they paint."""

    def __init__(self, find: Find, cascade: Cascade, budget: ParseBudget, report: Report):
        self._find, self._cascade, self._budget, self._report = find, cascade, budget, report
        # Caches: many shapes may share a gradient, and many gradients a template.
        self._definitions: dict[Element, _Definition] = {}
        self._stops_of: dict[Element, tuple[Stop, ...]] = {}
        self._transforms: dict[tuple[Element, Viewport], Matrix] = {}

    def read(self, element: Element, box: Box | None, viewport: Viewport) -> LinearGradient | RadialGradient | None:
        """The gradient as it applies to a shape, in the shape's own units; None if it paints nothing.

        Args:
            element: A gradient element.
            box: Bounding box of the shape, the reference of objectBoundingBox units.
            viewport: The shape's viewport, the reference of percentages in user space.
        """
        definition = self._definition(element)
        units = definition.attributes.get("gradientUnits") or "objectBoundingBox"
        relative = units != "userSpaceOnUse"
        if not definition.stops or (relative and (box is None or not (box.width and box.height))):
            return None
        frame = Matrix(a=box.width, d=box.height, e=box.x, f=box.y) if relative and box else IDENTITY
        viewport = Viewport(1.0, 1.0) if relative else viewport
        transform = compose(frame, self._transform(definition, viewport))
        if element.tag == "linearGradient":
            return self._linear(definition, transform, viewport)
        return self._radial(definition, transform, viewport)

    def _linear(self, definition: _Definition, transform: Matrix, viewport: Viewport) -> LinearGradient:
        length = partial(self._length, definition)
        start = Point(length("x1", viewport.width, "0%"), length("y1", viewport.height, "0%"))
        end = Point(length("x2", viewport.width, "100%"), length("y2", viewport.height, "0%"))
        return LinearGradient(start, end, definition.stops, transform, self._spread(definition))

    def _radial(self, definition: _Definition, transform: Matrix, viewport: Viewport) -> RadialGradient:
        length = partial(self._length, definition)
        if length("fr", viewport.diagonal, "0%"):
            self._report.add(
                "The focal radius fr of a gradient is ignored", definition.element, "Adjust its stops instead"
            )
        cx, cy = length("cx", viewport.width, "50%"), length("cy", viewport.height, "50%")
        focus = Point(length("fx", viewport.width, str(cx)), length("fy", viewport.height, str(cy)))
        radius = length("r", viewport.diagonal, "50%")
        return RadialGradient(Point(cx, cy), radius, focus, definition.stops, transform, self._spread(definition))

    def _length(self, definition: _Definition, name: str, whole: float, default: str) -> float:
        text = definition.attributes.get(name) or default
        size = font_size(self._cascade.in_tree(definition.element).properties)
        value = read_length(text, whole, size, self._cascade.root_font_size)
        if value is None:
            self._report.add(
                f"The gradient's {name} '{text[:40]}' is not a valid length; the default is used",
                definition.element,
                LENGTH_ADVICE,
            )
            value = read_length(default, whole) or 0.0
        return value

    def _transform(self, definition: _Definition, viewport: Viewport) -> Matrix:
        """The gradient's transform: the attribute, or the CSS property `transform`, about its `transform-origin`."""
        key = (definition.element, viewport)
        if key not in self._transforms:
            self._transforms[key] = self._read_transform(definition, viewport)
        return self._transforms[key]

    def _read_transform(self, definition: _Definition, viewport: Viewport) -> Matrix:
        element, style = definition.element, self._cascade.in_tree(definition.element).properties
        text, css = definition.attributes.get("gradientTransform", ""), style.get("transform", "")
        # A `transform` attribute means nothing here, other than the property.
        css = "" if css == element.attributes.get("transform", "").strip() else css
        self._budget.spend("transform characters", len(css or text), element)
        box = Box(0.0, 0.0, viewport.width, viewport.height)
        size = font_size(style)

        def length(text: str, whole: float) -> float | None:
            return read_length(text, whole, size, self._cascade.root_font_size)

        try:
            matrix = read_css_transform(css, box, length) if css else read_transform(text)
        except ValueError as error:
            self._report.add(f"A gradientTransform is ignored because {error}", element)
            return IDENTITY
        origin = read_origin(style.get("transform-origin", "0 0"), box, length)
        return about(origin, matrix) if origin else matrix

    def _spread(self, definition: _Definition) -> Spread:
        text = definition.attributes.get("spreadMethod")
        return next((spread for spread in get_args(Spread) if spread == text), "pad")

    def _definition(self, element: Element) -> _Definition:
        if element not in self._definitions:
            chain = self._chain(element)
            stops = next((found for holder in chain if (found := self._stops(holder))), ())
            attributes = _attributes(chain)
            self._definitions[element] = _Definition(element, attributes, stops)
            if self._cascade.in_tree(element).properties.get("color-interpolation") == "linearrgb":
                self._report.add("The property color-interpolation of a gradient is ignored", element, "Use sRGB")
        return self._definitions[element]

    def _chain(self, element: Element) -> tuple[Element, ...]:
        chain = [element]
        while (template := self._find(chain[-1])) is not None and template.tag in GRADIENTS:
            if template in chain or len(chain) == MAX_CHAIN:
                self._report.add(
                    f"A gradient's chain of href references is cyclic or longer than {MAX_CHAIN} and is cut off",
                    element,
                    "Give the gradient its own stops and attributes",
                )
                break
            chain.append(template)
        return tuple(chain)

    def _stops(self, holder: Element) -> tuple[Stop, ...]:
        """The stops directly inside an element."""
        if holder not in self._stops_of:
            self._stops_of[holder] = self._read_stops(holder)
        return self._stops_of[holder]

    def _read_stops(self, holder: Element) -> tuple[Stop, ...]:
        """Stops with non-decreasing offsets: one before its predecessor is moved to it, as SVG specifies."""
        elements = [child for child in holder.children if child.tag == "stop"]
        if len(elements) > MAX_STOPS:
            raise SVGError(f"{holder.where()} has more than {MAX_STOPS} stops. Simplify the gradient.")
        self._budget.spend("gradient stops", len(elements), holder)
        stops: list[Stop] = []
        for element in elements:
            offset = read_fraction(element.attributes.get("offset", "0")) or 0.0
            color, opacity = self._stop_color(element)
            stops.append(Stop(max(offset, stops[-1].offset if stops else 0.0), color, opacity))
        return tuple(stops)

    def _stop_color(self, element: Element) -> tuple[Color, float]:
        style = self._cascade.in_tree(element).properties
        current = read_color(style.get("color", "black")) or (BLACK, 1.0)
        color, alpha = read_color(style.get("stop-color", "black"), current) or (BLACK, 1.0)
        opacity = read_fraction(style.get("stop-opacity", "1"))
        return color, alpha * (1.0 if opacity is None else opacity)


def _attributes(chain: tuple[Element, ...]) -> dict[str, str]:
    """The nearest value of each attribute. Geometry is inherited only from gradients of the same type."""
    found: dict[str, str] = {}
    for element in chain:
        names = _COMMON if element.tag != chain[0].tag else (*_COMMON, *_GEOMETRY[element.tag])
        found = {**{name: element.attributes[name] for name in names if name in element.attributes}, **found}
    return found

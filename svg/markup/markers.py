"""Markers at the vertices of shapes (SVG 2, section 11.6)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from ..cubics import Box
from ..document import Matrix, Node, Point, ViewBox
from ..transforms import apply, compose, read_transform
from ..viewports import drawable, fitted, read_view_box
from .clips import Clips
from .context import Context
from .lengths import DEGREES, SHARES
from .properties import MARKERS
from .report import Report
from .styles import Cascade
from .vertices import Vertex
from .xml import Element

MARKED = frozenset(("path", "line", "polyline", "polygon"))
"""Elements whose markers browsers draw."""


class Markers:
    """Draws the markers of one document.

    Args:
        drawn: Draws an element.
        completed: Applies an element's clip, mask and opacity to its contents, in their context.
        vertices: The vertices of a shape element, in its own units.
        referred: Finds the element that a url() refers to.
        clips: Clips markers to their viewports.
    """

    def __init__(
        self,
        drawn: Callable[[Element, Context], list[Node]],
        completed: Callable[[Element, Context, list[Node]], list[Node]],
        vertices: Callable[[Element, Context], list[Vertex]],
        referred: Callable[[str], Element | None],
        clips: Clips,
        cascade: Cascade,
        report: Report,
    ):
        self._drawn, self._completed, self._vertices, self._referred = drawn, completed, vertices, referred
        self._clips, self._cascade, self._report = clips, cascade, report

    def of(self, element: Element, context: Context) -> list[Node]:
        """The markers of an element, in the order of its vertices."""
        if context.outlines or context.style.get("visibility", "visible") != "visible":
            return []
        kinds = [self._marker(element, context, name) for name in MARKERS]
        if not any(kinds):
            return []
        if element.tag not in MARKED:
            self._report.add(f"Markers on a <{element.tag}> are not drawn", element, "Convert it to a path")
            return []
        start, middle, end = kinds
        vertices, nodes = self._vertices(element, context), []
        for n, vertex in enumerate(vertices):
            # A single vertex is the first and the last.
            if start and n == 0:
                nodes += self._placed(start, context, vertex, is_start=True)
            if middle and 0 < n < len(vertices) - 1:
                nodes += self._placed(middle, context, vertex)
            if end and n == len(vertices) - 1:
                nodes += self._placed(end, context, vertex)
        return nodes

    def _marker(self, element: Element, context: Context, name: str) -> Element | None:
        value = context.style.get(name, "none")
        target = None if value == "none" else self._referred(value)
        if target is None or target.tag != "marker":
            if value != "none":
                self._report.add(f"A {name} that refers to no <marker> is ignored", element, "Correct the reference")
            return None
        if target in context.uses:
            self._report.add("A marker that refers to itself is not drawn", element, "Remove the circular reference")
            return None
        return target

    def _placed(self, marker: Element, context: Context, vertex: Vertex, *, is_start: bool = False) -> list[Node]:
        """The contents of a marker at a vertex."""
        style = self._cascade.in_tree(marker)
        inside = context._replace(style=style.properties, variables=style.variables)
        attributes, viewport = marker.attributes, context.viewport
        width, height = (
            inside.length(attributes.get(name, "3"), whole)
            for name, whole in (("markerWidth", viewport.width), ("markerHeight", viewport.height))
        )
        if width is None or height is None or not (width > 0 and height > 0):
            return []
        box = read_view_box(attributes.get("viewBox", "")) or ViewBox(0.0, 0.0, width, height)
        if not drawable(box):
            return []
        fit = fitted(box, Box(0.0, 0.0, width, height), attributes.get("preserveAspectRatio", ""))
        has_box = "viewBox" in attributes
        x = self._reference(inside, attributes.get("refX", "0"), box.x, box.width, viewport.width, has_box)
        y = self._reference(inside, attributes.get("refY", "0"), box.y, box.height, viewport.height, has_box)
        reference = apply(fit, Point(x, y))
        frame = context.transform
        for step in self._steps(marker, context, vertex, is_start):
            frame = compose(frame, step)
        frame = compose(frame, Matrix(e=-reference.x, f=-reference.y))
        contents = inside._replace(
            transform=compose(frame, fit),
            viewport=viewport._replace(width=box.width, height=box.height),
            uses=(*context.uses, marker),
            size=None,
            depth=context.depth + 1,
            paints=context.paints_of_shape(),
        )
        children = [node for child in marker.children for node in self._drawn(child, contents)]
        clipped = inside._replace(transform=frame)
        children = self._clips.to_viewport(marker, clipped, Box(0.0, 0.0, width, height), children)
        return self._completed(marker, contents, children)

    def _reference(self, context: Context, text: str, start: float, size: float, whole: float, has_box: bool) -> float:
        """A coordinate of the reference point; percentages refer to the view box, or to the viewport without one."""
        text = text.strip()
        if text in SHARES:
            return start * has_box + size * SHARES[text]
        return context.length(text, size if has_box else whole) or 0.0

    def _steps(self, marker: Element, context: Context, vertex: Vertex, is_start: bool) -> Iterator[Matrix]:
        """The maps from a marker's units to those of the shape, the last one first."""
        yield Matrix(e=vertex.point.x, f=vertex.point.y)
        orient = marker.attributes.get("orient", "0").strip()
        if orient in ("auto", "auto-start-reverse"):
            angle = vertex.angle + (180 if is_start and orient != "auto" else 0)
        else:
            number = orient.rstrip("abcdefghijklmnopqrstuvwxyz")
            angle = (_number(number) or 0.0) * DEGREES.get(orient[len(number) :], 0.0)
        yield read_transform(f"rotate({angle!r})")
        if marker.attributes.get("markerUnits", "strokeWidth") != "userSpaceOnUse":
            width = context.length(context.style.get("stroke-width", "1"), context.viewport.diagonal)
            scale = 1.0 if width is None else width
            yield Matrix(a=scale, d=scale)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return math.fmod(value, 360) if math.isfinite(value) else None

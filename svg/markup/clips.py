"""Clips: the shapes of <clipPath> elements, and the viewports of nested <svg>, <symbol> and <marker> elements."""

from __future__ import annotations

from collections.abc import Callable

from ..cubics import Box
from ..document import IDENTITY, Matrix, Node, ViewBox
from ..transforms import compose
from ..viewports import covers, encloses
from .budget import ParseBudget
from .context import Context
from .extents import as_rectangle, rectangle, total_points
from .lengths import Viewport
from .normal_form import as_clip, grouped
from .properties import reference
from .report import Report
from .styles import Cascade
from .xml import Element

SHAPES = frozenset(("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"))
_CHILDREN = SHAPES | {"use", "text"}
"""What a <clipPath> may contain. Text is not drawn, and named."""

MAX_NESTED = 10
"""Clip paths that are clipped by others, or contain clipped shapes, and so on."""

Clip = tuple[Node, ...]
"""The shapes of a clip, in user units; empty if nothing is visible."""


class Clips:
    """Resolves the clips of one document.

    Args:
        drawn: Draws an element. For those inside of clip paths, only the geometry counts.
        transform: The own transform of an element in a context.
        referred: Finds the element that a url() refers to.
        canvas: The visible part of the document.
    """

    def __init__(
        self,
        drawn: Callable[[Element, Context], list[Node]],
        transform: Callable[[Element, Context], Matrix],
        referred: Callable[[str], Element | None],
        cascade: Cascade,
        budget: ParseBudget,
        report: Report,
        canvas: ViewBox,
    ):
        self._drawn, self._transform, self._referred = drawn, transform, referred
        self._cascade, self._budget, self._report, self._canvas = cascade, budget, report, canvas
        self._read: dict[tuple[Element, Matrix, tuple[Element, ...], Viewport], Clip] = {}

    def of(
        self, element: Element, context: Context, children: list[Node], box_of: Callable[[], Box | None]
    ) -> Clip | None:
        """The clip of an element, or of a <clipPath>, that clips these children; None without one that matters.

        Args:
            element: The element.
            context: The context of its contents, in which its clip is drawn.
            children: Its contents.
            box_of: Their bounding box in the units of the context; None if they have none.
        """
        target = self._target(element, context)
        if target is None:
            return None
        style = self._cascade.in_tree(target)
        inner = context._replace(
            style=style.properties,
            variables=style.variables,
            uses=(),
            size=None,
            clips=(*context.clips, target),
            outlines="clip",
        )
        if "transform" in style.properties:
            inner = inner._replace(transform=compose(inner.transform, self._transform(target, inner)))
        frame = inner.transform
        if target.attributes.get("clipPathUnits") == "objectBoundingBox":
            box = box_of()
            if box is None or not (box.width and box.height):
                return ()
            frame = compose(frame, Matrix(a=box.width, d=box.height, e=box.x, f=box.y))
        clip = self._contents(target, inner._replace(transform=frame))
        outer = self.of(target, inner, children, box_of)
        return self.within(element, clip, outer, children)

    def within(self, element: Element, clip: Clip, outer: Clip | None, children: list[Node]) -> Clip | None:
        """A clip within an outer one, if there is one; without those rectangles that do not matter for children."""
        self._budget.spend("copied control points", total_points(clip), element)
        rectangular = as_rectangle(clip)
        if rectangular and not self.matters(element, rectangular, IDENTITY, children):
            return outer
        return tuple(grouped(clip, 1.0, "", outer))

    def _target(self, element: Element, context: Context) -> Element | None:
        """The <clipPath> that applies to an element."""
        value = context.style.get("clip-path", "none")
        if value == "none":
            return None
        target = self._referred(value)
        usable = target is not None and target.tag == "clipPath" and len(context.clips) < MAX_NESTED
        if usable and target not in context.clips:
            return target
        if target is not None and target in context.clips:
            self._report.add("A clip path that refers to itself is ignored", element, "Remove the circular reference")
        elif target is not None and target.tag == "clipPath":
            what = f"Clip paths that are clipped more than {MAX_NESTED} times are ignored"
            self._report.add(what, element, "Intersect the clip paths in a vector editor")
        elif reference(value):
            self._report.add("A clip-path that refers to no <clipPath> is ignored", element, "Correct the reference")
        else:
            self._report.add("A clip-path that is not a url() is ignored", element, "Use a <clipPath> element")
        return None

    def _contents(self, target: Element, context: Context) -> Clip:
        """The shapes in a <clipPath>, in user units."""
        key = (target, context.transform, context.clips, context.viewport)
        if key not in self._read:
            children = (child for child in target.children if child.tag in _CHILDREN)
            self._read[key] = tuple(as_clip([node for child in children for node in self._drawn(child, context)]))
        return self._read[key]

    def to_viewport(self, element: Element, context: Context, viewport: Box, children: list[Node]) -> list[Node]:
        """The children of a nested <svg>, <symbol> or <marker>, clipped to its viewport where that is visible."""
        clips = self._cascade.own(element).get("overflow", "hidden") in ("hidden", "scroll", "clip")
        if context.outlines == "box" or not clips or not self.matters(element, viewport, context.transform, children):
            return children
        return grouped(children, 1.0, "", (rectangle(viewport, context.transform),))

    def matters(self, element: Element, clip: Box, frame: Matrix, children: list[Node]) -> bool:
        """Whether clipping nodes to a rectangle would be visible; `frame` maps the rectangle to user units."""
        if encloses(clip, frame, self._canvas):
            return False
        self._budget.spend("control points in bounding-box tests", total_points(children), element)
        return not covers(clip, frame, children)

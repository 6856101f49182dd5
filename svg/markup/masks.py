"""Masks that are clips: those in which everything is painted opaque white, as design programs write them.

Such a mask is 1 where its shapes cover and 0 elsewhere. With the `mask-type` alpha, any opaque paint does the same.
Others are named, and not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..cubics import Box
from ..document import WHITE, Color, Group, Matrix, Node, Paint
from ..transforms import compose
from ..viewports import covers
from .budget import ParseBudget
from .clips import MAX_NESTED, Clip, Clips
from .context import Context
from .extents import rectangle, total_points
from .lengths import Viewport
from .normal_form import as_clip
from .report import Report
from .styles import Cascade
from .xml import Element

_REGION = {"x": "-10%", "y": "-10%", "width": "120%", "height": "120%"}
"""The part of the mask that counts, if its attributes do not say otherwise."""


class Masks:
    """Resolves the masks of one document.

    Args:
        drawn: Draws an element.
        clips: Tells which rectangles matter.
        referred: Finds the element that a url() refers to.
    """

    def __init__(
        self,
        drawn: Callable[[Element, Context], list[Node]],
        clips: Clips,
        referred: Callable[[str], Element | None],
        cascade: Cascade,
        budget: ParseBudget,
        report: Report,
    ):
        self._drawn, self._clips, self._referred = drawn, clips, referred
        self._cascade, self._budget, self._report = cascade, budget, report
        self._read: dict[tuple[Element, Matrix, Viewport], Clip | None] = {}

    def of(
        self, element: Element, context: Context, children: list[Node], box_of: Callable[[], Box | None]
    ) -> Clip | None:
        """The mask of an element as a clip; None without one that matters, or if it is not drawn.

        Args:
            element: The element.
            context: The context of its contents, in which its mask is drawn.
            children: Its contents.
            box_of: Their bounding box in the units of the context; None if they have none.
        """
        value = context.style.get("mask", "none")
        if value == "none":
            return None
        target = self._referred(value)
        found = self._mask(target, context, box_of) if target is not None and target.tag == "mask" else None
        if found is None:
            advice = "Expand the effect to plain paths in an SVG editor, or use shapes filled with opaque white"
            self._report.add("The property mask is ignored", element, advice)
            return None
        contents, region = found
        if not contents or region is None:
            return ()
        frame = context.transform
        self._budget.spend("control points in bounding-box tests", total_points(contents), element)
        matters = not covers(region, frame, contents) and self._clips.matters(element, region, frame, children)
        return self._clips.within(element, contents, (rectangle(region, frame),) if matters else None, children)

    def _mask(
        self, target: Element, context: Context, box_of: Callable[[], Box | None]
    ) -> tuple[Clip, Box | None] | None:
        """The contents of a mask in user units, and its region in those of the context; None if it is not drawn."""
        is_masked = self._cascade.in_tree(target).properties.get("mask", "none") != "none"
        if len(context.clips) == MAX_NESTED or target in context.clips or is_masked:
            return None
        frame = context.transform
        relative = target.attributes.get("maskUnits", "objectBoundingBox") == "objectBoundingBox"
        relative_contents = target.attributes.get("maskContentUnits") == "objectBoundingBox"
        box = box_of() if relative or relative_contents else None
        if (relative or relative_contents) and (box is None or not (box.width and box.height)):
            return (), None
        if box and relative_contents:
            frame = compose(frame, Matrix(a=box.width, d=box.height, e=box.x, f=box.y))
        contents = self._contents(target, context, frame)
        return None if contents is None else (contents, self._region(target, context, box if relative else None))

    def _region(self, target: Element, context: Context, box: Box | None) -> Box | None:
        """The rectangle of a mask in the units of the element; None if it is empty."""
        wholes = {"x": context.viewport.width, "y": context.viewport.height}
        wholes = {**wholes, "width": wholes["x"], "height": wholes["y"]}
        numbers = []
        for name, default in _REGION.items():
            whole = 1.0 if box else wholes[name]
            length = context.length(target.attributes.get(name, default), whole)
            numbers.append(context.length(default, whole) or 0.0 if length is None else length)
        x, y, width, height = numbers
        if box:
            x, y, width, height = box.x + x * box.width, box.y + y * box.height, width * box.width, height * box.height
        return Box(x, y, width, height) if width > 0 and height > 0 else None

    def _contents(self, target: Element, context: Context, frame: Matrix) -> Clip | None:
        """The shapes of a mask in user units; None unless the mask is 1 where they cover."""
        key = (target, frame, context.viewport)
        if key not in self._read:
            style = self._cascade.in_tree(target)
            inner = context._replace(
                style=style.properties,
                variables=style.variables,
                transform=frame,
                clips=(*context.clips, target),
                uses=(),
                size=None,
            )
            nodes = [node for child in target.children for node in self._drawn(child, inner)]
            is_whole = _is_opaque if style.properties.get("mask-type") == "alpha" else _is_white
            self._read[key] = tuple(as_clip(nodes)) if _all_filled(nodes, is_whole) else None
        return self._read[key]


def _is_opaque(paint: Paint) -> bool:
    return isinstance(paint, Color) or all(stop.opacity == 1 for stop in paint.stops)


def _is_white(paint: Paint) -> bool:
    return paint == WHITE


def _all_filled(nodes: Sequence[Node], suits: Callable[[Paint], bool]) -> bool:
    """Whether everything in nodes is filled with opaque paints that suit, and nothing stroked."""
    for node in nodes:
        if isinstance(node, Group):
            if node.opacity != 1 or not _all_filled(node.children, suits):
                return False
        elif node.stroke or not node.fill or node.fill.opacity != 1 or not suits(node.fill.paint):
            return False
    return True

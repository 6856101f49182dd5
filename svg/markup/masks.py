"""Masks that are clips: those in which everything is painted opaque white, as design programs write them.

Such a mask is 1 where its shapes cover and 0 elsewhere, whatever `mask-type` says. Others are named, and not drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..cubics import Box
from ..document import WHITE, Group, Matrix, Node
from ..transforms import compose
from ..viewports import covers
from .budget import ParseBudget
from .clips import MAX_NESTED, Clip
from .context import Context
from .extents import rectangle, total_points
from .lengths import Viewport
from .normal_form import as_clip, grouped
from .report import Report
from .styles import Cascade
from .xml import Element

_REGION = {"x": "-10%", "y": "-10%", "width": "120%", "height": "120%"}
"""The part of the mask that counts, if its attributes do not say otherwise."""


class Masks:
    """Resolves the masks of one document.

    Args:
        drawn: Draws an element.
        box: The bounding box of an element in its own units; None if it has none.
        referred: Finds the element that a url() refers to.
    """

    def __init__(
        self,
        drawn: Callable[[Element, Context], list[Node]],
        box: Callable[[Element, Context], Box | None],
        referred: Callable[[str], Element | None],
        cascade: Cascade,
        budget: ParseBudget,
        report: Report,
    ):
        self._drawn, self._box, self._referred = drawn, box, referred
        self._cascade, self._budget, self._report = cascade, budget, report
        self._read: dict[tuple[Element, Matrix, Viewport], Clip | None] = {}

    def of(self, element: Element, context: Context) -> Clip | None:
        """The mask of an element as a clip; None if it has none, or one that is not drawn."""
        value = context.style.get("mask", "none")
        if value == "none":
            return None
        target = self._referred(value)
        clip = self._clip(target, element, context) if target is not None and target.tag == "mask" else None
        if clip is None:
            advice = "Expand the effect to plain paths in an SVG editor, or use shapes filled with opaque white"
            self._report.add("The property mask is ignored", element, advice)
        return clip

    def _clip(self, target: Element, element: Element, context: Context) -> Clip | None:
        if len(context.clips) == MAX_NESTED or target in context.clips or "mask" in self._cascade.own(target):
            return None
        frame = context.transform
        relative = target.attributes.get("maskUnits", "objectBoundingBox") == "objectBoundingBox"
        relative_contents = target.attributes.get("maskContentUnits") == "objectBoundingBox"
        box = self._box(element, context) if relative or relative_contents else None
        if (relative or relative_contents) and (box is None or not (box.width and box.height)):
            return ()
        region = self._region(target, context, box if relative else None)
        contents = frame if box is None else compose(frame, Matrix(a=box.width, d=box.height, e=box.x, f=box.y))
        clip = self._contents(target, context, contents if relative_contents else frame)
        self._budget.spend("copied control points", 2 * total_points(clip or ()), element)
        if not clip or region is None:
            return clip and ()
        shown = None if covers(region, frame, clip) else (rectangle(region, frame),)
        return tuple(grouped(clip, 1.0, "", shown))

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
        """The shapes of a mask in user units; None unless all of them are opaque and white."""
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
            self._read[key] = tuple(as_clip(nodes)) if _is_white(nodes) else None
        return self._read[key]


def _is_white(nodes: Sequence[Node]) -> bool:
    """Whether everything in nodes is filled with opaque white, and nothing stroked."""
    for node in nodes:
        if isinstance(node, Group):
            if node.opacity != 1 or not _is_white(node.children):
                return False
        elif node.stroke or not node.fill or node.fill.opacity != 1 or node.fill.paint != WHITE:
            return False
    return True

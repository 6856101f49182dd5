"""Parses SVG files into documents; features that a document cannot represent are reported as warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from ..cubics import Box
from ..document import IDENTITY, Document, Matrix, Node, ViewBox
from ..transforms import compose, determinant, inverse, invertible, read_transform
from ..viewports import drawable, fitted, read_view_box
from .budget import ParseBudget
from .clips import SHAPES, Clips
from .context import Context
from .css_transforms import about, read_css_transform, read_origin
from .extents import bounding_box, total_points
from .lengths import Viewport, read_fraction, read_length
from .markers import Markers
from .masks import Masks
from .normal_form import as_copy, grouped
from .properties import KEYWORDS
from .report import LENGTH_ADVICE, Report
from .shape_elements import ShapeReader
from .style_sheets import StyleSheet
from .styles import Cascade, font_size
from .xml import MAX_DEPTH, Element, SVGError, read_xml

__all__ = ["Parsed", "SVGError", "parse"]

MAX_TRANSFORM = 1e12
"""Largest absolute coefficient of accumulated transforms."""
SAME_PROPORTIONS = 1e-3
"""Relative difference of the proportions of a view box and a viewport that does not matter."""
_NOWHERE = Matrix(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""A map under which nothing is visible."""
CHARACTERS_PER_ELEMENT = 10_000
"""Each time an element is drawn, it is charged once more per this many characters in its attributes."""

ANIMATIONS = frozenset("animate animateColor animateMotion animateTransform discard set".split())
NOT_DRAWN = ANIMATIONS | frozenset(
    "clipPath color-profile cursor defs desc filter font font-face linearGradient marker mask metadata mpath pattern "
    "radialGradient script stop style title view".split()
)
"""Elements that SVG never renders directly."""
RENDERED = frozenset("text image video audio iframe canvas".split())
"""Elements that other viewers render and this parser only reports."""
UNSUPPORTED_ADVICE = {
    "text": "Convert text to paths",
    "image": "Trace the embedded image or remove it",
    "foreignObject": "Remove the embedded HTML",
}


class _Ignored(NamedTuple):
    """An unsupported property: the values that have no effect, and what to change for others."""

    neutral: tuple[str, ...]
    advice: str


_EXPAND = "Expand the effect to plain paths in an SVG editor"
IGNORED_PROPERTIES = {
    "filter": _Ignored(("none",), _EXPAND),
    "mix-blend-mode": _Ignored(("normal",), "Use normal blending with opacity"),
    "vector-effect": _Ignored(("none",), "Set the stroke width in user units"),
    "shape-rendering": _Ignored(("auto", "geometricprecision"), "Shapes are always anti-aliased"),
}


@dataclass(frozen=True)
class Parsed:
    """A document, and one warning for each kind of feature in the file that it does not represent."""

    document: Document
    warnings: tuple[str, ...]


def parse(text: str | bytes) -> Parsed:
    """Parse an SVG file. Bytes are decoded as their XML declaration says.

    Raises:
        SVGError: The text is not SVG, contains nothing that can be drawn, or exceeds a limit: 20 MB, 50,000 elements,
            100 levels of nesting, 10,000 CSS rules, coordinates up to 1e9, and a budget for the whole document that
            allows 30,000 drawn elements, 340,000 control points, 800,000 of elements that <use> draws again, or 12,000
            dashes, or fewer of each combined. It is a ValueError.
    """
    root = read_xml(text)
    if root.tag != "svg":
        raise SVGError(f"The root element is <{root.tag[:60]}>, not <svg>. Provide an SVG file.")
    return _DocumentParser(root).parsed()


class _DocumentParser:
    """Walks the elements of one document."""

    def __init__(self, root: Element):
        self._root = root
        self._report, self._budget = Report(), ParseBudget()
        self._ids: dict[str, Element] = {}
        sheet = StyleSheet()
        for element in root.walk():
            if name := element.attributes.get("id"):
                self._ids.setdefault(name, element)
            self._survey(element, sheet)
        self._cascade = Cascade(sheet, self._budget, self._report)
        self._shape_reader = ShapeReader(self._ids, self._find, self._cascade, self._budget, self._report)
        self._switch_choices: dict[Element, Element | None] = {}
        self._width, self._height = self._size("width"), self._size("height")
        self._view = self._view_box()
        self._canvas, self._placement = self._canvas_of(self._view)
        self._page = self._page_box()
        referred, vertices = self._shape_reader.referred, self._shape_reader.vertices
        self._clips = Clips(
            self._drawn, self._transform, referred, self._cascade, self._budget, self._report, self._canvas
        )
        self._masks = Masks(self._drawn, self._clips, referred, self._cascade, self._budget, self._report)
        self._markers = Markers(
            self._drawn, self._completed, vertices, referred, self._clips, self._cascade, self._report
        )
        self._handlers: dict[str, Callable[[Element, Context], list[Node]]] = {
            **dict.fromkeys(("g", "a", "svg", "symbol"), self._group),
            **dict.fromkeys(SHAPES, self._shape),
            "switch": self._switch,
            "use": self._use,
        }

    def _survey(self, element: Element, sheet: StyleSheet) -> None:
        """Handle what counts anywhere in the document: style sheets, and features that are always ignored."""
        if element.sheets:
            self._report.add("External style sheets are not loaded", element, "Embed them in a <style> element")
        if element.tag == "style" and element.attributes.get("type", "").strip().lower() not in ("", "text/css"):
            self._report.add("A style sheet whose type is not text/css is ignored", element, "Convert it to CSS")
        elif element.tag == "style":
            if element.attributes.get("media", "all") in ("all", "screen", ""):
                sheet.read(element, self._budget, lambda what, advice: self._report.add(what, element, advice))
            else:
                self._report.add("A style sheet for media other than the screen is ignored", element)
        elif element.tag == "script":
            self._report.add("Scripts are ignored", element)
        elif element.tag in ANIMATIONS:
            self._report.add("Animations are ignored", element)
        if any(name.startswith("on") for name in element.attributes):
            self._report.add("Event handlers are ignored", element)

    def parsed(self) -> Parsed:
        self._cascade.root_font_size = size = font_size(self._cascade.in_tree(self._root).properties)
        viewport = Viewport(self._view.width, self._view.height, size)
        children = self._drawn(self._root, Context(viewport, {}, transform=self._placement))
        warnings = self._report.sentences()
        if not children:
            raise SVGError(" ".join(("The document contains nothing that can be drawn.", *warnings)))
        titles = (child.text for child in self._root.children if child.tag == "title")
        title = " ".join(next(titles, "").split())
        name = self._root.attributes.get("id", "")
        document = Document(self._canvas, tuple(children), self._width, self._height, title, name)
        return Parsed(document, warnings)

    def _size(self, name: str) -> str | None:
        """The root's width or height as written, or None if it is not a length."""
        text = self._root.attributes.get(name, "auto").strip()
        if text == "auto":
            return None
        length = read_length(text, 100.0)
        if length is None:
            self._report.add(
                f"The document's {name} '{text[:40]}' is not a valid length and is ignored", advice=LENGTH_ADVICE
            )
            return None
        if not length > 0:
            raise SVGError(f"The document's {name} is '{text[:40]}', so nothing is visible. Set it above 0.")
        return text

    def _view_box(self) -> ViewBox:
        text = self._root.attributes.get("viewBox")
        box = None if text is None else read_view_box(text)
        if text is not None and box is None:
            self._report.add(f"The viewBox '{text[:60]}' is ignored because it is not four numbers")
        if box is None:
            width, height = (read_length(size or "", 0.0) or 0.0 for size in (self._width, self._height))
            box = ViewBox(0.0, 0.0, width, height)
            if not (width and height):
                raise SVGError(
                    "The document does not define its size. Give <svg> a viewBox, or an absolute width and height."
                )
        if not drawable(box):
            raise SVGError(
                f"The document's canvas is {box.width:g} x {box.height:g} at ({box.x:g}, {box.y:g}), which is out of "
                "range. Give <svg> a viewBox with sides from 1e-6 to 1e9."
            )
        return box

    def _canvas_of(self, view: ViewBox) -> tuple[ViewBox, Matrix]:
        """The canvas, and the map from the view box to it.

        They are the same, unless `preserveAspectRatio` fits the view box into a viewport of other proportions, and not
        centered and completely visible: then the canvas is that viewport.
        """
        text = self._root.attributes.get("preserveAspectRatio", "").strip()
        width, height = (read_length(size or "auto", 0.0) for size in (self._width, self._height))
        if text in ("", "xMidYMid", "xMidYMid meet") or not (width and height):
            return view, IDENTITY
        viewport = ViewBox(0.0, 0.0, width, height)
        same = abs(width / height * view.height / view.width - 1) <= SAME_PROPORTIONS
        if same or not drawable(viewport):
            return view, IDENTITY
        return viewport, fitted(view, Box(*viewport), text)

    def _page_box(self) -> Box:
        """The root's box on a page, in CSS pixels; sides without an absolute size follow from the view box."""
        width, height = (read_length(size or "auto", 0.0) or 0.0 for size in (self._width, self._height))
        scale = width / self._view.width or height / self._view.height or 1.0
        page = Box(0.0, 0.0, width or self._view.width * scale, height or self._view.height * scale)
        return page if drawable(page) else Box(0.0, 0.0, self._view.width, self._view.height)

    def _drawn(self, element: Element, context: Context) -> list[Node]:
        """The nodes drawn by an element and its descendants."""
        self._charge(element, context)
        if element.tag in NOT_DRAWN or ":" in element.tag:
            return []
        if context.outlines == "clip" and context.uses and element.tag not in SHAPES:
            return []  # inside of clip paths, <use> may refer to shapes only
        if not _conditions_hold(element):
            self._report.add(
                "Elements for languages other than English, or that require extensions, are not drawn", element
            )
            return []
        style, variables = self._cascade.computed(element, context.inherited)
        if style.get("display") == "none":
            return []
        handler = self._handlers.get(element.tag)
        if handler is None:
            advice = UNSUPPORTED_ADVICE.get(element.tag, "")
            self._report.add(f"<{element.tag[:40]}> is not drawn", element, advice)
            return []
        size = context.size if element.tag in ("svg", "symbol") else None
        classes = context.classes.union(element.attributes.get("class", "").split())
        inner = context._replace(style=style, variables=variables, size=size, depth=context.depth + 1, classes=classes)
        inner = inner.resolved().outlined()
        if "transform" in style:
            inner = inner._replace(transform=self._transformed(element, inner))
        viewport, inside = self._entered(element, inner)
        if not self._usable(inside.transform, element):
            return []
        children = handler(element, inside)
        if viewport:
            children = self._clips.to_viewport(element, inner, viewport, children)
        name = "" if self._is_outermost(element, context) else element.attributes.get("id", "")
        return self._completed(element, inside, children, name)

    def _completed(self, element: Element, context: Context, children: list[Node], name: str = "") -> list[Node]:
        """What an element contains, with its clip, mask, opacity and name. The context is that of its contents."""
        # A filter may paint even where there is nothing to filter.
        if (children or "filter" in self._cascade.own(element)) and not context.outlines:
            self._report_ignored(element)
        box = partial(self._box, element, context, context.transform)
        if children and context.outlines != "box":
            children = grouped(children, 1.0, name, self._clips.of(element, context, children, box))
        if children and not context.outlines:
            children = grouped(children, 1.0, name, self._masks.of(element, context, children, box))
        opacity = read_fraction(context.style["opacity"]) if "opacity" in context.style else None
        return grouped(children, 1.0 if opacity is None else opacity, name)

    def _is_outermost(self, element: Element, context: Context) -> bool:
        """Whether the element is drawn as the root of the document, and not by a <use>."""
        return element is self._root and not context.uses

    def _charge(self, element: Element, context: Context) -> None:
        self._budget.spend("drawn elements", 1 + element.size // CHARACTERS_PER_ELEMENT, element)
        if context.depth > MAX_DEPTH:
            raise SVGError(
                f"<use> references nest {element.where()} more than {MAX_DEPTH} levels deep. Move it out of its groups."
            )

    def _transformed(self, element: Element, context: Context) -> Matrix:
        """The map to user units that follows from an element's own transform and that of its parent, in `context`."""
        own = self._transform(element, context)
        if not self._is_outermost(element, context):
            return compose(context.transform, own)
        # The root is a box of a page: it is transformed in pixels, after its contents have been fitted into it.
        to_page = fitted(self._canvas, self._page, self._root.attributes.get("preserveAspectRatio", ""))
        return compose(compose(inverse(to_page), own), compose(to_page, context.transform))

    def _transform(self, element: Element, context: Context) -> Matrix:
        """The element's own transform, from the attribute or from CSS, about its origin."""
        text, is_outermost = context.style["transform"], self._is_outermost(element, context)
        origin = context.style.get("transform-origin", "50% 50%" if is_outermost else "0 0")
        self._budget.spend("transform characters", len(text), element)
        box = self._page if is_outermost else self._reference_box(element, context)
        try:
            is_attribute = text == element.attributes.get("transform", "").strip()
            matrix = read_transform(text) if is_attribute else read_css_transform(text, box, context.length)
        except ValueError as error:
            self._report.add(f"A transform is ignored because {error}", element)
            return IDENTITY
        point = read_origin(origin, box, context.length)
        return about(point, matrix) if point else matrix

    def _reference_box(self, element: Element, context: Context) -> Box:
        """What percentages and the origin of an element's transform refer to: its bounding box, or the viewport."""
        name = context.style.get("transform-box", "view-box")
        if name == "view-box":
            return Box(0.0, 0.0, context.viewport.width, context.viewport.height)
        if name in ("stroke-box", "border-box"):
            what = f"The transform-box '{name}' is not supported; 'fill-box' is used instead"
            self._report.add(what, element, "Include the origin in the transform")
        with self._report.muted():
            _, inside = self._entered(element, context)
        return self._box(element, inside, context.transform) or Box(0.0, 0.0, 0.0, 0.0)

    def _box(self, element: Element, context: Context, frame: Matrix) -> Box | None:
        """The bounding box of what an element contains, in the units that `frame` maps to user units; None without any.

        All outlines count, painted or not: the contents are drawn once more for them, in `context`.
        """
        draw = self._handlers.get(element.tag, self._group)
        with self._report.muted():
            nodes = draw(element, context._replace(outlines="box").outlined())
        self._budget.spend("control points in bounding-box tests", 2 * total_points(nodes), element)
        return bounding_box(nodes, frame)

    def _usable(self, transform: Matrix, element: Element) -> bool:
        """Whether anything under a transform is visible.

        Raises:
            SVGError: The transform is out of range.
        """
        if not all(abs(value) <= MAX_TRANSFORM for value in transform):
            raise SVGError(f"The transforms applied to {element.where()} have coefficients beyond 1e12. Correct them.")
        if invertible(transform):
            return True
        if determinant(transform):
            self._report.add(
                "Elements with a nearly singular transform are not drawn", element, "Correct the transform"
            )
        return False

    def _group(self, element: Element, context: Context) -> list[Node]:
        return [node for child in element.children for node in self._drawn(child, context)]

    def _shape(self, element: Element, context: Context) -> list[Node]:
        return self._shape_reader.nodes(element, context, self._markers.of(element, context))

    def _switch(self, element: Element, context: Context) -> list[Node]:
        if element not in self._switch_choices:
            suitable = [child for child in element.children if _conditions_hold(child)]
            # Any supported child is preferred to a <foreignObject>: it is the fallback for viewers without HTML.
            known = (child for child in suitable if child.tag in self._handlers or child.tag in RENDERED)
            foreign = (child for child in suitable if child.tag == "foreignObject")
            self._switch_choices[element] = next(known, None) or next(foreign, None)
        child = self._switch_choices[element]
        return self._drawn(child, context) if child else []

    def _use(self, element: Element, context: Context) -> list[Node]:
        target = self._find(element)
        if target is None:
            return []
        if element in context.uses:
            self._report.add("A <use> that refers to itself is not drawn", element, "Remove the circular reference")
            return []
        size = {name: element.attributes[name] for name in ("width", "height") if name in element.attributes}
        inner = context._replace(uses=(*context.uses, element), size=size, paints=context.paints_of_shape())
        return list(map(as_copy, self._drawn(target, inner)))

    def _entered(self, element: Element, context: Context) -> tuple[Box | None, Context]:
        """The viewport of a <symbol> or nested <svg>, in the units around it, and the context of an element's contents.

        Other elements have no viewport of their own; that of the root is the canvas. A viewport that shows nothing has
        a context with a singular transform.
        """
        if element.tag == "use":
            return None, context._replace(transform=compose(context.transform, self._shift(element, context)))
        if element.tag not in ("svg", "symbol") or self._is_outermost(element, context):
            return None, context
        if element.tag == "symbol" and context.size is None:
            return None, context._replace(transform=_NOWHERE)  # no <use> draws it
        attributes = {**element.attributes, **(context.size or {})}
        outer, shift = context.viewport, self._shift(element, context)
        width, height = (
            self._length(element, name, context, whole, whole, attributes)
            for name, whole in (("width", outer.width), ("height", outer.height))
        )
        viewport = Box(shift.e, shift.f, width, height)
        view_box = read_view_box(attributes.get("viewBox", ""))
        inside = ViewBox(0.0, 0.0, viewport.width, viewport.height) if view_box is None else view_box
        if not (viewport.width > 0 and viewport.height > 0 and drawable(inside)):
            return viewport, context._replace(transform=_NOWHERE)
        transform = compose(context.transform, fitted(inside, viewport, attributes.get("preserveAspectRatio", "")))
        size = outer._replace(width=inside.width, height=inside.height)
        return viewport, context._replace(transform=transform, viewport=size, size=None)

    def _shift(self, element: Element, context: Context) -> Matrix:
        """The translation by the attributes x and y."""
        return Matrix(
            e=self._length(element, "x", context, context.viewport.width, 0.0),
            f=self._length(element, "y", context, context.viewport.height, 0.0),
        )

    def _length(
        self,
        element: Element,
        name: str,
        context: Context,
        whole: float,
        default: float,
        attributes: dict[str, str] | None = None,
    ) -> float:
        text = (element.attributes if attributes is None else attributes).get(name, "auto")
        length = default if text.strip() == "auto" else context.length(text, whole)
        if length is None:
            self._report.add(f"An invalid {name} is ignored", element, LENGTH_ADVICE)
            return default
        return length

    def _find(self, element: Element) -> Element | None:
        """The element that `href` refers to, if it is in this document."""
        href = element.attributes.get("href", element.attributes.get("xlink:href", "")).strip()
        if not href:
            return None
        if not href.startswith("#"):
            what = f"The href of a <{element.tag}> points outside the document and is not loaded"
            self._report.add(what, element, "Copy the referenced element into the document")
            return None
        target = self._ids.get(href[1:])
        if target is None:
            what = f"The href of a <{element.tag}> refers to nothing in the document"
            self._report.add(what, element, "Correct the reference")
        return target

    def _report_ignored(self, element: Element) -> None:
        """Report unsupported properties that would change how an element looks."""
        for name, value in self._cascade.own(element).items():
            ignored = IGNORED_PROPERTIES.get(name)
            if ignored and value not in ignored.neutral and value not in KEYWORDS:
                self._report.add(f"The property {name} is ignored", element, ignored.advice)


def _conditions_hold(element: Element) -> bool:
    """Whether the element's conditions are met: it requires no extensions and is for English or any language."""
    language = element.attributes.get("systemLanguage")
    english = language is None or any(part.strip().lower().startswith("en") for part in language.split(","))
    return english and not element.attributes.get("requiredExtensions", "").strip()

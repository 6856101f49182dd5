"""SVG files to documents; what a document cannot hold is named in warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..cubics import Box
from ..document import IDENTITY, Document, Group, Matrix, ViewBox
from ..transforms import compose, determinant, invertible, read_transform
from ..viewports import covers, drawable, encloses, fitted, read_view_box
from .effort import Effort
from .normal_form import Drawing, grouped
from .painting import Painter, points_of
from .report import Report
from .styles import Cascade, StyleSheet, Viewport, inherit, read_length, read_share
from .xml import DEEPEST, Element, SVGError, read_xml

__all__ = ["Parsed", "SVGError", "parse"]

LARGEST_TRANSFORM = 1e12
MANY_CHARACTERS = 10_000
"""In the attributes of an element; for as many again it counts as one more, each time it is drawn."""

ANIMATIONS = frozenset("animate animateColor animateMotion animateTransform discard set".split())
NOT_DRAWN = ANIMATIONS | frozenset(
    "clipPath color-profile cursor defs desc filter font font-face linearGradient marker mask metadata mpath pattern "
    "radialGradient script stop style title view".split()
)
"""Elements that are not drawn where they stand."""
RENDERED = frozenset("text image video audio iframe canvas".split())
"""Elements that other viewers draw and this one names."""
IGNORED_PROPERTIES = {
    "mask": ("none",),
    "filter": ("none",),
    "mix-blend-mode": ("normal",),
    "marker": ("none",),
    "marker-start": ("none",),
    "marker-mid": ("none",),
    "marker-end": ("none",),
    "vector-effect": ("none",),
    "transform-origin": ("0 0", "0px 0px"),
    "color-interpolation": ("sRGB", "auto"),
    "paint-order": ("normal", "fill", "fill stroke", "fill stroke markers"),
    "shape-rendering": ("auto", "geometricPrecision"),
}
"""Properties that are not represented, with the values that make no difference."""


@dataclass(frozen=True)
class Parsed:
    """A document, and a sentence for each kind of thing in the file that it does not represent."""

    document: Document
    warnings: tuple[str, ...]


def parse(text: str | bytes) -> Parsed:
    """The drawing in an SVG file; bytes are decoded as their XML declaration says.

    Raises SVGError, a ValueError, for a file that is no SVG, holds nothing that can be drawn, or goes beyond the
    limits: 20 MB, 50,000 elements, 100 of them inside each other, 10,000 CSS rules, coordinates to 1e9. Altogether
    there may be 30,000 drawn elements or 340,000 control points or 12,000 dashes, or fewer of each together.
    """
    root = read_xml(text)
    if root.tag != "svg":
        raise SVGError(f"The document's outermost element is <{root.tag[:60]}>, not <svg>: give an SVG file.")
    return _Reader(root).parsed()


class _Scope(NamedTuple):
    """What an element gets from those around it."""

    viewport: Viewport
    style: dict[str, str]
    transform: Matrix = IDENTITY
    uses: tuple[Element, ...] = ()
    size: dict[str, str] | None = None
    """Width and height that <use> gives to the element it draws."""
    depth: int = 0


class _Reader:
    """Walks through the elements of one document."""

    def __init__(self, root: Element):
        self._root = root
        self._report, self._effort = Report(), Effort()
        self._ids: dict[str, Element] = {}
        sheet = StyleSheet()
        for element in root.walk():
            if name := element.attributes.get("id"):
                self._ids.setdefault(name, element)
            self._survey(element, sheet)
        self._cascade = Cascade(sheet, self._effort, self._report)
        self._painter = Painter(self._ids, self._find, self._cascade, self._effort, self._report)
        self._chosen: dict[Element, Element | None] = {}
        self._rooms: dict[Element, Box | None] = {}
        self._width, self._height = self._size("width"), self._size("height")
        self._canvas = self._view_box()
        self._handlers: dict[str, Callable[[Element, _Scope], list[Drawing]]] = {
            **dict.fromkeys(("g", "a"), self._group),
            **dict.fromkeys(("path", "rect", "circle", "ellipse", "line", "polyline", "polygon"), self._shape),
            "switch": self._switch,
            "use": self._use,
            "svg": self._nested,
            "symbol": self._symbol,
        }

    def _survey(self, element: Element, sheet: StyleSheet) -> None:
        """What counts wherever it stands: style sheets, and what is never carried out."""
        if element.sheets:
            self._report.add("Style sheets outside the document are not fetched", element)
        if element.tag == "style" and element.attributes.get("type", "").strip().lower() not in ("", "text/css"):
            self._report.add("A style sheet of another type than text/css is ignored", element)
        elif element.tag == "style":
            if element.attributes.get("media", "all") in ("all", "screen", ""):
                sheet.read(element, self._effort, lambda what: self._report.add(what, element))
            else:
                self._report.add("A style sheet for other media than the screen is ignored", element)
        elif element.tag == "script":
            self._report.add("Scripts are ignored", element)
        elif element.tag in ANIMATIONS:
            self._report.add("Animations are ignored", element)
        if any(name.startswith("on") for name in element.attributes):
            self._report.add("Event handlers are ignored", element)

    def parsed(self) -> Parsed:
        children = self._drawn(self._root, _Scope(Viewport(self._canvas.width, self._canvas.height), {}))
        warnings = self._report.sentences()
        if not children:
            raise SVGError(" ".join(("The document holds nothing that can be drawn.", *warnings)))
        titles = (child.text for child in self._root.children if child.tag == "title")
        return Parsed(
            Document(self._canvas, tuple(children), self._width, self._height, " ".join(next(titles, "").split())),
            warnings,
        )

    def _size(self, name: str) -> str | None:
        """The root's width or height as it was written, if it is a length."""
        text = self._root.attributes.get(name, "auto").strip()
        if text == "auto":
            return None
        length = read_length(text, 100.0)
        if length is None:
            self._report.add(f"The document's {name} '{text[:40]}' is no length and is ignored")
            return None
        if not length > 0:
            raise SVGError(f"The document's {name} is '{text[:40]}', so nothing can be seen: set it above 0.")
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
                    "The document does not say how large its canvas is: give <svg> a viewBox, or a width and a height."
                )
        if not drawable(box):
            raise SVGError(
                f"The document's canvas is {box.width:g} x {box.height:g} at ({box.x:g}, {box.y:g}): give <svg> a "
                "viewBox with sides from 1e-6 to 1e9."
            )
        self._check_aspect_ratio(box)
        return box

    def _check_aspect_ratio(self, box: ViewBox) -> None:
        text = self._root.attributes.get("preserveAspectRatio", "").strip()
        if text in ("", "xMidYMid", "xMidYMid meet"):
            return
        width, height = (read_length(size or "auto", 0.0) for size in (self._width, self._height))
        if width and height and abs(width / height * box.height / box.width - 1) > 1e-3:
            self._report.add(f"The document's preserveAspectRatio '{text[:40]}' is ignored")

    def _drawn(self, element: Element, scope: _Scope) -> list[Drawing]:
        """What an element and all inside it draw."""
        self._count(element, scope)
        if element.tag in NOT_DRAWN or ":" in element.tag:
            return []
        if not _suits(element):
            self._report.add("What is for another language than English, or needs extensions, is not drawn", element)
            return []
        style = inherit(scope.style, self._cascade.own(element))
        if style.get("display") == "none":
            return []
        handler = self._handlers.get(element.tag)
        if handler is None:
            self._report.add(f"<{element.tag[:40]}> is not drawn", element)
            return []
        transform = scope.transform
        if "transform" in style:
            transform = compose(transform, self._transform(element, style["transform"]))
        if not all(abs(value) <= LARGEST_TRANSFORM for value in transform):
            raise SVGError(f"The transforms around {element.where()} multiply to a number beyond 1e12: correct them.")
        if not invertible(transform):
            if determinant(transform):
                self._report.add("What a transform makes almost flat is not drawn", element)
            return []
        size = scope.size if element.tag in ("svg", "symbol") else None
        inner = scope._replace(transform=transform, style=style, size=size, depth=scope.depth + 1)
        children = handler(element, inner)
        if children:
            self._report_ignored(element, inner, children)
        opacity = read_share(style["opacity"]) if "opacity" in style else None
        return grouped(children, 1.0 if opacity is None else opacity, element.attributes.get("id", ""))

    def _count(self, element: Element, scope: _Scope) -> None:
        self._effort.spend("drawn elements", 1 + element.size // MANY_CHARACTERS, element)
        if scope.depth > DEEPEST:
            raise SVGError(f"{element.where()} is used more than {DEEPEST} levels deep: take it out of its groups.")

    def _transform(self, element: Element, text: str) -> Matrix:
        self._effort.spend("characters of transforms", len(text), element)
        try:
            return read_transform(text)
        except ValueError as error:
            self._report.add(f"A transform is ignored because {error}", element)
            return IDENTITY

    def _group(self, element: Element, scope: _Scope) -> list[Drawing]:
        return [drawing for child in element.children for drawing in self._drawn(child, scope)]

    def _shape(self, element: Element, scope: _Scope) -> list[Drawing]:
        return [*self._painter.shapes(element, scope.style, scope.transform, scope.viewport)]

    def _switch(self, element: Element, scope: _Scope) -> list[Drawing]:
        if element not in self._chosen:
            suitable = [child for child in element.children if _suits(child)]
            # Children after a <foreignObject> are for viewers that know none.
            drawn = (child for child in suitable if child.tag in self._handlers or child.tag in RENDERED)
            foreign = (child for child in suitable if child.tag == "foreignObject")
            self._chosen[element] = next(drawn, None) or next(foreign, None)
        child = self._chosen[element]
        return self._drawn(child, scope) if child else []

    def _use(self, element: Element, scope: _Scope) -> list[Drawing]:
        target = self._find(element)
        if target is None:
            return []
        if element in scope.uses:
            self._report.add("A <use> that leads to itself is not drawn", element)
            return []
        size = {name: element.attributes[name] for name in ("width", "height") if name in element.attributes}
        shift = Matrix(
            e=self._length(element, "x", scope.viewport.width, 0.0),
            f=self._length(element, "y", scope.viewport.height, 0.0),
        )
        inner = scope._replace(transform=compose(scope.transform, shift), uses=(*scope.uses, element), size=size)
        return self._drawn(target, inner)

    def _symbol(self, element: Element, scope: _Scope) -> list[Drawing]:
        return [] if scope.size is None else self._nested(element, scope)

    def _nested(self, element: Element, scope: _Scope) -> list[Drawing]:
        """A symbol, or an <svg>: the outermost one's view box is the canvas itself."""
        if element is self._root and not scope.uses:
            return self._group(element, scope)
        attributes = {**element.attributes, **(scope.size or {})}
        sides = (self._length(element, name, whole, whole, attributes) for name, whole in self._sides(scope))
        x, y = (self._length(element, name, whole, 0.0) for name, whole in zip("xy", scope.viewport))
        room = Box(x, y, *sides)
        view_box = read_view_box(attributes.get("viewBox", ""))
        inside = ViewBox(0.0, 0.0, room.width, room.height) if view_box is None else view_box
        if not (room.width > 0 and room.height > 0 and drawable(inside)):
            return []
        transform = fitted(inside, room, attributes.get("preserveAspectRatio", ""))
        transform = compose(scope.transform, transform)
        inner = scope._replace(transform=transform, viewport=Viewport(inside.width, inside.height), size=None)
        children = self._group(element, inner)
        cut_off = self._cascade.own(element).get("overflow", "hidden") not in ("visible", "auto")
        if cut_off and self._cuts(element, room, scope.transform, children):
            self._report.add(f"What sticks out of a nested <{element.tag}> is not cut off", element)
        return children

    def _sides(self, scope: _Scope) -> tuple[tuple[str, float], tuple[str, float]]:
        return ("width", scope.viewport.width), ("height", scope.viewport.height)

    def _cuts(self, element: Element, room: Box, frame: Matrix, children: list[Drawing]) -> bool:
        """Whether cutting drawings off at a room, of which `frame` is the map to user units, would be seen."""
        if encloses(room, frame, self._canvas):
            return False
        self._effort.spend("control points compared with boxes", _points(children), element)
        return not covers(room, frame, children)

    def _length(
        self, element: Element, name: str, whole: float, default: float, attributes: dict[str, str] | None = None
    ) -> float:
        text = (element.attributes if attributes is None else attributes).get(name, "auto")
        length = default if text.strip() == "auto" else read_length(text, whole)
        if length is None:
            self._report.add(f"A {name} that is no length is ignored", element)
            return default
        return length

    def _find(self, element: Element) -> Element | None:
        """The element that `href` names, if it is in this document."""
        href = element.attributes.get("href", element.attributes.get("xlink:href", "")).strip()
        if not href:
            return None
        target = self._ids.get(href[1:]) if href.startswith("#") else None
        if target is None:
            what = "is not in the document" if href.startswith("#") else "lies outside the document and is not fetched"
            self._report.add(f"What a <{element.tag}> refers to {what}", element)
        return target

    def _report_ignored(self, element: Element, scope: _Scope, children: list[Drawing]) -> None:
        """Name the properties that would change how an element looks and are not represented."""
        for name, value in self._cascade.own(element).items():
            if value not in IGNORED_PROPERTIES.get(name, (value,)) and value != "inherit":
                self._report.add(f"The property {name} is ignored", element)
        if scope.style.get("clip-path", "none") != "none" and self._clips(element, scope, children):
            self._report.add("The property clip-path is ignored", element)

    def _clips(self, element: Element, scope: _Scope, children: list[Drawing]) -> bool:
        """Whether a clip path would be seen; only one that is a plain rectangle may be found to make no difference."""
        target = self._painter.referred(scope.style["clip-path"])
        if target is None:
            return True
        if target not in self._rooms:
            plain = not {*self._cascade.own(target)} and all(
                {*self._cascade.own(child)} <= {"fill"} for child in target.children
            )
            self._rooms[target] = _room(target) if plain else None
        room = self._rooms[target]
        return room is None or self._cuts(element, room, scope.transform, children)


def _room(clip: Element) -> Box | None:
    """What a clip path leaves, if it is a plain rectangle."""
    rects = [child for child in clip.children if child.tag not in ("title", "desc")]
    if clip.tag != "clipPath" or len(rects) != 1 or rects[0].tag != "rect":
        return None
    if {*clip.attributes} - {"id"} or {*rects[0].attributes} - {"x", "y", "width", "height", "fill", "id"}:
        return None
    numbers = (read_length(rects[0].attributes.get(name, "0"), 0.0) for name in ("x", "y", "width", "height"))
    return Box(*(number or 0.0 for number in numbers))


def _points(drawings: Iterable[Drawing]) -> int:
    """How many control points drawings have."""
    return sum(
        _points(drawing.children) if isinstance(drawing, Group) else points_of(drawing.contours) for drawing in drawings
    )


def _suits(element: Element) -> bool:
    """Whether the element may be drawn: it needs no extensions, and is for English or for all languages."""
    language = element.attributes.get("systemLanguage")
    english = language is None or any(part.strip().lower().startswith("en") for part in language.split(","))
    return english and not element.attributes.get("requiredExtensions", "").strip()

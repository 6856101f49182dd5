"""How elements are styled: presentation attributes, style sheets of simple selectors, `style`, inheritance, lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..numbers import NUMBER
from .effort import Effort
from .report import Report
from .xml import Element, SVGError

INHERITED = frozenset(
    "color fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin "
    "stroke-miterlimit stroke-dasharray stroke-dashoffset visibility font-size color-interpolation paint-order "
    "marker marker-start marker-mid marker-end shape-rendering".split()
)
OWN = frozenset(
    "opacity display stop-color stop-opacity transform transform-origin clip-path mask filter mix-blend-mode "
    "vector-effect overflow".split()
)
PROPERTIES = INHERITED | OWN
"""What of CSS is looked at; the rest does not change vector drawings, or is reported by the reader of shapes."""
SHAPE_PROPERTIES = frozenset(
    "d x y cx cy r rx ry background background-color rotate scale translate transform-box".split()
)
"""Properties that browsers heed in CSS and this reader does not."""

SIDES = frozenset(("width", "height"))
"""Of these only rectangles change; of an <svg> web pages set them, too, for the room that it takes there."""

_LENGTHS = frozenset(("stroke-width", "stroke-dashoffset"))

Say = Callable[[str], None]
"""Takes a sentence without its full stop that names what is not represented."""

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_SELECTOR = re.compile(r"(\*|[a-zA-Z][\w-]*)?(?:([.#])(-?[a-zA-Z_][\w-]*))?")
_BRACE = re.compile("[{}]")
_LENGTH = re.compile(NUMBER + r"(%|[a-zA-Z]*)")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6}

DEFAULT_FONT_SIZE = 16.0
LONGEST_VALUE = 1000
"""Characters of a property, which is read anew for each element that inherits it."""
LONGEST_LENGTH = 64
"""Characters; the time that the pattern takes grows with the square of the digits."""
MOST_RULES = 10_000
"""Selectors, and rules that begin with @, of all style sheets."""


class Declaration(NamedTuple):
    """A value and how strongly it is meant: importance, specificity, place."""

    value: str
    weight: tuple[bool, int, int]


Declarations = dict[str, Declaration]


def read_declarations(text: str, specificity: int, place: int, report: Say) -> Declarations:
    """What `name: value; ...` says about the properties that are looked at."""
    found: Declarations = {}
    for part in _COMMENT.sub(" ", text).split(";"):
        name, colon, value = part.partition(":")
        name = name.strip().lower()
        if name in SHAPE_PROPERTIES:
            report(f"The CSS property '{name}' is ignored")
        if not colon or name not in PROPERTIES | SIDES:
            continue
        value, important = _without_importance(value)
        if _fits(name, value, report):
            _keep_stronger(found, name, Declaration(value, (important, specificity, place)))
    return found


def _without_importance(value: str) -> tuple[str, bool]:
    before, mark, word = value.rpartition("!")
    important = bool(mark) and word.strip().lower() == "important"
    return (before if important else value).strip(), important


def _fits(name: str, value: str, report: Say) -> bool:
    if len(value) > LONGEST_VALUE:
        report(f"A {name} of more than {LONGEST_VALUE} characters is ignored")
    return len(value) <= LONGEST_VALUE


def _keep_stronger(found: Declarations, name: str, declaration: Declaration) -> None:
    if name not in found or declaration.weight >= found[name].weight:
        found[name] = declaration


@dataclass
class StyleSheet:
    """Rules by tag, "" for any, and by ".class" or "#id", "" for any."""

    rules: dict[tuple[str, str], Declarations] = field(default_factory=dict)
    _places: int = 0
    _rules_left: int = MOST_RULES

    def read(self, element: Element, effort: Effort, report: Say) -> None:
        """Add the rules of a <style>; what is no simple selector is reported.

        Raises SVGError for more than 10,000 rules, those of sheets before included.
        """
        text = _COMMENT.sub(" ", element.text)
        position = opening = 0
        while position < len(text):
            if 0 <= opening <= position:
                opening = text.find("{", position)
            at_rule = text.find("@", position, None if opening < 0 else opening)
            if at_rule >= 0:
                position = self._skip_at_rule(text, at_rule, opening, element, report)
                continue
            if opening < 0:
                return
            closing = text.find("}", opening)
            closing = len(text) if closing < 0 else closing
            self._count(text.count(",", position, opening) + 1, element)
            effort.spend("declarations of style", text.count(";", opening, closing), element)
            self._add(text[position:opening], text[opening + 1 : closing], report)
            position = closing + 1

    def _count(self, rules: int, element: Element) -> None:
        self._rules_left -= rules
        if self._rules_left < 0:
            raise SVGError(
                f"The style sheets have more than {MOST_RULES} rules, the most that can be read, up to "
                f"{element.where()}: leave out those that are not needed."
            )

    def _skip_at_rule(self, text: str, start: int, opening: int, element: Element, report: Say) -> int:
        name = re.match(r"@[\w-]*", text[start : start + 40])
        if name and name[0] not in ("@charset", "@namespace", "@font-face"):
            report(f"The CSS rule {name[0]} is ignored")
        semicolon = text.find(";", start, None if opening < 0 else opening)
        if opening < 0 or semicolon >= 0:
            self._count(1, element)
            return semicolon + 1 if semicolon >= 0 else len(text)
        depth = 0
        for brace in _BRACE.finditer(text, opening):
            if brace[0] == "{":
                self._count(1, element)
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return brace.end()
        return len(text)

    def _add(self, selectors: str, body: str, report: Say) -> None:
        self._places += 1
        declarations = read_declarations(body, 0, self._places, report)
        for selector in selectors.split(","):
            match = _SELECTOR.fullmatch(selector.strip())
            if match is None or not match[0]:
                report(f"The CSS selector '{selector.strip()[:60]}' is ignored")
                continue
            tag = "" if match[1] in (None, "*") else match[1]
            specificity = (1 if tag else 0) + {".": 10, "#": 100}.get(match[2], 0)
            found = self.rules.setdefault((tag, f"{match[2]}{match[3]}" if match[2] else ""), {})
            for name, (value, (important, _, place)) in declarations.items():
                _keep_stronger(found, name, Declaration(value, (important, specificity, place)))

    def matching(self, element: Element, effort: Effort) -> list[Declarations]:
        """What each of the rules for an element says."""
        if not self.rules:
            return []
        classes = [f".{name}" for name in element.attributes.get("class", "").split() if name in self._classes]
        keys = ["", *dict.fromkeys(classes), f"#{element.attributes.get('id', '')}"]
        effort.spend("declarations of style", len(keys), element)
        found = (self.rules.get((tag, key)) for tag in ("", element.tag) for key in keys)
        return [declarations for declarations in found if declarations]

    @cached_property
    def _classes(self) -> frozenset[str]:
        """Those that a rule is for; only to be asked for when all sheets have been read."""
        return frozenset(key[1:] for _, key in self.rules if key.startswith("."))


_STYLE_ATTRIBUTE = 1000
"""More than any selector's specificity."""


class Cascade:
    """The properties given to elements themselves."""

    def __init__(self, sheet: StyleSheet, effort: Effort, report: Report):
        self._sheet, self._effort, self._report = sheet, effort, report
        self._known: dict[int, dict[str, str]] = {}

    def own(self, element: Element) -> dict[str, str]:
        """By name: of presentation attributes, style sheet and `style` the strongest."""
        if id(element) not in self._known:
            self._known[id(element)] = self._specified(element)
        return self._known[id(element)]

    def _specified(self, element: Element) -> dict[str, str]:
        def report(what: str) -> None:
            self._report.add(what, element)

        presented = ((name, value.strip()) for name, value in element.attributes.items() if name in PROPERTIES)
        found = {name: Declaration(value, (False, -1, 0)) for name, value in presented if _fits(name, value, report)}
        style, rules = element.attributes.get("style", ""), self._sheet.matching(element, self._effort)
        self._effort.spend("declarations of style", style.count(";") + sum(map(len, rules)), element)
        for declarations in (*rules, read_declarations(style, _STYLE_ATTRIBUTE, 0, report)):
            for name, declaration in declarations.items():
                _keep_stronger(found, name, declaration)
        for name in sorted(SIDES & found.keys()):
            del found[name]
            if element.tag == "rect":
                report(f"The CSS property '{name}' is ignored")
        return {name: declaration.value for name, declaration in found.items()}


def inherit(parent: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """An element's properties, from its parent's and those given to itself."""
    style = {name: value for name, value in parent.items() if name in INHERITED}
    for name, value in own.items():
        keyword = value.lower()
        if keyword == "inherit" or (keyword == "unset" and name in INHERITED):
            if name in parent:
                style[name] = parent[name]
        elif keyword in ("initial", "unset"):
            style.pop(name, None)
        else:
            style[name] = value
    return _absolute(style, parent, own)


def _absolute(style: dict[str, str], parent: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """An element's properties with those lengths in pixels that depend on its own font size, as heirs get them."""
    if "font-size" in own and style.get("font-size") == own["font-size"]:
        around = font_size(parent)
        size = read_length(own["font-size"], around, around)
        style["font-size"] = str(around if size is None else size)
    for name in _LENGTHS & own.keys():
        text = style.get(name, "")
        if text.lower().endswith(("em", "ex")) and (length := read_length(text, 0.0, font_size(style))) is not None:
            style[name] = str(length)
    return style


def font_size(style: dict[str, str]) -> float:
    """In user units."""
    size = read_length(style.get("font-size", ""), DEFAULT_FONT_SIZE)
    return DEFAULT_FONT_SIZE if size is None else size


class Viewport(NamedTuple):
    """What percentages of lengths refer to, in user units."""

    width: float
    height: float

    @property
    def diagonal(self) -> float:
        return math.sqrt((self.width * self.width + self.height * self.height) / 2)


def read_length(text: str, whole: float, font_size: float = DEFAULT_FONT_SIZE) -> float | None:
    """A length in user units, `whole` being 100 %; None if it is no length or of an unknown unit."""
    match = _match_length(text)
    if match is None:
        return None
    unit = match[2].lower()
    relative = {"%": whole / 100, "em": font_size, "ex": font_size / 2, "rem": DEFAULT_FONT_SIZE}
    factor = _PIXELS.get(unit, relative.get(unit))
    return None if factor is None else _finite(float(match[1]) * factor)


def read_share(text: str) -> float | None:
    """A number or percentage, clamped to [0, 1]; None if it is neither."""
    match = _match_length(text)
    if match is None or match[2] not in ("", "%"):
        return None
    return min(max(float(match[1]) / (100 if match[2] else 1), 0.0), 1.0)


def _match_length(text: str) -> re.Match[str] | None:
    text = text.strip()
    return _LENGTH.fullmatch(text) if len(text) <= LONGEST_LENGTH else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

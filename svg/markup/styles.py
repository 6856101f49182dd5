"""CSS for SVG: presentation attributes, style sheets with simple selectors, `style`, inheritance, lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ..numbers import NUMBER
from .budget import ParseBudget
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
"""The CSS properties that are read. Others have no effect on the drawing or are reported below."""
SHAPE_PROPERTIES = frozenset(
    "d x y cx cy r rx ry background background-color rotate scale translate transform-box".split()
)
"""Properties that browsers support in CSS and this parser does not."""

SIDES = frozenset(("width", "height"))
"""CSS sizes: ignored, with a warning for <rect>. On <svg> they only size the element within a web page."""

_FONT_RELATIVE = frozenset(("stroke-width", "stroke-dashoffset"))
"""Inherited lengths, whose em and ex units are resolved on the element that specifies them."""

Warn = Callable[[str, str], None]
"""Records a warning: what is unsupported and what to change, both clauses without a period (see `Report.add`)."""

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_SELECTOR = re.compile(r"(\*|[a-zA-Z][\w-]*)?(?:([.#])(-?[a-zA-Z_][\w-]*))?")
_BRACE = re.compile("[{}]")
_LENGTH = re.compile(NUMBER + r"(%|[a-zA-Z]*)")
_PIXELS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "q": 96 / 101.6}

DEFAULT_FONT_SIZE = 16.0
MAX_VALUE_CHARACTERS = 1000
"""Characters of a property value; it is parsed again for each element that inherits it."""
MAX_LENGTH_CHARACTERS = 64
"""Characters of a length; matching it takes time quadratic in its digits."""
MAX_RULES = 10_000
"""Selectors and at-rules in all style sheets together."""


class Declaration(NamedTuple):
    """A value and its precedence: importance, specificity, order of appearance."""

    value: str
    precedence: tuple[bool, int, int]


Declarations = dict[str, Declaration]


def read_declarations(text: str, specificity: int, position: int, warn: Warn) -> Declarations:
    """Parse "name: value; ..." and keep the supported properties."""
    found: Declarations = {}
    for part in _COMMENT.sub(" ", text).split(";"):
        name, colon, value = part.partition(":")
        name = name.strip().lower()
        if name in SHAPE_PROPERTIES:
            warn(f"The CSS property '{name}' is ignored", "")
        if not colon or name not in PROPERTIES | SIDES:
            continue
        value, important = _without_importance(value)
        if _fits(name, value, warn):
            _keep_stronger(found, name, Declaration(value, (important, specificity, position)))
    return found


def _without_importance(value: str) -> tuple[str, bool]:
    before, mark, word = value.rpartition("!")
    important = bool(mark) and word.strip().lower() == "important"
    return (before if important else value).strip(), important


def _fits(name: str, value: str, warn: Warn) -> bool:
    if len(value) > MAX_VALUE_CHARACTERS:
        warn(f"A value of {name} is ignored because it exceeds {MAX_VALUE_CHARACTERS} characters", "Shorten it")
    return len(value) <= MAX_VALUE_CHARACTERS


def _keep_stronger(found: Declarations, name: str, declaration: Declaration) -> None:
    if name not in found or declaration.precedence >= found[name].precedence:
        found[name] = declaration


@dataclass
class StyleSheet:
    """CSS rules, keyed by (tag, ".class" or "#id"); "" stands for any."""

    rules: dict[tuple[str, str], Declarations] = field(default_factory=dict)
    _position: int = 0
    _rules_left: int = MAX_RULES

    def read(self, element: Element, budget: ParseBudget, warn: Warn) -> None:
        """Add the rules of a <style> element; unsupported selectors and at-rules are reported.

        Raises:
            SVGError: There are more than 10,000 rules, counting all style sheets.
        """
        text = _COMMENT.sub(" ", element.text)
        position = opening = 0
        while position < len(text):
            if 0 <= opening <= position:
                opening = text.find("{", position)
            at_rule = text.find("@", position, None if opening < 0 else opening)
            if at_rule >= 0:
                position = self._skip_at_rule(text, at_rule, opening, element, warn)
                continue
            if opening < 0:
                return
            closing = text.find("}", opening)
            closing = len(text) if closing < 0 else closing
            self._count(text.count(",", position, opening) + 1, element)
            budget.spend("style declarations", text.count(";", opening, closing), element)
            self._add(text[position:opening], text[opening + 1 : closing], warn)
            position = closing + 1

    def _count(self, rules: int, element: Element) -> None:
        self._rules_left -= rules
        if self._rules_left < 0:
            raise SVGError(
                f"The style sheets exceed the limit of {MAX_RULES} rules at {element.where()}. Remove unused rules."
            )

    def _skip_at_rule(self, text: str, start: int, opening: int, element: Element, warn: Warn) -> int:
        name = re.match(r"@[\w-]*", text[start : start + 40])
        if name and name[0] not in ("@charset", "@namespace", "@font-face"):
            warn(f"The CSS rule {name[0]} is ignored", "Use plain rules, which always apply")
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

    def _add(self, selectors: str, body: str, warn: Warn) -> None:
        self._position += 1
        declarations = read_declarations(body, 0, self._position, warn)
        for selector in selectors.split(","):
            match = _SELECTOR.fullmatch(selector.strip())
            if match is None or not match[0]:
                warn(f"The CSS selector '{selector.strip()[:60]}' is ignored", "Use single tag, class or id selectors")
                continue
            tag = "" if match[1] in (None, "*") else match[1]
            specificity = (1 if tag else 0) + {".": 10, "#": 100}.get(match[2], 0)
            found = self.rules.setdefault((tag, f"{match[2]}{match[3]}" if match[2] else ""), {})
            for name, (value, (important, _, position)) in declarations.items():
                _keep_stronger(found, name, Declaration(value, (important, specificity, position)))

    def matching(self, element: Element, budget: ParseBudget) -> list[Declarations]:
        """The declarations of all rules that match an element."""
        if not self.rules:
            return []
        classes = [f".{name}" for name in element.attributes.get("class", "").split() if name in self._classes]
        keys = ["", *dict.fromkeys(classes), f"#{element.attributes.get('id', '')}"]
        budget.spend("style declarations", len(keys), element)
        found = (self.rules.get((tag, key)) for tag in ("", element.tag) for key in keys)
        return [declarations for declarations in found if declarations]

    @cached_property
    def _classes(self) -> frozenset[str]:
        """Class names used in selectors; valid only after all style sheets have been read."""
        return frozenset(key[1:] for _, key in self.rules if key.startswith("."))


_STYLE_ATTRIBUTE = 1000
"""Specificity of the `style` attribute: above that of any selector."""


class Cascade:
    """Computes the properties specified on elements themselves, without inheritance."""

    def __init__(self, sheet: StyleSheet, budget: ParseBudget, report: Report):
        self._sheet, self._budget, self._report = sheet, budget, report
        self._known: dict[int, dict[str, str]] = {}

    def own(self, element: Element) -> dict[str, str]:
        """Specified values by property: the strongest of presentation attribute, style sheet and `style`."""
        if id(element) not in self._known:
            self._known[id(element)] = self._specified(element)
        return self._known[id(element)]

    def _specified(self, element: Element) -> dict[str, str]:
        def warn(what: str, advice: str) -> None:
            self._report.add(what, element, advice)

        presented = ((name, value.strip()) for name, value in element.attributes.items() if name in PROPERTIES)
        found = {name: Declaration(value, (False, -1, 0)) for name, value in presented if _fits(name, value, warn)}
        style, rules = element.attributes.get("style", ""), self._sheet.matching(element, self._budget)
        self._budget.spend("style declarations", style.count(";") + sum(map(len, rules)), element)
        for declarations in (*rules, read_declarations(style, _STYLE_ATTRIBUTE, 0, warn)):
            for name, declaration in declarations.items():
                _keep_stronger(found, name, declaration)
        for name in sorted(SIDES & found.keys()):
            del found[name]
            if element.tag == "rect":
                warn(f"The CSS property '{name}' is ignored", f"Set {name} as an attribute of the element")
        return {name: declaration.value for name, declaration in found.items()}


def inherit(parent: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """An element's computed properties from its parent's and its own specified ones."""
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
    """Resolve lengths relative to the element's font size, because children inherit the computed value."""
    if "font-size" in own and style.get("font-size") == own["font-size"]:
        inherited = font_size(parent)
        size = read_length(own["font-size"], inherited, inherited)
        style["font-size"] = str(inherited if size is None else size)
    for name in _FONT_RELATIVE & own.keys():
        text = style.get(name, "")
        if text.lower().endswith(("em", "ex")) and (length := read_length(text, 0.0, font_size(style))) is not None:
            style[name] = str(length)
    return style


def font_size(style: dict[str, str]) -> float:
    """The font size of computed properties, in user units."""
    size = read_length(style.get("font-size", ""), DEFAULT_FONT_SIZE)
    return DEFAULT_FONT_SIZE if size is None else size


class Viewport(NamedTuple):
    """The nearest viewport, in user units: the reference for percentages."""

    width: float
    height: float

    @property
    def diagonal(self) -> float:
        """Reference for percentages that are neither horizontal nor vertical, as SVG defines it."""
        return math.sqrt((self.width * self.width + self.height * self.height) / 2)


def read_length(text: str, whole: float, font_size: float = DEFAULT_FONT_SIZE) -> float | None:
    """Parse a length.

    Args:
        text: A number, optionally followed by a CSS unit or %.
        whole: The length that 100% refers to, in user units.
        font_size: The length that 1em refers to, in user units.

    Returns:
        The length in user units, or None if `text` is not a length, has an unknown unit or overflows.
    """
    match = _match_length(text)
    if match is None:
        return None
    unit = match[2].lower()
    relative = {"%": whole / 100, "em": font_size, "ex": font_size / 2, "rem": DEFAULT_FONT_SIZE}
    factor = _PIXELS.get(unit, relative.get(unit))
    return None if factor is None else _finite(float(match[1]) * factor)


def read_fraction(text: str) -> float | None:
    """Parse a number or percentage and clamp it to [0, 1]; None if it is neither."""
    match = _match_length(text)
    if match is None or match[2] not in ("", "%"):
        return None
    return min(max(float(match[1]) / (100 if match[2] else 1), 0.0), 1.0)


def _match_length(text: str) -> re.Match[str] | None:
    text = text.strip()
    return _LENGTH.fullmatch(text) if len(text) <= MAX_LENGTH_CHARACTERS else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

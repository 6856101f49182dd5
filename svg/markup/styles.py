"""The cascade: computed properties from presentation attributes, style sheets, `style`, and inheritance."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .budget import ParseBudget
from .css_text import read_css, reading_cost
from .lengths import DEFAULT_FONT_SIZE, read_length
from .properties import (
    ALL,
    INHERITED,
    PROPERTIES,
    SIDES,
    Declaration,
    Declarations,
    is_custom,
    keep_stronger,
    read_declarations,
    usable,
)
from .report import Report
from .style_sheets import StyleSheet
from .variables import Substitution
from .xml import Element

_FONT_RELATIVE = frozenset(("stroke-width", "stroke-dashoffset", "stroke-dasharray"))
"""Inherited lengths, whose em and ex units are resolved on the element that specifies them."""
_FONT_UNIT = re.compile(r"[\d.]e[mx]\b")
_FONT_SIZES = {
    **{"xx-small": 9.0, "x-small": 10.0, "small": 13.0, "medium": DEFAULT_FONT_SIZE, "large": 18.0},
    **{"x-large": 24.0, "xx-large": 32.0, "xxx-large": 48.0},
}
"""The sizes that browsers use, in pixels."""
_STYLE_ATTRIBUTE = 10**9
"""Specificity of the `style` attribute: above that of any selector."""

NOTHING: Mapping[str, str] = {}


class Style(NamedTuple):
    """The computed properties of an element, and the custom ones that apply to it."""

    properties: dict[str, str]
    variables: Mapping[str, str] = NOTHING


class Cascade:
    """Computes the properties of elements."""

    def __init__(self, sheet: StyleSheet, budget: ParseBudget, report: Report):
        self._sheet, self._budget, self._report = sheet, budget, report
        self._known: dict[int, dict[str, str]] = {}
        self._in_tree: dict[Element, Style] = {}
        self.root_font_size = DEFAULT_FONT_SIZE
        """The reference of rem; set once the root element's style is known."""

    def own(self, element: Element) -> dict[str, str]:
        """Specified values by property: the strongest of presentation attribute, style sheet and `style`."""
        if id(element) not in self._known:
            self._known[id(element)] = self._specified(element)
        return self._known[id(element)]

    def computed(self, element: Element, parent: Style) -> Style:
        """Computed values of an element that inherits from `parent`."""
        own = self.own(element)
        variables, replaced = parent.variables, 0
        if custom := {name: value for name, value in own.items() if is_custom(name)}:
            substitution = Substitution({**variables, **custom})
            found = {name: substitution(value) for name, value in custom.items()}
            variables = {**variables, **{name: value for name, value in found.items() if value is not None}}
            replaced += substitution.cost + len(variables)
        if any("var(" in value for value in own.values()):
            substitution = Substitution(variables)
            own = {name: self._substituted(name, value, substitution, element) for name, value in own.items()}
            replaced += substitution.cost + sum(map(reading_cost, own.values()))
        replaced += sum(len(_FONT_UNIT.findall(own[name])) for name in _FONT_RELATIVE & own.keys())
        if replaced:
            self._budget.spend("style declarations", replaced, element)
        return Style(inherit(parent.properties, own, self.root_font_size), variables)

    def _substituted(self, name: str, value: str, substitution: Substitution, element: Element) -> str:
        if is_custom(name) or "var(" not in value:
            return value
        found = substitution(value)
        if found is not None:
            found = usable(name, found, lambda what, advice: self._report.add(what, element, advice))
        return "unset" if found is None else found

    def in_tree(self, element: Element) -> Style:
        """Computed values of an element where it stands, as for gradients, which are never drawn as such."""
        ancestors: list[Element] = []
        current: Element | None = element
        while current is not None and current not in self._in_tree:
            ancestors.append(current)
            current = current.parent
        style = Style({}) if current is None else self._in_tree[current]
        for ancestor in reversed(ancestors):
            style = self._in_tree[ancestor] = self.computed(ancestor, style)
        return style

    def _specified(self, element: Element) -> dict[str, str]:
        def warn(what: str, advice: str) -> None:
            self._report.add(what, element, advice)

        found: Declarations = {}
        for name, value in element.attributes.items():
            kept = usable(name, value.strip(), warn, is_attribute=True) if name in PROPERTIES else None
            if kept is not None:
                found[name] = Declaration(kept, (False, -1, 0))
        style, rules = element.attributes.get("style", ""), self._sheet.matching(element, self._budget)
        count = style.count(";") + reading_cost(style) + sum(map(len, rules))
        self._budget.spend("style declarations", count, element)
        own = read_declarations(read_css(style), _STYLE_ATTRIBUTE, 0, warn) if style else {}
        for declarations in (*rules, own):
            for name, declaration in declarations.items():
                keep_stronger(found, name, declaration)
        if ALL in found:
            self._budget.spend("style declarations", len(PROPERTIES), element)
            _set_all(found)
        for name in sorted(SIDES & found.keys()):
            del found[name]
            if element.tag == "rect":
                warn(f"The CSS property '{name}' is ignored", f"Set {name} as an attribute of the element")
        return {name: declaration.value for name, declaration in found.items()}


def _set_all(found: Declarations) -> None:
    """Give each property that is weaker than `all` its value."""
    every = found.pop(ALL)
    for name in PROPERTIES:
        if name not in found or found[name].precedence < every.precedence:
            found[name] = every


def inherit(
    parent: dict[str, str], own: Mapping[str, str], root_font_size: float = DEFAULT_FONT_SIZE
) -> dict[str, str]:
    """An element's computed properties from its parent's and its own specified ones."""
    style = {name: value for name, value in parent.items() if name in INHERITED}
    for name, value in own.items():
        if is_custom(name):
            continue
        keyword = value.lower()
        unset = keyword in ("unset", "revert", "revert-layer")
        if keyword == "inherit" or (unset and name in INHERITED) or (name == "color" and keyword == "currentcolor"):
            if name in parent:
                style[name] = parent[name]
        elif keyword == "initial" or unset:
            style.pop(name, None)
        else:
            style[name] = value
    return _absolute(style, parent, own, root_font_size)


def _absolute(
    style: dict[str, str], parent: dict[str, str], own: Mapping[str, str], root_font_size: float
) -> dict[str, str]:
    """Resolve lengths relative to the element's font size, because children inherit the computed value."""
    if "font-size" in own and style.get("font-size") == own["font-size"]:
        inherited = font_size(parent)
        text = own["font-size"].strip().lower()
        size = _FONT_SIZES.get(text, read_length(text, inherited, inherited, root_font_size))
        style["font-size"] = str(inherited if size is None else size)
    for name in _FONT_RELATIVE & own.keys():
        if name in style and _FONT_UNIT.search(style[name]):
            style[name] = _resolved(style[name], font_size(style))
    return style


def _resolved(lengths: str, size: float) -> str:
    """A list of lengths with those relative to the font size in user units."""

    def length(word: str) -> str:
        value = read_length(word, 0.0, size) if _FONT_UNIT.search(word) else None
        return word if value is None else str(value)

    return " ".join(map(length, lengths.replace(",", " ").split()))


def font_size(style: Mapping[str, str]) -> float:
    """The font size of computed properties, in user units."""
    size = read_length(style.get("font-size", ""), DEFAULT_FONT_SIZE)
    return DEFAULT_FONT_SIZE if size is None else size

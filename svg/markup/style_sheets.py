"""CSS style sheets: the rules of <style> elements, and which of them match an element."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from .budget import ParseBudget
from .css_text import CSSText, read_css, reading_cost
from .properties import Declaration, Declarations, Warn, keep_stronger, read_declarations
from .selectors import Selector, read_selector
from .xml import Element, SVGError

MAX_RULES = 10_000
"""Selectors and at-rules in all style sheets together."""

_BRACE = re.compile("[{}]")


@dataclass
class StyleSheet:
    """CSS rules. Those with a selector of only a tag, a class or id, or both, are merged and looked up.

    Attributes:
        rules: Declarations by (tag, ".class" or "#id"); "" stands for any.
        tested: Rules with other selectors, by a tag, class or id that the element itself must have.
    """

    rules: dict[tuple[str, str], Declarations] = field(default_factory=dict)
    tested: dict[str, list[tuple[Selector, Declarations]]] = field(default_factory=dict)
    _position: int = 0
    _rules_left: int = MAX_RULES

    def read(self, element: Element, budget: ParseBudget, warn: Warn) -> None:
        """Add the rules of a <style> element; unsupported selectors and at-rules are reported.

        Raises:
            SVGError: There are more than 10,000 rules, counting all style sheets.
        """
        budget.spend("style declarations", reading_cost(element.text), element)
        css = read_css(element.text)
        text = css.structure
        position = opening = 0
        while position < len(text):
            if 0 <= opening <= position:
                opening = text.find("{", position)
            at_rule = text.find("@", position, None if opening < 0 else opening)
            if at_rule >= 0:
                position = self._skip_at_rule(css, at_rule, opening, element, warn)
                continue
            if opening < 0:
                return
            self._count(text.count(",", position, opening) + 1, element)
            body, closing = self._body(css, opening, element, warn)
            budget.spend("style declarations", body.text.count(";"), element)
            self._add(css.part(position, opening), body, element, budget, warn)
            position = closing

    def _count(self, rules: int, element: Element) -> None:
        self._rules_left -= rules
        if self._rules_left < 0:
            raise SVGError(
                f"The style sheets exceed the limit of {MAX_RULES} rules at {element.where()}. Remove unused rules."
            )

    def _skip_at_rule(self, css: CSSText, start: int, opening: int, element: Element, warn: Warn) -> int:
        name = re.match(r"@[\w-]*", css.structure[start : start + 40])
        if name and name[0] not in ("@charset", "@namespace", "@font-face"):
            warn(f"The CSS rule {name[0]} is ignored", "Use plain rules, which always apply")
        semicolon = css.structure.find(";", start, None if opening < 0 else opening)
        if opening < 0 or semicolon >= 0:
            self._count(1, element)
            return semicolon + 1 if semicolon >= 0 else len(css.text)
        return self._end_of_block(css.structure, opening, element)

    def _end_of_block(self, structure: str, opening: int, element: Element) -> int:
        """Where the block ends that the brace at `opening` starts. Each block in it counts as a rule."""
        depth = 0
        for brace in _BRACE.finditer(structure, opening):
            if brace[0] == "{":
                self._count(1, element)
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                return brace.end()
        return len(structure)

    def _body(self, css: CSSText, opening: int, element: Element, warn: Warn) -> tuple[CSSText, int]:
        """The declarations of the rule whose block starts at `opening`, and where the block ends."""
        parts: list[CSSText] = []
        start, structure = opening + 1, css.structure
        while True:
            closing = structure.find("}", start)
            closing = len(structure) if closing < 0 else closing
            nested = structure.find("{", start, closing)
            if nested < 0:
                parts.append(css.part(start, closing))
                return CSSText(*map(";".join, zip(*parts, strict=True))), closing + 1
            warn("Nested CSS rules are ignored", "Move them out of the rules around them")
            # What follows the last semicolon is the selector of the nested rule.
            parts.append(css.part(start, max(start, structure.rfind(";", start, nested))))
            start = self._end_of_block(structure, nested, element)

    def _add(self, selectors: CSSText, body: CSSText, element: Element, budget: ParseBudget, warn: Warn) -> None:
        self._position += 1
        declarations = read_declarations(body, 0, self._position, warn)
        for text in selectors.split(","):
            selector = read_selector(text)
            if selector is None:
                advice = "Use tags, classes, ids and attributes, combined as descendants or children"
                warn(f"The CSS selector '{text.strip()[:60]}' is ignored", advice)
                continue
            budget.spend("style declarations", len(declarations), element)
            found = self._declarations_of(selector)
            for name, (value, (important, _, position)) in declarations.items():
                keep_stronger(found, name, Declaration(value, (important, selector.specificity, position)))

    def _declarations_of(self, selector: Selector) -> Declarations:
        """Where the declarations of a selector are kept."""
        subject = selector.subject
        if selector.is_simple:
            return self.rules.setdefault((subject.tag, subject.keys[0] if subject.keys else ""), {})
        declarations: Declarations = {}
        key = min(subject.keys, default=subject.tag)
        self.tested.setdefault(key, []).append((selector, declarations))
        return declarations

    def matching(self, element: Element, budget: ParseBudget) -> list[Declarations]:
        """The declarations of all rules that match an element."""
        if not (self.rules or self.tested):
            return []
        classes = [f".{name}" for name in element.attributes.get("class", "").split() if name in self._classes]
        keys = ["", *dict.fromkeys(classes), f"#{element.attributes.get('id', '')}"]
        budget.spend("style declarations", len(keys), element)
        found = (self.rules.get((tag, key)) for tag in ("", element.tag) for key in keys)
        return [*filter(None, found), *self._tested(element, [*keys, element.tag], budget)]

    def _tested(self, element: Element, keys: list[str], budget: ParseBudget) -> Iterator[Declarations]:
        for key in keys:
            for selector, declarations in self.tested.get(key, ()):
                matches, tests = selector.matches(element)
                budget.spend("selector tests", tests, element)
                if matches:
                    yield declarations

    @cached_property
    def _classes(self) -> frozenset[str]:
        """Class names used in selectors; valid only after all style sheets have been read."""
        keys = (*(key for _, key in self.rules), *self.tested)
        return frozenset(key[1:] for key in keys if key.startswith("."))

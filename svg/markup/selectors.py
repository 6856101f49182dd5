"""CSS selectors: tags, classes, ids, attributes and a few positions, combined as descendants and children."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from .xml import Element

MAX_CHARACTERS = 300
MAX_COMPOUNDS = 12

_COMBINATOR = re.compile(r"\s*(>)\s*|\s+")
_TAG = re.compile(r"\*|[a-zA-Z][\w-]*")
_SIMPLE = re.compile(
    r"([.#])(-?[a-zA-Z_][\w-]*)"
    r"|\[\s*([\w-]+)\s*(?:([~|^$*]?=)\s*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))\s*)?\]"
    r"|:(root|first-child|last-child|only-child)(?![\w(-])"
)
_ID, _CLASS, _TAG_WEIGHT = 1_000_000, 1_000, 1


@dataclass(frozen=True)
class Compound:
    """Conditions on one element.

    Attributes:
        tag: Its tag, "" for any.
        keys: Its classes and ids, written ".class" and "#id".
        attributes: Name, operator ("" if it must only be present) and value of each attribute.
        positions: Names of pseudo-classes that depend on the element's place in the tree.
    """

    tag: str = ""
    keys: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str, str], ...] = ()
    positions: tuple[str, ...] = ()

    def fits(self, element: Element) -> bool:
        """Whether an element meets the conditions."""
        if self.tag not in ("", element.tag):
            return False
        own = {f".{name}" for name in element.attributes.get("class", "").split()} if self.keys else set()
        own.add(f"#{element.attributes.get('id', '')}")
        return (
            own.issuperset(self.keys)
            and all(_has(element, *condition) for condition in self.attributes)
            and all(_stands(element, position) for position in self.positions)
        )

    @property
    def specificity(self) -> int:
        ids = sum(key.startswith("#") for key in self.keys)
        others = len(self.keys) - ids + len(self.attributes) + len(self.positions)
        return ids * _ID + others * _CLASS + bool(self.tag) * _TAG_WEIGHT


@dataclass(frozen=True)
class Selector:
    """Conditions on an element and on its ancestors.

    Attributes:
        compounds: Of the element itself, then of its ancestors from the nearest to the farthest.
        direct: Whether each ancestor must be the parent of the one before.
    """

    compounds: tuple[Compound, ...]
    direct: tuple[bool, ...] = ()

    @property
    def subject(self) -> Compound:
        return self.compounds[0]

    @cached_property
    def specificity(self) -> int:
        return sum(compound.specificity for compound in self.compounds)

    @property
    def is_simple(self) -> bool:
        """Whether it is a tag, a class or id, or both: found by looking it up, without further tests."""
        subject = self.subject
        return len(self.compounds) == 1 and len(subject.keys) <= 1 and not (subject.attributes or subject.positions)

    def matches(self, element: Element) -> tuple[bool, int]:
        """Whether an element matches, and how many tests of one compound that took."""
        # The elements that a prefix of the compounds can end at, one prefix after the other.
        ends, tests = {element: None}, 1
        if not self.subject.fits(element):
            return False, tests
        for compound, direct in zip(self.compounds[1:], self.direct, strict=True):
            candidates: dict[Element, None] = {}
            for end in ends:
                ancestor = end.parent
                while ancestor is not None and ancestor not in candidates:
                    candidates[ancestor] = None
                    ancestor = None if direct else ancestor.parent
            tests += len(candidates)
            ends = {candidate: None for candidate in candidates if compound.fits(candidate)}
        return bool(ends), tests


def read_selector(text: str) -> Selector | None:
    """Parse one selector; None if it is invalid or not supported."""
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        return None
    compounds, direct, position = [], [], 0
    while True:
        found = _compound(text, position)
        if found is None or len(compounds) == MAX_COMPOUNDS:
            return None
        compound, position = found
        compounds.append(compound)
        if position == len(text):
            return Selector(tuple(reversed(compounds)), tuple(reversed(direct)))
        combinator = _COMBINATOR.match(text, position)
        if combinator is None:
            return None
        direct.append(combinator[1] is not None)
        position = combinator.end()


def _compound(text: str, position: int) -> tuple[Compound, int] | None:
    """The compound at a position, and where it ends."""
    start = position
    tag = _TAG.match(text, position)
    position = tag.end() if tag else position
    keys, attributes, positions = [], [], []
    while match := _SIMPLE.match(text, position):
        position = match.end()
        if match[1]:
            keys.append(match[1] + match[2])
        elif match[3]:
            attributes.append((match[3], match[4] or "", match[5] or match[6] or match[7] or ""))
        else:
            positions.append(match[8])
    if position == start:
        return None
    name = tag[0] if tag and tag[0] != "*" else ""
    return Compound(name, tuple(keys), tuple(attributes), tuple(positions)), position


def _has(element: Element, name: str, operator: str, value: str) -> bool:
    """Whether an attribute has a value, as Selectors 4, section 6 defines it."""
    own = element.attributes.get(name)
    if own is None or not operator:
        return own is not None
    if operator == "=":
        return own == value
    if operator == "|=":
        return own == value or own.startswith(f"{value}-")
    if operator == "~=":
        return value in own.split()
    found = {"^=": own.startswith(value), "$=": own.endswith(value), "*=": value in own}
    return bool(value) and found[operator]


def _stands(element: Element, position: str) -> bool:
    if element.parent is None:
        return True
    siblings = element.parent.children
    first, last = siblings[0] is element, siblings[-1] is element
    return {"root": False, "first-child": first, "last-child": last, "only-child": first and last}[position]

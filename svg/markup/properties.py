"""CSS properties of SVG: which ones are read, which values are valid, and lists of declarations."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from .colors import read_color
from .lengths import read_fraction, read_length
from .report import COLOR_ADVICE, FRACTION_ADVICE, LENGTH_ADVICE

INHERITED = frozenset(
    "color fill fill-opacity fill-rule clip-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin "
    "stroke-miterlimit stroke-dasharray stroke-dashoffset visibility font-size color-interpolation paint-order "
    "marker-start marker-mid marker-end shape-rendering".split()
)
OWN = frozenset(
    "opacity display stop-color stop-opacity transform transform-origin transform-box clip-path mask filter "
    "mix-blend-mode vector-effect overflow".split()
)
PROPERTIES = INHERITED | OWN
"""The CSS properties that are read. Others have no effect on the drawing or are reported below."""
SHAPE_PROPERTIES = frozenset("d x y cx cy r rx ry background background-color rotate scale translate".split())
"""Properties that browsers support in CSS and this parser does not."""
SIDES = frozenset(("width", "height"))
"""CSS sizes: ignored, with a warning for <rect>. On <svg> they only size the element within a web page."""

MARKERS = ("marker-start", "marker-mid", "marker-end")
"""The properties that the shorthand `marker` sets."""
KEYWORDS = frozenset(("inherit", "initial", "unset", "revert", "revert-layer"))
"""Values of every property, which refer to other values of it."""
ALL = "all"
"""The property that sets all others to one of `KEYWORDS`."""

MAX_VALUE_CHARACTERS = 1000
"""Characters of a property value; it is parsed again for each element that inherits it."""

Warn = Callable[[str, str], None]
"""Records a warning: what is unsupported and what to change, both clauses without a period (see `Report.add`)."""

_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_FONT_SIZE = re.compile(
    r"(?:\S+\s+){0,4}?([\d.]+(?:[a-zA-Z]+|%)|(?:xx?-)?small|medium|(?:x{1,3}-)?large)\s*(?:/\s*\S+)?\s+\S"
)


class Declaration(NamedTuple):
    """A value and its precedence: importance, specificity, order of appearance."""

    value: str
    precedence: tuple[bool, int, int]


Declarations = dict[str, Declaration]


def is_custom(name: str) -> bool:
    """Whether a property is a custom one, which var() refers to."""
    return name.startswith("--")


def without_comments(text: str) -> str:
    """CSS text with each comment replaced by a space."""
    return _COMMENT.sub(" ", text)


def read_declarations(text: str, specificity: int, position: int, warn: Warn) -> Declarations:
    """Parse "name: value; ..." and keep custom properties, and valid values of the supported ones."""
    found: Declarations = {}
    for part in without_comments(text).split(";"):
        name, colon, value = part.partition(":")
        name = name.strip()
        name = name if is_custom(name) else name.lower()
        if name in SHAPE_PROPERTIES:
            warn(f"The CSS property '{name}' is ignored", "")
        if not colon or not (name in PROPERTIES | SIDES or name in (ALL, "font", "marker") or is_custom(name)):
            continue
        value, important = _without_importance(value)
        if name == "font":
            name, value = "font-size", _font_size(value)
        if not valid(name, value, warn):
            continue
        declaration = Declaration(value, (important, specificity, position))
        if name == "marker":
            for each in MARKERS:
                keep_stronger(found, each, declaration)
            continue
        if name == ALL:
            # What follows in the list is stronger than `all`, what precedes it is weaker.
            found = {key: kept for key, kept in found.items() if is_custom(key) or kept.precedence[0] > important}
        keep_stronger(found, name, declaration)
    return found


def _without_importance(value: str) -> tuple[str, bool]:
    before, mark, word = value.rpartition("!")
    important = bool(mark) and word.strip().lower() == "important"
    return (before if important else value).strip(), important


def _font_size(font: str) -> str:
    """The size in the shorthand `font`; "medium", the initial size, if it is not found."""
    if font.lower() in KEYWORDS:
        return font
    match = _FONT_SIZE.match(font) if len(font) <= MAX_VALUE_CHARACTERS else None
    return match[1] if match else "medium"


def keep_stronger(found: Declarations, name: str, declaration: Declaration) -> None:
    """Keep a declaration unless there is a stronger one; of equally strong ones the later counts."""
    if name not in found or declaration.precedence >= found[name].precedence:
        found[name] = declaration


def valid(name: str, value: str, warn: Warn) -> bool:
    """Whether a value can be used; if not, it is ignored, so that a weaker or inherited one counts (CSS 2.2, 4.2)."""
    if len(value) > MAX_VALUE_CHARACTERS:
        warn(f"A value of {name} is ignored because it exceeds {MAX_VALUE_CHARACTERS} characters", "Shorten it")
        return False
    if name == ALL:
        return value.lower() in KEYWORDS
    rule = _RULES.get(name)
    if rule is None or value.lower() in KEYWORDS or "var(" in value or rule.holds(value):
        return True
    warn(rule.complaint.format(name=name, value=value[:40]), rule.advice)
    return False


def reference(value: str) -> tuple[str, str] | None:
    """Split `url(address) fallback` into address and fallback; None if the value is not a url()."""
    value = value.strip()
    address, closing, fallback = value.removeprefix("url(").partition(")")
    if not (closing and value.startswith("url(")):
        return None
    return address.strip().strip("\"'").strip(), fallback.strip()


@lru_cache(maxsize=4096)
def _is_color(value: str) -> bool:
    return read_color(value) is not None


def _is_paint(value: str) -> bool:
    split = reference(value)
    if split is None:
        return value.lower() in ("none", "context-fill", "context-stroke") or _is_color(value)
    return split[1].lower() in ("", "none") or _is_color(split[1])


def _is_width(value: str) -> bool:
    length = read_length(value, 1.0)
    return length is None or length >= 0


class _Rule(NamedTuple):
    holds: Callable[[str], bool]
    complaint: str
    advice: str


_COLOR = "The {name} '{value}' is not a valid color and is ignored"
_PAINT_RULE, _COLOR_RULE = _Rule(_is_paint, _COLOR, COLOR_ADVICE), _Rule(_is_color, _COLOR, COLOR_ADVICE)
_FRACTION_RULE = _Rule(lambda value: read_fraction(value) is not None, "An invalid {name} is ignored", FRACTION_ADVICE)
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("fill", "stroke"), _PAINT_RULE),
    **dict.fromkeys(("color", "stop-color"), _COLOR_RULE),
    **dict.fromkeys(("opacity", "fill-opacity", "stroke-opacity", "stop-opacity"), _FRACTION_RULE),
    "stroke-width": _Rule(_is_width, "A negative stroke-width is ignored", LENGTH_ADVICE),
}
"""What values of a property must satisfy. Other properties are checked where they are used."""

"""CSS properties of SVG: which ones are read, which values are valid, and lists of declarations."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, get_args

from ..cubics import Box
from ..document import Cap, FillRule, Join
from .colors import read_color
from .css_text import CSSText
from .css_transforms import read_css_transform, read_origin
from .lengths import is_list_of_sizes, read_fraction, read_length
from .report import COLOR_ADVICE, FRACTION_ADVICE, LENGTH_ADVICE

INHERITED = frozenset(
    "color fill fill-opacity fill-rule clip-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin "
    "stroke-miterlimit stroke-dasharray stroke-dashoffset visibility font-size color-interpolation paint-order "
    "marker-start marker-mid marker-end shape-rendering".split()
)
OWN = frozenset(
    "opacity display stop-color stop-opacity transform transform-origin transform-box clip-path mask mask-type "
    "filter mix-blend-mode vector-effect overflow".split()
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
PAINTED = ("fill", "stroke", "markers")
"""What is painted of a shape, in the usual order."""
ALL = "all"
"""The property that sets all others to one of `KEYWORDS`."""

_DECLARED = PROPERTIES | SIDES | {ALL, "font", "marker"}
"""The names in declarations that are not ignored, shorthands included."""

MAX_VALUE_CHARACTERS = 1000
"""Characters of a property value; it is parsed again for each element that inherits it."""

Warn = Callable[[str, str], None]
"""Records a warning: what is unsupported and what to change, both clauses without a period (see `Report.add`)."""

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


def read_declarations(css: CSSText, specificity: int, position: int, warn: Warn) -> Declarations:
    """Parse "name: value; ..." and keep custom properties, and valid values of the supported ones."""
    found: Declarations = {}
    for part in css.split(";"):
        name, colon, value = part.partition(":")
        name = name.strip()
        name = name if is_custom(name) else name.lower()
        if name in SHAPE_PROPERTIES:
            warn(f"The CSS property '{name}' is ignored", "")
        if not colon or not (name in _DECLARED or is_custom(name)):
            continue
        value, important = _without_importance(value)
        if name == "font":
            name, value = "font-size", _font_size(value)
        value = usable(name, value, warn)
        if value is None:
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


def usable(name: str, value: str, warn: Warn, *, is_attribute: bool = False) -> str | None:
    """A value as it is kept, with keywords in lower case.

    None if it is invalid: it is ignored, so that a weaker or inherited one counts (CSS 2.2, 4.2).
    """
    if len(value) > MAX_VALUE_CHARACTERS:
        warn(f"A value of {name} is ignored because it exceeds {MAX_VALUE_CHARACTERS} characters", "Shorten it")
        return None
    if is_custom(name):
        return value
    # Only addresses in url() and names in var() differ by case.
    value = value if "(" in value else value.lower()
    if name == ALL:
        return value if value in KEYWORDS else None
    rule = None if is_attribute and name in _OTHER_SYNTAX else _RULES.get(name)
    if rule is None or value in KEYWORDS or "var(" in value or rule.holds(value):
        return value
    warn(f"The {name} '{value[:40]}' is not {rule.kind} and is ignored", rule.advice)
    return None


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


def _is_size(value: str) -> bool:
    length = read_length(value, 1.0)
    return length is not None and length >= 0


def _is_miter_limit(value: str) -> bool:
    limit = read_length(value, 0.0)
    return limit is not None and limit >= 1


def _is_paint_order(value: str) -> bool:
    words = value.split()
    return words == ["normal"] or (0 < len(words) == len({*words}) and {*words} <= {*PAINTED})


def _is_transform(value: str) -> bool:
    try:
        read_css_transform(value, _ANY_BOX, read_length)
    except ValueError:
        return False
    return True


class _Rule(NamedTuple):
    """What values of a property must satisfy: a test, what it finds, and what to use instead of others."""

    holds: Callable[[str], bool]
    advice: str
    kind: str = "valid"


def _keywords(*words: str, others: str = "") -> _Rule:
    """The rule that a value is one of these words, or one of the others, which are not advertised."""
    *most, last = words
    return _Rule(frozenset((*words, *others.split())).__contains__, f"Use {', '.join(most)} or {last}")


_ANY_BOX = Box(0.0, 0.0, 1.0, 1.0)
_DISPLAYS = (
    "contents block flow flow-root run-in list-item table flex grid ruby math inline-block inline-table inline-flex "
    "inline-grid table-row-group table-header-group table-footer-group table-row table-cell table-column-group "
    "table-column table-caption ruby-base ruby-text -webkit-box -webkit-inline-box -webkit-flex -webkit-inline-flex"
)
"""Values of `display` that make no difference in a drawing."""
_PAINT_RULE = _Rule(_is_paint, COLOR_ADVICE, "a valid color")
_COLOR_RULE = _Rule(_is_color, COLOR_ADVICE, "a valid color")
_FRACTION_RULE = _Rule(lambda value: read_fraction(value) is not None, FRACTION_ADVICE)
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(("fill", "stroke"), _PAINT_RULE),
    **dict.fromkeys(("color", "stop-color"), _COLOR_RULE),
    **dict.fromkeys(("opacity", "fill-opacity", "stroke-opacity", "stop-opacity"), _FRACTION_RULE),
    **dict.fromkeys(("fill-rule", "clip-rule"), _keywords(*get_args(FillRule))),
    "display": _keywords("inline", "none", others=_DISPLAYS),
    "visibility": _keywords("visible", "hidden", "collapse"),
    "stroke-linecap": _keywords(*get_args(Cap)),
    "stroke-linejoin": _keywords(*get_args(Join)),
    "stroke-width": _Rule(_is_size, "Use a non-negative length such as 2, 1.5px or 10%"),
    "stroke-dashoffset": _Rule(lambda value: read_length(value, 1.0) is not None, LENGTH_ADVICE),
    "stroke-dasharray": _Rule(
        lambda value: value == "none" or is_list_of_sizes(value), "Use none or a list of non-negative lengths"
    ),
    "stroke-miterlimit": _Rule(_is_miter_limit, "Use a number of at least 1"),
    "paint-order": _Rule(_is_paint_order, "Use normal, or fill, stroke and markers in any order"),
    "mask-type": _keywords("luminance", "alpha"),
    "transform": _Rule(_is_transform, "Use functions of the plane such as rotate(9deg) and translate(1px, 2px)"),
    "transform-box": _keywords("view-box", "fill-box", others="content-box stroke-box border-box"),
    "transform-origin": _Rule(
        lambda value: read_origin(value, _ANY_BOX, read_length) is not None, "Use two lengths or percentages"
    ),
}
"""Other properties are checked where they are used."""
_OTHER_SYNTAX = frozenset(("transform",))
"""Properties that attributes write in another way, which is checked where it is read."""

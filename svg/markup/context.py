"""What an element inherits from the elements it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..document import IDENTITY, Matrix
from .lengths import Viewport, read_length
from .styles import NOTHING, Style, font_size
from .xml import Element

CONTEXT_PAINTS = ("context-fill", "context-stroke")


class Context(NamedTuple):
    """What an element inherits from its ancestors, and from the <use> elements that draw it."""

    viewport: Viewport
    style: dict[str, str]
    variables: Mapping[str, str] = NOTHING
    transform: Matrix = IDENTITY
    uses: tuple[Element, ...] = ()
    size: dict[str, str] | None = None
    """Width and height that a <use> passes to the element it draws."""
    depth: int = 0
    classes: frozenset[str] = frozenset()
    """The CSS classes of the element and of all it stands in."""
    clips: tuple[Element, ...] = ()
    """The clip paths whose contents are being read, from the outermost to the innermost."""
    paints: tuple[str, str] | None = None
    """What `context-fill` and `context-stroke` stand for: colors or "none"; None if there is no such context."""
    outlines: Literal["", "clip", "box"] = ""
    """Not empty if only outlines count, whatever paints them: those of a clip path, or those in a bounding box."""

    @property
    def inherited(self) -> Style:
        return Style(self.style, self.variables)

    def paints_of_shape(self) -> tuple[str, str] | None:
        """The fill and stroke of the element itself, for what is drawn in its context; None unless both are plain."""
        fill, stroke = self.style.get("fill", "black"), self.style.get("stroke", "none")
        if "url(" in fill or "url(" in stroke or fill in CONTEXT_PAINTS or stroke in CONTEXT_PAINTS:
            return None
        current = self.style.get("color", "black")
        fill, stroke = (current if paint.lower() == "currentcolor" else paint for paint in (fill, stroke))
        return fill, stroke

    def resolved(self) -> Context:
        """The context with `context-fill` and `context-stroke` replaced by what they stand for."""
        if self.paints is None or not any(self.style.get(name) in CONTEXT_PAINTS for name in ("fill", "stroke")):
            return self
        known: dict[str, str] = dict(zip(CONTEXT_PAINTS, self.paints, strict=True))
        paints = {name: self.style[name] for name in ("fill", "stroke") if name in self.style}
        return self._replace(style={**self.style, **{name: known.get(text, text) for name, text in paints.items()}})

    def outlined(self) -> Context:
        """The context of an element of which only the outlines count: they are filled, in clip paths by `clip-rule`."""
        if not self.outlines:
            return self
        unwanted = ("stroke", "fill-opacity", "opacity", *(("visibility",) if self.outlines == "box" else ()))
        kept = {name: value for name, value in self.style.items() if name not in unwanted}
        filled = {**kept, "fill": "black", "fill-rule": self.style.get("clip-rule", "nonzero")}
        return self._replace(style=filled)

    def length(self, text: str, whole: float) -> float | None:
        """A length in user units, or None if it is invalid; `whole` is what 100% refers to."""
        return read_length(text, whole, font_size(self.style), self.viewport.root_font_size)

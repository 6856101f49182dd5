"""What an element inherits from the elements it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ..document import IDENTITY, Matrix
from .lengths import Viewport, read_length
from .styles import NOTHING, Style, font_size
from .xml import Element


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
    clips: tuple[Element, ...] = ()
    """The clip paths whose contents are being read, from the outermost to the innermost."""
    outlines: Literal["", "clip", "box"] = ""
    """Not empty if only outlines count, whatever paints them: those of a clip path, or those in a bounding box."""

    @property
    def inherited(self) -> Style:
        return Style(self.style, self.variables)

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

"""Draws the README's pictures: sources and their edits by Proximal DreamSampler, each with the text that made it.

.host/venv/bin/python -m benchmarks.gallery         writes docs/edits.png and workflows/edit.jpg
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tools.reference import in_process, world

CHECKOUT = Path(__file__).resolve().parents[1]
CELL, GAP, LINE = 192, 12, 44
STEPS, GAMMA = 100, 0.5


@dataclass(frozen=True)
class Example:
    """A source and the text to edit it by."""

    shape: str
    colour: str
    background: str
    pattern: str
    text: str

    @property
    def scene(self) -> world.Scene:
        """The object in the middle of the picture."""
        return world.Scene(
            (world.Thing(self.shape, self.colour, 48, 48, 30, 0.1),), self.background, self.pattern, None, "picture", 7
        )


EXAMPLES = (
    Example("heart", "red", "white", "dotted", "a blue heart"),
    Example("star", "yellow", "blue", "striped", "a white star"),
    Example("triangle", "yellow", "purple", "plain", "a dotted purple background"),
    Example("cross", "green", "white", "plain", "a striped white background"),
    Example("circle", "blue", "yellow", "checkered", "a black circle"),
    Example("square", "purple", "green", "striped", "a plain green background"),
)


def edited(reference: in_process.Reference, pictures: Tensor, texts: list[str]) -> Tensor:
    """All pictures in one batch, each by its own text."""
    positive, negative = reference.conditioning(texts), reference.conditioning([""])
    latent = reference.latent(pictures)
    return reference.decoded(reference.edited(positive, negative, latent, steps=STEPS, gamma=GAMMA))


def to_image(picture: Tensor) -> Image.Image:
    """A (3, H, W) picture in [0, 1] at the size of a cell."""
    array = (picture.movedim(0, -1) * 255).round().byte().numpy()
    return Image.fromarray(array).resize((CELL, CELL), Image.Resampling.LANCZOS)


def sheet(sources: Tensor, edits: Tensor, texts: list[str]) -> Image.Image:
    """Sources above, edits below, texts underneath."""
    canvas = Image.new("RGB", (len(texts) * (CELL + GAP) - GAP, 2 * CELL + GAP + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for i, text in enumerate(texts):
        x = i * (CELL + GAP)
        canvas.paste(to_image(sources[i]), (x, 0))
        canvas.paste(to_image(edits[i]), (x, CELL + GAP))
        draw.text((x + CELL / 2, 2 * CELL + GAP + LINE / 2), f"“{text}”", fill="black", font=font, anchor="mm")
    return canvas


def thumbnail(source: Tensor, edit: Tensor) -> Image.Image:
    """The left half of a source beside the right half of its edit, in one square."""
    left, right = to_image(source), to_image(edit)
    canvas = left.copy()
    canvas.paste(right.crop((CELL // 2, 0, CELL, CELL)), (CELL // 2, 0))
    return canvas.resize((2 * CELL, 2 * CELL), Image.Resampling.LANCZOS)


def main() -> None:
    """Edit and draw."""
    texts = [e.text for e in EXAMPLES]
    with torch.inference_mode():
        sources = in_process.pictures([e.scene for e in EXAMPLES])
        edits = edited(in_process.load(), sources, texts)
    (CHECKOUT / "docs").mkdir(exist_ok=True)
    sheet(sources, edits, texts).save(CHECKOUT / "docs" / "edits.png", optimize=True)
    thumbnail(sources[0], edits[0]).save(CHECKOUT / "workflows" / "edit.jpg", quality=90)


if __name__ == "__main__":
    main()

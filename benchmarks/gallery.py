"""Draws the README's pictures and the templates' thumbnails with the reference model.

.host/venv/bin/python -m benchmarks.gallery         writes docs/edits.png and workflows/*.jpg

The README shows sources and their edits by Proximal DreamSampler, each with the text that made it. A thumbnail shows
what a template begins with on its left and what it makes on its right.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tools.pack import node
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


def distilled(reference: in_process.Reference, text: str, preset: str, latent: dict, **inputs: Any) -> Tensor:
    """What Text-Source Descriptor and Bridge make of a latent: (1, 3, H, W)."""
    descriptor = node("descriptor", "TextSourceDescriptor")
    target, source, *_ = descriptor.execute(reference.clip, text, preset).result
    nothing = reference.conditioning([""])
    return reference.decoded(
        reference.distilled(target, nothing, latent, source=source, method="bridge", seed=0, **inputs)
    )


def edits(reference: in_process.Reference) -> None:
    """The README's picture and the thumbnail of `edit`."""
    texts = [e.text for e in EXAMPLES]
    sources = in_process.pictures([e.scene for e in EXAMPLES])
    made = edited(reference, sources, texts)
    (CHECKOUT / "docs").mkdir(exist_ok=True)
    sheet(sources, made, texts).save(CHECKOUT / "docs" / "edits.png", optimize=True)
    _save(thumbnail(sources[0], made[0]), "edit")


def text_to_image(reference: in_process.Reference) -> None:
    """The thumbnail of `distil_text_to_image`, which begins with nothing to show."""
    empty = {"samples": torch.zeros(1, 4, world.SIZE // 8, world.SIZE // 8)}
    made = distilled(reference, world.describe(EXAMPLES[0].scene), "sds artifacts", empty, first_stage=0.9)
    _save(to_image(made[0]).resize((2 * CELL, 2 * CELL), Image.Resampling.LANCZOS), "distil_text_to_image")


def painting_to_real(reference: in_process.Reference) -> None:
    """The thumbnail of `painting_to_real`."""
    scene = EXAMPLES[4].scene
    painting = in_process.pictures([replace(scene, style="painting")])
    made = distilled(reference, world.describe(scene), "painting", reference.latent(painting), steps=75)
    _save(thumbnail(painting[0], made[0]), "painting_to_real")


def posterior_edit(reference: in_process.Reference) -> None:
    """The thumbnail of `posterior_edit`."""
    scene = EXAMPLES[0].scene
    picture = in_process.pictures([scene])
    latent = reference.latent(picture)
    texts = [world.describe(s) for s in (scene, world.with_attribute(scene, "colour", "blue"))]
    source, target, nothing = (reference.conditioning([text]) for text in (*texts, ""))
    match = node("posterior", "PosteriorLatentMatch")
    objective = match.execute(latent, source, target, nothing, 15.0, "official", 1.0).result[0]
    made = reference.distilled(target, nothing, latent, method="bridge", seed=0, steps=400, objective=objective)
    _save(thumbnail(picture[0], reference.decoded(made)[0]), "posterior_edit")


def _save(picture: Image.Image, template: str) -> None:
    picture.save(CHECKOUT / "workflows" / f"{template}.jpg", quality=90)


DRAWINGS = {
    "edits": edits,
    "text_to_image": text_to_image,
    "painting_to_real": painting_to_real,
    "posterior_edit": posterior_edit,
}


def main() -> None:
    """Draw all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drawings", nargs="*", default=list(DRAWINGS), help=f"some of {', '.join(DRAWINGS)}")
    with torch.inference_mode():
        reference = in_process.load()
        for name in parser.parse_args().drawings:
            DRAWINGS[name](reference)


if __name__ == "__main__":
    main()

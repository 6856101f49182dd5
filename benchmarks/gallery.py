"""Draws the README's pictures and the templates' thumbnails with the reference model.

.host/venv/bin/python -m benchmarks.gallery         writes docs/*.png and workflows/*.jpg

The README shows sources and their edits by Proximal DreamSampler, each with the text that made it, and damaged pictures
with what it restores of them. A thumbnail shows what a template begins with on its left and what it makes on its right.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tools.pack import node, part
from tools.reference import corrective, host_access, in_process, translator, world

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


def sheet(sources: Sequence[Image.Image], edits: Sequence[Image.Image], texts: Sequence[str]) -> Image.Image:
    """Sources above, edits below, texts underneath."""
    canvas = Image.new("RGB", (len(texts) * (CELL + GAP) - GAP, 2 * CELL + GAP + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for i, text in enumerate(texts):
        x = i * (CELL + GAP)
        canvas.paste(sources[i], (x, 0))
        canvas.paste(edits[i], (x, CELL + GAP))
        draw.text((x + CELL / 2, 2 * CELL + GAP + LINE / 2), text, fill="black", font=font, anchor="mm")
    return canvas


def thumbnail(source: Tensor, edit: Tensor) -> Image.Image:
    """The left half of a source beside the right half of its edit, in one square."""
    return halves(to_image(source), to_image(edit))


def halves(left: Image.Image, right: Image.Image) -> Image.Image:
    """The left half of a cell beside the right half of another, in one square."""
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
    sheet([*map(to_image, sources)], [*map(to_image, made)], [f"“{text}”" for text in texts]).save(
        CHECKOUT / "docs" / "edits.png", optimize=True
    )
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


def translated(reference: in_process.Reference) -> None:
    """The thumbnail of `translate`."""
    picture = in_process.pictures([EXAMPLES[4].scene])
    latent, learned = reference.latent(picture), part("nodes.host").TRANSLATORS.read_file(translator.TRANSLATOR)
    made = {"samples": learned(latent["samples"], "star")}
    _save(thumbnail(picture[0], reference.decoded(made)[0]), "translate")


BLURRED_AT = 0.7
"""The time at which the thumbnail of `train_corrective` shows what a corrective does."""


def correctives(reference: in_process.Reference) -> None:
    """The thumbnails of `lmc_edit` and `train_corrective`."""
    scene = EXAMPLES[0].scene
    picture, host = in_process.pictures([scene]), part("nodes.host")
    latent, learned = reference.latent(picture), host.CORRECTIVES.read_file(corrective.CORRECTIVE)
    target = reference.conditioning([world.describe(world.with_attribute(scene, "colour", "blue"))])
    made = reference.distilled(
        target, reference.conditioning([""]), latent, method="lmc", seed=0, steps=250, source_weight=0.02,
        corrective=learned,
    )  # fmt: skip
    _save(thumbnail(picture[0], reference.decoded(made)[0]), "lmc_edit")
    scaling = reference.model.get_model_object("latent_format")
    blurred = learned(scaling.process_in(latent["samples"]), torch.tensor([BLURRED_AT]))
    shown = reference.decoded({"samples": scaling.process_out(blurred)})
    _save(thumbnail(picture[0], shown[0]), "train_corrective")


@dataclass(frozen=True)
class Damage:
    """What happens to the picture of an example, the text to restore it by and the template that does it, if any.

    `holes` are boxes (left, top, right, bottom) in pixels; with two, each gets a text of `texts`.
    """

    name: str
    scene: world.Scene
    operator: str
    texts: tuple[str, ...]
    template: str | None = None
    holes: tuple[tuple[int, int, int, int], ...] = ()
    inputs: tuple[tuple[str, Any], ...] = ()

    def masks(self) -> list[Tensor]:
        """A MASK for each hole."""
        masks = []
        for left, top, right, bottom in self.holes:
            mask = torch.zeros(1, world.SIZE, world.SIZE)
            mask[:, top:bottom, left:right] = 1
            masks.append(mask)
        return masks


PAIR = world.Scene(
    (world.Thing("star", "yellow", 26, 48, 19, 0.1), world.Thing("square", "white", 70, 48, 17, 0.1)),
    "purple", "plain", None, "picture", 7,
)  # fmt: skip
TWO_TEXTS = (
    "a red star and an orange square on a plain purple background",
    "a black star and a green square on a plain purple background",
)
"""The model draws two objects where a text names two; of each text only what falls into its hole is seen."""
DAMAGES = (
    Damage("a hole", EXAMPLES[0].scene, "inpaint", ("a blue heart on a dotted white background",), "inpaint",
           ((14, 14, 82, 82),)),
    Damage("two holes", PAIR, "inpaint", TWO_TEXTS, "inpaint_two_texts",
           ((4, 24, 47, 72), (49, 24, 92, 72))),
    Damage("4 times smaller", EXAMPLES[1].scene, "super-resolution", (world.describe(EXAMPLES[1].scene),),
           "super_resolve"),
    Damage("blurred", EXAMPLES[3].scene, "gaussian blur", (world.describe(EXAMPLES[3].scene),), "deblur"),
    Damage("shaken", EXAMPLES[4].scene, "motion blur", (world.describe(EXAMPLES[4].scene),),
           inputs=(("angle", 30.0),)),
)  # fmt: skip


FILLING = {"steps": 200, "gamma": 2.0, "start_from": "inversion", "consistency": "both", "data_every": 1}
RESTORING = {"steps": 100, "gamma": 1.0, "start_from": "noise", "consistency": "consistency only"}
"""As in the templates."""


def restored(reference: in_process.Reference, damage: Damage) -> tuple[Tensor, Tensor]:
    """What is observed of a damaged picture and what the template for it makes of that: (1, 3, H, W)."""
    picture, masks = in_process.pictures([damage.scene]), damage.masks()
    texts, hole = reference.conditioning([damage.texts[0]]), masks[0] if masks else None
    if len(masks) > 1:
        base, second = reference.conditioning([""]), reference.conditioning([damage.texts[1]])
        localize = node("localized", "MaskLocalizedGuidance").execute
        texts, hole = localize(base, masks[0], texts, 0.0, mask_2=masks[1], conditioning_2=second).result
    given = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.01, "seed": 0, **dict(damage.inputs)}
    measure = node("measurement", "MeasurementNode").execute
    measurement, observed = measure(
        picture.movedim(1, -1), damage.operator, simulate=not masks, mask=hole, **given
    ).result
    settings = FILLING if masks else RESTORING
    sampler, latent = node("proximal", "ProximalDreamSampler"), reference.latent(observed.movedim(-1, 1))
    *_, image = sampler.execute(
        reference.model, texts, reference.conditioning([""]), latent, gamma_schedule="alpha_bar", eta=1.0,
        renoise="unconditional", scheduler="normal", seed=0, vae=reference.vae, measurement=measurement, **settings,
    ).result  # fmt: skip
    return observed.movedim(-1, 1), image.movedim(-1, 1)


def restorations(reference: in_process.Reference) -> None:
    """The README's picture of restorations and the thumbnails of their templates."""
    pairs = [restored(reference, damage) for damage in DAMAGES]
    for damage, (observed, image) in zip(DAMAGES, pairs):
        if damage.template:
            _save(thumbnail(observed[0], image[0]), damage.template)
    before, after = (torch.cat(column) for column in zip(*pairs))
    names = [damage.name for damage in DAMAGES]
    sheet([*map(to_image, before)], [*map(to_image, after)], names).save(
        CHECKOUT / "docs" / "restorations.png", optimize=True
    )


SAMPLED = ("a red heart on a plain white background", "a yellow star on a plain blue background")
BLURRED = world.Scene((world.Thing("cross", "green", 48, 48, 30, 0.1),), "white", "plain", None, "picture", 7)
RED_SQUARE = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">
  <rect width="96" height="96" fill="#f4f4f4"/><rect x="24" y="24" width="48" height="48" fill="#d22"/>
</svg>"""


class Vectors:
    """SVG Optimizer with the reference model."""

    def __init__(self, reference: in_process.Reference):
        host_access.import_svg()
        self.reference, self.nothing = reference, reference.conditioning([""])

    def optimised(self, text: str = "", **inputs: Any) -> Tensor:
        """The drawing as a picture (1, 3, CELL, CELL)."""
        svg, _ = self.reference.vectorised(self.reference.conditioning([text]), **inputs)
        return in_process.drawn(svg, CELL)

    def from_text(self, text: str) -> tuple[Tensor, Tensor]:
        """A sampled picture and the drawing that was traced from it and refined by the text."""
        empty = {"samples": torch.zeros(1, 4, world.SIZE // 8, world.SIZE // 8)}
        positive = self.reference.conditioning([text])
        sampled = self.reference.ksampled(positive, self.nothing, empty, steps=25, cfg=4.0, seed=2)
        picture = self.reference.decoded(sampled)
        return picture, self.optimised(text, image=picture.movedim(1, -1), steps=200, guidance_scale=30.0, paths=24)

    def traced(self) -> tuple[Tensor, Tensor]:
        picture = in_process.pictures([EXAMPLES[4].scene])
        return picture, self.optimised(image=picture.movedim(1, -1), steps=0)

    def edited(self) -> tuple[Tensor, Tensor]:
        svg = part("nodes.host").svg_value([RED_SQUARE])
        texts = [f"a {colour} square on a plain white background" for colour in ("red", "blue")]
        source = self.reference.conditioning([texts[0]])
        return in_process.drawn(svg, CELL), self.optimised(
            texts[1], svg=svg, source=source, steps=400, guidance_scale=7.5
        )

    def restored(self) -> tuple[Tensor, Tensor]:
        measure = node("measurement", "MeasurementNode").execute
        truth = in_process.pictures([BLURRED]).movedim(1, -1)
        settings = {"scale": 4, "kernel_size": 31, "sigma": 5.0, "noise_std": 0.0, "simulate": True, "seed": 0}
        measurement, observed = measure(truth, "gaussian blur", **settings).result
        drawing = self.optimised(
            world.describe(BLURRED), measurement=measurement, paths=16, steps=100, guidance_scale=7.5
        )
        return observed.movedim(-1, 1), drawing


def drawings(reference: in_process.Reference) -> None:
    """The README's picture of vector drawings and the thumbnails of their templates."""
    vectors = Vectors(reference)
    pairs = {
        "text to SVG": vectors.from_text(SAMPLED[0]),
        "text to SVG ": vectors.from_text(SAMPLED[1]),
        "picture to SVG": vectors.traced(),
        "“a blue square”": vectors.edited(),
        "blurred, to SVG": vectors.restored(),
    }
    templates = ("text_to_svg", None, "vectorise", "svg_edit", "restore_svg")
    before, after = ([to_image(pair[n][0]) for pair in pairs.values()] for n in range(2))
    sheet(before, after, list(pairs)).save(CHECKOUT / "docs" / "drawings.png", optimize=True)
    for left, right, template in zip(before, after, templates):
        if template:
            _save(halves(left, right), template)


def _save(picture: Image.Image, template: str) -> None:
    picture.save(CHECKOUT / "workflows" / f"{template}.jpg", quality=90)


DRAWINGS = {
    "edits": edits,
    "text_to_image": text_to_image,
    "painting_to_real": painting_to_real,
    "posterior_edit": posterior_edit,
    "correctives": correctives,
    "translated": translated,
    "restorations": restorations,
    "drawings": drawings,
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

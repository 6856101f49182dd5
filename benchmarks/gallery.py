"""Draws the README's pictures and the templates' thumbnails: what the templates make with the reference model.

    .host/venv/bin/python -m benchmarks.gallery [edits] [restorations] [drawings] [others]
                                                        writes docs/*.png and workflows/*.jpg

Every picture is made by a template on a real server, with what every user chooses: pictures, texts, and sizes fit for
the model's 96 pixels. The README's sheets show what went in above and what came out below; settings changed for them
are named in its captions. A thumbnail shows what a template begins with on its left and what it makes, as it is, on its
right.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tools.reference import corrective, host_access, in_process, translator, world

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import ComfyClient, Prompt, find_node  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from devhost import locate  # noqa: E402

PROMPTS = CHECKOUT / "workflows" / "api"
"""The templates in API form, with the reference checkpoint."""
WORK = Path(__file__).with_name("work") / "gallery"
CELL, GAP, LINE = 192, 12, 44


@dataclass(frozen=True)
class Shot:
    """A template and what is chosen in it: values by "TITLE.INPUT"; pictures and drawings (SVG) are uploaded.

    `before` is what is shown beside the result: a picture, or the title of the node whose picture it is. `settings` are
    like `chosen`, but other than the template's own.
    """

    label: str
    template: str
    before: Image.Image | str | None
    chosen: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


class Studio:
    """A server that runs templates."""

    def __init__(self, client: ComfyClient):
        self.client = client

    def made(self, shot: Shot) -> tuple[Image.Image | None, Image.Image]:
        """What a template begins with and what it makes of that."""
        prompt: Prompt = json.loads((PROMPTS / f"{shot.template}.json").read_text("utf-8"))
        for number, (place, value) in enumerate({**shot.chosen, **shot.settings}.items()):
            title, name = place.split(".")
            prompt[find_node(prompt, title)]["inputs"][name] = self.known(f"{shot.template}_{number}", value)
        if isinstance(shot.before, str):
            inputs = {"images": [find_node(prompt, shot.before), 0], "filename_prefix": "before"}
            prompt["before"] = {"class_type": "SaveImage", "inputs": inputs}
        files = [file for file in self.client.run(prompt, timeout=None).files() if file.kind == "output"]
        pictures = {file.filename.startswith("before"): picture(self.client.fetch(file)) for file in files}
        print(shot.label or shot.template, flush=True)
        return pictures[True] if isinstance(shot.before, str) else shot.before, pictures[False]

    def known(self, name: str, value: Any) -> Any:
        """A value as prompts have it: of what is a file, the name that the server gave it."""
        if isinstance(value, Image.Image):
            file = BytesIO()
            value.save(file, "PNG")
            return self.client.upload(f"{name}.png", file.getvalue())
        return self.client.upload(f"{name}.svg", value) if isinstance(value, bytes) else value


def picture(content: bytes) -> Image.Image:
    """What a file shows; drawings at the size of a cell."""
    if not content.lstrip().startswith(b"<"):
        return Image.open(BytesIO(content))
    return to_image(in_process.drawn(host.svg_value([content]), CELL)[0])


def to_image(values: Tensor) -> Image.Image:
    """A (3, H, W) picture in [0, 1]."""
    return Image.fromarray((values.movedim(0, -1) * 255).round().byte().numpy())


def rendered(scene: world.Scene) -> Image.Image:
    return to_image(in_process.pictures([scene])[0])


def cell(image: Image.Image) -> Image.Image:
    """A picture at the size of a cell, what is transparent grey; of much smaller ones every pixel is seen."""
    under = Image.new("RGBA", image.size, "#808080")
    under.alpha_composite(image.convert("RGBA"))
    small = image.width < CELL // 4
    return under.convert("RGB").resize((CELL, CELL), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)


def sheet(pairs: Sequence[tuple[Image.Image, Image.Image]], labels: Sequence[str]) -> Image.Image:
    """What went in above, what came out below, labels underneath."""
    canvas = Image.new("RGB", (len(labels) * (CELL + GAP) - GAP, 2 * CELL + GAP + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for i, ((before, after), label) in enumerate(zip(pairs, labels)):
        x = i * (CELL + GAP)
        canvas.paste(cell(before), (x, 0))
        canvas.paste(cell(after), (x, CELL + GAP))
        draw.text((x + CELL / 2, 2 * CELL + GAP + LINE / 2), label, fill="black", font=font, anchor="mm")
    return canvas


def save_thumbnail(template: str, before: Image.Image | None, after: Image.Image) -> None:
    """The left half of what a template begins with, if anything, beside the right half of what it makes."""
    canvas = cell(after)
    if before:
        canvas.paste(cell(before).crop((0, 0, CELL // 2, CELL)), (0, 0))
    canvas = canvas.resize((2 * CELL, 2 * CELL), Image.Resampling.LANCZOS)
    canvas.save(CHECKOUT / "workflows" / f"{template}.jpg", quality=90)


# What is shown


def alone(shape: str, colour: str, background: str, pattern: str, radius: int = 30) -> world.Scene:
    """An object in the middle of the picture."""
    return world.Scene((world.Thing(shape, colour, 48, 48, radius, 0.1),), background, pattern, None, "picture", 7)


HEART = alone("heart", "red", "white", "dotted")
STAR = alone("star", "yellow", "blue", "striped")
CROSS = alone("cross", "green", "white", "plain")
CIRCLE = alone("circle", "blue", "yellow", "checkered")
EDITS = {
    "a blue heart": HEART,
    "a white star": STAR,
    "a dotted purple background": alone("triangle", "yellow", "purple", "plain"),
    "a striped white background": CROSS,
    "a black circle": CIRCLE,
    "a plain green background": alone("square", "purple", "green", "striped"),
}


def edit(text: str, scene: world.Scene, **settings: float) -> Shot:
    """A picture edited by text."""
    source, sampler = rendered(scene), {f"Proximal DreamSampler.{name}": value for name, value in settings.items()}
    return Shot(f"“{text}”", "edit", source, {"Source image.image": source, "Target prompt.text": text}, sampler)


def edits() -> list[Shot]:
    """Pictures edited by text."""
    return [edit(text, scene, steps=100, gamma=0.5) for text, scene in EDITS.items()]


PAIR = world.Scene(
    (world.Thing("star", "yellow", 26, 48, 19, 0.1), world.Thing("square", "white", 70, 48, 17, 0.1)),
    "purple", "plain", None, "picture", 7,
)  # fmt: skip
Box = tuple[int, int, int, int]
HOLE: Box = (14, 14, 82, 82)
TWO_HOLES: tuple[Box, Box] = (4, 24, 47, 72), (49, 24, 92, 72)
TWO_TEXTS = (
    "a red star and an orange square on a plain purple background",
    "a black star and a green square on a plain purple background",
)
"""The model draws two objects where a text names two; of each text only what falls into its hole is seen."""


def with_holes(scene: world.Scene, *holes: Box) -> Image.Image:
    """A picture as the mask editor saves it, transparent in the holes (left, top, right, bottom)."""
    image, alpha = rendered(scene), Image.new("L", (world.SIZE, world.SIZE), 255)
    for hole in holes:
        alpha.paste(0, hole)
    image.putalpha(alpha)
    return image


def damaged(scene: world.Scene, operator: str, **settings: float) -> Image.Image:
    """A picture that was made smaller, or blurred, and is noisy, as Measurement simulates it."""
    known: dict[str, Any] = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.01, "seed": 0, **settings}
    truth = in_process.pictures([scene]).movedim(1, -1)
    measurement, _ = MeasurementNode.execute(truth, operator, simulate=True, **known).args
    return to_image(((measurement.y[0] + 1) / 2).clamp(0, 1))


def restorations() -> list[Shot]:
    """Holes filled by text, and damaged pictures restored."""
    hole, both = with_holes(HEART, HOLE), with_holes(PAIR, *TWO_HOLES)
    small, blurred = damaged(STAR, "super-resolution"), damaged(CROSS, "gaussian blur")
    shaken = damaged(CIRCLE, "motion blur", angle=30.0)
    shows, motion = "What the image shows.text", {"Measurement.operator": "motion blur", "Measurement.angle": 30.0}
    return [
        Shot("a hole", "inpaint", hole, {
            "Image with a hole.image": hole, "Prompt for the hole.text": "a blue heart on a dotted white background",
        }),
        Shot("two holes", "inpaint_two_texts", both, {
            "Image with the first hole.image": with_holes(PAIR, TWO_HOLES[0]),
            "Same image with the second hole.image": with_holes(PAIR, TWO_HOLES[1]),
            "First prompt.text": TWO_TEXTS[0], "Second prompt.text": TWO_TEXTS[1], "Mask Localized Guidance.feather": 2.0,
        }),
        Shot("4 times smaller", "super_resolve", small, {"Small image.image": small, shows: world.describe(STAR)}),
        Shot("blurred", "deblur", blurred, {"Blurred image.image": blurred, shows: world.describe(CROSS)}),
        Shot("shaken", "deblur", shaken, {"Blurred image.image": shaken, shows: world.describe(CIRCLE)}, motion),
    ]  # fmt: skip


SAMPLED = ("a red heart on a plain white background", "a yellow star on a plain blue background")
RED_SQUARE = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">
  <rect width="96" height="96" fill="#f4f4f4"/><rect x="24" y="24" width="48" height="48" fill="#d22"/>
</svg>"""


def drawings() -> list[Shot]:
    """Vector drawings: from text, traced, edited and restored."""
    blurred = damaged(CROSS, "gaussian blur", kernel_size=31, sigma=5.0, noise_std=0.0)
    texts = [f"a {colour} square on a plain white background" for colour in ("red", "blue")]
    from_text = [
        Shot(f"text to SVG{' ' * n}", "text_to_svg", "VAE Decode", {"What to draw, and its style.text": text})
        for n, text in enumerate(SAMPLED)
    ]
    return [
        *from_text,
        Shot("picture to SVG", "vectorise", rendered(CIRCLE), {"Image.image": rendered(CIRCLE)}),
        Shot("“a blue square”", "svg_edit", picture(RED_SQUARE), {
            "Drawing to edit.file": RED_SQUARE, "What it shows.text": texts[0], "What it should show.text": texts[1],
        }),
        Shot("blurred, to SVG", "restore_svg", blurred, {
            "Blurred image.image": blurred, "What it shows, and its style.text": world.describe(CROSS),
        }),
    ]  # fmt: skip


SMALL_CIRCLE = alone("circle", "orange", "green", "dotted", radius=24)
HEARTS = f"{translator.TRANSLATOR.name}: heart"


def others() -> list[Shot]:
    """Templates that the README does not show as they are."""
    heart, blue = rendered(HEART), world.describe(world.with_attribute(HEART, "colour", "blue"))
    painting, small = rendered(replace(CIRCLE, style="painting")), rendered(SMALL_CIRCLE)
    texts = {"Source image.image": heart, "Target prompt.text": blue}
    return [
        edit("a blue heart", HEART),
        Shot("", "distil_text_to_image", None, {"Text-Source Descriptor.text": world.describe(HEART)}),
        Shot("", "painting_to_real", painting, {
            "Source image.image": painting, "Text-Source Descriptor.text": world.describe(CIRCLE),
        }),
        Shot("", "posterior_edit", heart, {**texts, "Source prompt.text": world.describe(HEART)}),
        Shot("", "lmc_edit", heart, texts),
        Shot("", "translate", small, {"Source image.image": small, "Translator and target.translation": HEARTS}),
    ]  # fmt: skip


SHEETS: dict[str, Callable[[], list[Shot]]] = {"edits": edits, "restorations": restorations, "drawings": drawings}
NO_SHEET = "others"

BLURRED_AT = 0.7
"""The time at which the thumbnail of `train_corrective` shows what a corrective does."""


def trained_corrective() -> tuple[Image.Image, Image.Image]:
    """A picture, and what the reference model's corrective takes for the model's answer to it."""
    reference, learned = in_process.load(), host.CORRECTIVES.read_file(corrective.CORRECTIVE)
    scaling = reference.model.get_model_object("latent_format")
    clean = scaling.process_in(reference.latent(in_process.pictures([HEART]))["samples"])
    b_hat = scaling.process_out(learned(clean, torch.tensor([BLURRED_AT])))
    return rendered(HEART), to_image(reference.decoded({"samples": b_hat})[0].clamp(0, 1))


def draw(studio: Studio, name: str) -> None:
    """A sheet, and the thumbnails of templates as they are; of one that stands in it twice, the first is taken."""
    shots = SHEETS[name]() if name in SHEETS else others()
    pairs = [studio.made(shot) for shot in shots]
    for shot, pair in reversed([*zip(shots, pairs)]):
        if not shot.settings:
            save_thumbnail(shot.template, *pair)
    if name in SHEETS:
        shown = [(before, after) for before, after in pairs if before]  # which all templates in sheets have
        sheet(shown, [shot.label for shot in shots]).save(CHECKOUT / "docs" / f"{name}.png", optimize=True)
    else:
        save_thumbnail("train_corrective", *trained_corrective())


def main() -> None:
    """Draw all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[*SHEETS, NO_SHEET], help=f"some of {', '.join(SHEETS)}, others")
    names = parser.parse_args().names
    host_access.import_svg()
    with torch.inference_mode(), ComfyServer(locate().comfyui, WORK) as server:
        for name in names:
            draw(Studio(server.client), name)


if __name__ == "__main__":
    main()

"""Makes the images of the README and the thumbnails of the templates, with the reference model.

    .host/venv/bin/python -m benchmarks.gallery [edits] [restorations] [drawings] [scenes] [others]
                                            writes docs/{edits,restorations}.png and workflows/*.jpg

Every image is made by a template on a real server, with inputs as a user would choose them: images, prompts, and sizes
for the model's 96 pixels, at which scenes also have fewer splats and steps. The sheets of the README show inputs above
and results below; its captions name settings changed for them. A thumbnail shows the template's input on the left and
its unchanged result on the right.
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
from dreamsampler.splats import Camera, Scene, write_ply
from PIL import Image, ImageDraw, ImageFont, ImageSequence
from torch import Tensor

from tools.reference import corrective, host_access, in_process, solids, translator, world

from .images import save

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import ComfyClient, Prompt, find_node  # noqa: E402
from comfy_server import ComfyServer  # noqa: E402
from devhost import locate  # noqa: E402
from queueing.workflow import templates  # noqa: E402

PROMPTS = CHECKOUT / "workflows" / "api"
"""The templates in API form, with the reference checkpoint."""
WORK = Path(__file__).with_name("work") / "gallery"
CELL, GAP, LINE = 192, 12, 44


@dataclass(frozen=True)
class Views:
    """Images (V, 3, H, W) in [0, 1] with their cameras, for Load Posed Views."""

    images: Tensor
    cameras: Sequence[Camera]


@dataclass(frozen=True)
class Shot:
    """A template and its inputs: values by "TITLE.INPUT"; images, drawings (SVG), splats and views are uploaded.

    `before` is shown beside the result: an image, or the title of the node that makes it. `settings` are like `chosen`,
    but differ from the template's own.
    """

    label: str
    template: str
    before: Image.Image | str | None
    chosen: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


class Studio:
    """A server that runs templates."""

    def __init__(self, client: ComfyClient, inputs: Path):
        self.client, self.inputs = client, inputs

    def made(self, shot: Shot) -> tuple[Image.Image | None, Image.Image]:
        """The input of a template and its result."""
        prompt: Prompt = json.loads((PROMPTS / f"{shot.template}.json").read_text("utf-8"))
        for number, (place, value) in enumerate({**shot.chosen, **shot.settings}.items()):
            title, name = place.split(".")
            prompt[find_node(prompt, title)]["inputs"][name] = self.known(f"{shot.template}_{number}", value)
        if isinstance(shot.before, str):
            inputs = {"images": [find_node(prompt, shot.before), 0], "filename_prefix": "before"}
            prompt["before"] = {"class_type": "SaveImage", "inputs": inputs}
        files = [file for file in self.client.run(prompt, timeout=None).files() if file.kind == "output"]
        images = {file.filename.startswith("before"): shown(self.client.fetch(file)) for file in files}
        print(shot.label or shot.template, flush=True)
        return images[True] if isinstance(shot.before, str) else shot.before, images[False]

    def known(self, name: str, value: Any) -> Any:
        """A value as workflows hold it: files by the name the server gave them."""
        if isinstance(value, Image.Image):
            file = BytesIO()
            value.save(file, "PNG")
            return self.client.upload(f"{name}.png", file.getvalue())
        if isinstance(value, Scene):
            return self.client.upload(f"{name}.ply", write_ply(value))
        if isinstance(value, Views):
            return solids.write_posed_views(self.inputs / name, value.images, value.cameras).name
        return self.client.upload(f"{name}.svg", value) if isinstance(value, bytes) else value


def shown(content: bytes) -> Image.Image:
    """The image in a file; drawings are rendered at the size of a cell, of animations four frames are shown."""
    if not content.lstrip().startswith(b"<"):
        image = Image.open(BytesIO(content))
        return four([frame.convert("RGB") for frame in ImageSequence.Iterator(image)]) if is_animated(image) else image
    return to_image(in_process.rasterize(host.svg_value([content]), CELL)[0])


def is_animated(image: Image.Image) -> bool:
    return getattr(image, "n_frames", 1) > 1


def four(frames: Sequence[Image.Image]) -> Image.Image:
    """Four of the frames, evenly spread, in a square."""
    width, height = frames[0].size
    canvas = Image.new("RGB", (2 * width, 2 * height))
    for i in range(4):
        canvas.paste(frames[i * len(frames) // 4], (i % 2 * width, i // 2 * height))
    return canvas


def to_image(values: Tensor) -> Image.Image:
    """A (3, H, W) image in [0, 1]."""
    return Image.fromarray((values.movedim(0, -1) * 255).round().byte().numpy())


def rendered(scene: world.Scene) -> Image.Image:
    return to_image(in_process.render([scene])[0])


def cell(image: Image.Image) -> Image.Image:
    """An image at the size of a cell, on gray where transparent; much smaller images keep visible pixels."""
    under = Image.new("RGBA", image.size, "#808080")
    under.alpha_composite(image.convert("RGBA"))
    small = image.width < CELL // 4
    return under.convert("RGB").resize((CELL, CELL), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)


def sheet(pairs: Sequence[tuple[Image.Image, Image.Image]], labels: Sequence[str]) -> Image.Image:
    """Inputs above, results below, labels underneath."""
    canvas = Image.new("RGB", (len(labels) * (CELL + GAP) - GAP, 2 * CELL + GAP + LINE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for i, ((before, after), label) in enumerate(zip(pairs, labels, strict=True)):
        x = i * (CELL + GAP)
        canvas.paste(cell(before), (x, 0))
        canvas.paste(cell(after), (x, CELL + GAP))
        draw.text((x + CELL / 2, 2 * CELL + GAP + LINE / 2), label, fill="black", font=font, anchor="mm")
    return canvas


def save_thumbnail(template: str, before: Image.Image | None, after: Image.Image) -> None:
    """The left half of the input, if there is one, beside the right half of the result."""
    canvas = cell(after)
    if before:
        canvas.paste(cell(before).crop((0, 0, CELL // 2, CELL)), (0, 0))
    canvas = canvas.resize((2 * CELL, 2 * CELL), Image.Resampling.LANCZOS)
    canvas.save(templates()[template].with_suffix(".jpg"), quality=90)


# Shots


def alone(shape: str, color: str, background: str, pattern: str, radius: int = 30) -> world.Scene:
    """An object in the middle of the image."""
    return world.Scene((world.Thing(shape, color, 48, 48, radius, 0.1),), background, pattern, None, "picture", 7)


HEART = alone("heart", "red", "white", "dotted")
STAR = alone("star", "yellow", "blue", "striped")
CROSS = alone("cross", "green", "white", "plain")
CIRCLE = alone("circle", "blue", "yellow", "checkered")
EDITS = {
    "a blue heart": HEART,
    "a white star": STAR,
    "a dotted purple background": alone("triangle", "yellow", "purple", "plain"),
    "a black circle": CIRCLE,
    "a plain green background": alone("square", "purple", "green", "striped"),
}


def edit(prompt: str, scene: world.Scene, **settings: float) -> Shot:
    """An edited image."""
    source, sampler = rendered(scene), {f"Proximal DreamSampler.{name}": value for name, value in settings.items()}
    return Shot(f"“{prompt}”", "edit", source, {"Source image.image": source, "Target prompt.text": prompt}, sampler)


def edits() -> list[Shot]:
    """Edited images."""
    return [edit(prompt, scene, steps=100, gamma=0.5) for prompt, scene in EDITS.items()]


PAIR = world.Scene(
    (world.Thing("star", "yellow", 26, 48, 19, 0.1), world.Thing("square", "white", 70, 48, 17, 0.1)),
    "purple", "plain", None, "picture", 7,
)  # fmt: skip
Box = tuple[int, int, int, int]
HOLE: Box = (14, 14, 82, 82)
TWO_HOLES: tuple[Box, Box] = (4, 24, 47, 72), (49, 24, 92, 72)
TWO_PROMPTS = (
    "a red star and an orange square on a plain purple background",
    "a black star and a green square on a plain purple background",
)
"""The model draws two objects if a prompt names two; only the part of each prompt in its hole is visible."""


def with_holes(scene: world.Scene, *holes: Box) -> Image.Image:
    """An image as the mask editor saves it, transparent in the holes (left, top, right, bottom)."""
    image, alpha = rendered(scene), Image.new("L", (world.SIZE, world.SIZE), 255)
    for hole in holes:
        alpha.paste(0, hole)
    image.putalpha(alpha)
    return image


def degraded(scene: world.Scene, operator: str, **settings: float) -> Image.Image:
    """A smaller or blurred image with noise, as Measurement simulates it."""
    known: dict[str, Any] = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.01, "seed": 0, **settings}
    truth = in_process.render([scene]).movedim(1, -1)
    measurement, _ = MeasurementNode.execute(truth, operator, simulate=True, **known).args
    return to_image(((measurement.y[0] + 1) / 2).clamp(0, 1))


def restorations() -> list[Shot]:
    """A filled hole, and degraded images restored."""
    hole = with_holes(HEART, HOLE)
    small, blurred = degraded(STAR, "super-resolution"), degraded(CROSS, "gaussian blur")
    moved = degraded(CIRCLE, "motion blur", angle=30.0)
    shows, motion = "What the image shows.text", {"Measurement.operator": "motion blur", "Measurement.angle": 30.0}
    return [
        Shot("a hole", "inpaint", hole, {
            "Image with a hole.image": hole, "Prompt for the hole.text": "a blue heart on a dotted white background",
        }),
        Shot("4 times smaller", "super_resolve", small, {"Small image.image": small, shows: world.describe(STAR)}),
        Shot("blurred", "deblur", blurred, {"Blurred image.image": blurred, shows: world.describe(CROSS)}),
        Shot("motion blur", "deblur", moved, {"Blurred image.image": moved, shows: world.describe(CIRCLE)}, motion),
    ]  # fmt: skip


SAMPLED = "a red heart on a plain white background"
DRAWING = (CHECKOUT / "samples" / "dreamsampler_drawing.svg").read_bytes()


def drawings() -> list[Shot]:
    """SVGs: generated, traced, edited and restored."""
    blurred = degraded(CROSS, "gaussian blur", kernel_size=31, sigma=5.0, noise_std=0.0)
    prompts = [f"a {color} heart on a plain white background" for color in ("red", "blue")]
    return [
        Shot("", "text_to_svg", "VAE Decode", {"What to draw, and its style.text": SAMPLED}),
        Shot("", "vectorise", rendered(CIRCLE), {"Image.image": rendered(CIRCLE)}),
        Shot("", "svg_edit", shown(DRAWING), {
            "Drawing to edit.file": DRAWING,
            "What it shows.text": prompts[0], "What it should show.text": prompts[1],
        }),
        Shot("", "restore_svg", blurred, {
            "Blurred image.image": blurred, "What it shows, and its style.text": world.describe(CROSS),
        }),
    ]  # fmt: skip


CIRCLES = [f"a {color} circle on a plain white background" for color in ("red", "blue")]
SMALL_SCENE = {"render_size": 96, "splats": 500, "steps": 60}
"""What is enough at 96 pixels."""


def scenes() -> list[Shot]:
    """Scenes of splats: from a prompt, edited, fitted and restored."""
    size, ball = {f"Splat Optimizer.{name}": value for name, value in SMALL_SCENE.items()}, solids.ball("red")
    cameras, small = solids.cameras_around(20), solids.cameras_around(12, 24)
    views = Views(solids.views_of(solids.two_colored_ball("yellow", "green"), cameras), cameras)
    sharp = solids.views_of(ball, solids.cameras_around(12))
    degraded = Views(torch.nn.functional.interpolate(sharp, scale_factor=0.25, mode="area"), small)
    around = solids.views_of(ball, solids.cameras_around(4))
    sides = [f"From {side}.text" for side in ("the front", "the side", "behind")]
    fitting, rendering = "Fit the scene", "Render the held-out views"
    return [
        Shot("", "text_to_3d", None, {
            **dict.fromkeys(sides, CIRCLES[0]), **size, "Splat Optimizer.learning_rate": 2.0,
        }),
        Shot("", "edit_3d", four([to_image(each) for each in around]), {
            "Scene to edit.file": ball, **size,
            "What it shows.text": CIRCLES[0], "What it should show.text": CIRCLES[1],
        }),
        Shot("", "posed_views_to_splat", to_image(views.images[16]), {
            "Views.folder": views, f"{fitting}.splats": SMALL_SCENE["splats"],
            f"{fitting}.render_size": 96, f"{rendering}.render_size": 96,
        }),
        Shot("", "restore_3d", to_image(degraded.images[-1]), {
            "Degraded views.folder": degraded, "What the views show.text": CIRCLES[0], **size,
        }),
    ]  # fmt: skip


SMALL_CIRCLE = alone("circle", "orange", "green", "dotted", radius=24)
HEARTS = f"{translator.TRANSLATOR.name}: heart"


def others() -> list[Shot]:
    """Raster templates that the README does not show with their own settings."""
    heart, blue = rendered(HEART), world.describe(world.with_attribute(HEART, "colour", "blue"))
    painting, small = rendered(replace(CIRCLE, style="painting")), rendered(SMALL_CIRCLE)
    target = {"Source image.image": heart, "Target prompt.text": blue}
    return [
        edit("a blue heart", HEART),
        Shot("", "edit_found_region", heart, {
            "Source image.image": heart, "Source prompt.text": "a red heart", "Target prompt.text": "a blue heart",
        }),
        Shot("", "inpaint_two_texts", with_holes(PAIR, *TWO_HOLES), {
            "Image with the first hole.image": with_holes(PAIR, TWO_HOLES[0]),
            "Same with the second hole.image": with_holes(PAIR, TWO_HOLES[1]),
            "First prompt.text": TWO_PROMPTS[0], "Second prompt.text": TWO_PROMPTS[1],
            "Mask Localized Guidance.feather": 2.0,
        }),
        Shot("", "distil_text_to_image", None, {"Text-Source Descriptor.text": world.describe(HEART)}),
        Shot("", "illusion", "Overlay Illusion", {
            "Prompt of the upright image.text": "a red heart on a plain white background",
            "Prompt upside down.text": "a red triangle on a plain white background",
        }),
        Shot("", "painting_to_real", painting, {
            "Source image.image": painting, "Text-Source Descriptor.text": world.describe(CIRCLE),
        }),
        Shot("", "posterior_edit", heart, {**target, "Source prompt.text": world.describe(HEART)}),
        Shot("", "lmc_edit", heart, target),
        Shot("", "translate", small, {"Source image.image": small, "Translator and target.translation": HEARTS}),
    ]  # fmt: skip


SHEETS: dict[str, Callable[[], list[Shot]]] = {"edits": edits, "restorations": restorations}
"""Shots shown in the README; thumbnails are saved of those with the template's own settings."""
THUMBNAILS: dict[str, Callable[[], list[Shot]]] = {
    "drawings": drawings, "scenes": scenes, "others": others,
}  # fmt: skip

BLURRED_AT = 0.7
"""The time at which the thumbnail of `train_corrective` shows a corrective's prediction."""


def trained_corrective() -> tuple[Image.Image, Image.Image]:
    """An image, and what the reference model's corrective predicts for it."""
    reference, learned = in_process.load(), host.CORRECTIVES.read_file(corrective.CORRECTIVE)
    scaling = reference.model.get_model_object("latent_format")
    clean = scaling.process_in(reference.latent(in_process.render([HEART]))["samples"])
    b_hat = scaling.process_out(learned(clean, torch.tensor([BLURRED_AT])))
    return rendered(HEART), to_image(reference.decoded({"samples": b_hat})[0].clamp(0, 1))


def draw(studio: Studio, name: str) -> None:
    """A sheet, if `name` has one, and thumbnails of templates with their own settings."""
    shots = {**SHEETS, **THUMBNAILS}[name]()
    pairs = [studio.made(shot) for shot in shots]
    for shot, pair in zip(shots, pairs, strict=True):
        if not shot.settings:
            save_thumbnail(shot.template, *pair)
    if name in SHEETS:
        cells = [(before, after) for before, after in pairs if before]  # which all shots in sheets have
        save(sheet(cells, [shot.label for shot in shots]), CHECKOUT / "docs" / f"{name}.png")
    if name == "others":
        save_thumbnail("train_corrective", *trained_corrective())


def main() -> None:
    """Make all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*SHEETS, *THUMBNAILS]
    parser.add_argument("names", nargs="*", default=every, help=f"some of {', '.join(every)}")
    names = parser.parse_args().names
    host_access.import_svg()
    with torch.inference_mode(), ComfyServer(locate(), WORK) as server:
        for name in names:
            draw(Studio(server.client, WORK / "input"), name)


if __name__ == "__main__":
    main()

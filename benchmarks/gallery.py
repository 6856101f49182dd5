"""Makes the images of the README and the thumbnails of the templates, with the reference model.

    .host/venv/bin/python -m benchmarks.gallery             all of these, or those named:
        edits, restorations               docs/{edits,restorations}.png; these also make the next
        drawings, scenes, fits, others    thumbnails, workflows/*.jpg, and images of help pages
        graph                             docs/edit_graph.png; needs Chromium
        svg, splats                       docs/{svg,splats}.webp, the animations
        help                              the other images of help pages; needs Chromium

Every image is made by a template on a real server, with inputs as a user would choose them: images, prompts, and sizes
for the model's 96 pixels, at which scenes also have fewer splats and steps. Where the values for large models are wrong
for one this small, the template's hints name others, and the thumbnail is made with those: a lower guidance scale, or
sds in place of bridge. The sheets of the README show inputs above and results below; its captions name settings changed
for them. A thumbnail shows the template's input on the left and its unchanged result on the right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from dreamsampler.nodes import host
from dreamsampler.nodes.measurement import MeasurementNode
from PIL import Image

from tools.reference import corrective, host_access, in_process, solids, translator, world

from . import gallery_help, gallery_motion, gallery_page
from .gallery_sheets import Pair, beside, columns, halves, quarters, rows, stacked
from .gallery_studio import CELL, CHECKOUT, Shot, Studio, Views, four, rendered, shown, to_image
from .images import save

sys.path.append(str(CHECKOUT / "tools"))

from comfy_server import ComfyServer  # noqa: E402
from devhost import locate  # noqa: E402
from queueing.workflow import templates  # noqa: E402
from sample_inputs import REFERENCE, write  # noqa: E402

WORK = Path(__file__).with_name("work") / "gallery"
DOCS, HELP_IMAGES = CHECKOUT / "docs", CHECKOUT / "js" / "docs" / "pictures"
MOST = 30_000
"""Bytes of an image of the help pages, which the pack's archive contains."""
THUMBNAIL, LARGE, SMALL = 2 * CELL, 288, 122
"""Width and height in pixels of thumbnails, and of images on help pages: alone, and several of them."""


def thumbnail(shot: Shot, pair: Pair) -> Image.Image:
    """Half of the input beside half of the result; or both as wholes, on the background of the input."""
    before, after = pair
    if before is None or not shot.whole:
        return halves(pair, THUMBNAIL)
    canvas = Image.new("RGB", (THUMBNAIL, THUMBNAIL), before.convert("RGB").getpixel((0, 0)))
    canvas.paste(beside([before, after], gap=0), (0, (THUMBNAIL - CELL) // 2))
    return canvas


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
SMALL_SCENE = {"render_size": 96, "splats": 1000, "steps": 200}
"""What is enough at 96 pixels, and takes a minute."""


def scenes() -> list[Shot]:
    """Scenes of splats: from a prompt, edited and restored."""
    size, ball = {f"Splat Optimizer.{name}": value for name, value in SMALL_SCENE.items()}, solids.ball("red")
    sharp, small = solids.views_of(ball, solids.cameras_around(12)), solids.cameras_around(12, 24)
    degraded = Views(torch.nn.functional.interpolate(sharp, scale_factor=0.25, mode="area"), small)
    around = solids.views_of(ball, solids.cameras_around(4))
    sides = [f"From {side}.text" for side in ("the front", "the side", "behind")]
    return [
        Shot("", "text_to_3d", None, {**dict.fromkeys(sides, CIRCLES[0]), **size}),
        Shot("", "edit_3d", four([to_image(each) for each in around]), {
            "Scene to edit.file": ball, **size, "Splat Optimizer.guidance_scale": 30.0,
            "What it shows.text": CIRCLES[0], "What it should show.text": CIRCLES[1],
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
        }, whole=True),
        Shot("", "distil_text_to_image", None, {
            "Text-Source Descriptor.text": world.describe(HEART),
            "Distillation Sampler.method": "sds", "Distillation Sampler.guidance_scale": 7.5,
        }),
        Shot("", "illusion", "Overlay Illusion", {
            "Prompt of the upright image.text": "a red heart on a plain white background",
            "Prompt upside down.text": "a red triangle on a plain white background",
            "Overlay Illusion.guidance_scale": 7.5,
        }, whole=True),
        Shot("", "painting_to_real", painting, {
            "Source image.image": painting, "Text-Source Descriptor.text": world.describe(CIRCLE),
        }),
        Shot("", "posterior_edit", heart, {**target, "Source prompt.text": world.describe(HEART)}),
        Shot("", "lmc_edit", heart, target),
        Shot("", "translate", small, {"Source image.image": small, "Translator and target.translation": HEARTS}),
    ]  # fmt: skip


SHEETS: dict[str, Callable[[], list[Shot]]] = {"edits": edits, "restorations": restorations}
"""Shots shown in the README; thumbnails are saved of those with the template's own settings."""
GROUPS: dict[str, Callable[[], list[Shot]]] = {
    **SHEETS, "drawings": drawings, "others": others, "scenes": scenes,
    "fits": lambda: [gallery_motion.fitted_toy(gallery_motion.toy_views())],
}  # fmt: skip
"""Quick ones first: the photographs that the last one fits take minutes."""
TRAINING = "train_corrective"
"""The template whose thumbnail needs no run: the reference model's corrective is trained."""

BLURRED_AT = 0.7
"""The time at which the thumbnail of `train_corrective` shows a corrective's prediction."""


def trained_corrective() -> tuple[Image.Image, Image.Image]:
    """An image, and what the reference model's corrective predicts for it."""
    reference, learned = in_process.load(), host.CORRECTIVES.read_file(corrective.CORRECTIVE)
    scaling = reference.model.get_model_object("latent_format")
    clean = scaling.process_in(reference.latent(in_process.render([HEART]))["samples"])
    b_hat = scaling.process_out(learned(clean, torch.tensor([BLURRED_AT])))
    return rendered(HEART), to_image(reference.decoded({"samples": b_hat})[0].clamp(0, 1))


def shots_of(template: str) -> list[Shot]:
    """Those that the template's thumbnail is made of."""
    found = ([shot for shot in group() if shot.template == template and not shot.settings] for group in GROUPS.values())
    return next(filter(None, found), [])


def draw(studio: Studio, name: str) -> None:
    """The images of a group: sheets, images of help pages, and thumbnails of templates with their own settings.

    Or the thumbnail of a template.
    """
    shots = GROUPS[name]() if name in GROUPS else shots_of(name)
    pairs = [studio.made(shot) for shot in shots]
    for shot, pair in zip(shots, pairs, strict=True):
        if not shot.settings:
            save_thumbnail(shot.template, thumbnail(shot, pair))
    if name in ("others", TRAINING):
        save_thumbnail(TRAINING, halves(trained_corrective(), THUMBNAIL))
    if name in SHEETS:
        save(columns(pairs, [shot.label for shot in shots]), DOCS / f"{name}.png")
    if name in GROUPS:
        for help_image, image in HELP[name](pairs).items():
            save_small(image, HELP_IMAGES / f"{help_image}.jpg")


def save_small(image: Image.Image, path: Path) -> None:
    """Write a JPEG of at most `MOST` bytes, as good as that allows."""
    for quality in range(88, 50, -4):
        image.save(path, quality=quality)
        if path.stat().st_size <= MOST:
            return


def save_thumbnail(template: str, image: Image.Image) -> None:
    image.save(templates()[template].with_suffix(".jpg"), quality=90)


# The images of the help pages


def help_of_edits(pairs: Sequence[Pair]) -> dict[str, Image.Image]:
    heart, star, _, circle, _ = pairs
    labels = [f"“{prompt}”" for prompt in ("a blue heart", "a white star", "a black circle")]
    return {"edited": columns([heart, star, circle], labels, SMALL)}


def help_of_restorations(pairs: Sequence[Pair]) -> dict[str, Image.Image]:
    hole, small, _, moved = pairs
    labels = ["a hole", "4 times\nsmaller", "blurred", "motion\nblur"]
    return {
        "measured": rows(pairs, labels, ("degraded", "restored"), SMALL),
        "restored": columns([hole, small, moved], ["a hole", "4 times smaller", "motion blur"], SMALL),
    }


def help_of_drawings(pairs: Sequence[Pair]) -> dict[str, Image.Image]:
    labels = ["prompt\nto SVG", "image\nto SVG", "“a blue\nheart”", "blurred,\nto SVG"]
    return {"drawings": rows(pairs, labels, ("input", "SVG"), SMALL)}


def help_of_scenes(pairs: Sequence[Pair]) -> dict[str, Image.Image]:
    (_, made), (before, edited), _ = pairs
    strips = (beside(quarters(image), side=SMALL, gap=0) for image in (made, before, edited) if image)
    return {"splats": stacked([*strips])}


def help_of_others(pairs: Sequence[Pair]) -> dict[str, Image.Image]:
    _, _, (masks, filled), _, (upright, turned), painting, posterior, lmc, _ = pairs
    return {
        "regions": beside([masks, filled], ["two masks", "a prompt for each"], 168) if masks else filled,
        "illusion": beside([upright, turned]) if upright else turned,
        "painting_to_real": halves(painting, LARGE),
        "posterior_edit": halves(posterior, LARGE),
        "lmc_edit": halves(lmc, LARGE),
        "corrective": halves(trained_corrective(), LARGE),
    }


HELP: dict[str, Callable[[Sequence[Pair]], dict[str, Image.Image]]] = {
    "edits": help_of_edits, "restorations": help_of_restorations, "drawings": help_of_drawings,
    "others": help_of_others, "scenes": help_of_scenes, "fits": lambda pairs: {},
}  # fmt: skip
"""By group, from the results of its shots in their order."""


def draw_help(studio: Studio) -> None:
    """The images that are made of no thumbnails."""
    (found,) = shots_of("edit_found_region")
    images: dict[str, Callable[[], Image.Image]] = {
        "orbit": gallery_help.orbited,
        "svg_to_image": gallery_help.on_backgrounds,
        "traced": gallery_help.traced,
        "load_svg": lambda: gallery_page.loaded_drawing(studio.client, studio.known("icon", gallery_help.ICON)),
        "found_region": lambda: gallery_help.found_region(studio, found),
        "translated": lambda: gallery_help.translated(studio, CIRCLE),
        "methods": lambda: gallery_help.methods(studio, alone("heart", "orange", "black", "striped")),
    }
    for name, made in images.items():
        save_small(made(), HELP_IMAGES / f"{name}.jpg")


FILES: dict[str, Callable[[Studio], None]] = {
    "graph": lambda studio: gallery_page.write_edit_graph(studio.client, DOCS / "edit_graph.png"),
    "svg": lambda _: gallery_motion.write_drawing(DOCS / "svg.webp"),
    "splats": lambda studio: gallery_motion.write_scene(studio, DOCS / "splats.webp"),
    "help": draw_help,
}


def main() -> None:
    """Make all, or those named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*GROUPS, *FILES]
    names = {*every, *templates()}
    parser.add_argument("names", nargs="*", default=every, help=f"some of {', '.join(every)}, or templates")
    chosen: list[str] = parser.parse_args().names
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"There is no {', '.join(unknown)}. Choose from {', '.join(sorted(names))}.")
    host_access.import_extra_nodes()
    write(WORK / "input", REFERENCE)
    with torch.inference_mode(), ComfyServer(locate(), WORK, ready_seconds=900) as server:  # beside other work
        studio = Studio(server.client, WORK / "input")
        for name in chosen:
            FILES[name](studio) if name in FILES else draw(studio, name)


if __name__ == "__main__":
    main()

"""Images of the help pages that are made of no template's thumbnail: outputs of single nodes, and methods compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dreamsampler.nodes import host
from dreamsampler.nodes.image_to_svg import ImageToSVG
from dreamsampler.nodes.orbit_cameras import OrbitCameras
from dreamsampler.nodes.svg_to_image import SVGToImage
from PIL import Image

from tools.reference import in_process, translator, world

from .gallery_sheets import beside, part, stacked
from .gallery_studio import CHECKOUT, Shot, Studio, find_node, rendered, save, shown, to_image
from .gallery_toy import photographed

ICON = (CHECKOUT / "docs" / "icon.svg").read_bytes()
WIDE, SMALL, TINY = 200, 122, 90
"""Width and height in pixels of images of which four, three or more are beside each other."""
DETAIL = (0.12, 0.15, 0.55, 0.58)
"""The part of the icon whose trace is shown, from the left, top, right and bottom."""
ORBIT: dict[str, Any] = {"count": 8, "elevation": 15.0, "distance": 2.4, "fov": 40.0, "width": 140, "height": 140}
METHODS = ("sds", "nfsd", "csd", "bridge", "vsd", "dreamsampler")
TARGETS = ("square", "triangle", "star", "heart")
SUITED = 7.5
"""A guidance scale that suits the reference model; the papers' are for large models."""


def found_region(studio: Studio, shot: Shot) -> Image.Image:
    """The source, heat map and mask of Find Edit Region, and the edit."""
    prompt = studio.prompt(shot)
    region = find_node(prompt, "Find Edit Region")
    prompt["mask"] = {"class_type": "MaskToImage", "inputs": {"mask": [region, 0]}}
    save(prompt, [region, 1], "heat")
    save(prompt, ["mask", 0], "masked")
    found = {name.partition("_")[0]: shown(content) for name, content in studio.saved(prompt)}
    assert isinstance(shot.before, Image.Image)
    return beside([shot.before, found["heat"], found["masked"], found["edited"]], side=WIDE)


def methods(studio: Studio, scene: world.Scene) -> Image.Image:
    """A scene, a sample of its caption by KSampler, and images that methods make of it."""
    caption = {"Text-Source Descriptor.text": world.describe(scene), "Distillation Sampler.guidance_scale": SUITED}
    made = [
        studio.made(Shot(method, "distil_text_to_image", None, {**caption, "Distillation Sampler.method": method}))[1]
        for method in METHODS
    ]
    return in_rows([rendered(scene), sampled(scene), *made], ["real", "sampled", *METHODS], 4, TINY)


def sampled(scene: world.Scene) -> Image.Image:
    """What KSampler makes of a scene's caption."""
    reference = in_process.load()
    positive, negative = (reference.conditioning([prompt]) for prompt in (world.describe(scene), ""))
    latent = {"samples": host.empty_latent(reference.model, 1, world.SIZE // 8, world.SIZE // 8)}
    return to_image(reference.decoded(reference.ksampled(positive, negative, latent, steps=30, cfg=SUITED, seed=0))[0])


def translated(studio: Studio, scene: world.Scene) -> Image.Image:
    """An object, and what the translator makes of it for other targets."""
    source = rendered(scene)
    made = []
    for shape in TARGETS:
        chosen = {"Translator and target.translation": f"{translator.TRANSLATOR.name}: {shape}"}
        made.append(studio.made(Shot(shape, "translate", source, {"Source image.image": source, **chosen}))[1])
    return in_rows([source, *made], [f"a {scene.things[0].shape}", *TARGETS], 3, SMALL)


def in_rows(images: Sequence[Image.Image], labels: Sequence[str], count: int, side: int) -> Image.Image:
    """Images with labels, `count` to a row."""
    starts = range(0, len(images), count)
    return stacked([beside(images[n : n + count], labels[n : n + count], side) for n in starts])


def orbited() -> Image.Image:
    """The toy, photographed by the cameras of Orbit Cameras."""
    (cameras,) = OrbitCameras.execute(**{**defaults(OrbitCameras), **ORBIT}).args
    images = [to_image(each) for each in photographed(cameras)]
    return stacked([beside(images[n : n + 4], side=ORBIT["width"], gap=0) for n in (0, 4)])


def traced() -> Image.Image:
    """A detail of the icon in pixels, and of its trace by Image to SVG with the default settings."""
    pixels = in_process.rasterize(host.svg_value([ICON]), 400).movedim(1, -1)
    (svg,) = ImageToSVG.execute(pixels, **defaults(ImageToSVG)).args
    files = [ICON, svg.data[0].getvalue()]
    image, drawing = (
        to_image(in_process.rasterize(host.svg_value([file]), side)[0])
        for file, side in zip(files, (400, 1200), strict=True)
    )
    return beside([part(image, DETAIL), part(drawing, DETAIL)], ["an image, enlarged", "its SVG"], 184)


def defaults(node: Any) -> dict[str, Any]:
    """The default values of a node's widgets."""
    return {each.id: each.default for each in node.define_schema().inputs if getattr(each, "default", None) is not None}


def on_backgrounds() -> Image.Image:
    """The outputs of SVG to Image, without the icon's ground: on white, on black, and the mask."""
    drawing = host.svg_value([re.sub(rb"<rect[^>]*>", b"", ICON)])
    images = [SVGToImage.execute(drawing, SMALL, 0, color).args for color in ("white", "black")]
    white, black = (to_image(image[0].movedim(-1, 0)) for image, _ in images)
    return beside([white, black, to_image(images[0][1].expand(3, -1, -1))], ["white", "black", "mask"], SMALL)

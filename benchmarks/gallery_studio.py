"""A server that runs templates with chosen inputs, and the images that come of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from dreamsampler.nodes import host
from dreamsampler.splats import Camera, Scene, write_ply
from PIL import Image, ImageSequence
from torch import Tensor

from tools.reference import in_process, solids, world

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.append(str(CHECKOUT / "tools"))

from comfy_client import ComfyClient, Prompt, find_node  # noqa: E402

PROMPTS = CHECKOUT / "workflows" / "api"
"""The templates in API form, with the reference checkpoint."""
CELL = 192
"""Width and height in pixels at which images are shown."""


@dataclass(frozen=True)
class Views:
    """Images (V, 3, H, W) in [0, 1] with their cameras, for Load Posed Views."""

    images: Tensor
    cameras: Sequence[Camera]


@dataclass(frozen=True)
class Shot:
    """A template and its inputs: values by "TITLE.INPUT"; images, drawings (SVG), splats and views are uploaded.

    `before` is shown beside the result: an image, or the title of the node that makes it; with `whole` both as a whole.
    `settings` are like `chosen`, but differ from the template's own.
    """

    label: str
    template: str
    before: Image.Image | str | None
    chosen: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False


class Studio:
    """A server that runs templates."""

    def __init__(self, client: ComfyClient, inputs: Path):
        self.client, self.inputs = client, inputs

    def made(self, shot: Shot) -> tuple[Image.Image | None, Image.Image]:
        """The input of a template and its result."""
        prompt = self.prompt(shot)
        if isinstance(shot.before, str):
            save(prompt, [find_node(prompt, shot.before), 0], "before")
        found = self.saved(prompt)
        print(shot.label or shot.template, flush=True)
        results = [content for name, content in found if not name.startswith("before")]
        if isinstance(shot.before, str):
            (before,) = (content for name, content in found if name.startswith("before"))
            return shown(before), shown(results[-1])
        return shot.before, shown(results[-1])

    def prompt(self, shot: Shot) -> Prompt:
        """A template with its inputs."""
        prompt: Prompt = json.loads((PROMPTS / f"{shot.template}.json").read_text("utf-8"))
        for number, (place, value) in enumerate({**shot.chosen, **shot.settings}.items()):
            title, name = place.split(".")
            prompt[find_node(prompt, title)]["inputs"][name] = self.known(f"{shot.template}_{number}", value)
        return prompt

    def saved(self, prompt: Prompt) -> list[tuple[str, bytes]]:
        """What a run of a prompt writes to the output folder: names and contents, in order."""
        files = [file for file in self.client.run(prompt, timeout=None).files() if file.kind == "output"]
        return [(file.filename, self.client.fetch(file)) for file in files]

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


def save(prompt: Prompt, images: list[str | int], name: str) -> None:
    """Let a prompt also write these images, a link to a node's output, to files whose names begin with `name`."""
    prompt[name] = {"class_type": "SaveImage", "inputs": {"images": images, "filename_prefix": name}}


def shown(content: bytes) -> Image.Image:
    """The image in a file; drawings are rendered at twice the size of a cell, of animations four frames are shown."""
    if not content.lstrip().startswith(b"<"):
        image = Image.open(BytesIO(content))
        return four([frame.convert("RGB") for frame in ImageSequence.Iterator(image)]) if is_animated(image) else image
    return to_image(in_process.rasterize(host.svg_value([content]), 2 * CELL)[0])


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


def cell(image: Image.Image, side: int = CELL) -> Image.Image:
    """An image of `side` pixels, on gray where transparent; much smaller images keep visible pixels."""
    under = Image.new("RGBA", image.size, "#808080")
    under.alpha_composite(image.convert("RGBA"))
    small = image.width < CELL // 4
    return under.convert("RGB").resize((side, side), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS)

"""The animations of the README: a drawing while it is optimized, and a scene of splats that turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from dreamsampler.drawings.drawing import Drawing
from dreamsampler.nodes import host
from dreamsampler.nodes.svg_request import Request
from dreamsampler.splats import orbit
from dreamsampler.svg.document import Document
from dreamsampler.svg.markup.writer import write
from PIL import Image
from torch import Tensor

from tools.reference import in_process, solids

from .gallery_sheets import part
from .gallery_studio import Shot, Studio, Views, find_node, save, to_image
from .gallery_toy import photographed

VIEWS, VIEW_SIZE, FOV, DISTANCE = 24, 192, 44.0, 2.0
ORBIT = {"frames": 48, "render_size": 544, "elevation_min": 0.0, "elevation_max": 30.0}
SEEN = (0.205, 0.165, 0.795, 0.755)
"""The part of the orbit's images that is shown, from the left, top, right and bottom: what the photographs show. The
splats below the toy are outside of all photographs, and could be anything."""
FITTED = {"splats": 4000, "render_size": VIEW_SIZE}
"""What shows the toy's details and is fitted on a CPU in minutes; the template has 10000 splats, at 512 pixels."""


def write_animation(
    frames: Sequence[Image.Image], path: Path, *, milliseconds: Sequence[int] | int, quality: int
) -> None:
    """Write an animated WebP that repeats forever; `milliseconds` says how long each frame is shown."""
    first, *others = frames
    options: dict[str, Any] = {
        "duration": milliseconds,
        "quality": quality,
        "loop": 0,
        "method": 6,
        "minimize_size": True,
    }
    first.save(path, save_all=True, append_images=others, **options)


# Splats


def toy_views() -> Views:
    """Photographs of the toy from all sides."""
    cameras = solids.cameras_around(VIEWS, VIEW_SIZE, elevations=(-5, 45), distance=DISTANCE, fov=FOV)
    return Views(photographed(cameras), cameras)


def fitted_toy(views: Views) -> Shot:
    """The template that fits splats to photographs, with those of the toy."""
    fit = {f"Fit the scene.{name}": value for name, value in FITTED.items()}
    held_out = to_image(views.images[HELD_OUT])
    return Shot("", "posed_views_to_splat", held_out, {
        "Views.folder": views, **fit, "Render the held-out views.render_size": VIEW_SIZE,
    })  # fmt: skip


HELD_OUT = 16
"""The last view that the template holds out: each eighth."""


def turning_scene(studio: Studio) -> list[Image.Image]:
    """The fitted toy, seen by Splat Optimizer in an orbit."""
    prompt = studio.prompt(fitted_toy(toy_views()))
    fit = find_node(prompt, "Fit the scene")
    settings = {name: value for name, value in prompt[fit]["inputs"].items() if name not in ("images", "cameras")}
    prompt["orbit"] = {"class_type": "DSSplatOptimizer", "inputs": {**settings, **ORBIT, "splat": [fit, 0]}}
    save(prompt, ["orbit", 1], "frame")
    files = [content for name, content in studio.saved(prompt) if name.startswith("frame")]
    return [part(Image.open(BytesIO(content)).convert("RGB"), SEEN) for content in files]


def write_scene(studio: Studio, path: Path) -> None:
    """The turning scene as an animation."""
    write_animation(turning_scene(studio), path, milliseconds=80, quality=75)


# Drawings

SHOWN, GAP = 296, 6
"""Width and height of a drawing in pixels, and the space between drawings."""
STYLES: Mapping[str, Mapping[str, Any]] = {
    "iconography": {"paths": 96, "fit_places": "component-wise", "fit_groups": 8, "fit_steps": 25},
    "painting": {"paths": 256, "fit_places": "anywhere", "fit_steps": 200},
    "low-poly": {"paths": 256, "fit_places": "anywhere", "fit_steps": 200},
}
"""The drawings, from left to right: their style, and how SVG Optimizer is set. All take equally many steps."""
EVERY, FRAME, LAST = 4, 90, 2000
"""Steps from frame to frame, and how long the frames and the last one are shown, in milliseconds."""


def write_drawing(path: Path) -> None:
    """Drawings of the toy's photograph in several styles, while SVG Optimizer fits them, without a model."""
    camera = orbit(azimuth=335, elevation=8, distance=DISTANCE, fov=40.0, width=VIEW_SIZE, height=VIEW_SIZE)
    photograph = photographed([camera]).movedim(1, -1)
    shared = {"image": photograph, "canvas_size": VIEW_SIZE, "steps": 0, "guidance_scale": -1.0, "seed": 0}
    runs = [recorded(Request(style=style, **shared, **chosen)) for style, chosen in STYLES.items()]
    frames = [_side_by_side(drawings) for drawings in zip(*runs, strict=True)]
    write_animation(frames, path, milliseconds=[FRAME] * (len(frames) - 1) + [LAST], quality=70)


def recorded(request: Request) -> list[Image.Image]:
    """The drawing of a request to SVG Optimizer after each `EVERY`-th step, and as it is saved."""
    frames, latest = list[Image.Image](), list[Drawing]()

    def remember(drawings: Sequence[Drawing]) -> None:
        latest[:] = drawings

    def record(step: int, _: Tensor) -> None:
        if step % EVERY == 1:
            frames.append(_drawn(latest[0].document()))

    drawings = request.initialization.run(request.generators, record, remember)
    return [*frames, _drawn(request.finished(drawings)[0])]


@torch.no_grad()
def _drawn(document: Document) -> Image.Image:
    return to_image(in_process.rasterize(host.svg_value([write(document).encode()]), SHOWN)[0])


def _side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    canvas = Image.new("RGB", (len(images) * (SHOWN + GAP) - GAP, SHOWN), "white")
    for i, image in enumerate(images):
        canvas.paste(image, (i * (SHOWN + GAP), 0))
    return canvas

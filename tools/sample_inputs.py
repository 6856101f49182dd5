"""Make the sample inputs of the templates, in `samples/`.

    python tools/sample_inputs.py

The pack copies these files to ComfyUI's input folder, so that every template finds its input. They look like
photographs of a heart, a star, ... from the reference world, at the size that Stable Diffusion 1.5 was trained for.
`write(folder, REFERENCE)` makes files of the same names for the reference model, which knows images of 96 pixels only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dreamsampler.splats import write_ply
from PIL import Image, ImageFilter
from reference import solids, world

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
PREFIX = "dreamsampler_"
"""Begins the name of every sample, as the input folder also holds the user's files."""


def _scene(shape: str, color: str, pattern: str, background: str = "white", style: str = "picture") -> world.Scene:
    """One object in the middle."""
    return world.Scene((world.Thing(shape, color, 48, 48, 30, 0.0),), background, pattern, None, style, 7)


HEART = _scene("heart", "red", "dotted")
CIRCLE = _scene("circle", "red", "plain")
STAR = _scene("star", "red", "plain")
PAINTED = _scene("circle", "blue", "checkered", "yellow", "painting")
PAIR = world.Scene(
    (world.Thing("star", "yellow", 26, 48, 19, 0.1), world.Thing("square", "white", 70, 48, 17, 0.1)),
    *("purple", "plain", None, "picture", 7),
)
Box = tuple[int, int, int, int]
HOLE, LEFT_HOLE, RIGHT_HOLE = (14, 14, 82, 82), (4, 24, 47, 72), (49, 24, 92, 72)
"""Left, top, right and bottom, in pixels of the reference world."""

DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96">
  <rect width="96" height="96" fill="#f4f4f0"/>
  <path fill="#db2626" d="M48 80C34 66 18 56 18 38C18 28 25 22 33 22C40 22 46 27 48 34C50 27 56 22 63 22C71 22 78 28 78 38C78 56 62 66 48 80Z"/>
  <path fill="#f0a0a0" d="M26 38C26 33 29 30 33 30C34 30 34 32 33 32C31 33 29 35 29 38C29 41 26 41 26 38Z"/>
</svg>
"""  # fmt: skip  # noqa: E501


@dataclass(frozen=True)
class Look:
    """How scenes become images: their width and height in pixels, and the function that renders them."""

    size: int
    render: Callable[[world.Scene], Image.Image]

    def scaled(self, box: Box) -> Box:
        """A box of the reference world in pixels of the image."""
        left, top, right, bottom = (each * self.size // world.SIZE for each in box)
        return left, top, right, bottom


def _image(array: np.ndarray) -> Image.Image:
    return Image.fromarray((np.clip(array, 0, 1) * 255).round().astype(np.uint8))


REFERENCE = Look(world.SIZE, lambda scene: _image(world.render(scene)))
PHOTO = Look(512, lambda scene: _photo(scene, 512))


# What a camera sees


def _photo(scene: world.Scene, size: int) -> Image.Image:
    """The objects as glazed tiles on cloth, lit from the upper left; paintings in strokes of oil."""
    cover = [world.coverage(thing, size) for thing in scene.things]
    image = world.ground(scene, size)
    image *= 1 - 0.10 * _shade(size)[..., None]
    for thing, mask in zip(scene.things, cover, strict=True):
        image *= 1 - 0.55 * _shadow(mask)[..., None]
        image = image * (1 - mask[..., None]) + _glazed(np.array(world.PALETTE[thing.color]), mask) * mask[..., None]
    photo = _image(image)
    return _oil(photo) if scene.style == "painting" else photo


def _shade(size: int) -> np.ndarray:
    """Grows from the light to the far corner: (size, size) in [0, 1]."""
    y, x = np.mgrid[:size, :size] / size
    return (x + y) / 2


def _blur(values: np.ndarray, radius: float) -> np.ndarray:
    """(H, W), blurred by a Gaussian; its edges go on outside."""
    reach = int(3 * radius) + 1
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / radius) ** 2)
    for _ in range(2):
        padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
        values = np.tensordot(
            weights / weights.sum(), np.stack([padded[i : i + len(values)] for i in range(len(weights))]), 1
        ).T
    return values


def _shadow(mask: np.ndarray) -> np.ndarray:
    """A soft shadow to the lower right of an object, darkest where they touch."""
    size = len(mask)
    far = np.roll(_blur(mask, size / 40), (size // 40, size // 40), (0, 1))
    return np.clip(0.7 * far + 0.3 * _blur(mask, size / 120), 0, 1)


def _glazed(color: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A rounded, shiny surface of one color: (H, W, 3)."""
    height = _dome(mask)
    slope_y, slope_x = np.gradient(height * len(mask) * 0.35)
    normal = np.stack([-slope_x, -slope_y, np.ones_like(height)], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    light, halfway = np.array([-0.45, -0.55, 0.70]), np.array([-0.25, -0.30, 0.92])
    diffuse = np.clip(normal @ light / np.linalg.norm(light), 0, 1)[..., None]
    shine = np.clip(normal @ halfway / np.linalg.norm(halfway), 0, 1)[..., None] ** 40
    return color * (0.45 + 0.65 * diffuse) + 0.35 * shine


def _dome(mask: np.ndarray, steps: int = 600) -> np.ndarray:
    """A height in [0, 1] that rises from the edge of a mask: the root of the solution of Poisson's equation."""
    small = np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).resize((128, 128), Image.Resampling.BOX)) / 255
    height = np.zeros_like(small)
    for _ in range(steps):
        around = sum(np.roll(height, shift, axis) for axis in (0, 1) for shift in (-1, 1))
        height = np.where(small > 0.5, around / 4 + 1, 0)
    height = _blur(np.sqrt(height / height.max()), 1.5)
    enlarged = Image.fromarray(height.astype(np.float32)).resize(mask.shape[::-1], Image.Resampling.BICUBIC)
    return np.asarray(enlarged, np.float64)


def _oil(photo: Image.Image) -> Image.Image:
    """Short strokes along the diagonal: each pixel takes the color at the middle of its stroke, in warm light."""
    size, strokes = photo.width, np.random.default_rng(0)
    canvas, colors = photo.copy(), np.asarray(photo, np.float64)
    width = size // 32
    stroke = _stroke(width)
    for _ in range(6_000):
        x, y = strokes.integers(0, size, 2)
        warm = colors[y, x] * (1.03, 0.98, 0.86) * strokes.uniform(0.86, 1.08)
        color = tuple(int(each) for each in np.clip(warm, 0, 255))
        canvas.paste(color, (int(x) - width, int(y) - width), stroke)
    return canvas


def _stroke(width: int) -> Image.Image:
    """The mask of a stroke from the lower left to the upper right."""
    y, x = np.mgrid[-width : width + 1, -width : width + 1]
    along, across = (x - y) / 2**0.5, (x + y) / 2**0.5
    return _image(np.clip(1.5 * (1 - np.hypot(along / width, across / width * 3)), 0, 1))


# The samples


def _with_hole(image: Image.Image, hole: Box) -> Image.Image:
    """An image as the mask editor saves it: transparent in the hole, where nothing of it is left."""
    image.paste("white", hole)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, hole)
    image.putalpha(alpha)
    return image


IMAGES: Mapping[str, Callable[[Look], Image.Image]] = {
    "photo.jpg": lambda look: look.render(HEART),
    "hole.png": lambda look: _with_hole(look.render(HEART), look.scaled(HOLE)),
    "hole_1.png": lambda look: _with_hole(look.render(PAIR), look.scaled(LEFT_HOLE)),
    "hole_2.png": lambda look: _with_hole(look.render(PAIR), look.scaled(RIGHT_HOLE)),
    "painting.jpg": lambda look: look.render(PAINTED),
    "small.png": lambda look: look.render(HEART).resize((look.size // 4, look.size // 4), Image.Resampling.BOX),
    "blurred.jpg": lambda look: look.render(HEART).filter(ImageFilter.GaussianBlur(2)),
    "icon.jpg": lambda look: _icon(STAR, look.size).filter(ImageFilter.GaussianBlur(5)),
    "circle.png": lambda _: REFERENCE.render(CIRCLE),
}
"""The images by their names without the prefix."""


def _icon(scene: world.Scene, size: int) -> Image.Image:
    (thing,) = scene.things
    mask = world.coverage(thing, size)[..., None]
    return _image(np.array(world.PALETTE[scene.background]) * (1 - mask) + np.array(world.PALETTE[thing.color]) * mask)


def write(folder: Path, look: Look) -> None:
    """Write all samples to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in IMAGES.items():
        options: dict[str, Any] = {"quality": 80, "subsampling": 0} if name.endswith(".jpg") else {"optimize": True}
        make(look).save(folder / (PREFIX + name), **options)
    (folder / f"{PREFIX}drawing.svg").write_text(DRAWING, "utf-8")
    _write_solids(folder)


def _write_solids(folder: Path) -> None:
    """A scene of splats, and views of another one in full size and four times smaller."""
    (folder / f"{PREFIX}ball.ply").write_bytes(write_ply(solids.ball("red", 200)))
    cameras = solids.cameras_around(12)
    views = solids.views_of(solids.two_colored_ball("red", "blue", 300), cameras)
    solids.write_posed_views(folder / f"{PREFIX}views", views, cameras)
    sharp = solids.views_of(solids.ball("red", 300), solids.cameras_around(8))
    small = torch.nn.functional.interpolate(sharp, scale_factor=0.25, mode="area")
    solids.write_posed_views(folder / f"{PREFIX}small_views", small, solids.cameras_around(8, world.SIZE // 4))


if __name__ == "__main__":
    write(SAMPLES, PHOTO)

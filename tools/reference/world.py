"""The reference world: small procedural images whose every attribute is known and captioned.

A scene is one large object, or two smaller ones side by side, on a plain or patterned background. Images may be
corrupted ("blurry", "foggy", ...) or drawn as a painting or a sketch, and their captions say so. This is why a model
trained on this world understands the *source* prompt of an edit. Patterns are aligned with the autoencoder's 8-pixel
grid.

The names of attributes and the words of captions are frozen, because trained weights and result files contain them:
"colour" is an attribute, and "picture" is a style and a word of captions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 96
"""Width and height of an image, in pixels."""

PALETTE: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.15, 0.15),
    "orange": (0.97, 0.53, 0.10),
    "yellow": (0.97, 0.87, 0.22),
    "green": (0.18, 0.62, 0.27),
    "blue": (0.15, 0.36, 0.86),
    "purple": (0.55, 0.22, 0.70),
    "white": (0.96, 0.96, 0.94),
    "black": (0.10, 0.10, 0.12),
}
COLORS = tuple(PALETTE)
SHAPES = ("circle", "square", "triangle", "star", "cross", "heart")
PATTERNS = ("plain", "striped", "dotted", "checkered")
CORRUPTIONS = ("blurry", "pixelated", "foggy", "oversaturated", "dark")
STYLES = ("picture", "painting", "sketch")
QUALITY_WORDS = ("sharp", "detailed", "high quality", "high resolution")

_GRID = 8
_OVERSAMPLING = 3


@dataclass(frozen=True)
class Thing:
    """One object: center and radius in pixels, angle in radians."""

    shape: str
    color: str
    x: float
    y: float
    radius: float
    angle: float


@dataclass(frozen=True)
class Scene:
    """Everything needed to render an image; `seed` fixes the small variations of color and light."""

    things: tuple[Thing, ...]
    background: str
    pattern: str
    corruption: str | None
    style: str
    seed: int


def sample_scene(rng: Random, *, clean: bool = False, objects: int | None = None) -> Scene:
    """Draw a random scene.

    `clean` omits corruptions and styles; `objects` (1 or 2) fixes the number of objects. No object has the color of the
    background, and two objects differ in shape and color.
    """
    count = objects or (1 if rng.random() < 0.75 else 2)
    background, *colors = rng.sample(COLORS, count + 1)
    shapes = rng.sample(SHAPES, count)
    kinds = zip(shapes, colors, strict=True)
    things = tuple(_place(rng, shape, color, slot, count) for slot, (shape, color) in enumerate(kinds))
    corruption = None if clean or rng.random() > 0.12 else rng.choice(CORRUPTIONS)
    style = "picture" if clean or corruption or rng.random() > 0.10 else rng.choice(STYLES[1:])
    return Scene(things, background, rng.choice(PATTERNS), corruption, style, rng.getrandbits(32))


def _place(rng: Random, shape: str, color: str, slot: int, count: int) -> Thing:
    if count == 1:
        radius = rng.uniform(22, 34)
        x, y = (rng.uniform(radius + 2, SIZE - radius - 2) for _ in range(2))
    else:
        radius = rng.uniform(17, 21)
        x = rng.uniform(23, 27) + 48 * slot
        y = rng.uniform(radius + 6, SIZE - radius - 6)
    return Thing(shape, color, x, y, radius, rng.uniform(-0.2, 0.2))


def attribute_of(scene: Scene, attribute: str) -> str:
    """The value of an attribute of `with_attribute`."""
    if attribute in ("colour", "shape"):
        return scene.things[0].color if attribute == "colour" else scene.things[0].shape
    return getattr(scene, attribute)


def with_attribute(scene: Scene, attribute: str, value: str) -> Scene:
    """The scene with `attribute` ("colour", "shape" of the first object, "background" or "pattern") set to `value`."""
    if attribute in ("colour", "shape"):
        first, *others = scene.things
        field = "color" if attribute == "colour" else attribute
        return replace(scene, things=(replace(first, **{field: value}), *others))
    return replace(scene, **{attribute: value})


# --- drawing -------------------------------------------------------------------------------------------------------


def render(scene: Scene, pattern_shift: int = 0) -> np.ndarray:
    """The image of a scene: (SIZE, SIZE, 3) float32 RGB in [0, 1].

    `pattern_shift` moves the background pattern left by this many pixels. The world never shifts patterns, but a model
    may, and a shifted pattern counts as the same.
    """
    if scene.style == "sketch":
        return _sketch(scene)
    noise = np.random.default_rng(scene.seed)
    image = _background(scene, noise, pattern_shift)
    for thing in scene.things:
        image = _paint(image, thing, noise)
    if scene.style == "painting":
        image = _painting(image)
    return _corrupt(image, scene.corruption).astype(np.float32)


def object_mask(scene: Scene) -> np.ndarray:
    """Coverage of the first object: (SIZE, SIZE) float32 in [0, 1]."""
    return coverage(scene.things[0])


def _outline(shape: str) -> np.ndarray:
    """Corners of a shape in the unit disk, y down: (N, 2)."""
    if shape == "circle":
        t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        return 0.92 * np.stack([np.cos(t), np.sin(t)], 1)
    if shape == "square":
        return 0.82 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float)
    if shape == "triangle":
        return np.array([(0, -0.95), (0.98, 0.78), (-0.98, 0.78)])
    if shape == "star":
        t = -np.pi / 2 + np.arange(10) * np.pi / 5
        radius = np.where(np.arange(10) % 2 == 0, 1.08, 0.45)
        return np.stack([radius * np.cos(t), radius * np.sin(t) + 0.06], 1)
    if shape == "cross":
        arm, end = 0.32, 0.98
        quarter = np.array([(arm, -end), (arm, -arm), (end, -arm)])
        turns = [np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in np.arange(4) * np.pi / 2]
        return np.concatenate([quarter @ turn.T for turn in turns])
    if shape == "heart":
        t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return np.stack([np.sin(t) ** 3, -(y + 2.5) / 15.5], 1)
    raise ValueError(f"The reference world has no shape {shape!r}. Choose one of {', '.join(SHAPES)}.")


def coverage(thing: Thing, size: int = SIZE, outline_width: float = 0) -> np.ndarray:
    """Coverage of an object, or of its outline of some width, in an image of any size: (size, size) in [0, 1]."""
    turn = np.array([[np.cos(thing.angle), -np.sin(thing.angle)], [np.sin(thing.angle), np.cos(thing.angle)]])
    points = (_outline(thing.shape) @ turn.T * thing.radius + (thing.x, thing.y)) * (_OVERSAMPLING * size / SIZE)
    corners = [tuple(p) for p in points]
    canvas = Image.new("L", (size * _OVERSAMPLING, size * _OVERSAMPLING))
    if outline_width:
        ImageDraw.Draw(canvas).line([*corners, *corners[:2]], 255, round(outline_width * _OVERSAMPLING), joint="curve")
    else:
        ImageDraw.Draw(canvas).polygon(corners, fill=255)
    return np.asarray(canvas.reduce(_OVERSAMPLING), np.float32) / 255


def _grid(size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of an image of any size, in pixels of the world."""
    pixels = np.arange(size) if size == SIZE else (np.arange(size) + 0.5) * SIZE / size - 0.5
    return np.meshgrid(pixels, pixels, indexing="xy")


def _pattern(name: str, size: int = SIZE) -> np.ndarray:
    """Where a background has its second tone: (size, size) in [0, 1]."""
    x, y = _grid(size)
    if name == "striped":
        return (x // _GRID % 2).astype(np.float32)
    if name == "checkered":
        return ((x // (2 * _GRID) + y // (2 * _GRID)) % 2).astype(np.float32)
    if name == "dotted":
        period = 2 * _GRID
        distance = np.hypot(x % period - (period - 1) / 2, y % period - (period - 1) / 2)
        return np.clip(5.0 - distance, 0, 1).astype(np.float32)
    return np.zeros((size, size), np.float32)


def _jittered(color: str, noise: np.random.Generator) -> np.ndarray:
    return np.clip(np.array(PALETTE[color]) + noise.normal(0, 0.02, 3), 0, 1)


def _second_tone(color: np.ndarray) -> np.ndarray:
    return color * 0.66 if color.mean() > 0.35 else color + (1 - color) * 0.35


def _light(noise: np.random.Generator, strength: float) -> np.ndarray:
    """A linear light gradient around 1: (SIZE, SIZE, 1)."""
    x, y = _grid()
    a = noise.uniform(0, 2 * np.pi)
    return (1 + strength * (np.cos(a) * x + np.sin(a) * y - SIZE * (np.cos(a) + np.sin(a)) / 2) / SIZE)[..., None]


def ground(scene: Scene, size: int) -> np.ndarray:
    """The background in even light, in an image of any size: (size, size, 3) in [0, 1]."""
    color, blend = np.array(PALETTE[scene.background]), _pattern(scene.pattern, size)[..., None]
    return color * (1 - blend) + _second_tone(color) * blend


def _background(scene: Scene, noise: np.random.Generator, pattern_shift: int) -> np.ndarray:
    color = _jittered(scene.background, noise)
    blend = np.roll(_pattern(scene.pattern), -pattern_shift, axis=1)[..., None]
    return np.clip((color * (1 - blend) + _second_tone(color) * blend) * _light(noise, 0.08), 0, 1)


def _paint(image: np.ndarray, thing: Thing, noise: np.random.Generator) -> np.ndarray:
    cover = coverage(thing)[..., None]
    return image * (1 - cover) + np.clip(_jittered(thing.color, noise) * _light(noise, 0.15), 0, 1) * cover


def _hatching() -> np.ndarray:
    x, y = _grid()
    return (0.5 + 0.5 * np.sin(2 * np.pi * (x + y + 0.5) / _GRID))[..., None]


def _luminance(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114])


def _painting(image: np.ndarray) -> np.ndarray:
    """Warm, faded colors under diagonal brush strokes."""
    warm = _luminance(image)[..., None] * np.array([1.05, 0.95, 0.75])
    return np.clip((0.7 * image + 0.3 * warm) * (0.78 + 0.3 * _hatching()), 0, 1)


def _sketch(scene: Scene) -> np.ndarray:
    """Gray pencil on paper: outlines and hatching, without color or background."""
    image = np.full((SIZE, SIZE, 3), 0.95)
    for thing in scene.things:
        inside, line = coverage(thing)[..., None], coverage(thing, outline_width=3)[..., None]
        shade = 1 - 0.35 * inside * _hatching()
        image = np.where(inside > 0, 0.95 * shade, image)
        image = image * (1 - line) + 0.25 * line
    return image.astype(np.float32)


def _corrupt(image: np.ndarray, corruption: str | None) -> np.ndarray:
    if corruption == "blurry":
        blurred = Image.fromarray((image * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(3.5))
        return np.asarray(blurred, np.float32) / 255
    if corruption == "pixelated":
        blocks = image.reshape(SIZE // _GRID, _GRID, SIZE // _GRID, _GRID, 3).mean((1, 3))
        return blocks.repeat(_GRID, 0).repeat(_GRID, 1)
    if corruption == "foggy":
        return 0.45 * image + 0.55 * 0.8
    if corruption == "oversaturated":
        gray = _luminance(image)[..., None]
        return np.clip(0.5 + 1.5 * (gray + 1.8 * (image - gray) - 0.5), 0, 1)
    if corruption == "dark":
        return image * 0.4
    return image


# --- captions ------------------------------------------------------------------------------------------------------


def describe(scene: Scene) -> str:
    """The full caption: "a red circle on a striped blue background"."""
    return _caption(scene, [_noun(t, color=True) for t in scene.things], _place_phrase(scene, True, True))


def describe_object(scene: Scene) -> str:
    """A caption that names only the objects: "a red circle"."""
    return _caption(scene, [_noun(t, color=True) for t in scene.things], "")


def describe_background(scene: Scene) -> str:
    """A caption that names only the background: "a striped blue background"."""
    return _place_phrase(scene, True, True).removeprefix(" on ")


def sample_caption(rng: Random, scene: Scene) -> str:
    """A random correct caption of a scene. Often incomplete, and empty 8% of the time."""
    if rng.random() < 0.08:
        return ""
    nouns = [_noun(t, color=rng.random() < 0.92, shape=rng.random() < 0.95) for t in scene.things]
    has_background = scene.style != "sketch" and rng.random() < 0.72
    place = _place_phrase(scene, rng.random() < 0.93, rng.random() < 0.90) if has_background else ""
    if place and rng.random() < 0.08:
        return place.removeprefix(" on ")
    return _caption(scene, nouns, place, rng)


def _noun(thing: Thing, *, color: bool, shape: bool = True) -> str:
    words = ([thing.color] if color and thing.color else []) + [thing.shape if shape else "shape"]
    return f"{_article(words[0])} {' '.join(words)}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _place_phrase(scene: Scene, with_pattern: bool, with_color: bool) -> str:
    words = [scene.pattern] * with_pattern + [scene.background] * with_color
    if scene.style == "sketch" or not words:
        return ""
    return f" on {_article(words[0])} {' '.join(words)} background"


def _caption(scene: Scene, nouns: list[str], place: str, rng: Random | None = None) -> str:
    if scene.style == "sketch":
        nouns = [_noun(replace(t, color=""), color=False) for t in scene.things]
    text = " and ".join(nouns) + place
    trait = scene.corruption
    if scene.style != "picture":
        return f"{text}, {scene.style}" if rng and rng.random() < 0.5 else f"a {scene.style} of {text}"
    if rng is None:
        return f"{text}, {trait}" if trait else text
    if trait:
        return f"{text}, {trait}" if rng.random() < 0.6 else f"{_article(trait)} {trait} picture of {text}"
    if rng.random() < 0.12:
        return f"{text}, {', '.join(rng.sample(QUALITY_WORDS, rng.randint(1, 3)))}"
    return f"a picture of {text}" if rng.random() < 0.15 else text

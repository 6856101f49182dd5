"""Sheets of images: inputs and results, with labels."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .gallery_studio import CELL, cell

GAP, LINE, TALL_LINE = 12, 20, 28
"""In pixels: between images, and the heights of a line of a label, alone and in several."""
LABELS = 82
"""Width of the labels beside rows."""

Pair = tuple[Image.Image | None, Image.Image]
"""An input, if there is one, and a result."""


def columns(pairs: Sequence[Pair], labels: Sequence[str], side: int = CELL) -> Image.Image:
    """Inputs above, results below, labels underneath."""
    canvas = Image.new("RGB", (len(pairs) * (side + GAP) - GAP, 2 * side + GAP + TALL_LINE), "white")
    for i, (pair, label) in enumerate(zip(pairs, labels, strict=True)):
        for row, image in enumerate(filter(None, pair)):
            canvas.paste(cell(image, side), (i * (side + GAP), row * (side + GAP)))
        _write(canvas, label, (i * (side + GAP) + side // 2, 2 * side + GAP + TALL_LINE // 2))
    return canvas


def rows(pairs: Sequence[Pair], labels: Sequence[str], heads: tuple[str, str], side: int = CELL) -> Image.Image:
    """Inputs on the left, results on the right, below their headings; a label before each row."""
    canvas = Image.new("RGB", (LABELS + 2 * (side + GAP), TALL_LINE + len(pairs) * (side + GAP) - GAP), "white")
    for column, head in enumerate(heads):
        _write(canvas, head, (LABELS + GAP + column * (side + GAP) + side // 2, TALL_LINE // 2))
    for row, (pair, label) in enumerate(zip(pairs, labels, strict=True)):
        y = TALL_LINE + row * (side + GAP)
        for column, image in enumerate(filter(None, pair)):
            canvas.paste(cell(image, side), (LABELS + GAP + column * (side + GAP), y))
        lines = label.split("\n")
        for i, line in enumerate(lines):
            middle = y + side // 2 + round(LINE * (i - (len(lines) - 1) / 2))
            _write(canvas, line, (LABELS, middle), "rm")
    return canvas


def beside(images: Sequence[Image.Image], labels: Sequence[str] = (), side: int = CELL, gap: int = GAP) -> Image.Image:
    """Images beside each other, labels underneath."""
    canvas = Image.new("RGB", (len(images) * (side + gap) - gap, side + (TALL_LINE if labels else 0)), "white")
    for i, image in enumerate(images):
        canvas.paste(cell(image, side), (i * (side + gap), 0))
    for i, label in enumerate(labels):
        _write(canvas, label, (i * (side + gap) + side // 2, side + TALL_LINE // 2))
    return canvas


def stacked(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one width below each other."""
    canvas = Image.new("RGB", (images[0].width, sum(image.height for image in images)), "white")
    y = 0
    for image in images:
        canvas.paste(image, (0, y))
        y += image.height
    return canvas


def part(image: Image.Image, box: Sequence[float]) -> Image.Image:
    """A part of an image: left, top, right and bottom as fractions of its width."""
    left, top, right, bottom = (round(each * image.width) for each in box)
    return image.crop((left, top, right, bottom))


def halves(pair: Pair, side: int) -> Image.Image:
    """The left half of the input, if there is one, and the right half of the result."""
    before, after = pair
    canvas = cell(after, side)
    if before:
        canvas.paste(cell(before, side).crop((0, 0, side // 2, side)), (0, 0))
    return canvas


def quarters(image: Image.Image) -> list[Image.Image]:
    """The four images of a square, from left to right and from top to bottom."""
    x, y = image.width // 2, image.height // 2
    return [image.crop((left, top, left + x, top + y)) for top in (0, y) for left in (0, x)]


def _write(canvas: Image.Image, text: str, place: tuple[int, int], anchor: str = "mm") -> None:
    ImageDraw.Draw(canvas).text(place, text, fill="black", font=ImageFont.load_default(14), anchor=anchor)

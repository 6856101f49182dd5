"""Sheets of images with labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .images import save

COLUMNS = 12
"""Images of a row."""
SPACE = 8
"""Pixels around labels."""


def shown(image: Tensor) -> Image.Image:
    """An image (3, H, W) in [0, 1]."""
    return Image.fromarray((image.clamp(0, 1).movedim(0, -1) * 255).round().byte().numpy())


def sheet(
    rows: Iterable[Iterable[Tensor]],
    path: Path,
    *,
    before: Sequence[str] = (),
    above: Sequence[str] = (),
    font_size: float = 15,
    reduced: int = 1,
) -> None:
    """Write rows of images (3, H, W), all of one size, with a label before each row or above each column.

    A label above breaks its line at commas. `reduced` divides the size of the whole sheet.
    """
    cells, font = [[shown(image) for image in row] for row in rows], ImageFont.load_default(font_size)
    width, height = cells[0][0].size
    above = [label.replace(", ", ",\n") for label in above]
    left = max((round(font.getlength(label)) + 2 * SPACE for label in before), default=0)
    lines = max((label.count("\n") + 1 for label in above), default=0)
    top = round(lines * 1.2 * font_size) + 2 * SPACE if above else 0
    canvas = Image.new("RGB", (left + width * max(map(len, cells)), top + height * len(cells)), "white")
    draw = ImageDraw.Draw(canvas)
    for row, label in enumerate(before):
        draw.text((left - SPACE, top + (row + 0.5) * height), label, "black", font, anchor="rm")
    for column, label in enumerate(above):
        draw.text((left + (column + 0.5) * width, top / 2), label, "black", font, "mm", align="center")
    for row, images in enumerate(cells):
        for column, image in enumerate(images):
            canvas.paste(image, (left + column * width, top + row * height))
    save(canvas.reduce(reduced) if reduced > 1 else canvas, path)

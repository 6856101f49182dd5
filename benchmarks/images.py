"""PNG files that benchmarks write, kept small."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

INVISIBLE = 3.0
"""The largest root mean square error, of 255, after a blur of 3 x 3 pixels, at which nobody sees a palette."""


def save(image: Image.Image, path: Path) -> None:
    """Write a PNG, with a palette of 256 colors if that makes no visible difference."""
    image = image.convert("RGB")
    plain = image.quantize(256, kmeans=2)  # best for plots
    dithered = image.quantize(palette=plain, dither=Image.Dither.FLOYDSTEINBERG)  # best for smooth shades
    error, _, reduced = min((_error(each, image), i, each) for i, each in enumerate((plain, dithered)))
    path.parent.mkdir(parents=True, exist_ok=True)
    (reduced if error <= INVISIBLE else image).save(path, optimize=True)


def _error(reduced: Image.Image, image: Image.Image) -> float:
    return float(np.sqrt(np.square(_blurred(reduced) - _blurred(image)).mean()))


def _blurred(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").filter(ImageFilter.BoxBlur(1)), np.float32)


def save_figure(figure: Any, path: Path) -> None:
    """Write a Matplotlib figure."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=110)
    save(Image.open(content), path)

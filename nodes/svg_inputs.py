"""What SVG Optimizer makes of its inputs: documents, the canvas they are drawn on, pictures of its size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..guidance.measurement import Measurement
from ..svg.document import Document
from ..svg.jobs import SHOWN
from ..svg.markup.parser import SVGError, parse
from . import host
from .svg_methods import Size

log = logging.getLogger("dreamsampler")

MODULE = 8
"""What sides are multiples of where no VAE asks for more."""


def documents(value: Any) -> list[Document]:
    """The drawings of an SVG, each with something to draw."""
    return [_document(n, file) for n, file in enumerate(host.svg_files("svg", value), start=1)]


def _document(number: int, file: bytes) -> Document:
    try:
        parsed = parse(file)
    except SVGError as error:
        raise ValueError(f"Drawing {number} on input 'svg' cannot be used. {error}") from error
    for warning in parsed.warnings:
        log.warning("SVG Optimizer: drawing %d: %s", number, warning)
    if next(parsed.document.shapes(), None) is None:
        raise ValueError(
            f"Drawing {number} on input 'svg' has nothing that can be drawn, so there is nothing to optimise: "
            "convert its text and pictures to paths, or choose another file."
        )
    return parsed.document


def count(documents: Sequence[Any] | None, pictures: Tensor | None, measurement: Measurement | None) -> int:
    """How many drawings are made: as many as the inputs hold, each one or that many."""
    found = {
        "svg": 1 if documents is None else len(documents),
        "image": 1 if pictures is None else len(pictures),
        "measurement": 1 if measurement is None else len(measurement.y),
    }
    most = max(found.values())
    for name, number in found.items():
        if number not in (1, most):
            raise ValueError(
                f"Input '{name}' holds {number} pictures and another input {most}: connect one, or one for each."
            )
    return most


def size(
    longest: int,
    factor: int,
    documents: Sequence[Document] | None,
    pictures: Tensor | None,
    measurement: Measurement | None,
) -> Size:
    """Height and width of what the model sees, in pixels: multiples of `factor`.

    A measurement says it. Otherwise the longer side is `longest`, in the proportions of the first drawing or picture.
    """
    if measurement is not None:
        _, height, width = measurement.operator.picture_shape
        if height % factor or width % factor:
            raise ValueError(
                f"The measurement is of pictures of {width}x{height} pixels, and the VAE needs multiples of {factor}: "
                "crop or resize the picture before Measurement."
            )
        return height, width
    height, width = _proportions(documents, pictures)
    scale = longest / max(height, width)
    return max(round(height * scale / factor), 1) * factor, max(round(width * scale / factor), 1) * factor


def _proportions(documents: Sequence[Document] | None, pictures: Tensor | None) -> tuple[float, float]:
    if documents:
        return documents[0].view_box.height, documents[0].view_box.width
    return (1.0, 1.0) if pictures is None else (float(pictures.shape[-2]), float(pictures.shape[-1]))


def around(shown: Size) -> Size:
    """The canvas of which views of the size `shown` are taken."""
    return round(shown[0] / SHOWN), round(shown[1] / SHOWN)


def resized(pictures: Tensor, canvas: Size, count: int) -> Tensor:
    """Pictures (1 or B, 3, H, W) as `count` ones of the canvas's size, in [0, 1]."""
    fitted = F.interpolate(pictures, canvas, mode="bicubic", antialias=True).clamp(0, 1)
    return fitted.expand(count, -1, -1, -1)

"""What SVG Optimizer makes of its inputs: documents, the canvas they are drawn on, pictures of its size."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..drawings.styles import Canvas
from ..drawings.tasks import SHOWN
from ..guidance.restoration.measurement import Measurement
from ..svg.document import Document
from ..svg.markup.parser import SVGError, parse
from . import checks
from .sockets import ObjectiveSocket

log = logging.getLogger("dreamsampler")

MODULE = 8
"""What sides are multiples of where no VAE asks for more."""


def documents(files: Iterable[bytes]) -> list[Document]:
    """The drawings in an SVG's files, each with something to draw."""
    return [_document(n, file) for n, file in enumerate(files, start=1)]


def _document(number: int, file: bytes) -> Document:
    try:
        parsed = parse(file)
    except SVGError as error:
        raise ValueError(f"Drawing {number} on input 'svg' cannot be used. {error}") from error
    for warning in parsed.warnings:
        log.warning("Drawing %d on input 'svg': %s", number, warning)
    return parsed.document


def pictures(image: Tensor) -> Tensor:
    """An IMAGE as (B, 3, H, W) in [0, 1], with something in it."""
    checks.check_not_empty(image)
    return checks.checked_image(image).movedim(-1, 1).clamp(0, 1)


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
                f"Input '{name}' holds {number} and another input {most}: connect one to '{name}', or one for each "
                "drawing that is made."
            )
    return most


def size(
    longest: int,
    factor: int,
    documents: Sequence[Document] | None,
    pictures: Tensor | None,
    measurement: Measurement | None,
) -> Canvas:
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


def around(shown: Canvas) -> Canvas:
    """The canvas of which views of the size `shown` are taken, in the very same proportions."""
    common = math.gcd(*shown)
    larger = round(common / SHOWN)
    return shown[0] // common * larger, shown[1] // common * larger


def resized(pictures: Tensor, canvas: Canvas, count: int) -> Tensor:
    """Pictures (1 or B, 3, H, W) as `count` ones of the canvas's size, in [0, 1]."""
    fitted = F.interpolate(pictures, canvas, mode="bicubic", antialias=True).clamp(0, 1)
    return fitted.expand(count, -1, -1, -1)


def reference(model: Any, chosen: ObjectiveSocket, samples: Tensor, shown: Canvas) -> Tensor | None:
    """The latent that an objective compares drawings with, seen as `samples`; None for the drawings as they begin."""
    if chosen.reference is None or "reference" not in chosen.method.needs:
        return None
    name = chosen.reference_input
    found = checks.checked_latent(model, chosen.reference, needs_content=False, name=name)
    if not found.any():
        return None
    if found.shape[-2:] != samples.shape[-2:]:
        (rows, columns), (height, width) = found.shape[-2:], samples.shape[-2:]
        raise ValueError(
            f"{name} is of {columns}x{rows} cells, and the model sees the drawings as {shown[1]}x{shown[0]} pixels, "
            f"which are {width}x{height} cells: encode a picture of that size, or connect an empty latent to compare "
            "with the drawings as they begin."
        )
    if len(found) not in (1, len(samples)):
        raise ValueError(
            f"{name} holds {len(found)} pictures for {len(samples)} drawings: connect one, or one for each drawing."
        )
    return found


def views(chosen: ObjectiveSocket, measurement: Measurement | None) -> None:
    """Views of parts of a drawing, which only suit what does not compare the whole of it."""
    if measurement is None and "reference" not in chosen.method.needs:
        return
    with_what = "its source" if measurement is None else "the measurement"
    raise ValueError(
        f"views is on, so that the model sees random parts of the drawing, and this job compares the whole of it with "
        f"{with_what}: set views to off, or to the method's own."
    )


def back_projected(measurement: Measurement, count: int) -> Tensor:
    """What a measurement saw, as `count` pictures (count, 3, H, W) in [0, 1] to look at."""
    pictures = measurement.operator.back_projected(measurement.y)
    return ((pictures + 1) / 2).clamp(0, 1).expand(count, -1, -1, -1)

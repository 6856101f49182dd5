"""Inputs of SVG Optimizer: parsed documents, canvas sizes, images at the size of the canvas."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..drawings.initialization import Canvas
from ..drawings.selection import NothingSelected, selection
from ..drawings.tasks import VIEW_FRACTION
from ..guidance.restoration.measurement import Measurement
from ..svg.document import Document
from ..svg.markup.parser import SVGError, parse
from ..svg.raster import rasterizers
from ..svg.raster.flattening import OversizedDrawing
from ..svg.raster.scene import scene
from . import checks, host
from .runs.drawing import Moving
from .sockets import ObjectiveSocket

log = logging.getLogger("dreamsampler")

DEFAULT_CELL = 8
"""Sides are multiples of this many pixels if there is no VAE to say otherwise."""


def parse_documents(files: Iterable[bytes]) -> list[Document]:
    """The documents of SVG files. Raises ValueError for a file that cannot be parsed or has nothing to draw."""
    return [_parse_document(number, file) for number, file in enumerate(files, start=1)]


def _parse_document(number: int, file: bytes) -> Document:
    try:
        parsed = parse(file)
    except SVGError as error:
        raise ValueError(f"Drawing {number} on input 'svg' cannot be used. {error}") from error
    for warning in parsed.warnings:
        log.warning("Drawing %d on input 'svg': %s", number, warning)
    return parsed.document


def check_supported(renderer: str, documents: Iterable[Document], canvas: Canvas) -> None:
    """Raise ValueError for a document that a renderer cannot draw."""
    for number, document in enumerate(documents, start=1):
        try:
            rasterizers.check_supported(renderer, [scene(document, *canvas)])
        except rasterizers.UnsupportedDrawing as error:
            raise ValueError(
                f"Drawing {number} on input 'svg' cannot be drawn by the renderer '{renderer}'. {error}"
            ) from error


@contextmanager
def drawn_if_possible(advice: str) -> Iterator[None]:
    """Raise ValueError, ending with `advice`, if drawings are too large or memory runs out."""
    try:
        yield
    except OversizedDrawing as error:
        raise ValueError(f"{error} {advice}") from error
    except RuntimeError as error:
        if not host.is_cpu_oom(error):
            raise
        raise ValueError(f"There is not enough memory to draw. {advice}") from error


def images_of(image: Tensor) -> Tensor:
    """An IMAGE as (B, 3, H, W) in [0, 1], on white if it has alpha."""
    colors, alphas = checks.color_channels(image).movedim(-1, 1).clamp(0, 1), alphas_of(image)
    return colors if alphas is None else colors * alphas + 1 - alphas


def alphas_of(image: Tensor) -> Tensor | None:
    """The alpha (B, 1, H, W) of an IMAGE in [0, 1], or None if it has none or is opaque."""
    if image.shape[-1] not in (2, 4):
        return None
    alphas = image[..., -1:].float().movedim(-1, 1).clamp(0, 1)
    return alphas if bool((alphas < 1).any()) else None


def moving(
    number: int, document: Document, optimized: frozenset[str], names: Sequence[str], mask: Tensor | None
) -> Moving:
    """What changes in drawing `number` on input svg. Raises ValueError if nothing does."""
    try:
        return Moving(optimized, selection(document, names, mask))
    except NothingSelected as error:
        raise ValueError(f"Drawing {number} on input 'svg' has nothing that may change. {error}") from error


def checked_count(documents: Sequence[Any] | None, images: Tensor | None, measurement: Measurement | None) -> int:
    """The number of drawings: the size of the largest input. Raises ValueError for one that is neither 1 nor that."""
    sizes = {
        "svg": 1 if documents is None else len(documents),
        "image": 1 if images is None else len(images),
        "measurement": 1 if measurement is None else len(measurement.y),
    }
    count = max(sizes.values())
    for name, size in sizes.items():
        if size not in (1, count):
            raise ValueError(
                f"Input '{name}' holds {size} items and another input {count}: connect one to '{name}', or one for "
                f"each of the {count} drawings."
            )
    return count


def checked_view_size(
    longest: int,
    factor: int,
    documents: Sequence[Document] | None,
    images: Tensor | None,
    measurement: Measurement | None,
) -> Canvas:
    """Height and width of the image that the model sees, in pixels, both multiples of `factor`.

    A measurement sets them. Otherwise the longer side is about `longest`, at the aspect ratio of the first drawing or
    image. Raises ValueError for a measurement of another size.
    """
    if measurement is not None:
        _, height, width = measurement.operator.image_shape
        if height % factor or width % factor:
            raise ValueError(
                f"The measurement is of images of {width}x{height} pixels, but the VAE needs multiples of {factor}: "
                "crop or resize the image before Measurement."
            )
        return height, width
    height, width = _proportions(documents, images)
    scale = longest / max(height, width)
    return max(round(height * scale / factor), 1) * factor, max(round(width * scale / factor), 1) * factor


def _proportions(documents: Sequence[Document] | None, images: Tensor | None) -> tuple[float, float]:
    """Height and width, in any unit."""
    if documents:
        return documents[0].view_box.height, documents[0].view_box.width
    return (1.0, 1.0) if images is None else (float(images.shape[-2]), float(images.shape[-1]))


def canvas_around(view: Canvas) -> Canvas:
    """The canvas that random views of the size `view` are cropped from, at exactly the same aspect ratio."""
    common = math.gcd(*view)
    larger = round(common / VIEW_FRACTION)
    return view[0] // common * larger, view[1] // common * larger


def resized_images(images: Tensor, canvas: Canvas, count: int, *, sharp: bool = True) -> Tensor:
    """Images (1 or count, C, H, W) at the size of a canvas, in [0, 1]: (count, C, *canvas).

    Sharp ones overshoot beside edges, which would become regions of their own.
    """
    mode = "bicubic" if sharp else "bilinear"
    return F.interpolate(images, canvas, mode=mode, antialias=True).clamp(0, 1).expand(count, -1, -1, -1)


def checked_reference(model: Any, chosen: ObjectiveSocket, samples: Tensor, view: Canvas) -> Tensor | None:
    """The latent to compare drawings with, of the size of `samples`; None for the initial drawings themselves."""
    if chosen.reference is None or "reference" not in chosen.method.needs:
        return None
    name = chosen.reference_input
    latent = checks.checked_latent(model, chosen.reference, needs_content=False, name=name)
    if not latent.any():
        return None
    if latent.shape[-2:] != samples.shape[-2:]:
        (rows, columns), (height, width) = latent.shape[-2:], samples.shape[-2:]
        raise ValueError(
            f"{name} is of {columns * view[1] // width}x{rows * view[0] // height} pixels, but the model sees the "
            f"drawings at {view[1]}x{view[0]}: encode an image of that size, or connect an empty latent to compare "
            "with the initial drawings."
        )
    if len(latent) not in (1, len(samples)):
        raise ValueError(
            f"{name} holds {len(latent)} images for {len(samples)} drawings: connect one, or one for each drawing."
        )
    return latent


def check_views(chosen: ObjectiveSocket, measurement: Measurement | None) -> None:
    """Random views do not work where the whole drawing is compared with a source or a measurement."""
    if measurement is None and "reference" not in chosen.method.needs:
        return
    reference = "its source" if measurement is None else "the measurement"
    raise ValueError(
        f"views is on, which shows the model random crops of the drawing, but this task compares the whole drawing "
        f"with {reference}: set views to off or to method's own."
    )


def back_projected_images(measurement: Measurement, count: int) -> Tensor:
    """The back-projection of a measurement as images (count, 3, H, W) in [0, 1]."""
    images = measurement.operator.back_projected(measurement.y)
    return ((images + 1) / 2).clamp(0, 1).expand(count, -1, -1, -1)

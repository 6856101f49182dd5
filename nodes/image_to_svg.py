"""Image to SVG: trace images with vtracer, or without it by regions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from ..drawings import regions
from ..drawings.tracing import ENLARGED
from ..svg.markup.writer import write
from ..svg.resizing import resized
from . import checks, host, widgets

MODES = {"colour": "color", "black and white": "binary"}
SHAPES = {"spline": "spline", "polygon": "polygon", "pixel": "none"}
STACKING = ("stacked", "cutout")
Trace = Callable[[Tensor], str]
"""The text of an SVG file from an image (H, W, 3 or 4) in [0, 1]."""
MOST_REGIONS = 8192
"""Shapes of one image traced without vtracer."""
BORDER = 1.02
"""The `scale` of a trace by regions that just keeps a square of 4 x 4 pixels, for a difference of colors of 1; it grows
with the square of that difference, and with the size to which an image is enlarged."""
SMALL = 256
"""Images whose longer side is below this, in pixels, are enlarged to find their regions."""


class ImageToSVG(io.ComfyNode):
    """vtracer as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSImageToSVG",
            display_name="Image to SVG",
            category="DreamSampler",
            description=(
                "Traces images into SVGs: areas of similar color become shapes. Works best on flat art, logos and line "
                "art. Uses the package vtracer, which has more settings ('pip install \"vtracer<1\"'), or without it "
                "a tracer of its own."
            ),
            search_aliases="vectorize, vectorise, trace, image trace, vtracer, raster to vector, png to svg",
            advanced="corner_threshold length_threshold splice_threshold path_precision",
            inputs=[
                io.Image.Input("image", tooltip="One or more images; each becomes one SVG."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="colour",
                    tooltip="colour: shapes of all colors. black and white: black shapes where the image is darker "
                    "than middle gray, nothing elsewhere; for line art and stencils, and much faster.",
                ),
                io.Combo.Input(
                    "shapes",
                    options=list(SHAPES),
                    default="spline",
                    tooltip="Outlines: smooth curves (spline), straight lines (polygon) or pixel edges (pixel).",
                ),
                io.Combo.Input(
                    "stacking",
                    options=list(STACKING),
                    default="stacked",
                    tooltip="colour: stacked lays small shapes over large ones, without gaps. cutout cuts holes so "
                    "that nothing overlaps; for plotters and cutters.",
                ),
                io.Int.Input(
                    "filter_speckle",
                    default=4,
                    min=0,
                    max=16,
                    tooltip="Drops patches smaller than a square of this many pixels per side. Raise it for noisy "
                    "images, lower it for fine detail.",
                ),
                io.Int.Input(
                    "color_precision",
                    default=6,
                    min=1,
                    max=8,
                    tooltip="colour: significant bits per color channel. Fewer bits give fewer, larger shapes.",
                ),
                io.Int.Input(
                    "layer_difference",
                    default=16,
                    min=0,
                    max=255,
                    tooltip="colour: color distance between neighboring layers, out of 255. Higher gives fewer "
                    "layers, lower smoother gradients.",
                ),
                io.Int.Input(
                    "corner_threshold",
                    default=60,
                    min=0,
                    max=180,
                    tooltip="spline: a bend of at least this many degrees becomes a corner. Higher gives rounder "
                    "shapes.",
                ),
                io.Float.Input(
                    "length_threshold",
                    default=4.0,
                    min=3.5,
                    max=10.0,
                    step=0.1,
                    tooltip="spline: outlines are refined until segments are shorter than this, in pixels. Higher is "
                    "coarser.",
                ),
                io.Int.Input(
                    "splice_threshold",
                    default=45,
                    min=0,
                    max=180,
                    tooltip="spline: a curve that has turned by this many degrees is split. Higher gives fewer, less "
                    "accurate curves.",
                ),
                io.Int.Input(
                    "path_precision",
                    default=2,
                    min=0,
                    max=8,
                    tooltip="Decimal places of path coordinates (pixels). More than 2 makes no visible difference.",
                ),
            ],
            outputs=[
                io.SVG.Output(
                    display_name="svg", tooltip="One SVG per image, for SVG to Image, Save SVG and other SVG nodes."
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mode: str, shapes: str, stacking: str, **settings: float) -> io.NodeOutput:
        """`settings` are the inputs that vtracer has under the same names."""
        trace, note = _by_vtracer(mode, shapes, stacking, settings), ""
        if trace is None:
            trace, note = _by_regions(mode, shapes, stacking, settings)
        host.show_on_node(note)
        images = enumerate(host.with_progress(_images_of(image)), start=1)
        files = [_checked_svg(number, trace(each)) for number, each in images]
        return io.NodeOutput(host.svg_value(files), ui={"text": [note]} if note else {})


def _by_vtracer(mode: str, shapes: str, stacking: str, settings: dict[str, float]) -> Trace | None:
    """Tracing by vtracer, or None where it is not installed."""
    try:
        from vtracer import convert_raw_image_to_svg  # optional; versions from 1 on have another interface
    except ImportError:
        return None
    trace = partial(
        convert_raw_image_to_svg,
        img_format="png",
        colormode=MODES[mode],
        mode=SHAPES[shapes],
        hierarchical=stacking,
        **settings,
    )
    return lambda image: trace(_encode_png(image, mode))


def _by_regions(mode: str, shapes: str, stacking: str, settings: dict[str, float]) -> tuple[Trace, str]:
    """Tracing by the regions of SVG Optimizer, and a sentence that says so."""
    if shapes != "spline":
        raise RuntimeError(
            f"Outlines of the kind '{shapes}' require the package vtracer: set shapes to spline, or run 'pip install "
            '"vtracer<1"\' with the Python that runs ComfyUI and restart ComfyUI.'
        )

    def trace(image: Tensor) -> str:
        color, alpha = image[..., :3].movedim(-1, 0), image[..., 3] if image.shape[-1] == 4 else None
        if mode != "colour":
            gray = torch.from_numpy(_grayscale(image)).float() / 255
            color, alpha = torch.zeros_like(color), (gray < 0.5).float()
        height, width = color.shape[1:]
        times = ENLARGED if max(height, width) < SMALL else 1
        document = regions.traced(
            _enlarged(color, times),
            MOST_REGIONS,
            alpha=None if alpha is None else _enlarged(alpha[None], times)[0],
            scale=BORDER * times * (max(settings["layer_difference"], 1) / 255) ** 2,
            smallest=max(int(settings["filter_speckle"]) ** 2, 1) * times**2,
            overlapping=stacking == "stacked",
        )
        return write(resized(document, width, height), precision=int(settings["path_precision"]))

    return trace, (
        "Traced without the package vtracer: color_precision, corner_threshold, length_threshold and "
        "splice_threshold have no effect. For these run 'pip install \"vtracer<1\"'."
    )


def _enlarged(image: Tensor, times: int) -> Tensor:
    """An image (C, H, W) as (C, times H, times W)."""
    return interpolate(image[None], scale_factor=times, mode="bilinear")[0]


def _images_of(image: Tensor) -> list[Tensor]:
    """The images (H, W, 3 or 4) of an IMAGE, in [0, 1]."""
    images = image if image.shape[-1] == 4 else checks.color_channels(image)
    return [*images.float().cpu().clamp(0, 1)]


def _encode_png(image: Tensor, mode: str) -> bytes:
    """An image (H, W, 3 or 4) as a PNG file, in grayscale for black and white: vtracer reads only the red channel."""
    pixels = (image * 255).round().byte().numpy() if mode == "colour" else _grayscale(image)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "png", compress_level=1)
    return stream.getvalue()


def _grayscale(image: Tensor) -> np.ndarray:
    """The brightness (H, W) of an image (H, W, 3 or 4) on white, 0 to 255."""
    alpha = image[..., 3:] if image.shape[-1] == 4 else 1.0
    on_white = image[..., :3] * alpha + 1 - alpha
    return np.array(Image.fromarray((on_white * 255).round().byte().numpy()).convert("L"))


def _checked_svg(number: int, text: str) -> bytes:
    """The SVG file of image `number`. Raises ValueError if it is empty."""
    if "<path" not in text:
        raise ValueError(
            f"Tracing image {number} found no shapes: lower filter_speckle, or set mode to colour, because black and "
            "white drops everything lighter than middle gray."
        )
    return text.encode()

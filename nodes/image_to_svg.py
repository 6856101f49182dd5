"""Image to SVG: trace images with vtracer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from . import checks, host, widgets

MODES = {"colour": "color", "black and white": "binary"}
SHAPES = {"spline": "spline", "polygon": "polygon", "pixel": "none"}
STACKING = ("stacked", "cutout")


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
                "art. Requires the package vtracer: run 'pip install \"vtracer<1\"'."
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
        trace = partial(
            _import_vtracer(),
            img_format="png",
            colormode=MODES[mode],
            mode=SHAPES[shapes],
            hierarchical=stacking,
            **settings,
        )
        images = enumerate(host.with_progress(_images_of(image)), start=1)
        return io.NodeOutput(host.svg_value([_checked_svg(n, trace(_encode_png(each, mode))) for n, each in images]))


def _import_vtracer() -> Callable[..., str]:
    """vtracer's function from the bytes of an image file to the text of an SVG file."""
    try:
        from vtracer import convert_raw_image_to_svg  # optional; versions from 1 on have another interface
    except ImportError as error:
        raise RuntimeError(
            "Image to SVG requires the package vtracer: run 'pip install \"vtracer<1\"' with the Python that runs "
            "ComfyUI, then restart ComfyUI."
        ) from error
    return convert_raw_image_to_svg


def _images_of(image: Tensor) -> list[Tensor]:
    """The images (H, W, 3 or 4) of an IMAGE, in [0, 1]."""
    images = image if image.shape[-1] == 4 else checks.color_channels(image)
    return [*images.float().cpu().clamp(0, 1)]


def _encode_png(image: Tensor, mode: str) -> bytes:
    """An image (H, W, 3 or 4) as a PNG file, in grayscale for black and white: vtracer reads only the red channel."""
    if mode != "colour":
        alpha = image[..., 3:] if image.shape[-1] == 4 else 1.0
        image = image[..., :3] * alpha + 1 - alpha
    file = Image.fromarray((image * 255).round().byte().numpy())
    stream = BytesIO()
    (file if mode == "colour" else file.convert("L")).save(stream, "png", compress_level=1)
    return stream.getvalue()


def _checked_svg(number: int, text: str) -> bytes:
    """The SVG file of image `number`. Raises ValueError if it is empty."""
    if "<path" not in text:
        raise ValueError(
            f"Tracing image {number} found no shapes: lower filter_speckle, or set mode to colour, because black and "
            "white drops everything lighter than middle gray."
        )
    return text.encode()

"""Image to SVG: pictures as vector drawings, by the tracer vtracer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from io import BytesIO

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from . import checks, host

MODES = {"colour": "color", "black and white": "binary"}
SHAPES = {"spline": "spline", "polygon": "polygon", "pixel": "none"}
STACKING = ("stacked", "cutout")


class ImageToSVG(io.ComfyNode):
    """vtracer as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSImageToSVG",
            display_name="Image to SVG",
            category="DreamSampler",
            description=(
                "Traces pictures: areas of like colour become shapes. Best for flat art, logos and line art. Needs the "
                "package vtracer, which 'pip install \"vtracer<1\"' installs."
            ),
            inputs=[
                io.Image.Input("image", tooltip="Pictures. Each becomes a drawing."),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="colour",
                    tooltip="colour: shapes of all colours. black and white: black shapes where the picture is darker "
                    "than middle grey, nothing elsewhere; for line art and stencils, and much faster.",
                ),
                io.Combo.Input(
                    "shapes",
                    options=list(SHAPES),
                    default="spline",
                    tooltip="What outlines are made of: smooth curves (spline), straight lines (polygon), or the edges "
                    "of the pixels as they are (pixel).",
                ),
                io.Combo.Input(
                    "stacking",
                    options=list(STACKING),
                    default="stacked",
                    tooltip="colour: stacked lays smaller shapes on larger ones, without gaps. cutout cuts holes for "
                    "them, so that nothing overlaps; for plotters and cutters.",
                ),
                io.Int.Input(
                    "filter_speckle",
                    default=4,
                    min=0,
                    max=16,
                    tooltip="Patches smaller than a square of this many pixels per side are left out. Raise it for "
                    "noisy pictures, lower it for fine detail.",
                ),
                io.Int.Input(
                    "color_precision",
                    default=6,
                    min=1,
                    max=8,
                    tooltip="colour: bits of each channel that tell colours apart. Fewer make larger, fewer shapes.",
                ),
                io.Int.Input(
                    "layer_difference",
                    default=16,
                    min=0,
                    max=255,
                    tooltip="colour: how far colours of neighbouring layers lie apart, of 255. Higher makes fewer "
                    "layers of a smooth transition, lower smoother ones.",
                ),
                io.Int.Input(
                    "corner_threshold",
                    default=60,
                    min=0,
                    max=180,
                    tooltip="spline: a bend of at least this many degrees becomes a corner. Higher is rounder.",
                ),
                io.Float.Input(
                    "length_threshold",
                    default=4.0,
                    min=3.5,
                    max=10.0,
                    step=0.1,
                    tooltip="spline: outlines are refined until their parts are shorter than this, in pixels. Higher "
                    "is coarser.",
                ),
                io.Int.Input(
                    "splice_threshold",
                    default=45,
                    min=0,
                    max=180,
                    tooltip="spline: a curve that has turned by this many degrees ends, and the next begins. Higher "
                    "makes fewer, less exact curves.",
                ),
                io.Int.Input(
                    "path_precision",
                    default=2,
                    min=0,
                    max=8,
                    tooltip="Decimals of the coordinates, which are in pixels. 2 cannot be told from more.",
                ),
            ],
            outputs=[
                io.SVG.Output(
                    display_name="svg", tooltip="One drawing for each picture, for SVG to Image, Save SVG and others."
                ),
            ],
        )

    @classmethod
    def execute(cls, image: Tensor, mode: str, shapes: str, stacking: str, **settings: float) -> io.NodeOutput:
        """`settings` are the inputs that vtracer knows by the same names."""
        trace = partial(
            _tracer(),
            img_format="png",
            colormode=MODES[mode],
            mode=SHAPES[shapes],
            hierarchical=stacking,
            **settings,
        )
        pictures = enumerate(host.with_progress(_pictures(image)), start=1)
        return io.NodeOutput(host.svg_value([_drawing(n, trace(_png(picture, mode))) for n, picture in pictures]))


def _tracer() -> Callable[..., str]:
    """vtracer's function from the bytes of a picture file to the text of an SVG file."""
    try:
        from vtracer import convert_raw_image_to_svg  # optional; versions from 1 on have another interface
    except ImportError as error:
        raise RuntimeError(
            "Image to SVG needs the package vtracer: run 'pip install \"vtracer<1\"' with the Python that runs "
            "ComfyUI, then restart ComfyUI."
        ) from error
    return convert_raw_image_to_svg


def _pictures(image: Tensor) -> list[Tensor]:
    """An IMAGE's pictures (H, W, 3 or 4) in [0, 1], with something in them."""
    checks.check_not_empty(image)
    whole = image if image.shape[-1] == 4 else checks.checked_image(image)
    checks.check_finite("The image", whole)
    return [*whole.float().cpu().clamp(0, 1)]


def _png(picture: Tensor, mode: str) -> bytes:
    """A picture (H, W, 3 or 4) as a file; for black and white in grey, of which vtracer would see the red alone."""
    if mode != "colour":
        alpha = picture[..., 3:] if picture.shape[-1] == 4 else 1.0
        picture = picture[..., :3] * alpha + 1 - alpha
    file = Image.fromarray((picture * 255).round().byte().numpy())
    stream = BytesIO()
    (file if mode == "colour" else file.convert("L")).save(stream, "png", compress_level=1)
    return stream.getvalue()


def _drawing(number: int, text: str) -> bytes:
    """The text of a drawing as a file, if there is anything in it."""
    if "<path" not in text:
        raise ValueError(
            f"Nothing in picture {number} was traced: lower filter_speckle, or set mode to colour, because black and "
            "white leaves out all that is lighter than middle grey."
        )
    return text.encode()

"""SVG to Image: render SVGs."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..svg.document import Document
from ..svg.markup.lengths import read_length
from ..svg.raster.rasterizer import rasterize
from ..svg.raster.scene import scene
from . import host, svg_inputs, widgets

BACKGROUNDS = {"white": 1.0, "black": 0.0, "transparent": None}
LARGEST_SIDE = 16384
"""In pixels, the same limit as in the host's own nodes."""
SMALLER = "Set width and height lower, or connect fewer or simpler SVGs."
BYTES_OF_DRAWING, BYTES_OF_IMAGE = 60, 32
"""Per pixel: for the drawing at work, and for each finished image with its mask, twice while they are joined."""
ALPHA_TOLERANCE = 1e-3
"""Larger than any rounding error of alpha, and a quarter of an 8-bit step."""


class SVGToImage(io.ComfyNode):
    """The rasterizer as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSSVGToImage",
            display_name="SVG to Image",
            category="DreamSampler",
            description=(
                "Renders SVGs as images of any size, with anti-aliased edges. Needs no extra packages. Empty areas "
                "become the mask."
            ),
            search_aliases="render svg, rasterize, rasterise, svg to png, vector to raster",
            essentials_category="Image Tools",
            has_intermediate_output=True,
            inputs=[
                io.SVG.Input("svg", tooltip="One or more SVGs. Each becomes one image of the batch."),
                io.Int.Input(
                    "width",
                    default=512,
                    min=0,
                    max=LARGEST_SIDE,
                    tooltip="Width in pixels. 0 follows height at the aspect ratio of the first drawing. Before a "
                    "model, use its native resolution: 512 for SD1.5, 1024 for SDXL, SD3 and Flux.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=LARGEST_SIDE,
                    tooltip="Height in pixels. 0 follows width at the aspect ratio of the first drawing. If you set "
                    "both, drawings of another aspect ratio are fitted inside and centered.",
                ),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    default="white",
                    tooltip="Background color. transparent keeps unblended colors at edges and black in empty areas: "
                    "join the image with the mask as its alpha.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The rendered images on their background."),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="Alpha mask, 1 where transparent (same convention as Load Image).",
                ),
            ],
        )

    @classmethod
    def execute(cls, svg: Any, width: int, height: int, background: str) -> io.NodeOutput:
        files = host.svg_files("svg", svg)
        documents = svg_inputs.parse_documents(files)
        height, width = _output_size(documents[0], height, width)
        _check_memory(len(documents), height, width)
        with svg_inputs.drawn_if_possible(SMALLER):
            rendered = [_rendered(each, height, width, background) for each in host.with_progress(documents)]
            images, masks = (torch.cat(parts) for parts in zip(*rendered, strict=True))
        return io.NodeOutput(images, masks, ui={"images": host.svg_previews(files)})


def _rendered(document: Document, height: int, width: int, background: str) -> tuple[Tensor, Tensor]:
    """A drawing as an image (1, H, W, 3) on its background, and its mask (1, H, W)."""
    colors, alpha = rasterize([scene(document, height, width)]).movedim(1, -1).split((3, 1), dim=-1)
    alpha = _snapped(alpha)
    return _composited(BACKGROUNDS[background], colors, alpha), 1 - alpha[..., 0]


def _snapped(alpha: Tensor) -> Tensor:
    """Alpha with values within rounding of 0 or 1 set to exactly that, because nodes test masks for emptiness."""
    return torch.where(alpha < ALPHA_TOLERANCE, 0, torch.where(alpha > 1 - ALPHA_TOLERANCE, 1, alpha))


def _composited(background: float | None, colors: Tensor, alpha: Tensor) -> Tensor:
    """Premultiplied colors (..., 3) with alpha (..., 1) over a gray value; without a background, straight colors."""
    if background is None:
        image = torch.where(alpha > 0, colors / alpha, 0)
    else:
        image = colors + (1 - alpha) * background
    return image.clamp(0, 1)


# Size


def _check_memory(count: int, height: int, width: int) -> None:
    """Raise ValueError for images that do not fit in memory."""
    needed, free = height * width * (BYTES_OF_DRAWING + count * BYTES_OF_IMAGE), host.free_ram()
    if needed > free:
        raise ValueError(
            f"{count} images of {width}x{height} pixels need {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB "
            f"are free. {SMALLER}"
        )


def _output_size(document: Document, height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels, where 0 follows the other at the drawing's aspect ratio. Raises ValueError."""
    if not (height or width):
        raise ValueError("width and height are both 0: set at least one of them, in pixels.")
    own_width, own_height = _own_size(document)
    exact = height or width * (own_height / own_width), width or height * (own_width / own_height)
    if max(exact) > LARGEST_SIDE + 0.5:
        raise ValueError(
            f"At the aspect ratio of the drawing, {own_width:g} to {own_height:g}, the image would be {exact[1]:.0f}x"
            f"{exact[0]:.0f} pixels, more than {LARGEST_SIDE} on a side: set both width and height."
        )
    return round(exact[0]) or 1, round(exact[1]) or 1


def _own_size(document: Document) -> tuple[float, float]:
    """Width and height of the drawing as viewers show it: its own attributes, otherwise its view box."""
    width, height = (read_length(size or "", 0.0) for size in (document.width, document.height))
    if width and height:
        return width, height
    return document.view_box.width, document.view_box.height

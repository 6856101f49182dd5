"""SVG to Image: vector drawings as pictures."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..svg.document import Document
from ..svg.markup.styles import read_length
from ..svg.raster.rasterizer import rasterize
from ..svg.raster.scene import scene
from . import host, svg_inputs

BACKGROUNDS = {"white": 1.0, "black": 0.0, "transparent": None}
LARGEST_SIDE = 16384
"""Pixels, as the host's own nodes have it."""
ROUNDING = 1e-3
"""More than an alpha is ever off by; a quarter of what eight bits can tell."""


class SVGToImage(io.ComfyNode):
    """The rasteriser as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSSVGToImage",
            display_name="SVG to Image",
            category="DreamSampler",
            description=(
                "Draws vector drawings as pictures of any size, sharp and with smooth edges. Needs no other program; "
                "what the drawings leave empty becomes the mask."
            ),
            inputs=[
                io.SVG.Input("svg", tooltip="One drawing or more. Each becomes a picture of the batch."),
                io.Int.Input(
                    "width",
                    default=512,
                    min=0,
                    max=LARGEST_SIDE,
                    tooltip="Pixels of the picture. 0 follows height in the proportions of the first drawing. For a "
                    "model, take a size it knows: 512 for SD1.5, 1024 for SDXL, SD3 and Flux.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=LARGEST_SIDE,
                    tooltip="Pixels of the picture. 0 follows width in the proportions of the first drawing. With both "
                    "given, drawings of other proportions are fitted in and centred.",
                ),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    default="white",
                    tooltip="What the drawing lies on. transparent keeps the drawing's own colours at its edges, and "
                    "black where there is none: for joining the image with the mask as its alpha.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="image", tooltip="The pictures on their background."),
                io.Mask.Output(
                    display_name="mask",
                    tooltip="1 where a drawing leaves its background bare, 0 where it covers it, as of Load Image.",
                ),
            ],
        )

    @classmethod
    def execute(cls, svg: Any, width: int, height: int, background: str) -> io.NodeOutput:
        files = host.svg_files("svg", svg)
        documents = svg_inputs.documents(files)
        height, width = _size(documents[0], height, width)
        drawn = [rasterize([scene(document, height, width)]) for document in host.with_progress(documents)]
        colours, alpha = torch.cat(drawn).movedim(1, -1).split((3, 1), dim=-1)
        alpha = _settled(alpha)
        shown = {"images": host.svg_previews(files)}
        return io.NodeOutput(_on(BACKGROUNDS[background], colours, alpha), 1 - alpha[..., 0], ui=shown)


def _settled(alpha: Tensor) -> Tensor:
    """An alpha that is exactly 0 or 1 where it is but for rounding: masks are asked whether they are."""
    return torch.where(alpha < ROUNDING, 0, torch.where(alpha > 1 - ROUNDING, 1, alpha))


def _on(background: float | None, colours: Tensor, alpha: Tensor) -> Tensor:
    """Premultiplied colours (..., 3) with their alpha (..., 1) on a grey value, or straight without a background."""
    if background is None:
        painted = torch.where(alpha > 0, colours / alpha, 0)
    else:
        painted = colours + (1 - alpha) * background
    return painted.clamp(0, 1)


# The size


def _size(document: Document, height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels, where 0 follows the other in the proportions of the drawing."""
    if not (height or width):
        raise ValueError("width and height are both 0: set one of them to the pixels that the picture should have.")
    across, down = _proportions(document)
    wanted = height or width * (down / across), width or height * (across / down)
    if max(wanted) > LARGEST_SIDE + 0.5:
        raise ValueError(
            f"In the proportions of the drawing, {across:g} to {down:g}, the picture would be {wanted[1]:.0f}x"
            f"{wanted[0]:.0f} pixels, and a side has {LARGEST_SIDE} at most: set both width and height."
        )
    return round(wanted[0]) or 1, round(wanted[1]) or 1


def _proportions(document: Document) -> tuple[float, float]:
    """Width and height of the drawing as viewers show it: as it says itself, otherwise of its view box."""
    width, height = (read_length(size or "", 0.0) for size in (document.width, document.height))
    if width and height:
        return width, height
    return document.view_box.width, document.view_box.height

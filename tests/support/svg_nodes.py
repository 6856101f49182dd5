"""Helpers that run SVG Optimizer and SVG to Image, and ComfyUI's own SVG class and nodes."""

from __future__ import annotations

import sys
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import folder_paths
import torch
from comfy_api.latest import io
from devhost import locate
from dreamsampler.nodes.svg_optimizer import SVGOptimizer
from dreamsampler.nodes.svg_to_image import SVGToImage
from dreamsampler.svg.document import Document, Shape
from dreamsampler.svg.markup.parser import parse
from torch import Tensor

from support.tiny_models import EPS, NEGATIVE, POSITIVE, Family, tiny, tiny_vae

VAES = {"eps": "kl", "v": "kl", "sd3": "taesd-16", "flux": "taesd-16", "flux-distilled": "taesd-16", "qwen": "wan"}
"""The kind of VAE for each model family."""


def imported(name: str) -> Any:
    """Import a module of ComfyUI that normally needs its server."""
    import_module("nodes")
    sys.path.insert(0, str(locate().comfyui))  # ComfyUI's nodes put another `utils` first on the path
    try:
        import_module("utils.install_util")
        return import_module(name)
    finally:
        sys.path.remove(str(locate().comfyui))


CORE = imported("comfy_extras.nodes_images")
SVG = getattr(CORE, "SVG", None) or io.SVG.Type


def value(*files: str | bytes) -> Any:
    """SVG files as a value of ComfyUI's SVG socket."""
    return SVG([BytesIO(file if isinstance(file, bytes) else file.encode()) for file in files])


def contents(output: Any) -> list[bytes]:
    """The files in a node's first output."""
    return [stream.getvalue() for stream in output.args[0].data]


def saved_by_host(svg: Any) -> list[bytes]:
    """The files that ComfyUI's Save SVG writes."""
    node = CORE.SaveSVGNode
    if hasattr(node, "define_schema"):  # newer versions of ComfyUI
        images = node.PREPARE_CLASS_CLONE(None).execute(svg, "saved").ui["images"]
    else:
        images = node().save_svg(svg, "saved")["ui"]["images"]
    folder = Path(folder_paths.get_output_directory())
    return [(folder / each["filename"]).read_bytes() for each in images]


class Optimized(NamedTuple):
    """The result of SVG Optimizer: the SVG, its files as text, the IMAGE and the data for the page."""

    svg: Any
    texts: list[str]
    image: Tensor
    page_data: dict[str, Any]

    @property
    def documents(self) -> list[Document]:
        """The parsed drawings. Asserts that nothing in them is unsupported."""
        parsed = [parse(text) for text in self.texts]
        assert not any(each.warnings for each in parsed)
        return [each.document for each in parsed]

    @property
    def shapes(self) -> list[list[Shape]]:
        return [list(document.shapes()) for document in self.documents]

    @property
    def curve(self) -> dict[str, list[Any]]:
        """The values of each distillation step."""
        (curve,) = self.page_data["distillation"]
        return curve


def model_inputs(family: Family | None) -> dict[str, Any]:
    """A tiny model with its VAE and prompts, as inputs of a node; nothing for None."""
    if family is None:
        return {}
    vae = tiny_vae(VAES[family.name])
    return {"model": tiny(family), "vae": vae, "positive": POSITIVE, "negative": NEGATIVE}


def vectorize(family: Family | None = EPS, **inputs: Any) -> Optimized:
    """Run SVG Optimizer like ComfyUI, in inference mode, on a tiny model and its VAE, or on none.

    `inputs` are inputs of the node. None leaves an input unconnected.
    """
    widgets = {"style": "iconography", "paths": 5, "steps": 2, "guidance_scale": -1.0, "canvas_size": 64, "seed": 7}
    values = {**widgets, "fit_steps": 2, "fit_groups": 2, **model_inputs(family), **inputs}
    with torch.inference_mode():
        output = SVGOptimizer.execute(**{name: each for name, each in values.items() if each is not None})
    svg, image = output.args
    assert isinstance(output.ui, dict)
    return Optimized(svg, [file.decode() for file in contents(output)], image, output.ui)


@torch.inference_mode()
def drawn(*files: str, width: int = 64, height: int = 0, background: str = "white") -> tuple[Tensor, Tensor]:
    """The image and mask from SVG to Image."""
    image, mask = SVGToImage.execute(value(*files), width, height, background).args
    return image, mask

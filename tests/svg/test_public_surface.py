"""The public API of the package, which imports nothing of ComfyUI or the rest of the pack."""

from __future__ import annotations

import subprocess
import sys

import torch
from dreamsampler import svg

SOURCE = '<svg viewBox="0 0 8 8"><rect width="4" height="8" fill="red"/></svg>'


def test_parse_rasterize_and_write():
    drawing = svg.scene(svg.parse(SOURCE).document, 16, 16)
    image = svg.rasterize([drawing], torch.ones(1, 3))
    assert image[0, :3, 8, 4].tolist() == [1, 0, 0] and image[0, :3, 8, 12].tolist() == [1, 1, 1]
    assert svg.parse(svg.write(drawing.to_document())).document == svg.parse(SOURCE).document


def test_public_names_exist():
    assert all(hasattr(svg, name) for name in svg.__all__)


def test_import_loads_neither_comfyui_nor_the_pack_nor_optional_packages():
    program = (
        "import sys, torch; before = set(sys.modules); import dreamsampler.svg; "
        "print(*sorted({name for name in set(sys.modules) - before}))"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(process.stdout.split())
    assert "dreamsampler.svg.raster.rasterizer" in imported
    own_modules = {name for name in imported if name.startswith("dreamsampler.")}
    assert all(name.startswith("dreamsampler.svg") for name in own_modules)
    assert not {name.split(".")[0] for name in imported} & {"comfy", "comfy_api", "triton", "pydiffvg", "nodes"}

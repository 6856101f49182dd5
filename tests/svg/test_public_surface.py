"""The package as others use it: one import, and nothing else of the pack or of the host with it."""

from __future__ import annotations

import subprocess
import sys

import torch
from dreamsampler import svg

SOURCE = '<svg viewBox="0 0 8 8"><rect width="4" height="8" fill="red"/></svg>'


def test_an_svg_is_parsed_rasterized_and_written():
    drawing = svg.scene(svg.parse(SOURCE).document, 16, 16)
    image = svg.rasterize([drawing], torch.ones(1, 3))
    assert image[0, :3, 8, 4].tolist() == [1, 0, 0] and image[0, :3, 8, 12].tolist() == [1, 1, 1]
    assert svg.parse(svg.write(drawing.to_document())).document == svg.parse(SOURCE).document


def test_every_public_name_exists():
    assert all(hasattr(svg, name) for name in svg.__all__)


def test_importing_it_imports_neither_the_host_nor_the_pack_nor_optional_packages():
    program = (
        "import sys, torch; before = set(sys.modules); import dreamsampler.svg; "
        "print(*sorted({name for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "dreamsampler.svg.raster.rasterizer" in imported
    ours = {name for name in imported if name.startswith("dreamsampler.")}
    assert all(name.startswith("dreamsampler.svg") for name in ours)
    assert not {name.split(".")[0] for name in imported} & {"comfy", "comfy_api", "triton", "pydiffvg", "nodes"}

"""Resizing documents."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from dreamsampler.svg.resizing import resized

DRAWING = """<svg viewBox="-10 5 40 20"><defs>
  <linearGradient id="a" gradientUnits="userSpaceOnUse" x1="0" y1="5" x2="20" y2="25"><stop stop-color="#f00"/>
    <stop offset="1" stop-color="#00f"/></linearGradient>
  <radialGradient id="b" gradientUnits="userSpaceOnUse" cx="20" cy="15" r="9" fx="17" fy="14"><stop stop-color="#fff"/>
    <stop offset="1"/></radialGradient>
  <radialGradient id="c" gradientUnits="userSpaceOnUse" cx="2" cy="8" r="4" gradientTransform="skewX(30) scale(2 1)">
    <stop stop-color="#0f0"/><stop offset="1" stop-color="#ff0"/></radialGradient></defs>
  <path fill="url(#a)" stroke="#123" stroke-width="1.5" d="M-8 7H8L4 22Z"/>
  <clipPath id="d"><circle cx="15" cy="15" r="9"/></clipPath>
  <g opacity=".5" id="group" clip-path="url(#d)"><path fill="url(#b)" d="M12 7H28V23H12Z"/>
    <path fill="url(#c)" d="M-9 8 20 9 3 20Z"/></g>
</svg>"""


@pytest.mark.parametrize("width, height", [(40.0, 20.0), (100.0, 50.0), (30.0, 30.0)])
def test_a_resized_document_looks_the_same(width: float, height: float):
    document = parse(DRAWING).document
    result = resized(document, width, height)
    assert (result.view_box, result.width, result.height) == ((0, 0, width, height), f"{width:g}", f"{height:g}")
    rows, columns = round(2 * height), round(2 * width)
    one, other = (rasterize([scene(each, rows, columns)]) for each in (document, result))
    assert torch.allclose(one, other, atol=2e-4)
    assert [node.name for node in result.children] == [node.name for node in document.children]

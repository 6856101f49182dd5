"""The rasterizer, compared with resvg on hand-written files and popular icon sets."""

from __future__ import annotations

import numpy as np
import pytest
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from support.icon_sets import SETS, sample, squared
from support.svg_oracle import DOCUMENTS, render

SIZE = 128
LIMIT = 2 / 255
"""Mean absolute difference. resvg rounds coverage and colors to 8 bits and samples four rows per pixel."""
ICONS_PER_SET = 40


def difference(source: str) -> float:
    """The mean absolute difference of premultiplied RGBA."""
    expected = render(source, SIZE)
    height, width = expected.shape[:2]
    actual = rasterize([scene(parse(source).document, height, width)])[0].movedim(0, -1).numpy()
    return float(np.abs(actual - expected).mean())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents(name: str):
    assert difference(DOCUMENTS[name]) <= LIMIT


@pytest.mark.parametrize("name", SETS)
def test_icons(name: str):
    for icon, source in sample(name, ICONS_PER_SET).items():
        if not parse(source).warnings:
            assert difference(squared(source)) <= LIMIT, icon

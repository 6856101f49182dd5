"""Popular icon sets: most icons are fully supported, and look the same after parsing and writing."""

from __future__ import annotations

import pytest
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from support.icon_sets import SETS, sample
from support.svg_oracle import SAME, difference

ICONS_PER_SET = 200
MIN_SUPPORTED = 0.95


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SETS)
def test_icons_are_supported_and_look_the_same_after_writing(name):
    supported = 0
    for icon, source in sample(name, ICONS_PER_SET).items():
        parsed = parse(source)
        text = write(parsed.document)
        assert write(parse(text).document) == text, icon
        if not parsed.warnings:
            supported += 1
            assert difference(source, text) <= SAME, icon
    assert supported >= MIN_SUPPORTED * ICONS_PER_SET

"""Icon sets that people use: how much of them is represented, and whether it looks the same afterwards."""

from __future__ import annotations

import pytest
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from support.icon_sets import SETS, sample
from support.svg_oracle import SAME, difference

DRAWINGS = 200
REPRESENTED = 0.95


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SETS)
def test_icons_are_represented_and_written_as_they_are_drawn(name):
    represented = 0
    for icon, source in sample(name, DRAWINGS).items():
        parsed = parse(source)
        text = write(parsed.document)
        assert write(parse(text).document) == text, icon
        if not parsed.warnings:
            represented += 1
            assert difference(source, text) <= SAME, icon
    assert represented >= REPRESENTED * DRAWINGS

"""SVG Optimizer keeps what a designer has named: groups and ids of real icons, and which are in which."""

from __future__ import annotations

import tarfile
from xml.etree import ElementTree

import pytest
from support.icon_sets import package
from support.svg_nodes import value, vectorize

PACKAGE = "flag-icons@7.5.0"
ICONS = ("hn", "in", "pt", "rs", "uz")
"""Square flags with named groups, shapes in them, and copies by <use>."""
UNSEEN = ("defs", "clipPath", "mask", "filter", "linearGradient", "radialGradient")
DRAWN = ("svg", "g", "path", "circle", "rect", "ellipse", "polygon", "polyline", "line")


def named(text: str) -> list[tuple[str, ...]]:
    """The ids of drawn elements in order, each after those of the elements around it."""
    found: list[tuple[str, ...]] = []

    def visit(element: ElementTree.Element, around: tuple[str, ...]) -> None:
        tag = element.tag.rpartition("}")[2]
        if tag in UNSEEN:
            return
        if tag in DRAWN and (name := element.get("id")):
            around = (*around, name)
            found.append(around)
        for child in element:
            visit(child, around)

    visit(ElementTree.fromstring(text), ())
    return found


def icon_file(name: str) -> str:
    with tarfile.open(package(PACKAGE)) as archive:
        file = archive.extractfile(f"package/flags/1x1/{name}.svg")
        assert file is not None
        return file.read().decode()


@pytest.mark.parametrize("icon", ICONS)
def test_groups_and_ids_of_icons_survive_an_edit(icon: str):
    """Copies by <use> become shapes of their own, with ids of their own."""
    source = icon_file(icon)
    before = named(source)
    assert any(len(chain) > 1 for chain in before)
    after = named(vectorize(svg=value(source), steps=2, canvas_size=64).texts[0])
    assert [chain for chain in after if chain in before] == before

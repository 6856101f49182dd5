"""Color layers: shapes of one color in named groups, and the same image."""

from __future__ import annotations

import pytest
from dreamsampler.drawings.cleaning import in_color_layers
from dreamsampler.drawings.cleaning.color_layers import color_name
from dreamsampler.svg.document import Color, Fill, Group, LinearGradient, Point, Shape, Stop
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from support.cleaning import BLUE, CANVAS, GREEN, RED, box, circle, document, filled, largest_change
from support.drawings import square


def outline_of(drawing) -> list:
    """Names, and how many shapes there are below each."""
    return [(node.name, len(node.children) if isinstance(node, Group) else 1) for node in drawing.children]


def test_shapes_of_one_color_are_one_named_group():
    before = document(
        box(0, 0, 64, 64, GREEN), filled(circle(16, 16, 8), RED), filled(circle(48, 16, 8), BLUE),
        filled(circle(16, 48, 8), RED), filled(circle(48, 48, 8), RED),
    )  # fmt: skip
    after = in_color_layers(before, CANVAS)
    assert outline_of(after) == [("forestgreen", 1), ("crimson", 3), ("mediumblue", 1)]
    assert largest_change(before, after) == 0
    assert set(after.shapes()) - {*before.shapes()} == {after.children[0], after.children[2]}  # these got names


def test_what_lies_between_keeps_colors_apart():
    before = document(
        filled(circle(30, 30, 20), RED), filled(circle(36, 30, 20), BLUE), filled(circle(42, 30, 20), RED)
    )
    after = in_color_layers(before, CANVAS)
    assert outline_of(after) == [("crimson", 1), ("mediumblue", 1), ("crimson", 1)]
    assert largest_change(before, after) == 0
    read = parse(write(after)).document
    assert [node.name for node in read.children] == ["crimson", "mediumblue", "crimson-2"]


def test_shapes_may_lie_on_others_of_their_layer():
    before = document(filled(circle(30, 30, 20), RED, 0.5), filled(circle(36, 30, 20), RED, 0.5))
    after = in_color_layers(before, CANVAS)
    assert outline_of(after) == [("crimson", 2)]
    assert largest_change(before, after) == 0


def test_names_groups_and_strokes_stay_as_they_are():
    named = filled(circle(16, 16, 8), RED, name="nose")
    group = Group((filled(circle(48, 16, 8), RED),), 0.5, "ears")
    after = in_color_layers(document(named, group, filled(circle(16, 48, 8), RED)), CANVAS)
    assert after.children[:2] == (named, group)
    assert outline_of(after)[2] == ("crimson", 1)


def test_gradients_are_named_by_their_ends():
    stops = (Stop(0.0, RED), Stop(0.5, GREEN), Stop(1.0, BLUE))
    shape = Shape((square(4, 4, 60, 60),), Fill(LinearGradient(Point(0, 0), Point(64, 0), stops)))
    assert outline_of(in_color_layers(document(shape), CANVAS)) == [("crimson-to-mediumblue", 1)]


def test_the_title_is_the_palette_from_the_most_visible_color():
    before = document(box(0, 0, 64, 64, GREEN), box(0, 0, 30, 60, RED), box(4, 4, 12, 12, BLUE))
    assert in_color_layers(before, CANVAS).title == "#1a9933, #cc1a1a, #1a33cc"


@pytest.mark.parametrize(
    ("color", "name"),
    [((1, 1, 1), "white"), ((0.99, 0.99, 0.99), "white"), ((0, 0, 0), "black"), ((1, 0.5, 0.3), "coral")],
)
def test_colors_have_the_names_of_css(color: tuple[float, float, float], name: str):
    assert color_name(Color(*color)) == name

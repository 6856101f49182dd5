"""Clean-up of paints: opacity, hidden shapes and specks, palette, compound paths."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from dreamsampler.drawings.cleaning.changes import image, worst
from dreamsampler.drawings.cleaning.compounds import compounded
from dreamsampler.drawings.cleaning.opacities import composited, rounded_up
from dreamsampler.drawings.cleaning.palette import merged_colors, oklab
from dreamsampler.drawings.cleaning.removal import Speck, without_unseen
from dreamsampler.svg.document import Color, Document, Fill, Group, Shape, Stroke
from support.cleaning import (
    BLUE,
    CANVAS,
    GREEN,
    RED,
    SIDE,
    box,
    circle,
    document,
    filled,
    largest_change,
    mean_change,
    over,
)
from support.drawings import drawing, square

BOUND = 0.5 / 255
SPECK = Speck(0.0005, 0.000125)
WHITE_BOX = box(0, 0, SIDE, SIDE, Color(1, 1, 1))


def fills(found: Document) -> list[Fill]:
    return [shape.fill for shape in found.shapes() if shape.fill]


def test_the_worst_background_is_black_or_white():
    one, other = document(box(8, 8, 40, 40, RED, 0.5)), document(box(8, 8, 40, 40, BLUE, 0.8))
    change = worst(image(other, CANVAS) - image(one, CANVAS))
    shades = [(over(other, gray) - over(one, gray)).abs() for gray in np.linspace(0, 1, 11)]
    for shade in shades:
        assert bool((shade <= change + 1e-6).all())
    assert bool((shades[0].maximum(shades[-1]) >= change - 1e-6).all())


def test_almost_opaque_is_opaque():
    group = Group((box(0, 0, 9, 9, RED, 0.991), box(9, 9, 20, 20, RED, 0.98)), 0.995)
    (found,) = rounded_up(document(group)).children
    assert isinstance(found, Group)
    assert (found.opacity, *(fill.opacity for fill in fills(document(found)))) == (1, 1, 0.98)


def test_translucent_on_one_color_becomes_opaque():
    before = document(WHITE_BOX, filled(circle(32, 32, 20.3), BLUE, 0.4))
    after = composited(before, CANVAS, BOUND)
    mixed = tuple(0.4 * c + 0.6 for c in BLUE)
    assert fills(after)[1].opacity == 1
    assert fills(after)[1].paint == pytest.approx(mixed, abs=1e-5)
    assert largest_change(before, after) < 1e-5


@pytest.mark.parametrize(
    "children",
    [
        pytest.param([WHITE_BOX, box(0, 0, 32, 64, RED), box(20, 20, 50, 50, BLUE, 0.4)], id="two colors behind"),
        pytest.param([box(20, 20, 50, 50, BLUE, 0.4)], id="nothing behind"),
        pytest.param([WHITE_BOX, Group((box(9, 9, 30, 30, BLUE, 0.4),), 0.5)], id="in a translucent group"),
    ],
)
def test_other_translucent_shapes_stay(children: list):
    before = document(*children)
    assert composited(before, CANVAS, BOUND) == before


def test_what_is_covered_does_not_count_as_backdrop():
    """The red half of the backdrop lies below a green shape."""
    before = document(WHITE_BOX, box(0, 0, 32, 64, RED), box(20, 20, 50, 50, BLUE, 0.4), box(0, 0, 40, 64, GREEN))
    after = composited(before, CANVAS, BOUND)
    assert [fill.opacity for fill in fills(after)] == [1, 1, 1, 1]
    assert largest_change(before, after) < 1e-5


def test_what_becomes_opaque_hides_what_is_below():
    veil = box(20, 20, 50, 50, BLUE, 0.4)
    after = composited(document(WHITE_BOX, veil, veil), CANVAS, BOUND)
    assert [fill.opacity for fill in fills(after)] == [1, 0.4, 1]
    assert largest_change(document(WHITE_BOX, veil, veil), after) < 1e-5


def test_hidden_shapes_go():
    shown = box(5, 5, 60, 60, BLUE)
    before = document(WHITE_BOX, box(10, 10, 50, 50, RED), shown, box(-30, -30, -5, -5, GREEN))
    after = without_unseen(before, CANVAS, SPECK, BOUND)
    assert after.children == (WHITE_BOX, shown)


def test_of_two_equal_shapes_one_stays():
    twin = box(10, 10, 50, 50, BLUE)
    after = without_unseen(document(WHITE_BOX, twin, twin), CANVAS, SPECK, BOUND)
    assert after.children == (WHITE_BOX, twin)


def test_faint_layers_go_only_while_their_sum_is_not_seen():
    veils = [box(4, 4, 60, 60, Color(0, 0, 0), 0.004) for _ in range(6)]
    before = document(WHITE_BOX, *veils)
    after = without_unseen(before, CANVAS, SPECK, 1.0)
    assert 0 < len(after.children) - 1 < len(veils)
    assert largest_change(before, after) < 2 / 255


def test_specks_go_and_dots_that_stand_out_stay():
    speck, dot = box(10, 10, 11.2, 11.2, Color(0.8, 0.8, 0.8)), box(30, 30, 31.2, 31.2, Color(0, 0, 0))
    after = without_unseen(document(WHITE_BOX, speck, dot), CANVAS, SPECK, BOUND)
    assert after.children == (WHITE_BOX, dot)


def test_specks_together_stay_within_the_bound():
    specks = [box(x, y, x + 4, y + 4, Color(0.9, 0.9, 0.9)) for x in range(4, 60, 8) for y in range(4, 60, 8)]
    before = document(WHITE_BOX, *specks)
    after = without_unseen(before, CANVAS, Speck(0.01, 0.001), BOUND)
    assert 1 < len(after.children) < len(before.children)
    assert 0.5 * BOUND < mean_change(before, after) < BOUND


def test_names_are_kept():
    hidden = filled(square(10, 10, 50, 50), RED, name="face")
    before = document(hidden, box(5, 5, 60, 60, BLUE))
    assert without_unseen(before, CANVAS, SPECK, BOUND) == before


def test_a_hidden_fill_goes_without_its_stroke():
    shape = Shape((square(10, 10, 50, 50),), Fill(RED), Stroke(BLUE, width=4))
    cover = box(10, 10, 50, 50, GREEN)
    found, _ = without_unseen(document(shape, cover), CANVAS, SPECK, BOUND).children
    assert isinstance(found, Shape)
    assert (found.fill, found.stroke) == (None, shape.stroke)


@pytest.mark.parametrize("seed", range(3))
def test_removal_changes_the_image_within_its_bounds(seed: int):
    before = dataclasses.replace(drawing(seed, SIDE, shapes=12), children=drawing(seed, SIDE, shapes=12).children * 2)
    after = without_unseen(before, CANVAS, Speck(0.02, 0.01), BOUND)
    assert mean_change(before, after) < BOUND
    assert len(list(after.shapes())) < len(list(before.shapes()))


@pytest.mark.parametrize(
    "color, lab",
    [((1, 1, 1), (1, 0, 0)), ((1, 0, 0), (0.62796, 0.22486, 0.12585)), ((0, 0, 1), (0.45201, -0.03246, -0.31153))],
)
def test_oklab_has_its_known_values(color: tuple, lab: tuple):
    assert oklab(np.array([color], float))[0] == pytest.approx(lab, abs=2e-4)


def test_near_colors_merge_to_their_weighted_mean():
    light, dark = Color(0.5, 0.5, 0.5), Color(0.51, 0.5, 0.5)
    before = document(box(0, 0, 30, 10, light), box(0, 20, 10, 30, dark), box(40, 40, 50, 50, RED))
    one, other, red = (fill.paint for fill in fills(merged_colors(before, CANVAS, 0.02)))
    assert one == other == pytest.approx((0.5025, 0.5, 0.5), abs=1e-5)
    assert red == RED


def test_chains_of_colors_do_not_drift():
    grays = [Color(v, v, v) for v in np.linspace(0.3, 0.7, 41).tolist()]
    before = document(*(box(n, 0, n + 1, 60, gray) for n, gray in enumerate(grays)))
    found = [fill.paint for fill in fills(merged_colors(before, CANVAS, 0.02))]
    assert 5 < len(set(found)) < 40
    lab = oklab(np.array([grays, found]).reshape(-1, 3)).reshape(2, -1, 3)
    assert np.linalg.norm(lab[0] - lab[1], axis=1).max() < 0.03


def test_colors_of_named_shapes_stay_and_attract():
    named = filled(square(0, 0, 10, 10), Color(0.5, 0.5, 0.5), name="sky")
    after = merged_colors(document(named, box(20, 20, 60, 60, Color(0.505, 0.5, 0.5))), CANVAS, 0.02)
    assert [fill.paint for fill in fills(after)] == [Color(0.5, 0.5, 0.5)] * 2


def test_neighbors_of_one_paint_become_one_path():
    a, b = box(2, 2, 20, 20, RED), box(30, 2, 50, 20, RED)
    apart, between = box(2, 40, 20, 60, BLUE), box(40, 10, 60, 30, BLUE)
    (joined, other) = compounded(document(a, apart, b), CANVAS).children
    assert joined == Shape(a.contours + b.contours, Fill(RED))
    assert other == apart
    for kept in (document(a, between, b), document(a, filled(square(15, 2, 50, 20), RED)), document(a, named(b))):
        assert compounded(kept, CANVAS) == kept


def named(shape: Shape) -> Shape:
    return dataclasses.replace(shape, name="b")


def test_compounds_look_the_same():
    generator = np.random.default_rng(0)
    shapes = []
    for _ in range(40):
        x, y = generator.uniform(5, 59, 2)
        shapes.append(filled(circle(x, y, generator.uniform(2, 6)), [RED, BLUE][int(generator.integers(2))]))
    before = document(*shapes)
    after = compounded(before, CANVAS)
    assert len(list(after.shapes())) < 25
    assert largest_change(before, after) < 1e-5
    assert math.isclose(mean_change(before, after), 0, abs_tol=1e-6)

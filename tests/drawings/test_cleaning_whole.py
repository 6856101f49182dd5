"""The whole clean-up: within its bounds, idempotent, and gentle with what has a name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from dreamsampler.drawings.cleaning import LIMITS, cleaned
from dreamsampler.drawings.cleaning.palette import merged_colors
from dreamsampler.svg.document import Color, Contour, Document, Fill, Group, Point, Shape, Stroke
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.raster import visibility
from support.cleaning import BLUE, CANVAS, GREEN, RED, SIDE, box, circle, curve_count, document, filled, mean_change
from support.drawings import drawing, square


def optimized(seed: int, shapes: int = 30) -> Document:
    """What optimization leaves: circles and squares with noise on all numbers, many of them hidden."""
    noise = np.random.default_rng(seed)
    palette = np.array([RED, BLUE, GREEN, (1, 1, 1)])
    children = [filled(square(0, 0, SIDE, SIDE), Color(1, 1, 1), name="background")]
    for n in range(shapes):
        x, y, radius = *noise.uniform(4, SIDE - 4, 2), noise.uniform(0.5, 14)
        contour = circle(x, y, radius, int(noise.integers(4, 9))) if n % 3 else square(x, y, x + radius, y + radius)
        points = np.array(contour.points) + noise.normal(0, 0.05, (len(contour.points), 2))
        color = (palette[noise.integers(4)] + noise.normal(0, 0.008, 3)).clip(0, 1)
        opacity = min(1.0, noise.uniform(0.9, 1.05))
        moved = Contour(tuple(Point(*p) for p in points.tolist()), True)
        children.append(filled(moved, Color(*color.tolist()), opacity))
    return document(*children)


@pytest.mark.parametrize("strength", ["on", "strong"])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_safe_and_idempotent(seed: int, strength: str):
    before = optimized(seed)
    after = cleaned(before, CANVAS, strength=strength)
    again = cleaned(after, CANVAS, strength=strength)
    assert mean_change(before, after) < LIMITS[strength].total
    assert (len(list(again.shapes())), curve_count(again)) == (len(list(after.shapes())), curve_count(after))
    assert mean_change(after, again) < 0.02 / 255


@pytest.mark.parametrize("strength", ["on", "strong"])
def test_layers_visited_some_at_a_time_give_the_same(strength: str, monkeypatch: pytest.MonkeyPatch):
    before = optimized(1)
    whole = cleaned(before, CANVAS, strength=strength)
    for cells in (1, 3000):
        monkeypatch.setattr(visibility, "CELLS", cells)
        assert cleaned(before, CANVAS, strength=strength) == whole


@pytest.mark.parametrize("strength", ["on", "strong"])
def test_it_cleans(strength: str):
    before = optimized(0)
    after = cleaned(before, CANVAS, strength=strength)
    assert len(list(after.shapes())) < len(list(before.shapes()))
    assert curve_count(after) < curve_count(before)
    assert len(write(after)) < 0.9 * len(write(before))
    assert opaque_share(after) > opaque_share(before) + 0.2
    colors = {shape.fill.paint for shape in after.shapes() if shape.fill}
    assert len(colors) < 10


def opaque_share(found: Document) -> float:
    return float(np.mean([shape.fill.opacity == 1 for shape in found.shapes() if shape.fill]))


def test_strong_joins_neighbors_and_removes_more():
    page, stain = box(0, 0, SIDE, SIDE, Color(1, 1, 1)), box(50, 50, 52.5, 52.5, Color(0.95, 0.95, 0.95))
    before = document(page, box(5, 5, 20, 40, RED), stain, box(30, 5, 45, 40, RED))
    counts = [len(list(cleaned(before, CANVAS, strength=strength).shapes())) for strength in LIMITS]
    assert counts == [4, 2]


def test_a_clean_drawing_stays_exactly():
    before = document(
        box(0, 0, SIDE, SIDE, Color(1, 1, 1)),
        filled(circle(32, 32, 20), BLUE),
        Shape((square(10, 10, 30, 30),), Fill(RED), Stroke(GREEN, width=2)),
    )
    assert cleaned(before, CANVAS) == before


@pytest.mark.parametrize("strength", ["on", "strong"])
def test_names_groups_titles_and_order_are_kept(strength: str):
    source = drawing(4, SIDE, shapes=6)
    names = [dataclasses.replace(child, name=f"part{n}") for n, child in enumerate(source.children)]
    inner = Group((names[0], Group((), 1.0, "empty"), *names[1:4]), 0.5, "inner")
    hidden = dataclasses.replace(box(0, 0, 3, 3, RED), name="hidden")
    before = dataclasses.replace(source, children=(hidden, inner, *names[4:]), title="A face", width="24", height="24")
    after = cleaned(before, CANVAS, strength=strength)
    assert (after.title, after.width, after.height, after.view_box) == ("A face", "24", "24", before.view_box)
    assert [shape.name for shape in after.shapes()] == [shape.name for shape in before.shapes()]
    groups = [child for child in after.children if isinstance(child, Group)]
    assert [(group.name, group.opacity, len(group.children)) for group in groups] == [("inner", 0.5, 5)]


def test_shapes_in_a_clip_are_not_mixed_up_with_others():
    circular = Group((box(8, 8, 56, 56, RED), box(8, 30, 56, 56, BLUE)), clip=(filled(circle(32, 32, 20), BLUE),))
    hidden = box(20, 20, 40, 40, GREEN)
    page, veil = box(0, 0, SIDE, SIDE, Color(1, 1, 1)), box(2, 2, 6, 6, BLUE, 0.5)
    before = document(page, hidden, circular, veil)
    after = cleaned(before, CANVAS)
    assert mean_change(before, after) < 0.1 / 255
    assert after.children[:2] == (page, circular)
    assert [shape.fill and shape.fill.opacity for shape in after.shapes()] == [1, 1, 1, 1]


def test_a_step_that_changes_too_much_is_left_out():
    """Many colors, each within the distance of others: merging them all would be seen."""
    noise = np.random.default_rng(0)
    grays = [Color(*noise.uniform(0.45, 0.55, 3).tolist()) for _ in range(64)]
    cells = [box(x, y, x + 8, y + 8, grays[x + y // 8]) for x in range(0, 64, 8) for y in range(0, 64, 8)]
    before = document(*cells)
    after = cleaned(before, CANVAS, strength="strong")
    assert mean_change(before, merged_colors(before, CANVAS, LIMITS["strong"].distance)) > LIMITS["strong"].step
    assert mean_change(before, after) < LIMITS["strong"].step


def test_the_file_of_a_clean_drawing_is_clean():
    after = cleaned(optimized(2), CANVAS)
    read = parse(write(after)).document
    again = cleaned(read, CANVAS)
    assert (len(list(again.shapes())), curve_count(again)) == (len(list(after.shapes())), curve_count(after))


def test_an_empty_drawing_stays():
    assert cleaned(document(), CANVAS) == document()

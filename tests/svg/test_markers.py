"""Markers: the vertices of outlines, with angles computed by hand, and how markers are placed there."""

from __future__ import annotations

import math

import pytest
from dreamsampler.svg.document import Color, Document, Group, Shape
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.markup.path_data import draw_path
from dreamsampler.svg.markup.vertices import TracedOutlines
from support.svg_oracle import svg


@pytest.mark.parametrize(
    "data, expected",
    [
        ("M1 2", [(1, 2, 0)]),
        ("M1 2H5V9", [(1, 2, 0), (5, 2, 45), (5, 9, 90)]),
        ("M0 0H9V9H0z", [(0, 0, -45), (9, 0, 45), (9, 9, 135), (0, 9, -135), (0, 0, -45)]),
        ("M0 0H9V9L0 0z", [(0, 0, -67.5), (9, 0, 45), (9, 9, 157.5), (0, 0, -135), (0, 0, -67.5)]),
        ("M0 0H9M1 1V9", [(0, 0, 0), (9, 0, 0), (1, 1, 90), (1, 9, 90)]),
        ("M0 0H9V9zV5", [(0, 0, -67.5), (9, 0, 45), (9, 9, 157.5), (0, 0, -67.5), (0, 5, 90)]),
        ("M0 0H5H5V5", [(0, 0, 0), (5, 0, 0), (5, 0, 45), (5, 5, 90)]),
        ("M5 5H5V9", [(5, 5, 90), (5, 5, 90), (5, 9, 90)]),
        ("M0 0H5H0", [(0, 0, 0), (5, 0, 90), (0, 0, 180)]),
        ("M0 0C0 3 4 5 9 5", [(0, 0, 90), (9, 5, 0)]),
        ("M0 0C0 0 0 0 9 9", [(0, 0, 45), (9, 9, 45)]),
        ("M0 0Q3 3 3 9T9 9", [(0, 0, 45), (3, 9, 90), (9, 9, -45)]),
        ("M-5 0A5 5 0 1 1 0 5", [(-5, 0, -90), (0, 5, 180)]),
        ("M0 0A0 5 0 1 1 4 4", [(0, 0, 45), (4, 4, 45)]),
        ("M0 0A5 5 0 1 1 0 0H4", [(0, 0, 0), (0, 0, 0), (4, 0, 0)]),
    ],
)
def test_vertices(data, expected):
    outlines = TracedOutlines(1000)
    assert not draw_path(outlines, data)
    found = outlines.vertices()
    assert [tuple(vertex.point) for vertex in found] == [(x, y) for x, y, _ in expected]
    for vertex, (*_, angle) in zip(found, expected, strict=True):
        difference = math.radians(vertex.angle - angle)
        assert (math.cos(difference), math.sin(difference)) == pytest.approx((1, 0), abs=1e-5)


ARROW = '<path d="M0 0h4v2z" fill="red"/>'


def drawn(marker: str, element: str, contents: str = ARROW) -> Document:
    parsed = parse(svg(f'<marker id="m" {marker}>{contents}</marker>{element}'))
    assert parsed.warnings == ()
    return parsed.document


def corners(marker: str, element: str) -> list[list[tuple[float, ...]]]:
    """The corners of the red shapes, of an open line without a fill."""
    red = Color(1, 0, 0)
    shapes = [shape for shape in drawn(marker, element).shapes() if shape.fill and shape.fill.paint == red]
    return [[tuple(p) for p in shape.contours[0].points[::3]] for shape in shapes]


LINE = '<path d="M10 20H30V50" fill="none" stroke="blue" stroke-width="2" {}/>'


@pytest.mark.parametrize(
    "marker, element, expected",
    [
        ("", 'marker-start="url(#m)"', [[(10, 20), (18, 20), (18, 24)]]),
        ("", 'marker-mid="url(#m)"', [[(30, 20), (38, 20), (38, 24)]]),
        ('orient="auto"', 'marker-end="url(#m)"', [[(30, 50), (30, 58), (26, 58)]]),
        ('orient="auto"', 'marker-start="url(#m)"', [[(10, 20), (18, 20), (18, 24)]]),
        ('orient="auto-start-reverse"', 'marker-start="url(#m)"', [[(10, 20), (2, 20), (2, 16)]]),
        ('orient="auto-start-reverse"', 'marker-end="url(#m)"', [[(30, 50), (30, 58), (26, 58)]]),
        ('orient=".25turn"', 'marker-start="url(#m)"', [[(10, 20), (10, 28), (6, 28)]]),
        ('markerUnits="userSpaceOnUse"', 'marker-start="url(#m)"', [[(10, 20), (14, 20), (14, 22)]]),
        ('refX="1" refY="50%"', 'marker-start="url(#m)"', [[(8, -80), (16, -80), (16, -76)]]),
        ('viewBox="1 1 6 3" refX="4" refY="1"', 'marker-start="url(#m)"', [[(6, 19), (10, 19), (10, 21)]]),
        ('viewBox="1 1 6 3" refX="right" refY="top"', 'marker-start="url(#m)"', [[(3, 19), (7, 19), (7, 21)]]),
    ],
)
def test_placement(marker, element, expected):
    found = corners(f'overflow="visible" {marker}', LINE.format(element))
    assert found == [[pytest.approx(corner) for corner in shape] for shape in expected]


def test_the_shorthand_sets_all_markers():
    found = corners('overflow="visible"', LINE.format('style="marker:url(#m)"'))
    assert [shape[0] for shape in found] == [(10, 20), (30, 20), (30, 50)]


def test_markers_are_clipped_to_their_viewport():
    _, marker = drawn('orient="auto"', LINE.format('marker-end="url(#m)"')).children
    assert isinstance(marker, Group)
    (clip,) = marker.clip
    assert isinstance(clip, Shape)
    assert clip.contours[0].points[::3] == tuple(pytest.approx(p) for p in ((30, 50), (30, 56), (24, 56), (24, 50)))


def test_effects_of_markers_are_in_the_units_of_their_contents():
    clip = '<clipPath id="c"><path d="M1 0h2v1z"/></clipPath>'
    marked = LINE.format('marker-end="url(#m)"')
    effects = 'viewBox="0 0 6 3" opacity=".5" clip-path="url(#c)" overflow="visible" orient="auto"'
    _, marker = drawn(effects, marked, f"{clip}{ARROW}{ARROW}").children
    assert isinstance(marker, Group) and marker.opacity == 0.5 and len(marker.children) == 2
    (shape,) = marker.clip
    assert isinstance(shape, Shape)
    assert shape.contours[0].points[::3] == tuple(pytest.approx(p) for p in ((30, 51), (30, 53), (29, 53)))
    mask = '<mask id="k" maskContentUnits="objectBoundingBox"><path fill="#fff" d="M0 0h.5v.5z"/></mask>'
    _, marker = drawn('overflow="visible" mask="url(#k)"', marked, mask + ARROW).children
    assert isinstance(marker, Group)
    (shape,) = marker.clip
    assert isinstance(shape, Shape)
    assert shape.contours[0].points[::3] == tuple(pytest.approx(p) for p in ((30, 50), (34, 50), (34, 52)))
    parsed = parse(svg(f'<marker id="m" filter="url(#f)">{ARROW}</marker>{marked}'))
    assert any("The property filter is ignored: <marker" in warning for warning in parsed.warnings)


@pytest.mark.parametrize(
    "order, expected",
    [
        ("normal", "FM"),
        ("markers", "MF"),
        ("fill markers", "fMs"),
        ("stroke markers", "sMf"),
        ("markers stroke", "Msf"),
    ],
)
def test_paint_order(order, expected):
    element = f'<path d="M10 20H30V50" fill="lime" stroke="blue" paint-order="{order}" marker-end="url(#m)"/>'
    found = ""
    for shape in drawn('overflow="visible"', element).shapes():
        if shape.fill and shape.fill.paint == Color(1, 0, 0):
            found += "M"
        else:
            found += "F" if shape.fill and shape.stroke else "f" if shape.fill else "s"
    assert found == expected


def test_context_paints_are_those_of_the_shape():
    contents = '<path d="M0 0h1v1" fill="context-stroke" stroke="context-fill"/>'
    document = drawn('overflow="visible"', LINE.format('color="lime" marker-end="url(#m)"'), contents)
    *_, marker = document.shapes()
    assert marker.fill is not None and marker.fill.paint == Color(0, 0, 1) and marker.stroke is None
    *_, used = parse(svg(f'<g id="g">{contents}</g><use href="#g" fill="red" stroke="lime"/>')).document.shapes()
    assert used.fill is not None and used.fill.paint == Color(0, 1, 0)
    assert used.stroke is not None and used.stroke.paint == Color(1, 0, 0)


def test_shapes_without_paint_or_visibility():
    assert corners('overflow="visible"', '<path d="M1 2h3" fill="none" marker-start="url(#m)"/>') != []
    with pytest.raises(ValueError, match="nothing that can be drawn"):
        drawn("", LINE.format('visibility="hidden" marker-start="url(#m)"'))
    assert len(corners('overflow="visible"', LINE.format("") + LINE.format('marker-start="url(#m)"'))) == 1

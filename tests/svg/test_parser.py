"""The parser: results, warnings and errors, for hand-written, hostile and random files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
from dreamsampler.svg.document import (
    BLACK,
    IDENTITY,
    Color,
    Document,
    Fill,
    Group,
    LinearGradient,
    Matrix,
    Node,
    Point,
    RadialGradient,
    Shape,
    ViewBox,
)
from dreamsampler.svg.markup.parser import Parsed, SVGError, parse
from dreamsampler.svg.markup.properties import PROPERTIES
from dreamsampler.svg.markup.writer import write
from dreamsampler.svg.transforms import apply, inverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.clock import refused_within, within
from support.svg_oracle import DOCUMENTS, SAME, difference, render, svg

RECT = '<rect width="10" height="10"/>'
STOPS = '<stop stop-color="red"/><stop offset="1" stop-color="blue"/>'


def document(body: str, *attributes: str) -> Document:
    """The document, which must parse without warnings."""
    parsed = parse(svg(body, *attributes))
    assert parsed.warnings == ()
    return parsed.document


def shape(body: str) -> Shape:
    """The only shape of a document."""
    (only,) = document(body).children
    assert isinstance(only, Shape)
    return only


def warning(body: str, *attributes: str) -> str:
    """The only warning."""
    (only,) = parse(svg(body, *attributes)).warnings
    return only


def ends(found: Shape) -> list[list[tuple[float, ...]]]:
    return [[tuple(p) for p in contour.points[::3]] for contour in found.contours]


def test_root_element():
    read = document(f"<title> A\n drawing </title>{RECT}", 'viewBox="-1,-2 30 4e1" width="5cm" height="100%"')
    assert read.view_box == ViewBox(-1, -2, 30, 40)
    assert (read.width, read.height, read.title) == ("5cm", "100%", "A drawing")


def test_size_without_view_box_is_the_canvas():
    read = document(RECT, 'width="24" height="1in"')
    assert read.view_box == ViewBox(0, 0, 24, 96)


@pytest.mark.parametrize(
    "element, expected",
    [
        ('<rect x="1" y="2" width="3" height="4"/>', [(1, 2), (4, 2), (4, 6), (1, 6)]),
        ('<rect x="10%" width="50%" height="5"/>', [(10, 0), (60, 0), (60, 5), (10, 5)]),
        ('<polygon points="1,2 3,4 5-6"/>', [(1, 2), (3, 4), (5, -6)]),
        ('<polygon points="1,2 3,4 5,6 1,2"/>', [(1, 2), (3, 4), (5, 6)]),
        ('<polyline points="1 2 3 4 1 2"/>', [(1, 2), (3, 4), (1, 2)]),
        ('<line x1="1" y1="2" x2="3" stroke="red"/>', [(1, 2), (3, 0)]),
        ('<path d="M1 2H3V5z"/>', [(1, 2), (3, 2), (3, 5)]),
    ],
)
def test_corners_of_shapes(element, expected):
    found = shape(element)
    assert ends(found) == [[pytest.approx(corner) for corner in expected]]
    assert found.contours[0].closed == (not element.startswith(("<line", "<polyline")))


@pytest.mark.parametrize("element", ['<circle cx="5" cy="6" r="4"/>', '<ellipse cx="5" cy="6" rx="4"/>'])
def test_circles_are_round(element):
    (contour,) = shape(element).contours
    assert contour.closed
    assert all(math.hypot(p.x - 5, p.y - 6) == pytest.approx(4) for p in contour.points[::3])


@pytest.mark.parametrize(
    "element",
    ['<rect width="5"/>', '<rect width="5" height="-1"/>', "<circle/>", '<circle r="-1"/>', '<ellipse rx="0" ry="5"/>']
    + [
        '<polygon points="1 2"/>',
        "<path/>",
        '<path d="M5 5"/>',
        '<line x2="5"/>',
        '<g display="none"><path d="M0 0h5"/></g>',
    ]
    + ['<rect width="5" height="5" visibility="hidden"/>', '<rect width="5" height="5" fill="none" stroke-width="5"/>']
    + ['<rect width="5" height="5" fill="none" stroke="red" stroke-width="0"/>', '<defs><path d="M0 0h5v5"/></defs>']
    + [
        '<g transform="scale(0)"><path d="M0 0h5v5"/></g>',
        '<path d="M5 5h0" stroke="red"/>',
        '<symbol><path d="M0 0h5"/></symbol>',
    ]
    + ['<linearGradient id="a"/><rect width="5" height="5" fill="url(#a)"/>'],
)
def test_elements_that_paint_nothing_are_dropped(element):
    assert len(document(RECT + element).children) == 1


def test_transforms_are_applied_to_the_points():
    found = shape(
        '<g transform="translate(10) scale(2,-2)">'
        '<path transform="matrix(0 1 -1 0 3 4)" d="M0 0L1 0 1 2" stroke="red"/></g>'
    )
    assert ends(found) == [[(16, -8), (16, -10), (12, -10)]]
    assert found.stroke is not None
    assert (found.stroke.width, found.stroke.pen) == (2, IDENTITY)


def test_nonuniformly_scaled_strokes_have_a_pen():
    found = shape('<path transform="translate(9 9) scale(3 1) rotate(90)" d="M0 0h5" stroke="red" stroke-width="2"/>')
    assert found.stroke is not None
    assert found.stroke.width == 2
    assert found.stroke.pen == pytest.approx(Matrix(0, 1, -3, 0, 0, 0))


@pytest.mark.parametrize(
    "transform",
    ["matrix(1 0 0 1 5 7)", "translate(5,7)", "translate(5 7) rotate(360)", "translate(5)translate(0 7)"]
    + [
        "rotate(90) rotate(-90 1 -6)",
        "scale(2) translate(2.5 3.5) scale(.5 .5)",
        "skewX(45) translate(-2 7) skewX(-45)",
    ]
    + ["skewY(45) translate(5 2) skewY(-45)"],
)
def test_transform_functions(transform):
    assert ends(shape(f'<path d="M0 0h1v1" transform="{transform}"/>'))[0] == [
        pytest.approx(corner, abs=1e-9) for corner in ((5, 7), (6, 7), (6, 8))
    ]


@pytest.mark.parametrize(
    "attributes, expected",
    [
        ('style="transform:translate(10px, 20%)"', [(20, 30), (30, 50)]),
        ('style="transform:translateX(1in) translateY(-.5em)"', [(106, 2), (116, 22)]),
        ('style="transform:rotate(.25turn)"', [(-10, 10), (-30, 20)]),
        ('style="transform:scale(2, 50%) scaleX(-1) scaleY(2)"', [(-20, 10), (-40, 30)]),
        ('style="transform:skew(45deg, 0)"', [(20, 10), (50, 30)]),
        ('style="transform:matrix(1, 0, 0, 2, 5, 6)"', [(15, 26), (25, 66)]),
        ('style="transform:none" transform="scale(9)"', [(10, 10), (20, 30)]),
        ('transform="scale(2)" transform-origin="10 10"', [(10, 10), (30, 50)]),
        ('transform="scale(2)" transform-origin="center"', [(-30, -30), (-10, 10)]),
        ('transform="scale(2)" transform-origin="bottom 10%"', [(10, -80), (30, -40)]),
        ('transform="scale(2)" transform-origin="top right"', [(-80, 20), (-60, 60)]),
        ('transform="scale(2)" style="transform-box:fill-box;transform-origin:50% 100%"', [(5, -10), (25, 30)]),
        ('style="transform-box:fill-box;transform:translate(100%, -50%)"', [(20, 0), (30, 20)]),
    ],
)
def test_css_transforms(attributes, expected):
    """A rectangle from (10, 10) to (20, 30), in a viewport of 100 x 100."""
    (corners,) = ends(shape(f'<rect x="10" y="10" width="10" height="20" {attributes}/>'))
    assert [corners[0], corners[2]] == [pytest.approx(corner) for corner in expected]


def test_fill_boxes_are_those_before_the_transforms_of_ancestors():
    group = f'<g style="transform-box:fill-box;transform-origin:center;transform:scale(2)">{RECT}</g>'
    found = shape(f'<g transform="rotate(30)"><g transform="translate(20)">{group}</g></g>')
    plain = shape(f'<g transform="rotate(30) translate(20) translate(5 5) scale(2) translate(-5 -5)">{RECT}</g>')
    assert ends(found) == [[pytest.approx(corner) for corner in ends(plain)[0]]]


def test_radius_in_percent_refers_to_the_diagonal():
    found = shape('<svg viewBox="0 0 30 40"><circle cx="15" cy="20" r="10%"/></svg>')
    assert found.contours[0].points[0].x == pytest.approx(50 + 2.5 * math.sqrt((30**2 + 40**2) / 2) / 10)


def test_paint_properties():
    found = shape(
        '<path d="M0 0h1v1" fill="red" fill-opacity=".5" fill-rule="evenodd" stroke="#00f8" stroke-opacity="50%" '
        'stroke-width="3" stroke-linecap="round" stroke-linejoin="bevel" stroke-miterlimit="7"/>'
    )
    assert found.fill == Fill(Color(1, 0, 0), 0.5, "evenodd")
    stroke = found.stroke
    assert stroke is not None
    assert (stroke.paint, stroke.opacity) == (Color(0, 0, 1), pytest.approx(0.5 * 136 / 255))
    assert (stroke.width, stroke.cap, stroke.join, stroke.miter_limit) == (3, "round", "bevel", 7)


def test_opacity_of_a_single_paint_is_merged_into_it():
    found = shape(f'<g opacity=".5"><g opacity=".5"><g fill-opacity=".5">{RECT}</g></g></g>')
    assert found.fill is not None and found.fill.opacity == 0.125


def test_opacity_of_several_paints_creates_a_group():
    both = '<rect id="r" width="9" height="9" stroke="red" opacity=".5"/>'
    (group,) = document(both).children
    assert isinstance(group, Group) and group.opacity == 0.5
    assert (group.name, [child.name for child in group.children]) == ("r", [""])
    (group,) = document(f'<g id="two" opacity=".5">{RECT}<g>{RECT}</g></g>').children
    assert isinstance(group, Group) and (group.opacity, group.name, len(group.children)) == (0.5, "two", 2)
    (group,) = document(f'<g opacity=".5">{both}</g>').children
    assert isinstance(group, Group) and group.opacity == 0.25


def test_groups_without_effect_are_removed():
    read = document(f"<g>{RECT}<a><g>{RECT}</g></a></g>{RECT}")
    assert len(read.children) == 3 and all(isinstance(child, Shape) for child in read.children)


def test_names_are_ids():
    read = document('<g id="g"><path id="a" d="M0 0h1v1"/><path d="M0 0h1v1"/></g>')
    assert [found.name for found in read.shapes()] == ["a", ""]


def gradient(definition: str, element: str = '<rect x="10" y="20" width="40" height="80" fill="url(#a)"/>'):
    fill = shape(definition + element).fill
    assert fill is not None
    return fill.paint


def test_linear_gradient_in_bounding_box_units():
    paint = gradient(f'<linearGradient id="a" x2=".5">{STOPS}</linearGradient>')
    assert isinstance(paint, LinearGradient)
    assert (paint.start, paint.end, paint.transform) == ((10, 20), (30, 20), IDENTITY)
    assert [stop.offset for stop in paint.stops] == [0, 1]


@pytest.mark.parametrize(
    "attributes, start, end",
    [
        ('gradientTransform="scale(.5 1)" transform-origin=".5 0"', (20, 20), (40, 20)),
        ('gradientTransform="scale(2 1)" style="transform:scale(.5, 1)"', (10, 20), (30, 20)),
        ('style="transform:translate(50%)"', (30, 20), (70, 20)),
        ('transform="scale(9)"', (10, 20), (50, 20)),
    ],
)
def test_transforms_of_gradients(attributes, start, end):
    paint = gradient(f'<linearGradient id="a" {attributes}>{STOPS}</linearGradient>')
    assert isinstance(paint, LinearGradient)
    assert (paint.start, paint.end) == (pytest.approx(start), pytest.approx(end))


def test_stop_colors_are_inherited_on_demand():
    stop = '<stop stop-color="inherit" stop-opacity="inherit"/>'
    paint = gradient(f'<g stop-color="lime"><linearGradient id="a" stop-opacity=".5">{stop}</linearGradient></g>')
    assert paint == Color(0, 0, 0)
    paint = gradient(f'<linearGradient id="a" stop-color="lime">{stop}</linearGradient>')
    assert paint == Color(0, 1, 0)


def test_skewed_linear_gradients_keep_their_colors():
    """Each point keeps the color of its preimage."""
    paint = gradient(f'<linearGradient id="a" x2="1" y2="1">{STOPS}</linearGradient>')
    assert isinstance(paint, LinearGradient) and paint.transform == IDENTITY
    dx, dy = paint.end.x - paint.start.x, paint.end.y - paint.start.y
    for u, v in ((0, 0), (1, 1), (0.2, 0.9), (0.7, 0.1)):
        x, y = 10 + 40 * u - paint.start.x, 20 + 80 * v - paint.start.y
        assert (x * dx + y * dy) / (dx * dx + dy * dy) == pytest.approx((u + v) / 2)


def test_radial_gradients_have_a_transform_only_if_they_are_ellipses():
    definition = f'<radialGradient id="a" fx=".25" spreadMethod="reflect">{STOPS}</radialGradient>'
    paint = gradient(definition, '<rect x="10" width="40" height="40" fill="url(#a)"/>')
    assert isinstance(paint, RadialGradient)
    assert (paint.center, paint.focus, paint.radius) == ((30, 20), (20, 20), 20)
    assert (paint.transform, paint.spread) == (IDENTITY, "reflect")
    paint = gradient(definition)
    assert isinstance(paint, RadialGradient)
    assert (paint.transform, paint.radius) == (Matrix(0.5, 0, 0, 1, 30, 60), 40)
    assert (paint.center, paint.focus) == ((0, 0), (-20, 0))


def test_radial_gradients_keep_their_ellipse_and_focus():
    """Ellipses are normalized to a symmetric transform of a circle around the origin."""
    matrix = Matrix(1.0, 2.0, -3.0, 0.5, 20.0, 30.0)
    circle = f'cx="3" cy="4" r="5" fx="2" fy="6" gradientTransform="matrix({" ".join(map(str, matrix))})"'
    paint = gradient(f'<radialGradient id="a" gradientUnits="userSpaceOnUse" {circle}>{STOPS}</radialGradient>')
    assert isinstance(paint, RadialGradient)
    assert paint.transform.b == paint.transform.c and max(paint.transform[:4]) == 1
    assert apply(paint.transform, paint.center) == pytest.approx(apply(matrix, Point(3, 4)))
    assert apply(paint.transform, paint.focus) == pytest.approx(apply(matrix, Point(2, 6)))
    for angle in range(12):
        x, y = apply(matrix, Point(3 + 5 * math.cos(angle), 4 + 5 * math.sin(angle)))
        back = apply(inverse(paint.transform), Point(x, y))
        assert math.dist(back, paint.center) == pytest.approx(paint.radius)


def test_gradients_inherit_from_their_templates():
    """All attributes, including `gradientTransform` (SVG 2, section 14.2.2)."""
    paint = gradient(
        f'<linearGradient id="b" gradientUnits="userSpaceOnUse" x1="5" x2="7" y2="99" '
        f'gradientTransform="translate(1 2)" spreadMethod="repeat">{STOPS}</linearGradient>'
        '<radialGradient id="c" xlink:href="#b"/>'
        '<linearGradient id="a" href="#c" y2="0"/>'
    )
    assert isinstance(paint, LinearGradient)
    assert (paint.start, paint.end, paint.spread, len(paint.stops)) == ((6, 2), (8, 2), "repeat", 2)


def test_stops_ascend_and_resolve_current_color_where_they_are_defined():
    paint = gradient(
        '<linearGradient id="a" color="lime"><stop offset="60%" stop-color="currentColor"/>'
        '<stop offset=".2" style="stop-color:#0008;stop-opacity:.5"/></linearGradient>',
        '<rect width="9" height="9" color="red" fill="url(#a)"/>',
    )
    assert isinstance(paint, LinearGradient)
    assert [(stop.offset, stop.color) for stop in paint.stops] == [(0.6, Color(0, 1, 0)), (0.6, Color(0, 0, 0))]
    assert paint.stops[1].opacity == pytest.approx(0.5 * 136 / 255)


def test_constant_gradients_become_colors():
    assert gradient('<linearGradient id="a"><stop stop-color="red"/></linearGradient>') == Color(1, 0, 0)
    assert gradient(f'<linearGradient id="a" x2="0">{STOPS}</linearGradient>') == Color(0, 0, 1)
    for radius in ("0", "1e-300", "1e-10"):
        assert gradient(f'<radialGradient id="a" r="{radius}">{STOPS}</radialGradient>') == Color(0, 0, 1)
    for ends in ('x2="1e-300"', 'x1=".5" x2=".50000001"'):
        assert gradient(f'<linearGradient id="a" {ends}>{STOPS}</linearGradient>') == Color(0, 0, 1)


def test_switch_draws_the_fallback_of_a_foreign_object():
    assert ends(shape('<switch><foreignObject/><path d="M0 0h1v1"/></switch>')) == [[(0, 0), (1, 0), (1, 1)]]


def test_miter_limit_is_capped():
    stroke = shape('<path d="M0 0h1v1" stroke="red" stroke-miterlimit="1e300"/>').stroke
    assert stroke is not None and stroke.miter_limit == 1e9


def test_dashes_are_contours_of_a_separate_shape():
    filled, dashed = document(
        '<path d="M0 0h10v10" fill="red" stroke="blue" stroke-dasharray="4 2" stroke-dashoffset="1"/>'
    ).children
    assert isinstance(filled, Shape) and isinstance(dashed, Shape)
    assert (filled.stroke, dashed.fill) == (None, None)
    expected = [[(0, 0), (3, 0)], [(5, 0), (9, 0)], [(10, 1), (10, 5)], [(10, 7), (10, 10)]]
    found = ends(dashed)
    assert [[part[0], part[-1]] for part in found] == [[pytest.approx(p, abs=1e-5) for p in part] for part in expected]


@pytest.mark.parametrize("order", ["stroke", "stroke markers", "markers stroke fill"])
def test_strokes_below_fills_are_separate_shapes(order):
    rect = '<rect width="9" height="9" stroke="{}" paint-order="{}" opacity=".5"/>'
    (group,) = document(rect.format("red", order)).children
    assert isinstance(group, Group) and group.opacity == 0.5
    below, above = group.children
    assert isinstance(below, Shape) and isinstance(above, Shape)
    assert below.stroke and above.fill and not (below.fill or above.stroke)
    (group,) = document(rect.format("red", "markers fill")).children
    assert isinstance(group, Group) and len(group.children) == 1
    assert shape(rect.format("none", order)).fill is not None


def test_path_length_scales_dashes():
    dashed_line = (
        '<path d="M0 0H30" fill="none" stroke="red" stroke-dasharray="20 10" stroke-dashoffset="10" pathLength="{}"/>'
    )
    found = ends(shape(dashed_line.format(90)))
    expected = [[(0, 0), (10 / 3, 0)], [(20 / 3, 0), (40 / 3, 0)], [(50 / 3, 0), (70 / 3, 0)], [(80 / 3, 0), (30, 0)]]
    assert found == [[pytest.approx(end, abs=1e-4) for end in dash] for dash in expected]
    assert ends(shape(dashed_line.format(0))) == [[(0, 0), (30, 0)]]
    quarter = '<circle r="7" fill="none" stroke="red" stroke-dasharray="1 3" pathLength="4"/>'
    assert ends(shape(quarter))[0][-1] == pytest.approx((0, 7), abs=1e-3)


def test_dashes_are_joined_at_the_start_of_a_closed_contour():
    rect = '<rect width="10" height="10" fill="none" stroke="red" stroke-dasharray="{}"/>'
    found = ends(shape(rect.format("11 8")))
    assert [(part[0], part[-1]) for part in found] == [
        (pytest.approx((0, 2)), pytest.approx((10, 1))),
        (pytest.approx((10, 9)), pytest.approx((0, 10))),
    ]
    assert shape(rect.format("50")).contours[0].closed


@pytest.mark.parametrize("closing", ["", "Z"])
def test_dotted_line_starts_with_a_dot(closing):
    dotted = f'<path d="M10 50H90V90H10{closing}" stroke-linecap="round" stroke="red" stroke-dasharray="0 12"/>'
    (_, dots) = document(dotted).children
    assert isinstance(dots, Shape)
    assert [part[0] for part in ends(dots)][:2] == [(10, 50), (pytest.approx(22), 50)]
    (_, later) = document(dotted.replace("array", 'offset="-3" stroke-dasharray')).children
    assert isinstance(later, Shape)
    assert ends(later)[0][0] == (pytest.approx(13), 50)


def test_dash_lengths_follow_curves():
    """One dash as long as a third of a circle."""
    found = shape(
        f'<circle r="10" fill="none" stroke="red" stroke-dasharray="{20 * math.pi / 3} 99" stroke-dashoffset="0"/>'
    )
    (contour,) = found.contours
    assert contour.points[-1] == pytest.approx((-5, 5 * math.sqrt(3)), abs=1e-3)


def test_use_draws_the_element_at_its_position():
    read = document(
        '<defs><g id="g" fill="red"><path id="p" d="M0 0h1v1"/></g></defs>'
        '<use href="#g" x="5"/><use xlink:href="#p" y="7" fill="blue" transform="scale(2)"/>'
    )
    one, two = read.shapes()
    assert (ends(one)[0][0], ends(two)[0][0]) == ((5, 0), (0, 14))
    assert one.fill is not None and two.fill is not None
    assert (one.fill.paint, two.fill.paint) == (Color(1, 0, 0), Color(0, 0, 1))


def test_symbols_are_fitted_into_their_viewport():
    found = shape(
        '<symbol id="s" viewBox="0 0 10 10"><path d="M0 0h10v10"/></symbol>'
        '<use href="#s" x="5" width="40" height="20"/>'
    )
    assert ends(found) == [[(15, 0), (35, 0), (35, 20)]]


@pytest.mark.parametrize(
    "body, message",
    [
        (
            '<text id="t">Hello</text><text>again</text>',
            "<text> is not drawn: 2 times, first <text id='t'> on line 1. Convert text to paths.",
        ),
        ('<image href="http://example.com/a.png"/>', "<image> is not drawn"),
        ("<foreignObject/>", "<foreignObject> is not drawn"),
        ("<blink/>", "<blink> is not drawn"),
        (
            '<g filter="url(#f)"><path d="M0 0h1v1"/></g>',
            "The property filter is ignored: <g> on line 1. Expand the effect to plain paths in an SVG editor.",
        ),
        ('<filter id="f"/><g filter="url(#f)"/>', "The property filter is ignored: <g> on line 1."),
        ('<path d="M0 0h1v1" mask="url(#m)"/>', "The property mask is ignored"),
        ('<path d="M0 0h1v1" style="clip-path:url(#c)"/>', "A clip-path that refers to no <clipPath> is ignored"),
        ('<path d="M0 0h1v1" clip-path="circle(5px)"/>', "A clip-path that is not a url() is ignored"),
        (
            '<clipPath id="c"><path d="M0 0h1v1" clip-path="url(#c)"/></clipPath><path d="M0 0h2v2" '
            'clip-path="url(#c)"/>',
            "A clip path that refers to itself is ignored: <path> on line 1. Remove the circular reference.",
        ),
        (
            '<clipPath id="c"><text>A</text><path d="M0 0h1v1"/></clipPath><path d="M0 0h2v2" clip-path="url(#c)"/>',
            "<text> is not drawn",
        ),
        ('<path d="M0 0h1v1" marker-end="url(#m)"/>', "A marker-end that refers to no <marker> is ignored"),
        (
            '<marker id="m"><path d="M0 0h1v1" marker-mid="url(#m)"/></marker><path d="M0 0h1" marker-end="url(#m)"/>',
            "A marker that refers to itself is not drawn",
        ),
        (
            '<marker id="m"/><rect width="9" height="9" style="marker:url(#m)"/>',
            "Markers on a <rect> are not drawn: <rect> on line 1. Convert it to a path.",
        ),
        ('<path d="M0 0h1v1" style="mix-blend-mode:multiply"/>', "The property mix-blend-mode is ignored"),
        ('<path d="M0 0h1v1" stroke="red" paint-order="stroke top"/>', "The paint-order 'stroke top' is not valid and"),
        (
            '<path d="M0 0h1v1" stroke="red" stroke-dasharray="1" pathLength="-1"/>',
            "An invalid pathLength is ignored: <path> on line 1. Use a number of at least 0.",
        ),
        (
            f'<g color-interpolation="LinearRGB"><linearGradient id="a">{STOPS}</linearGradient></g>'
            '<path d="M0 0h1v1" fill="url(#a)"/><path d="M0 0h2v2" fill="url(#a)"/>',
            "The property color-interpolation of a gradient is ignored: <linearGradient id='a'> on line 1. Use sRGB.",
        ),
        ('<path d="M0 0h1v1" vector-effect="non-scaling-stroke"/>', "The property vector-effect is ignored"),
        (
            '<pattern id="p"/><path d="M0 0h1v1" fill="url(#p) red"/>',
            "<pattern> is not supported as a fill: <path> on line 1. Use a color, ",
        ),
        ('<path d="M0 0h1v1" fill="url(#p) red"/>', "The url() of a fill refers to nothing in the document"),
        (
            f'<linearGradient id="a" gradientTransform="scale(0 1)">{STOPS}</linearGradient>'
            '<path d="M0 0h1v1" fill="url(#a)"/>',
            "A fill is not painted because its gradient's transform is singular",
        ),
        (
            '<path d="M0 0h1v1" stroke="reddish"/>',
            "The stroke 'reddish' is not a valid color and is ignored: <path> on line 1. Use a color name, ",
        ),
        ('<path d="M0 0h1v1" stroke-width="-2"/>', "The stroke-width '-2' is not valid and is ignored"),
        ('<path d="M0 0h1v1" fill="context-fill"/>', "The fill 'context-fill' is not painted"),
        (
            f'<linearGradient id="a">{STOPS}</linearGradient><marker id="m"><path fill="context-fill" d="M0 0h1v1"/>'
            '</marker><path d="M0 0h1v1" fill="url(#a)" marker-end="url(#m)"/>',
            "The fill 'context-fill' is not painted",
        ),
        ('<path d="M0 0h1v1" opacity="much"/>', "The opacity 'much' is not valid and is ignored"),
        (
            '<path d="M0 0h1v1" transform="spin(3)"/>',
            "A transform is ignored because 'spin' is not a transform function",
        ),
        (
            '<path d="M0 0h1v1" transform="rotate(1 2)"/>',
            "A transform is ignored because 'rotate' does not take 2 arguments",
        ),
        (
            '<rect width="1furlong" height="1"/>',
            "An invalid width is ignored: <rect> on line 1. Use a number, optionally with a unit",
        ),
        (
            '<path d="M0 0h1v1 oops"/>',
            "Path data is drawn only up to its first syntax error: <path> on line 1. Correct the d attribute: it has "
            "'oops' at character 10, which is not a command.",
        ),
        ('<polygon points="0 0 5 5 9 0 7"/>', "A list of points is drawn only up to its first syntax error"),
        ('<use href="#nowhere"/>', "The href of a <use> refers to nothing in the document"),
        ('<use href="http://example.com/a.svg#b"/>', "points outside the document and is not loaded"),
        ('<use href="file:///etc/passwd"/>', "points outside the document and is not loaded"),
        ('<g id="g"><use href="#g"/><path d="M0 0h1v1"/></g>', "A <use> that refers to itself is not drawn"),
        ("<script>alert(1)</script>", "Scripts are ignored"),
        ('<path d="M0 0h1v1" onclick="alert(1)"/>', "Event handlers are ignored"),
        ('<path d="M0 0h1v1"><animate attributeName="d"/></path>', "Animations are ignored"),
        ('<path d="M0 0h1v1" stroke="red" stroke-dasharray="4 -1"/>', "The stroke-dasharray '4 -1' is not valid and"),
        (
            '<path d="M0 0h1v1" stroke="red" stroke-linejoin="arcs"/>',
            "The stroke-linejoin 'arcs' is not valid and is ignored: <path> on line 1. Use miter, round or bevel.",
        ),
        ('<rect width="5" height="5" style="fill:red; WIDTH:9px"/>', "The CSS property 'width' is ignored"),
        ('<style>.a{height:1em}</style><rect class="a" width="5" height="5"/>', "The CSS property 'height' is ignored"),
        (
            '<path d="M0 0h1v1" systemLanguage="de,fr"/>',
            "Elements for languages other than English, or that require extensions,",
        ),
        (
            '<g requiredExtensions="http://a.b"><path d="M0 0h1v1"/></g>',
            "or that require extensions, are not drawn: <g> on line 1",
        ),
        ('<path d="M0 0h1v1" style="rotate:5deg"/>', "The CSS property 'rotate' is ignored"),
        (
            '<path d="M0 0h1v1" style="transform-box:stroke-box;transform:rotate(9deg)"/>',
            "The transform-box 'stroke-box' is not supported; 'fill-box' is used instead",
        ),
        (
            '<path d="M0 0h1v1" transform="scale(1)" transform-origin="5 top left"/>',
            "The transform-origin '5 top left' is",
        ),
        ('<path d="M0 0h1v1" transform="translate(9px)"/>', "A transform is ignored because 'px' is not a number"),
        (
            '<path d="M0 0h1v1" style="transform:rotate(9)"/>',
            "The transform 'rotate(9)' is not valid and is ignored: <path> on line 1. Use functions of the ",
        ),
        ('<path d="M0 0h1v1" style="transform:translate(9)"/>', "The transform 'translate(9)' is not valid"),
        ('<path d="M0 0h1v1" style="transform:translateZ(9px)"/>', "The transform 'translateZ(9px)' is not valid"),
        ('<style type="text/foo">rect{fill:red}</style>', "A style sheet whose type is not text/css is ignored"),
        (
            '<g transform="scale(1 1e-7)"><path d="M0 0h1v1"/></g>',
            "Elements with a nearly singular transform are not drawn",
        ),
        ("<switch><foreignObject/><text>Label</text></switch>", "<text> is not drawn: <text> on line 1."),
        ('<switch><image requiredFeatures="x"/><path d="M0 0h1v1"/></switch>', "<image> is not drawn"),
        ("<switch><desc/><foreignObject/></switch>", "<foreignObject> is not drawn"),
        ('<path d="M0 0h1v1" stroke="red" stroke-width="1e300"/>', "A stroke-width beyond 1e+09 is ignored"),
        (
            f'<radialGradient id="a" gradientUnits="userSpaceOnUse" r="1e20">{STOPS}</radialGradient>'
            '<path d="M0 0h1v1" fill="url(#a)"/>',
            "A fill is not painted because its gradient extends beyond 1e+09",
        ),
        (
            f'<linearGradient id="a" gradientUnits="userSpaceOnUse" x2="1e300">{STOPS}</linearGradient>'
            '<path d="M0 0h1v1" fill="url(#a)"/>',
            "A fill is not painted because its gradient extends beyond 1e+09",
        ),
    ],
)
def test_unsupported_features_are_reported(body, message):
    assert message in warning(body + RECT)


@pytest.mark.parametrize(
    "body",
    [
        '<path d="M0 0h1v1" color-interpolation="linearRGB"/>',
        f'<g color-interpolation="linearRGB"><linearGradient id="a" color-interpolation="sRGB">{STOPS}</linearGradient>'
        '<path d="M0 0h1v1" fill="url(#a)"/></g>',
        '<path d="M0 0h1v1" style="filter:unset;mix-blend-mode:initial;vector-effect:REVERT"/>',
        '<path d="M0 0h1v1" filter="NONE" style="mix-blend-mode:Normal;shape-rendering:GEOMETRICPRECISION"/>',
        '<path d="M0 0h1v1" clip-path="None" mask="NONE" marker-end="None" style="all:unset"/>',
        f'<linearGradient id="a" style="all:unset">{STOPS}</linearGradient><path d="M0 0h1v1" fill="url(#a)"/>',
    ],
)
def test_properties_without_effect_are_not_reported(body):
    document(body)


def test_external_style_sheets_are_reported():
    named = '<?xml version="1.0"?>\n<?xml-stylesheet type="text/css" href="a.css"?>' + svg(RECT)
    assert parse(named).warnings == (
        "External style sheets are not loaded: <svg> on line 2. Embed them in a <style> element.",
    )
    assert parse(named.replace("xml-stylesheet", "xpacket")).warnings == ()


def test_elements_for_english_readers_are_drawn():
    body = '<path d="M0 0h1v1" systemLanguage="de, en-GB"/><path d="M0 0h2v2" systemLanguage="fr"/>'
    (only,) = parse(svg(body)).document.children
    assert isinstance(only, Shape) and ends(only) == [[(0, 0), (1, 0), (1, 1)]]


def test_css_sizes_of_the_root_are_not_reported():
    assert parse(svg(f"<style>svg{{width:1em;height:1em}}</style>{RECT}")).warnings == ()


def clip_of(body: str) -> tuple[Node, ...]:
    """The clip of the only node of a document."""
    (group,) = document(body).children
    assert isinstance(group, Group)
    return group.clip


def clip_corners(body: str) -> list[list[tuple[float, ...]]]:
    """The corners of the shapes of the clip of the only node."""
    return [corners for node in clip_of(body) if isinstance(node, Shape) for corners in ends(node)]


def test_clip_paths_without_effect_are_dropped():
    clip = (
        '<clipPath id="c"><rect width="{0}" height="{0}"/></clipPath><g clip-path="url(#c)"><path d="M0 0h50v50"/></g>'
    )
    for size in (100, 50):
        assert isinstance(document(clip.format(size)).children[0], Shape)
    assert clip_corners(clip.format(40)) == [[(0, 0), (40, 0), (40, 40), (0, 40)]]
    turned = clip.format(50).replace("<rect", '<rect transform="rotate(1)"')
    assert clip_of(turned)


@pytest.mark.parametrize("color", ["rgba(255, 0, 0, .4)", "#f006"])
def test_current_color_has_the_opacity_of_color(color):
    """CSS Color 4, section 9.1: it is the value of `color`, opacity included."""
    fill = shape(f'<g color="{color}"><rect width="9" height="9" fill="currentColor" fill-opacity=".5"/></g>').fill
    assert fill and fill.paint == Color(1, 0, 0) and fill.opacity == pytest.approx(0.4 * 0.5)
    mixed = shape(f'<rect width="9" height="9" color="{color}" fill="color-mix(in srgb, currentColor, red)"/>').fill
    assert mixed and mixed.opacity == pytest.approx((0.4 + 1) / 2)
    stops = f'<stop stop-color="currentColor" color="{color}"/><stop offset="1" stop-color="blue"/>'
    gradient = f'<linearGradient id="a">{stops}</linearGradient><rect width="100" height="100" fill="url(#a)"/>'
    paint = shape(gradient).fill
    assert paint and isinstance(paint.paint, LinearGradient)
    assert [stop.opacity for stop in paint.paint.stops] == pytest.approx([0.4, 1])
    for body in (gradient, f'<circle r="80" fill="none" stroke="currentColor" stroke-width="50" color="{color}"/>'):
        assert difference(svg(body), write(parse(svg(body)).document)) <= SAME


@pytest.mark.parametrize(
    "body",
    [
        '<circle cx="50" cy="50" rx="30"/>',
        '<circle cx="50" cy="50" rx="30" ry="20"/>',
        '<circle cx="50" cy="50" r="20" rx="40" ry="10"/>',
        '<ellipse cx="50" cy="50" r="20"/>',
        '<ellipse cx="50" cy="50" r="20" rx="40" ry="10"/>',
        '<ellipse cx="50" cy="50" rx="40"/>',
    ],
)
def test_circles_have_a_radius_and_ellipses_have_two(body):
    source = svg(RECT + body)
    assert difference(source, write(parse(source).document)) <= SAME


GRADIENT_TRANSFORM = (
    f'<linearGradient id="a" gradientTransform="{{}}">{STOPS}</linearGradient><path d="M0 0h9v9z" fill="url(#a)"/>'
)


SPIKE = '<path d="M15 30L20 11.34 25 30" fill="none" stroke="red" stroke-width="4" {}/>'
"""The miter ends at 11.34 + 2 / sin(15 degrees), about 3.7 above the tip."""


@pytest.mark.parametrize(
    "clipped",
    [
        '<clipPath id="c"><rect x="5" y="8" width="30" height="30"/></clipPath><g clip-path="url(#c)">{}</g>',
        '<svg x="5" y="8" width="30" height="30" viewBox="5 8 30 30">{}</svg>',
        '<mask id="m" maskUnits="userSpaceOnUse" x="5" y="8" width="30" height="30">'
        '<rect fill="#fff" width="40" height="40"/></mask><g mask="url(#m)">{}</g>',
    ],
)
@pytest.mark.parametrize("turn", ["", 'transform="matrix(1 0 0 .8 0 2.2)"'])
def test_clips_cut_off_the_tips_of_miters(clipped, turn):
    def above(source: str) -> float:
        """What resvg paints above y = 8, in square units."""
        return render(source, 200)[:40, :, 3].sum() / 25

    canvas, spike = 'viewBox="0 0 40 40"', SPIKE.format(turn)
    source = svg(clipped.format(spike), canvas)
    assert above(svg(spike, canvas)) > 0.2 and above(source) == 0
    assert above(write(parse(source).document)) == 0


@pytest.mark.parametrize(
    "function", ["rotate(1e999)", "skewX(-1e400)", "translate(1 1e999)", "matrix(1 0 0 1 1e309 0)"]
)
@pytest.mark.parametrize("body", ['<g transform="{}">' + RECT + "</g>", GRADIENT_TRANSFORM])
def test_infinite_numbers_of_transforms_are_named(function, body):
    number = re.findall(r"-?1e\d+", function)[0]
    assert f"ignored because '{number}' is too large" in warning(body.format(function))


def test_clips_that_miters_do_not_reach_are_dropped():
    clip = '<clipPath id="c"><rect x="-20" y="{}" width="80" height="80"/></clipPath><g clip-path="url(#c)">{}</g>'
    tip = 11.34 - 2 / math.sin(math.atan2(5, 30 - 11.34))
    assert isinstance(document(clip.format(tip - 0.01, SPIKE.format(""))).children[0], Shape)
    assert clip_of(clip.format(tip + 0.01, SPIKE.format("")))
    for bevelled in ('stroke-miterlimit="3"', 'stroke-linejoin="bevel"'):
        assert isinstance(document(clip.format(9.3, SPIKE.format(bevelled))).children[0], Shape)
    # At a corner of a square, a miter is as long as the diagonal.
    square = '<rect x="9" y="{}" width="20" height="20" stroke="red" stroke-width="4"/>'
    assert isinstance(document(clip.format(5, square.format(7.9))).children[0], Shape)


CLIPPED = '<clipPath id="c" {}>{}</clipPath><g transform="translate(10)"><rect width="80" height="40" {}/></g>'


@pytest.mark.parametrize(
    "attributes, contents, expected",
    [
        ("", '<path d="M1 2h3v4z"/>', [[(11, 2), (14, 2), (14, 6)]]),
        ('transform="scale(2)"', '<path transform="translate(0 5)" d="M1 2h3v4z"/>', [[(12, 14), (18, 14), (18, 22)]]),
        ('clipPathUnits="objectBoundingBox"', '<path d="M0 .5h.5v.5z"/>', [[(10, 20), (50, 20), (50, 40)]]),
        (
            'clipPathUnits="objectBoundingBox" transform="translate(3 4)"',
            '<path d="M0 .5h.5v.5z"/>',
            [[(13, 24), (53, 24), (53, 44)]],
        ),
        (
            "",
            '<path d="M1 2h3v4z" fill="none" stroke="red" opacity="0" style="filter:url(#f)"/>',
            [[(11, 2), (14, 2), (14, 6)]],
        ),
        ("", '<path d="M0 0h1v1z" visibility="hidden"/><path d="M1 2h3v4z"/>', [[(11, 2), (14, 2), (14, 6)]]),
        ("", '<path d="M0 0h1v1z" display="none"/><path d="M1 2h3v4z"/>', [[(11, 2), (14, 2), (14, 6)]]),
        ("", '<g><path d="M0 0h1v1z"/></g><path d="M1 2h3v4z"/>', [[(11, 2), (14, 2), (14, 6)]]),
        (
            "",
            '<path id="p" d="M1 2h3v4z"/><use href="#p" x="5"/>',
            [[(11, 2), (14, 2), (14, 6)], [(16, 2), (19, 2), (19, 6)]],
        ),
    ],
)
def test_contents_of_clip_paths(attributes, contents, expected):
    found = clip_corners(CLIPPED.format(attributes, contents, 'clip-path="url(#c)"'))
    assert found == [[pytest.approx(corner) for corner in corners] for corners in expected]


def test_clip_rules_are_the_fill_rules_of_clips():
    rules = '<path d="M1 2h3v4z" fill-rule="evenodd"/><path d="M1 2h3v4z" style="clip-rule:evenodd"/>'
    clip = clip_of(CLIPPED.format("", rules, 'clip-path="url(#c)"'))
    assert [node.fill for node in clip if isinstance(node, Shape)] == [Fill(BLACK), Fill(BLACK, 1.0, "evenodd")]
    inherited = clip_of(CLIPPED.format('clip-rule="evenodd"', '<path d="M1 2h3v4z"/>', 'clip-path="url(#c)"'))
    assert [node.fill for node in inherited if isinstance(node, Shape)] == [Fill(BLACK, 1.0, "evenodd")]


def test_clips_of_clip_paths_intersect():
    outer = '<clipPath id="d"><circle r="9"/></clipPath>'
    clip = clip_of(outer + CLIPPED.format('clip-path="url(#d)"', '<circle r="5"/>', 'clip-path="url(#c)"'))
    (group,) = clip
    assert isinstance(group, Group) and len(group.clip) == len(group.children) == 1
    clip = clip_of(outer + CLIPPED.format("", '<circle r="5" clip-path="url(#d)"/>', 'clip-path="url(#c)"'))
    assert clip == (group,)


@pytest.mark.parametrize("contents", ["", '<line x2="5" stroke="red"/>', '<rect width="5"/>', "<g/>"])
def test_nothing_is_left_of_elements_with_an_empty_clip(contents):
    assert document(RECT + CLIPPED.format("", contents, 'clip-path="url(#c)"')).children == document(RECT).children


def test_boxes_for_clips_include_what_is_not_painted():
    group = '<g clip-path="url(#c)"><rect width="80" height="40" {}/><rect width="9" height="9"/></g>'
    definition = '<clipPath id="c" clipPathUnits="objectBoundingBox"><path d="M0 0h.5v.5z"/></clipPath>'
    for unpainted in ('visibility="hidden"', 'fill="none"'):
        assert clip_corners(definition + group.format(unpainted)) == [[(0, 0), (40, 0), (40, 20)]]


MASKED = '<mask id="m" {}>{}</mask><rect x="10" width="80" height="40" mask="url(#m)"/>'


@pytest.mark.parametrize(
    "attributes, contents, expected",
    [
        ("", '<path fill="#fff" d="M11 2h3v4z"/>', [[(11, 2), (14, 2), (14, 6)]]),
        ('style="mask-type:alpha" fill="white"', '<g><path d="M11 2h3v4z"/></g>', [[(11, 2), (14, 2), (14, 6)]]),
        ('maskContentUnits="objectBoundingBox"', '<path fill="#fff" d="M0 0h.5v.5z"/>', [[(10, 0), (50, 0), (50, 20)]]),
    ],
)
def test_white_masks_are_clips(attributes, contents, expected):
    assert clip_corners(MASKED.format(attributes, contents)) == expected


@pytest.mark.parametrize(
    "attributes, corners",
    [
        ('width="50%"', [(2, -4), (42, -4), (42, 44), (2, 44)]),
        ('x="0" y=".5" width="1" height="50%"', [(10, 20), (90, 20), (90, 40), (10, 40)]),
        ('maskUnits="userSpaceOnUse" x="1" y="2" width="50%" height="4"', [(1, 2), (51, 2), (51, 6), (1, 6)]),
    ],
)
def test_masks_end_at_their_region(attributes, corners):
    (group,) = clip_of(MASKED.format(attributes, '<circle fill="white" r="90"/>'))
    assert isinstance(group, Group)
    (region,) = group.clip
    assert isinstance(region, Shape) and ends(region) == [[pytest.approx(corner) for corner in corners]]


def test_masks_without_effect_are_dropped():
    mask = '<mask id="m"><rect width="{0}" height="{0}" fill="#fff"/></mask><g mask="url(#m)"><circle r="30"/></g>'
    assert isinstance(document(mask.format(100)).children[0], Shape)
    assert clip_of(mask.format(20)) and clip_of(mask.format(20).replace('id="m"', 'id="m" width="5%"'))
    region = clip_corners(mask.format(100).replace('id="m"', 'id="m" width="50%"'))
    assert region == [[pytest.approx(p) for p in ((-36, -36), (-6, -36), (-6, 36), (-36, 36))]]


@pytest.mark.parametrize("paint", ["#D9D9D9", "url(#a)"])
def test_alpha_masks_may_have_any_opaque_paint(paint):
    gradient = f'<linearGradient id="a">{STOPS}</linearGradient>'
    contents = f'{gradient}<path fill="{paint}" d="M11 2h3v4z"/>'
    for kind in ('mask-type="alpha"', 'style="mask-type:ALPHA"'):
        assert clip_corners(MASKED.format(kind, contents)) == [[(11, 2), (14, 2), (14, 6)]]
        translucent = contents.replace("<path", '<path fill-opacity=".5"')
        assert "The property mask is ignored" in warning(MASKED.format(kind, translucent))
    assert "The property mask is ignored" in warning(MASKED.format('style="mask-type:luminance"', contents))


@pytest.mark.parametrize(
    "contents",
    ['<rect width="9" height="9" fill="#ddd"/>', '<rect width="9" height="9" fill="white" stroke="white"/>']
    + ['<g fill="white" opacity=".5"><circle r="5"/><circle r="6"/></g>']
    + ['<rect width="9" height="9" fill="white" opacity=".5"/>', '<image href="a.png"/><rect width="9" height="9"/>'],
)
def test_other_masks_are_reported(contents):
    parsed = parse(svg(MASKED.format("", contents)))
    assert any("The property mask is ignored" in found for found in parsed.warnings)
    assert isinstance(parsed.document.children[0], Shape)


LINE = '<line x1="6" y1="12" x2="40" y2="50" stroke="red" {}/>'


def test_lines_have_bounding_boxes():
    """As paths have."""
    mask = '<mask id="m"><rect width="100" height="100" fill="#fff"/></mask>'
    assert ends(shape(mask + LINE.format('mask="url(#m)"'))) == [[(6, 12), (40, 50)]]
    clip = '<clipPath id="c" clipPathUnits="objectBoundingBox"><path d="M0 0h.5v.5z"/></clipPath>'
    assert clip_corners(clip + LINE.format('clip-path="url(#c)"')) == [[(6, 12), (23, 12), (23, 31)]]
    turned = 'style="transform-box:fill-box;transform-origin:50% 50%;transform:rotate(180deg)"'
    assert ends(shape(LINE.format(turned))) == [[pytest.approx((40, 50)), pytest.approx((6, 12))]]


NESTED = '<svg x="10" y="20" width="50" height="50" viewBox="0 0 10 10" {}><rect width="10" height="10" y="2"/></svg>'
SYMBOL = (
    '<symbol id="s" viewBox="0 0 10 10" {}><rect width="10" height="10" y="2"/></symbol>'
    '<use href="#s" x="10" y="20" width="50" height="50"/>'
)


@pytest.mark.parametrize("viewport", [NESTED, SYMBOL])
@pytest.mark.parametrize(
    "clip, expected",
    [
        ('<clipPath id="c"><path d="M1 2h3v4z"/></clipPath>', [(15, 30), (30, 30), (30, 50)]),
        (
            '<clipPath id="c" clipPathUnits="objectBoundingBox"><path d="M0 0h.5v.5z"/></clipPath>',
            [(10, 30), (35, 30), (35, 55)],
        ),
        ('<mask id="c"><path fill="#fff" d="M1 3h3v4z"/></mask>', [(15, 35), (30, 35), (30, 55)]),
        (
            '<mask id="c" maskContentUnits="objectBoundingBox"><path fill="#fff" d="M0 0h.5v.5z"/></mask>',
            [(10, 30), (35, 30), (35, 55)],
        ),
    ],
)
def test_clips_of_viewports_are_in_the_units_of_their_contents(viewport, clip, expected):
    name = "mask" if clip.startswith("<mask") else "clip-path"
    body = viewport.format(f'overflow="visible" {name}="url(#c)"')
    assert clip_corners(clip + body) == [[pytest.approx(corner) for corner in expected]]


def test_clips_of_uses_are_in_the_units_of_their_contents():
    clip = '<clipPath id="c"><path d="M1 2h3v4z"/></clipPath>'
    used = f'<defs><g id="g">{RECT}</g></defs><use href="#g" x="10" y="20" clip-path="url(#c)"/>'
    assert clip_corners(clip + used) == [[(11, 22), (14, 22), (14, 26)]]


def test_fill_boxes_of_viewports_are_in_the_units_around_them():
    found = shape(NESTED.format('overflow="visible" style="transform-box:fill-box;transform:translate(100%, 10%)"'))
    assert ends(found)[0][0] == pytest.approx((60, 35))


ROOT = 'viewBox="0 0 100 100" {}'


@pytest.mark.parametrize(
    "attributes, expected",
    [
        (ROOT.format('transform="rotate(180)"'), [(100, 100), (80, 90)]),
        (ROOT.format('style="transform:rotate(90deg)"'), [(100, 0), (90, 20)]),
        (ROOT.format('transform="matrix(-1 0 0 1 0 0)"'), [(100, 0), (80, 10)]),
        (ROOT.format('transform="scale(2)" transform-origin="0 0"'), [(0, 0), (40, 20)]),
        (ROOT.format('transform="scale(2)" style="transform-box:fill-box"'), [(-50, -50), (-10, -30)]),
        (ROOT.format('width="200" height="200" transform="translate(20 10)"'), [(10, 5), (30, 15)]),
        (ROOT.format('width="200" style="transform:translate(20px, 10%)"'), [(10, 10), (30, 20)]),
        (ROOT.format('width="100%" style="transform:translate(20px, 10%)"'), [(20, 10), (40, 20)]),
        (ROOT.format('width="400" height="200" style="transform:translate(10%)"'), [(20, 0), (40, 10)]),
        (ROOT.format('width="400" height="200" transform="scale(2)" transform-origin="100px 0"'), [(0, 0), (40, 20)]),
        ('viewBox="-10 -10 100 100" transform="scale(2)"', [(-40, -40), (0, -20)]),
        (
            'viewBox="0 0 9 9" width="18" height="9" preserveAspectRatio="none" transform="scale(-1)"',
            [(18, 9), (-22, -1)],
        ),
        ('width="50" height="30" transform="rotate(180)"', [(50, 30), (30, 20)]),
        (ROOT.format('width="1e300" transform="rotate(180)"'), [(100, 100), (80, 90)]),
    ],
)
def test_the_root_is_transformed_as_a_box_of_a_page(attributes, expected):
    """A rectangle from (0, 0) to (20, 10)."""
    (only,) = document('<rect width="20" height="10"/>', attributes).children
    assert isinstance(only, Shape)
    (corners,) = ends(only)
    assert [corners[0], corners[2]] == [pytest.approx(corner) for corner in expected]


def test_masks_and_clips_combine():
    clipped = MASKED.format("", '<circle fill="white" r="20"/>').replace("mask=", 'clip-path="url(#c)" mask=')
    (group,) = document(f'<clipPath id="c"><circle r="15"/></clipPath>{clipped}').children
    assert isinstance(group, Group) and group.clip
    (inner,) = group.children
    assert isinstance(inner, Group) and inner.clip != group.clip


def test_nested_viewports_clip_what_overflows():
    nested = '<svg x="2" width="5" height="6" {}><path d="M0 0h9v9"/></svg>'
    assert clip_corners(nested.format("")) == [[(2, 0), (7, 0), (7, 6), (2, 6)]]
    for overflow in ('overflow="clip"', 'style="overflow:SCROLL"'):
        assert clip_corners(nested.format(overflow)) == [[(2, 0), (7, 0), (7, 6), (2, 6)]]
    assert len(document(nested.format('overflow="visible"')).children) == 1
    assert isinstance(document(nested.format('overflow="visible"')).children[0], Shape)
    symbol = '<symbol id="s" viewBox="0 0 4 4"><path d="M0 0h9v9"/></symbol><use href="#s" width="8" height="8"/>'
    assert clip_corners(symbol) == [[(0, 0), (8, 0), (8, 8), (0, 8)]]


def test_clips_and_opacities_share_a_group():
    found = document(CLIPPED.format("", '<circle r="5"/>', 'clip-path="url(#c)" opacity=".5" id="r"')).children[0]
    assert isinstance(found, Group) and (found.opacity, found.name, len(found.clip)) == (0.5, "r", 1)


def test_em_units_refer_to_the_element_that_specifies_them():
    found = shape(
        '<g font-size="10"><g font-size="2em" stroke-width=".5em"><g font-size="150%"><g font-size="1em">'
        '<path d="M0 0h1v1" stroke="red"/></g></g></g></g>'
    )
    assert found.stroke is not None and found.stroke.width == 10
    found = shape(
        '<g font-size="10"><g font-size="2em"><g font-size="150%"><path d="M0 0h1v1" stroke="red" '
        'stroke-width="1em"/></g></g></g>'
    )
    assert found.stroke is not None and found.stroke.width == 30


def test_em_units_of_dashes_refer_to_the_element_that_specifies_them():
    dashed_path = (
        '<g font-size="10" stroke-dasharray="{}"><path font-size="5" d="M0 0H40" fill="none" stroke="red"/></g>'
    )
    for dashes in ("2em 1em", "2EM,2ex", "20 , 1em", "2em 10"):
        found = ends(shape(dashed_path.format(dashes)))
        assert [pytest.approx(p, abs=1e-4) for dash in found for p in dash] == [(0, 0), (20, 0), (30, 0), (40, 0)]


def test_preserve_aspect_ratio_changes_the_canvas_if_it_has_an_effect():
    attributes = 'viewBox="0 0 9 9" preserveAspectRatio="{}" width="{}" height="6"'
    assert document(RECT, attributes.format("none", 6)).view_box == ViewBox(0, 0, 9, 9)
    assert document(RECT, attributes.format("xMinYMin", "50%")).view_box == ViewBox(0, 0, 9, 9)
    for text, corner in (("none", (20, 20 / 3)), ("xMaxYMid", (12 + 20 / 3, 20 / 3)), ("xMidYMax slice", (20, 8))):
        read = document(RECT, attributes.format(text, 18))
        assert read.view_box == ViewBox(0, 0, 18, 6)
        assert next(read.shapes()).contours[0].points[6] == pytest.approx(corner)


@pytest.mark.parametrize(
    "text, message",
    [
        ("<html/>", "root element is <html>, not <svg>. Provide an SVG file."),
        (svg(""), "nothing that can be drawn"),
        (svg("<text>only text</text>"), "nothing that can be drawn. <text> is not drawn: <text> on line 1."),
        (svg(RECT, ""), "does not define its size. Give <svg> a viewBox"),
        (svg(RECT, 'width="100%" height="100%"'), "does not define its size"),
        (svg(RECT, 'viewBox="0 0 0 5"'), "canvas is 0 x 5 at"),
        (svg(RECT, 'viewBox="0 0 5 -5"'), "canvas is 5 x -5"),
        (svg(RECT, 'viewBox="0 0 1e999 1e999"'), "canvas is inf x inf"),
        (svg(RECT, 'width="0" height="5"'), "width is '0', so nothing is visible. Set it above 0"),
        (svg('<path d="M0 0L1e300 5"/>'), "A point lies at .* beyond"),
        (svg('<path d="M0 0L9e8 5" transform="scale(9)"/>'), "lies beyond 1e.09 after its transforms"),
        (
            svg('<path d="M0 0h1" stroke="red" stroke-width="1e9" transform="scale(2)"/>'),
            "wider than 1e.09 after its transforms",
        ),
        (svg('<g transform="scale(1e200)"><g transform="scale(1e200)"><path d="M0 0h1v1"/></g></g>'), "transforms"),
        (svg(f'<g id="g">{RECT}</g>' + "<g>" * 99 + '<use href="#g"/>' + "</g>" * 99), "levels deep"),
    ],
)
def test_errors(text, message):
    with pytest.raises(SVGError, match=message):
        parse(text)


def repeated(element: str, times: int, copies: int = 2) -> str:
    """Nested <use> elements: each level uses the previous one `copies` times."""
    uses = "".join(f'<g id="n{i + 1}">{f"""<use href="#n{i}"/>""" * copies}</g>' for i in range(times))
    return svg(f'<defs><g id="n0">{element}</g>{uses}</defs><use href="#n{times}"/>')


def fails_at_the_end(body: str) -> str:
    """A file whose last element raises an error, after everything else has been parsed."""
    return svg(f'{body}<path d="M0 0L1e300 5"/>')


def styled(sheet: str, body: str = "") -> str:
    return fails_at_the_end(f"<style>{sheet}</style>{body}")


def path(attributes: str) -> str:
    return f'<path d="M0 0h1v1" {attributes}/>'


def inside(element: str, body: str) -> str:
    """`body` inside 90 nested elements."""
    return f"<{element}>" * 90 + body + f"</{element.split()[0]}>" * 90


def gradients(count: int, template: str) -> str:
    """Gradients that refer to each other, and a path for each."""
    elements = (f'<linearGradient id="a{i}" href="#{template.format(i + 1)}"/>' for i in range(count))
    return f"<defs>{''.join(elements)}</defs>" + "".join(path(f'fill="url(#a{i})"') for i in range(count))


BLANK_PATH = f'<path d="{" " * 10_000_000}"/>'
LONG_PATH = f'<path d="M0 0{"h.001" * 20_000}"/>'
CLIP = '<clipPath id="c"><rect width="99" height="99"/></clipPath>'
DASHED = path('stroke="red" stroke-dasharray="{}"')
CLIPPED_CIRCLES = '<circle r="5" clip-path="url(#c{0})"/>' * 9
DIGITS = "1" * 20_000
SPACES = " " * 200_000
EACH_PROPERTY = ";".join(f"{name}:inherit" for name in sorted(PROPERTIES - {"display", "visibility"}))

LARGE = r"The drawing is too large: [^.]+ up to <[^<>]+> on line 1\. "
ELEMENTS = LARGE + r"Reduce the number of elements or of <use> references\."
POINTS = LARGE + r"Simplify the paths or reduce the number of <use> references\."
COPIES = LARGE + r"Reduce the number of <use> references\."
DASHES = LARGE + r"Use longer dashes or remove stroke-dasharray\."
LENGTHS = LARGE + r"Shorten or remove stroke-dasharray\."
CURVES = LARGE + r"Remove stroke-dasharray\."
STYLES = LARGE + r"Shorten the style sheets or assign fewer classes per element\."
TRANSFORMS = LARGE + r"Shorten the transforms\."
PAINTED = LARGE + r"Use fewer gradients\."
BOXES = LARGE + r"Use fewer clip paths, nested <svg> elements or gradients\."
RULES = r"style sheets exceed the limit of 10000 rules at <style> on line 1\. Remove unused rules"
LAST_ELEMENT = (
    r"<path> on line 1 cannot be drawn\. A point lies at \(3.33333e.299, 1.66667\), beyond the limit of 1e.09\. Correct"
)


def with_variables(value: str) -> str:
    """A file with many elements whose properties all have this value."""
    return styled(f"g{{{EACH_PROPERTY.replace('inherit', value)}}}", "<g/>" * 20_000)


HOSTILE: dict[str, tuple[Callable[[], str], str]] = {
    "uses": (lambda: repeated("<g/>", 30), ELEMENTS),
    "ten uses of ten": (lambda: repeated(path(""), 10, 10), ELEMENTS),
    "uses of blanks": (lambda: repeated(BLANK_PATH, 20), ELEMENTS),
    "uses of points": (lambda: repeated(LONG_PATH, 12), COPIES),
    "uses of rounded corners": (lambda: repeated('<rect width="5" height="5" rx="1" stroke="red"/>', 30), ELEMENTS),
    "uses of definitions": (lambda: repeated("<defs/>" * 10_000, 30), ELEMENTS),
    "uses of other namespaces": (lambda: repeated('<a:b xmlns:a="a"/>' * 10_000, 30), ELEMENTS),
    "uses of switches": (lambda: repeated(f"<switch>{'<text/>' * 40_000}</switch>", 30), ELEMENTS),
    "uses of clips": (
        lambda: repeated(f'<clipPath id="c">{"<rect/>" * 10_000}</clipPath>' + path('clip-path="url(#c)"'), 30),
        ELEMENTS,
    ),
    "uses of transforms": (lambda: repeated(path(f'transform="{"scale(1)" * 100}"'), 30), TRANSFORMS),
    "paths": (lambda: svg(path("") * 40_000), ELEMENTS),
    "lines": (lambda: svg(f'<path d="M0 0{"h1" * 5_000_000}"/>'), POINTS),
    "curves": (lambda: svg(f'<path d="M0 0{"c1 2 3 4 5 -6" * 1_400_000}"/>'), POINTS),
    "arcs": (lambda: svg(f'<path d="M0 0{"a5 5 0 1 1 1 1" * 1_300_000}"/>'), POINTS),
    "arcs to their start": (lambda: svg(f'<path d="M0 0{"a5 5 0 1 1 0 0" * 1_300_000}"/>'), POINTS),
    "moves": (lambda: svg(f'<path d="{"M0 0" * 4_900_000}"/>'), POINTS),
    "dots": (lambda: svg(f'<path d="{"M0 0z" * 3_900_000}"/>'), POINTS),
    "ends": (lambda: svg(f'<path d="M0 0{"z" * 19_000_000}"/>'), POINTS),
    "corners": (lambda: svg(f'<polyline points="{"1 2 " * 4_900_000}"/>'), POINTS),
    "clips of clips": (
        lambda: svg(
            "".join(
                f'<clipPath id="c{i}" clip-path="url(#c{i + 1})">{CLIPPED_CIRCLES.format(i + 1)}</clipPath>'
                for i in range(2000)
            )
            + path('clip-path="url(#c0)"')
        ),
        LARGE,
    ),
    "markers of markers": (
        lambda: svg(
            "".join(
                f'<marker id="m{i}"><path d="M0 0h1v1h1v1" style="marker:url(#m{i + 1})"/></marker>' for i in range(30)
            )
            + path('style="marker:url(#m0)"')
        ),
        LARGE,
    ),
    "markers of points": (
        lambda: svg(
            f'<marker id="m">{path("") * 3}</marker>' + LONG_PATH.replace("/>", ' style="marker-mid:url(#m)"/>')
        ),
        ELEMENTS,
    ),
    "boxes for transforms": (
        lambda: svg(inside('g style="transform-box:fill-box;transform-origin:center;transform:scale(1.01)"', path(""))),
        ELEMENTS,
    ),
    "nested": (lambda: svg(inside('svg width="99" height="99"', LONG_PATH)), BOXES),
    "clipped": (lambda: svg(CLIP + inside('g clip-path="url(#c)"', LONG_PATH)), BOXES),
    "transforms": (lambda: svg(path(f'transform="{"scale(1)" * 100}"') * 20_000), TRANSFORMS),
    "a transform": (lambda: fails_at_the_end(path(f'transform="{"scale(1)" * 2_000_000}"')), LAST_ELEMENT),
    "a gradient's transform": (
        lambda: fails_at_the_end(
            f'<linearGradient id="a" gradientTransform="{"scale(1)" * 10_000}">{STOPS}</linearGradient>'
            + path('fill="url(#a)"') * 1000
        ),
        LAST_ELEMENT,
    ),
    "gradients of gradients": (lambda: svg(gradients(20_000, "a{}")), PAINTED),
    "gradients with the same stops": (
        lambda: fails_at_the_end(f'<linearGradient id="b">{"<stop/>" * 1000}</linearGradient>{gradients(3000, "b")}'),
        LAST_ELEMENT,
    ),
    "gradients of long chains": (
        lambda: fails_at_the_end(
            "".join(f'<radialGradient id="a{i}" href="#a{i + 1}"/>' for i in range(9))
            + f'<radialGradient id="a9">{STOPS}</radialGradient>'
            + path('fill="url(#a0)" stroke="url(#a0)"') * 20_000
        ),
        PAINTED,
    ),
    "too many stops": (
        lambda: svg(f'<linearGradient id="a">{"<stop/>" * 1001}</linearGradient>' + path('fill="url(#a)"')),
        "<linearGradient id='a'> on line 1 has more than 1000 stops. Simplify the gradient",
    ),
    "dashes": (lambda: svg(DASHED.format(".0001").replace("h1", "H1e6")), DASHES),
    "endless dashes": (lambda: svg(DASHED.format("1e-320")), DASHES),
    "uses of dashes": (lambda: repeated('<path d="M0 0H1e4" stroke="red" stroke-dasharray="1"/>', 12), DASHES),
    "zero-length dashes": (lambda: fails_at_the_end(DASHED.format("1" + " 0" * 400) * 40), DASHES),
    "dashes at cusps": (
        lambda: svg(f'<path d="M0 0{"c9 0 -9 0 3 0" * 20_000}" stroke="red" stroke-dasharray="99"/>'),
        CURVES,
    ),
    "dashes on loops": (
        lambda: svg(f'<path d="M0 0{"C1e3 0 -1e3 .001 1 1" * 40_000}" stroke="red" stroke-dasharray="5 1e9"/>'),
        CURVES,
    ),
    "dash lengths": (
        lambda: fails_at_the_end(f'<g stroke="red" stroke-dasharray="{"9 " * 490}">{path("") * 9000}</g>'),
        LENGTHS,
    ),
    "short dash arrays": (
        lambda: svg(f'<g stroke="red" stroke-dasharray="{"0 " * 19}">{path("") * 17_000}</g>'),
        LENGTHS,
    ),
    "blanks in symbols": (
        lambda: svg(
            f'<symbol id="s" viewBox="0 0 9 9" preserveAspectRatio="{" " * 9900}">{RECT}</symbol>'
            + '<use href="#s" width="9" height="9"/>' * 24_000
        ),
        ELEMENTS,
    ),
    "rules": (lambda: styled("".join(f".a{i}{{fill:red}}" for i in range(1_000_000))), RULES),
    "selectors": (lambda: styled(f"{'.a,' * 6_000_000}.b{{fill:red}}"), RULES),
    "long rule for many selectors": (lambda: styled(f"{'a,' * 5000}b{{{'fill:red;' * 5000}}}"), LAST_ELEMENT),
    "at-rules": (lambda: styled("@a;" * 6_000_000), RULES),
    "blocks": (lambda: styled("@a{}" * 4_000_000), RULES),
    "nested blocks": (lambda: styled("@a{" * 6_000_000), RULES),
    "nested rules": (lambda: styled(f"a{{{'b{}' * 6_000_000}}}"), RULES),
    "deeply nested rules": (lambda: styled("a{" * 9_000_000), RULES),
    "strings": (lambda: styled("''" * 9_000_000), STYLES),
    "escapes in a string": (lambda: styled('"' + "\\\\" * 9_000_000), LAST_ELEMENT),
    "font sizes of dashes": (
        lambda: styled(
            f".a{{stroke-dasharray:{'1em ' * 249}}}",
            "".join(path(f'class="a" font-size="{i}.5"') for i in range(19_000)),
        ),
        STYLES,
    ),
    "rules and classes": (
        lambda: styled(
            "".join(f".a{i}{{{EACH_PROPERTY}}}" for i in range(300)),
            path(f'class="{" ".join(f"a{i}" for i in range(300))}"') * 1000,
        ),
        STYLES,
    ),
    "long fallbacks of variables": (lambda: with_variables(f"var(--a,{'x' * 900})"), STYLES),
    "parentheses in fallbacks": (lambda: with_variables(f"var(--a,{'()' * 450})"), STYLES),
    "variables that are not closed": (lambda: with_variables(f"var(--a,{'(' * 900})"), STYLES),
    "nested fallbacks": (lambda: with_variables(f"{'var(--a,' * 40}{'x' * 500}{')' * 40}"), STYLES),
    "repeated class": (lambda: styled(f".a{{{EACH_PROPERTY}}}", path(f'class="{"a " * 2_000_000}"')), LAST_ELEMENT),
    "long value for all paths": (lambda: styled(f"path{{opacity:{'a' * 1_000_000}}}", path("") * 9000), LAST_ELEMENT),
    "long color for all paths": (
        lambda: fails_at_the_end(f'<g fill="{"a" * 9_000_000}">{path("") * 9000}</g>'),
        LAST_ELEMENT,
    ),
    "a style": (lambda: svg(path(f'style="{"fill:red;" * 2_000_000}"')), STYLES),
    "styles": (lambda: svg(path(f'style="{"fill:red;" * 1000}"') * 2000), STYLES),
    "only semicolons": (lambda: svg(path(f'style="{";" * 19_000_000}"')), STYLES),
    "digits of a length": (lambda: fails_at_the_end(f'<rect width="{DIGITS}!" height="5"/>'), LAST_ELEMENT),
    "digits of a color": (lambda: fails_at_the_end(path(f'fill="rgb({DIGITS[:900]}! 1 1)"') * 3000), LAST_ELEMENT),
    "digits of a corner": (lambda: fails_at_the_end(f'<polygon points="{DIGITS}"/>'), LAST_ELEMENT),
    "digits of a view box": (lambda: fails_at_the_end(f'<svg viewBox="{f"{DIGITS[:60]} " * 4}!"/>'), LAST_ELEMENT),
    "digits of a dash": (lambda: fails_at_the_end(DASHED.format(f"{DIGITS[:900]}!") * 3000), LAST_ELEMENT),
    "blanks in a reference": (lambda: fails_at_the_end(path(f'fill="url(#a{SPACES[:900]}x"') * 3000), LAST_ELEMENT),
    "blanks before !important": (lambda: fails_at_the_end(path(f'style="fill:red{SPACES}x"')), LAST_ELEMENT),
    "comments": (lambda: styled("/* " * 5_000_000), LAST_ELEMENT),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_raise_errors_quickly(name):
    make, message = HOSTILE[name]
    text = make()
    refused_within(2.0, lambda: parse(text), SVGError, message)


@pytest.mark.timeout(60)
def test_icon_sheet_is_parsed_quickly():
    """2000 paths with 108,000 control points."""
    curves = "".join(f"c{i} 2.5 {i}.25-4 5.5 {6 - i}" for i in range(17))
    icon = f'<path class="a" style="fill:url(#a) red" transform="translate(3 4)" d="M1.5 2.5{curves}z"/>'
    sheet = svg(f'<linearGradient id="a">{STOPS}</linearGradient><style>.a{{stroke:red}}</style>{icon * 2000}')
    shapes = within(5.0, lambda: list(parse(sheet).document.shapes()))
    assert sum(len(contour.points) for found in shapes for contour in found.contours) == 108_000


@pytest.mark.timeout(60)
def test_traced_photo_is_parsed():
    """5000 paths with 225,000 control points, as vtracer writes for a megapixel photo."""
    curves = "C123.45 67.89 124.5 66.25 125.75 65.5" * 15
    traced = svg(f'<path d="M0 0{curves}Z" fill="#123456" transform="translate(314,159)"/>' * 5000)
    assert sum(1 for _ in parse(traced).document.shapes()) == 5000


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fill", ['fill="#{:06x}"', 'class="c" style="fill: #{:06x}"'])
def test_heatmap_is_parsed_quickly(fill):
    """96 x 96 rectangles."""
    cells = "".join(
        f'<rect x="{i % 96}" y="{i // 96}" width="1" height="1" {fill.format(i * 1800)}/>' for i in range(9216)
    )
    drawing = svg(f"<style>.c{{stroke:#fff;stroke-width:.1px}}</style>{cells}")
    shapes = within(5.0, lambda: list(parse(drawing).document.shapes()))
    assert len(shapes) == 9216
    assert ends(shapes[97]) == [[(1, 1), (2, 1), (2, 2), (1, 2)]]


@pytest.mark.timeout(60)
def test_scatter_plot_is_parsed_quickly():
    """8000 uses of a circle of 24 control points, each with a style, as matplotlib writes them."""
    circle = "M0 2" + "C1 2 2 1 2 0" * 7 + "C1 1 1 2 0 2z"
    uses = "".join(f'<use xlink:href="#m" x="{i % 90}" y="{i // 90}" style="fill: #{i:06x}"/>' for i in range(8000))
    drawing = svg(f'<defs><path id="m" d="{circle}" stroke="#1f77b4"/></defs>{uses}')
    shapes = within(5.0, lambda: list(parse(drawing).document.shapes()))
    assert len(shapes) == 8000
    assert len(shapes[0].contours[0].points) == 24 and ends(shapes[91])[0][0] == (1, 3)


SEEDS = [text.encode() for text in DOCUMENTS.values()]
SNIPPETS = [
    b"1e999",
    b"-",
    b".",
    b"NaN",
    b"<g>",
    b"</g>",
    b'"',
    b"url(#a)",
    b"%",
    b"&",
    b"\xff",
    b"0",
    b"href='#a'",
    b"e9",
]
FUZZ = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid file with bytes replaced by snippets, and parts repeated or removed."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        middle = draw(st.one_of(st.sampled_from(SNIPPETS), st.binary(max_size=4), st.just(data[start:end] * 2)))
        data = data[:start] + middle + data[end:]
    return data


@given(mutated())
@FUZZ
def test_mutated_files_parse_or_raise_svg_errors(data):
    try:
        assert isinstance(parse(data), Parsed)
    except SVGError as error:
        assert str(error).endswith(".")


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
@FUZZ
def test_random_input_parses_or_raises_svg_errors(data):
    try:
        assert isinstance(parse(data), Parsed)
    except SVGError as error:
        assert str(error).endswith(".")


VALUES = st.one_of(
    st.sampled_from(
        ["none", "url(#a)", "inherit", "1e999", "-1", "0", "50%", "red", "", "matrix(0 0 0 0 0 0)", "M0 0z"]
    ),
    st.text(max_size=8),
    st.floats().map(str),
)
NAMES = st.sampled_from(
    "fill stroke stroke-width stroke-dasharray stroke-dashoffset opacity transform d points x y width height rx r cx "
    "x1 offset stop-color gradientTransform gradientUnits fx viewBox preserveAspectRatio href style class color".split()
)


@given(
    st.sampled_from(sorted(DOCUMENTS)), st.lists(st.tuples(NAMES, VALUES, st.integers(0, 30)), min_size=1, max_size=4)
)
@FUZZ
def test_random_attribute_values_parse_or_raise_svg_errors(name, changes):
    text = DOCUMENTS[name]
    for attribute, value, place in changes:
        value = "".join(c for c in value if c.isprintable()).translate({34: "", 38: "", 60: ""})
        parts = text.split(f' {attribute}="')
        if len(parts) > 1:
            at = 1 + place % (len(parts) - 1)
            parts[at] = value + parts[at][parts[at].index('"') :]
            text = f' {attribute}="'.join(parts)
    try:
        assert isinstance(parse(text), Parsed)
    except SVGError as error:
        assert str(error).endswith(".")

"""Path data: the grammar of the specification, and curves compared with closed forms and resvg."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
from dreamsampler.svg.cubics import cubics, split
from dreamsampler.svg.document import Contour, Point
from dreamsampler.svg.markup.outlines import Outlines, line
from dreamsampler.svg.markup.path_data import draw_path
from dreamsampler.svg.markup.xml import SVGError
from support.svg_oracle import SAME, difference, svg


class Path(NamedTuple):
    """The contours of path data, and a description of the first syntax error ("" if there is none)."""

    contours: tuple[Contour, ...]
    error: str


def read_path(data: str, max_points: int = 340_000) -> Path:
    outlines = Outlines(max_points)
    error = draw_path(outlines, data)
    return Path(tuple(outlines.contours), error)


def corners(path: Path) -> list[list[tuple[float, ...]]]:
    """End points of the cubics of each contour."""
    return [[tuple(p) for p in contour.points[::3]] for contour in path.contours]


def points_along(contour: Contour, pieces: int = 16) -> list[Point]:
    """Points along all curves of a contour."""
    return [split(cubic, i / pieces)[0][3] for cubic in cubics(contour) for i in range(pieces + 1)]


@pytest.mark.parametrize(
    "data, expected",
    [
        ("M1 2L3 4", [(1, 2), (3, 4)]),
        ("M1 2 3 4 5 6", [(1, 2), (3, 4), (5, 6)]),
        ("m1 2 3 4 5 6", [(1, 2), (4, 6), (9, 12)]),
        ("M1.5.5-3e-2.25", [(1.5, 0.5), (-0.03, 0.25)]),
        ("M1-2L-3-4+5+6", [(1, -2), (-3, -4), (5, 6)]),
        ("M 1 , 2 L 3\n,\t4", [(1, 2), (3, 4)]),
        ("M1e1 2E+1L1e-1 5.", [(10, 20), (0.1, 5)]),
        ("M0 0h1 2H9v3 1V-1", [(0, 0), (1, 0), (3, 0), (9, 0), (9, 3), (9, 4), (9, -1)]),
        ("M0,0l1,1 2,0L9 9", [(0, 0), (1, 1), (3, 1), (9, 9)]),
        ("m1 1c1 1 2 1 3 0s1 1 3 0", [(1, 1), (4, 1), (7, 1)]),
        ("M1 1q1 1 2 0t2 0T8 1", [(1, 1), (3, 1), (5, 1), (8, 1)]),
    ],
)
def test_numbers_and_commands(data, expected):
    path = read_path(data)
    assert path.error == ""
    assert corners(path) == [[pytest.approx(p) for p in expected]]
    assert not path.contours[0].closed


def test_arcs_need_no_separators_after_flags():
    compact, spaced = read_path("M0 0a5 5 0 0110 0a5,5,0,1,0-10,0"), read_path("M0 0a5 5 0 0 1 10 0 a5 5 0 1 0 -10 0")
    assert compact == spaced
    assert compact.error == ""


def test_closing_returns_to_the_start():
    path = read_path("M10 10h5v5zl1 1 2 0z m1 1 2 0 0 2")
    assert corners(path) == [
        [(10, 10), (15, 10), (15, 15)],
        [(10, 10), (11, 11), (13, 11)],
        [(11, 11), (13, 11), (13, 13)],
    ]
    assert [contour.closed for contour in path.contours] == [True, True, False]
    assert [len(contour.points) for contour in path.contours] == [9, 9, 7]


def test_no_closing_line_is_added_at_the_start_point():
    for data in ("M1 1H3V3H1V1Z", "M.1.1l.2.2.1-.3-.3.1z"):
        closed = read_path(data).contours[0]
        assert len(closed.points) == 3 * (4 if "H" in data else 3)


def test_lines_are_cubics_with_handles_at_the_thirds():
    contour = read_path("M0 0L3 6").contours[0]
    assert contour.points == ((0, 0), (1, 2), (2, 4), (3, 6))


@pytest.mark.parametrize("data", ["M5 5h0", "M5 5z", "M5 5L5 5 5 5", "M5 5c0 0 0 0 0 0", "M5 5h0z"])
def test_zero_length_contours_are_dots(data):
    assert read_path(data).contours == (Contour((Point(5, 5),) * 4, closed=False),)


def test_degenerate_cubics_are_dropped():
    assert read_path("M0 0h0h5h0v5l0 0z") == read_path("M0 0h5v5z")


@pytest.mark.parametrize("data", ["", "  ", "M5 5", "M1 1M2 2m3 3", "M1 1L2 2zM9 9"])
def test_moves_without_lines_draw_nothing(data):
    path = read_path(data)
    assert path.error == ""
    assert len(path.contours) == data.count("L")


@pytest.mark.parametrize(
    "data, drawn, error",
    [
        ("L1 1", 0, "starts with 'L1 1' instead of M"),
        ("M0 0L1 1 2", 1, "ends at character 11, where L needs a number"),
        ("M0 0L1 1 x L5 5", 1, "has 'x L5 5' at character 10"),
        ("M0 0h5 #", 1, "has '#' at character 8, where h needs a number"),
        ("M0 0a5 5 0 2 1 10 0", 0, "has '2 1 10 0' at character 12, where a needs a number"),
        ("M0 0L1,,1", 0, "has ',1' at character 8"),
        ("M0 0Z5", 0, "has '5' at character 6"),
        ("M0 0 L NaN 5", 0, "has 'NaN 5' at character 8"),
    ],
)
def test_paths_are_drawn_up_to_the_first_error(data, drawn, error):
    path = read_path(data)
    assert error in path.error
    assert sum(len(contour.points) // 3 for contour in path.contours if len(set(contour.points)) > 1) == drawn


@pytest.mark.parametrize("data", ["M0 0L1e10 5", "M0 0L1e999 5", "M0 0h9e8h9e8", "M1e9 0t1 1 5 5 -2e9 0 9 9"])
def test_distant_points_raise_an_error(data):
    with pytest.raises(SVGError, match="A point lies at .* beyond the limit of 1e.09. Correct or remove it"):
        read_path(data)


def test_too_many_points_raise_an_error():
    assert len(read_path("M0 0" + "h1" * 100, max_points=400).contours[0].points) == 301
    with pytest.raises(SVGError, match="too many control points"):
        read_path("M0 0" + "h1" * 1000, max_points=400)


@pytest.mark.parametrize("sweep", [0, 1])
@pytest.mark.parametrize("large", [0, 1])
@pytest.mark.parametrize("rx, ry, turn", [(5, 5, 0), (8, 3, 0), (9, 4, 30), (3, 7, -100), (6, 5.5, 400)])
def test_arcs_are_on_their_ellipse(rx, ry, turn, large, sweep):
    """Checks the end points, points in between, and which of the four arcs is chosen."""
    end = Point(4.0, 1.5)
    contour = read_path(f"M0 0A{rx} {ry} {turn} {large} {sweep} {end.x} {end.y}").contours[0]
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    unit = [((cos * p.x + sin * p.y) / rx, (cos * p.y - sin * p.x) / ry) for p in points_along(contour)]
    assert contour.points[0] == (0, 0) and contour.points[-1] == end
    x, y = circle_center(unit[0], unit[-1], unit[len(unit) // 2])
    assert all(abs(math.hypot(u - x, v - y) - 1) < 1e-4 for u, v in unit)
    angles = [math.atan2(v - y, u - x) for u, v in unit]
    steps = [(b - a + math.pi) % (2 * math.pi) - math.pi for a, b in zip(angles, angles[1:])]
    assert (sum(steps) > 0) == bool(sweep)
    assert (abs(sum(steps)) > math.pi) == bool(large)


def circle_center(a, b, c) -> tuple[float, float]:
    """The center of the circle through three points."""
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    d = 2 * (ax * (by - cy) + bx * (cy - ay) + cx * (ay - by))
    a2, b2, c2 = ax * ax + ay * ay, bx * bx + by * by, cx * cx + cy * cy
    return (a2 * (by - cy) + b2 * (cy - ay) + c2 * (ay - by)) / d, (
        a2 * (cx - bx) + b2 * (ax - cx) + c2 * (bx - ax)
    ) / d


def test_arcs_with_radii_too_small_are_scaled_up():
    contour = read_path("M0 0A1 1 0 0 1 10 0").contours[0]
    assert all(abs(math.hypot(p.x - 5, p.y) - 5) < 5e-4 for p in points_along(contour))


@pytest.mark.parametrize("radii", ["1e-320 1", "1 1e-320", "1e-320 1e-320", "1e12 1e12", "1e200 1e300", "1e308 1e-320"])
@pytest.mark.parametrize("turn", [0, 1, 37])
def test_arcs_of_extreme_radii_are_lines(radii, turn):
    """As resvg draws tiny ones. Of a radius of 1e12, an arc of length 70 is off its chord by 6e-10."""
    arc, straight = (f"M20 30{command} 80 70L40 90z" for command in (f"A{radii} {turn} 0 1", "L"))
    assert read_path(arc) == read_path(straight)
    if "e-320" in radii:
        assert difference(*(svg(f'<path d="{data}"/>') for data in (arc, straight))) <= SAME


def test_degenerate_arcs_are_lines_or_nothing():
    assert read_path("M0 0A0 5 0 0 1 9 9").contours[0].points[1:] == line(Point(0, 0), Point(9, 9))
    assert read_path("M0 0A5 5 0 1 1 0 0").contours == ()
    assert read_path("M0 0A-5 -5 0 0 1 3 4") == read_path("M0 0A5 5 0 0 1 3 4")


def test_quadratics_keep_their_curve():
    contour = read_path("M1 2Q5 9 8 3").contours[0]
    for i, p in enumerate(points_along(contour)):
        t = i / 16
        x = (1 - t) ** 2 * 1 + 2 * t * (1 - t) * 5 + t * t * 8
        y = (1 - t) ** 2 * 2 + 2 * t * (1 - t) * 9 + t * t * 3
        assert p == pytest.approx((x, y))


@pytest.mark.parametrize(
    "data",
    [
        "M9 9C20 90 50 90 60 50S90 9 95 80",
        "M9 9L50 9S90 50 50 90",
        "M9 50Q25 9 50 50T91 50T50 90",
        "M9 9L50 9T91 50L9 91",
    ],
)
def test_smooth_curves_match_resvg(data):
    drawn = "".join(
        "M{} {}C".format(*c.points[0]) + " ".join(f"{x} {y}" for x, y in c.points[1:]) for c in read_path(data).contours
    )
    assert (
        difference(*(svg(f'<path d="{d}" fill="none" stroke="red" stroke-width="3"/>') for d in (data, drawn))) < SAME
    )

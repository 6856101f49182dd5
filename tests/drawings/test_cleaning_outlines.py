"""Clean-up of outlines: fewer curves within the tolerance, straight lines, smooth joins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dreamsampler.drawings.cleaning.chains import (
    Chain,
    aligned,
    chain_of,
    contour_of,
    smoothed,
    straightened,
    turns,
    with_long_lines,
    without_stubs,
)
from dreamsampler.drawings.cleaning.merging import merged
from dreamsampler.drawings.cleaning.outlines import simpler, simplified
from dreamsampler.drawings.fitting import fitted, line
from dreamsampler.svg.cubics import cubics, split
from dreamsampler.svg.document import IDENTITY, Contour, Document, Matrix, Point, Shape, Stroke, ViewBox
from scipy.spatial import KDTree
from support.cleaning import BLUE, CANVAS, RED, box, circle, curve_count, document, filled
from support.drawings import square


def polyline(*points: tuple[float, float], closed: bool = False) -> Chain:
    corners = np.array([*points, points[0]] if closed else points, float)
    return Chain(np.stack([line(a, b) for a, b in zip(corners[:-1], corners[1:])]), closed)


def sampled(chain: Chain, count: int = 1000) -> np.ndarray:
    t = np.linspace(0, 1, count)[:, None, None]
    p0, p1, p2, p3 = chain.cubics.transpose(1, 0, 2)
    curve = (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    return curve.swapaxes(0, 1).reshape(-1, 2)


def distance(one: Chain, other: Chain) -> float:
    """The largest distance of a point of one chain from the other, both ways."""
    a, b = sampled(one), sampled(other)
    return max(KDTree(a).query(b)[0].max(), KDTree(b).query(a)[0].max())


def divided(contour: Contour, parts: int) -> Contour:
    """The same contour with every cubic cut into equal parts of its parameter."""
    points: list[Point] = []
    for cubic in cubics(contour):
        rest = cubic
        for left in range(parts, 1, -1):
            first, rest = split(rest, 1 / left)
            points += first[:3]
        points += rest[:3]
    if not contour.closed:
        points.append(contour.points[-1])
    return Contour(tuple(points), contour.closed)


def test_contours_come_back_from_chains():
    placement = Matrix(2.0, 0.0, 0.0, 2.0, 3.0, -1.0)
    for contour in (circle(10, 20, 5), Contour(tuple(Point(n, n * n) for n in range(7)), False)):
        back = contour_of(chain_of(contour, placement), placement)
        assert back.closed == contour.closed
        assert np.array(back.points) == pytest.approx(np.array(contour.points))


@pytest.mark.parametrize("radius", [2.0, 15.0])
def test_areas_are_those_of_polygons(radius: float):
    chain = chain_of(circle(40, 30, radius), IDENTITY)
    x, y = sampled(chain, 4000).T
    assert chain.area() == pytest.approx(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2, rel=1e-6)


def test_a_divided_cubic_becomes_itself_again():
    contour = Contour((Point(0, 0), Point(10, 30), Point(40, 20), Point(50, 0)), False)
    (chain,) = merged([chain_of(divided(contour, 8), IDENTITY)], 0.25)
    assert len(chain.cubics) == 1
    assert distance(chain, chain_of(contour, IDENTITY)) < 0.25


def test_a_circle_of_many_curves_becomes_one_of_few():
    before = chain_of(divided(circle(50, 50, 40), 6), IDENTITY)
    (after,) = merged([before], 0.25)
    assert len(after.cubics) <= 4 < len(before.cubics) == 24
    assert distance(before, after) < 0.25


def test_corners_are_kept():
    before = chain_of(divided(square(5, 5, 60, 40), 5), IDENTITY)
    (after,) = simpler([before], 0.25)
    assert sorted(map(tuple, after.cubics[:, 0].round(9))) == [(5, 5), (5, 40), (60, 5), (60, 40)]


def test_a_fit_finds_a_cubic_and_its_distance_again():
    cubic = np.array([[0, 0], [10, 20], [30, 25], [50, 5]], float)
    points = sampled(Chain(cubic[None], False), 25)[None]
    units = [v / np.linalg.norm(v) for v in (cubic[1] - cubic[0], cubic[2] - cubic[3])]
    found, error = fitted(points, units[0][None], units[1][None])
    assert distance(Chain(found, False), Chain(cubic[None], False)) < 0.2
    assert error[0] == pytest.approx(KDTree(sampled(Chain(found, False), 20000)).query(points[0])[0].max(), abs=0.01)
    assert error[0] < 0.15


def test_points_on_a_line_go():
    chain = polyline((0, 0), (10, 0.05), (20, 0), (20, 30), (7, 20), (-6, 10.04), closed=True)
    assert with_long_lines(chain).cubics[:, 0].tolist() == [[0, 0], [20, 0], [20, 30], [-6, 10.04]]


def test_a_line_across_the_start_is_one():
    chain = polyline((10, 0), (20, 0), (20, 30), (0, 30), (0, 0), closed=True)
    assert len(with_long_lines(chain).cubics) == 4


def test_stubs_go():
    chain = polyline((0, 0), (10, 0), (10.02, 0.01), (10, 20), (0.01, 0.02), closed=True)
    after = without_stubs(chain)
    assert len(after.cubics) == 3
    assert (after.cubics[:, 3] == np.roll(after.cubics[:, 0], -1, 0)).all()


def test_almost_straight_is_straight():
    bent = np.array([[0, 0], [10, 0.09], [15, -0.05], [30, 0]], float)
    overshooting, arched = bent.copy(), bent.copy()
    overshooting[1, 0], arched[1, 1] = -2, 0.3
    after = straightened(Chain(np.stack([bent]), False))
    assert after.cubics[0].tolist() == [[0, 0], [10, 0], [20, 0], [30, 0]]
    for kept in (overshooting, arched):
        assert (straightened(Chain(kept[None], False)).cubics[0] == kept).all()


def test_almost_level_is_level():
    after = aligned(polyline((0, 0), (30, 0.08), (30.06, 20), (0, 25), closed=True))
    ends = after.cubics[:, 0]
    assert ends[0, 1] == ends[1, 1] == pytest.approx(0.04)
    assert ends[1, 0] == ends[2, 0] == pytest.approx(30.03)
    assert ends[3].tolist() == [0, 25]
    assert after.straight.all()
    assert (after.cubics[:, 3] == np.roll(ends, -1, 0)).all()


def kinked(degrees: float, handle: float = 5.0) -> Chain:
    """Two cubics along the x axis, the second of which starts at an angle."""
    angle = math.radians(degrees)
    first = [[-30, 8], [-20, 0], [-handle, 0], [0, 0]]
    second = [[0, 0], [handle * math.cos(angle), handle * math.sin(angle)], [20, 0], [30, -8]]
    return Chain(np.array([first, second], float), False)


def test_small_kinks_become_smooth():
    before = kinked(3)
    after = smoothed(before, 0.25)
    assert turns(before) == pytest.approx([math.radians(3)])
    assert turns(after) == pytest.approx([0], abs=1e-9)
    assert distance(before, after) < 0.25


@pytest.mark.parametrize("chain", [kinked(13), kinked(11, 19.0), polyline((0, 0), (20, 0), (40, 2))])
def test_other_joins_stay(chain: Chain):
    assert (smoothed(chain, 0.25).cubics == chain.cubics).all()


def test_beside_a_line_only_the_curve_turns():
    before = kinked(3)
    straight = Chain(np.stack([line(np.array([-30.0, 0.0]), np.zeros(2)), before.cubics[1]]), False)
    after = smoothed(straight, 0.25)
    assert (after.cubics[0] == straight.cubics[0]).all()
    assert turns(after) == pytest.approx([0], abs=1e-9)


def test_tolerances_are_in_pixels_of_the_canvas():
    contour = divided(circle(5, 5, 4), 6)
    small = Document(ViewBox(0, 0, 10, 10), (filled(contour, RED),))
    coarse, fine = simplified(small, (32, 32), 0.25), simplified(small, (4096, 4096), 0.25)
    assert curve_count(coarse) < curve_count(fine) <= 24


def test_contours_of_no_area_go_but_not_their_strokes_or_names():
    dust = square(3, 3, 3.6, 3.6)
    hollow = Shape((square(9, 9, 30, 30), dust), filled(dust, RED).fill)
    stroked = Shape((dust,), None, Stroke(BLUE, width=3))
    named = filled(dust, RED, name="dot")
    after = simplified(document(filled(dust, RED), hollow, stroked, named), CANVAS, 0.25)
    assert [len(shape.contours) for shape in after.shapes()] == [1, 1, 1]
    assert [shape.name for shape in after.shapes()] == ["", "", "dot"]


def test_clean_outlines_stay_exactly():
    before = document(box(5, 5, 40, 40, RED), filled(circle(32, 32, 20), BLUE))
    assert simplified(before, CANVAS, 0.25) == before

"""Lines of an image: known strokes and outlines are found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from dreamsampler.drawings.regions.curves import fitted_line
from dreamsampler.drawings.regions.lines import drawn_lines, thinned
from dreamsampler.svg.document import Contour
from dreamsampler.svg.markup.parser import parse
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from scipy.ndimage import gaussian_filter, label

SIDE = 128


def drawn(shapes: str) -> torch.Tensor:
    text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}">{shapes}</svg>'
    return rasterize([scene(parse(text).document, SIDE, SIDE)], torch.ones(1, 3))[0, :3].clamp(0, 1)


def strokes(data: str, width: float = 4.0) -> torch.Tensor:
    return drawn(f'<path d="{data}" fill="none" stroke="#102030" stroke-width="{width}"/>')


def along(contour: Contour) -> np.ndarray:
    """Points on the curves of a contour."""
    points = np.array(contour.points)
    points = np.concatenate([points, points[:1]]) if contour.closed else points
    times = np.linspace(0, 1, 20)[:, None]
    cubics = [points[n : n + 4] for n in range(0, len(points) - 3, 3)]
    return np.concatenate(
        [
            (1 - times) ** 3 * a + 3 * (1 - times) ** 2 * times * b + 3 * (1 - times) * times**2 * c + times**3 * d
            for a, b, c, d in cubics
        ]
    )


def parts(mask: np.ndarray, *, corners: bool = True) -> int:
    """The number of connected sets, where corners connect or only sides do."""
    labels, _ = label(mask, np.ones((3, 3)) if corners else None)  # type: ignore[misc]
    return int(np.max(labels))


def test_a_straight_stroke_is_one_line_along_its_middle():
    (line,) = drawn_lines(strokes("M20 30 L110 90"), 16)
    assert not line.closed
    points = along(line)
    off = (points - [20, 30]) @ (np.array([-60, 90]) / math.hypot(60, 90))
    assert abs(off).max() < 0.5
    assert np.ptp(points[:, 0]) > 85
    assert len(line.points) == 4  # straight


def test_a_circle_is_one_closed_line():
    (line,) = drawn_lines(strokes("M94 64 A30 30 0 1 1 94 63.9 Z"), 16)
    assert line.closed
    assert np.linalg.norm(along(line) - 64, axis=1) == pytest.approx(30, abs=1.0)


@pytest.mark.parametrize("data", ["M20 20 L108 108 M108 20 L20 108", "M20 64 H108 M64 20 V108"])
def test_strokes_that_cross_go_on_straight(data: str):
    lines = drawn_lines(strokes(data), 16)
    assert len(lines) == 2
    assert all(len(along(line)) and np.ptp(along(line), 0).max() > 80 for line in lines)


def test_a_stroke_that_ends_on_another_leaves_it_whole():
    long, short = drawn_lines(strokes("M14 40 H114 M64 40 V110"), 16)
    assert np.ptp(along(long), 0) == pytest.approx([97, 0], abs=4)
    assert np.ptp(along(short), 0) == pytest.approx([0, 68], abs=4)


def test_what_is_filled_gets_an_outline():
    (line,) = drawn_lines(drawn('<circle cx="64" cy="64" r="40" fill="#c02020"/>'), 16)
    assert line.closed
    assert np.linalg.norm(along(line) - 64, axis=1) == pytest.approx(40, abs=1.2)


def test_a_dot_is_a_short_line():
    (line,) = drawn_lines(drawn('<circle cx="40" cy="80" r="2.5" fill="black"/>'), 16)
    assert along(line).mean(0) == pytest.approx([40, 80], abs=1)
    assert np.ptp(along(line), 0).max() < 4


def test_the_lines_with_most_contrast_are_kept():
    pale = '<path d="M10 20 H118" fill="none" stroke="#b0b0b0" stroke-width="4"/>'
    dark = '<path d="M10 90 H118" fill="none" stroke="#000" stroke-width="4"/>'
    both = drawn_lines(drawn(pale + dark), 16)
    assert [along(line)[:, 1].mean() for line in both] == pytest.approx([90, 20], abs=0.7)
    assert drawn_lines(drawn(pale + dark), 1) == both[:1]


def test_a_flat_image_has_no_lines():
    assert drawn_lines(torch.full((3, 40, 30), 0.5), 16) == []


def test_transparency_has_an_outline():
    alpha = drawn('<rect x="20" y="30" width="70" height="50"/>')[0]
    (line,) = drawn_lines(torch.full((3, SIDE, SIDE), 0.7), 16, 1 - alpha)
    assert np.ptp(along(line), 0) == pytest.approx([70, 50], abs=2.5)


@pytest.mark.parametrize("seed", range(6))
def test_thinning_keeps_what_is_connected(seed: int):
    """The numbers of connected sets and of holes stay, and no square of 2 x 2 pixels is left inside a line."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((60, 80)), 2.5)
    mask = noise > 0.05
    thin = thinned(mask)
    assert parts(thin) == parts(mask)
    holes = [parts(np.pad(~each, 1, constant_values=True), corners=False) for each in (thin, mask)]
    assert holes[0] == holes[1]
    assert (thin <= mask).all()
    assert thin.sum() < 0.35 * mask.sum()


def test_squares_do_not_vanish():
    for side in range(1, 7):
        mask = np.zeros((10, 10), bool)
        mask[2 : 2 + side, 2 : 2 + side] = True
        assert parts(thinned(mask)) == 1


def test_an_open_polygon_keeps_its_ends_and_corners():
    steps = np.arange(0, 30.5)
    bent = np.concatenate([np.stack([steps, 0 * steps], 1), np.stack([0 * steps[1:] + 30, steps[1:]], 1)])
    cubics = fitted_line(bent, 0.3)
    assert cubics[:, [0, 3]] == pytest.approx(np.array([[[0, 0], [30, 0]], [[30, 0], [30, 30]]]), abs=1e-6)

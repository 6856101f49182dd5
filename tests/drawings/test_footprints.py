"""Footprints: nodes meet where their images, each drawn alone, show some of the same pixel."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from dreamsampler.drawings.cleaning.footprints import Footprints
from dreamsampler.svg.document import Fill, Group, Node, Shape, Stroke
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from support.cleaning import BLUE, CANVAS, GREEN, RED, SIDE, circle, document, filled
from support.drawings import square
from torch import Tensor


def shapes(seed: int, count: int = 24) -> list[Shape]:
    """Small circles and squares anywhere, beyond the canvas too, some of them outlines or off it."""
    noise = np.random.default_rng(seed)
    found = []
    for n in range(count):
        x, y, radius = *noise.uniform(-6, SIDE + 6, 2), noise.uniform(0.2, 12)
        contour = circle(x, y, radius) if n % 2 else square(x, y, x + radius, y + radius)
        fill, stroke = Fill(RED, 0.5), Stroke(BLUE, width=1.0)
        found.append(Shape((contour,), fill if n % 3 else None, None if n % 3 == 1 else stroke))
    return found


def shown(node: Node) -> Tensor:
    return rasterize([scene(document(node), *CANVAS)])[0, 3] > 0


@pytest.mark.parametrize("seed", range(3))
def test_nodes_meet_where_both_are_shown(seed: int):
    single = shapes(seed)
    nodes = [Group(tuple(single[:3]), 0.5), *single[3:], Group(tuple(shapes(seed + 9, 2)))]
    footprints = Footprints(document(*nodes), CANVAS)
    images, coverings = [shown(node) for node in nodes], [footprints.of(node) for node in nodes]
    meetings = set()
    for one, other in combinations(range(len(nodes)), 2):
        meet = bool((images[one] & images[other]).any())
        assert coverings[one].meets(coverings[other]) == coverings[other].meets(coverings[one]) == meet, (one, other)
        meetings.add(meet)
    assert meetings == {True, False}


@pytest.mark.parametrize("edge", range(24, 41))
def test_neighbors_do_not_meet_wherever_their_border_is(edge: int):
    left, right = filled(square(3, 5, edge, 20), RED), filled(square(edge, 5, 61, 20), GREEN)
    across = filled(square(edge - 1, 0, edge, 64), BLUE)
    footprints = Footprints(document(left, right, across), CANVAS)
    one, other, third = (footprints.of(node) for node in (left, right, across))
    assert not one.meets(other) and one.meets(third) and not other.meets(third)

"""Reinitialization of dead paths: its schedule, which paths are dead, and their replacement."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.drawings.reinitialization import dead, polygon_area, reinitialization_due, reinitialize_dead
from dreamsampler.drawings.styles import ART_STYLES
from support.tensors import generator, normal

CANVAS = (600, 600)


def test_polygon_area_of_known_shapes():
    square = torch.tensor([[0.0, 0], [3, 0], [3, 3], [0, 3]])
    angles = 2 * math.pi * torch.arange(12) / 12
    dodecagon = 20 * torch.stack([angles.cos(), angles.sin()], -1)
    eight = torch.tensor([[0.0, 0], [2, 2], [2, 0], [0, 2]])
    assert polygon_area(square).item() == 9
    assert polygon_area(square.flip(0)).item() == 9
    assert polygon_area(dodecagon).item() == pytest.approx(3 * 20**2)
    assert polygon_area(eight).item() == 0
    torch.testing.assert_close(polygon_area(torch.stack([square, 2 * square])), torch.tensor([9.0, 36.0]))


def test_polygon_area_is_exact_far_from_the_origin():
    square = torch.tensor([[0.0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]])
    assert polygon_area(square + 4096).item() == 0.25


def test_gradient_of_polygon_area():
    points = normal(3, 12, 2).requires_grad_()
    assert torch.autograd.gradcheck(polygon_area, points)


def test_faint_and_small_paths_are_dead():
    opacity = torch.tensor([0.04, 0.05, 0.9, 0.9, 0.01])
    area = torch.tensor([500.0, 64.0, 63.9, 64.0, 1.0])
    assert dead(opacity, area).tolist() == [True, False, True, False, True]
    assert dead(opacity, area, min_area=0.0).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("steps, every", [(1000, 100), (100, 10), (5, 1)])
def test_reinitialization_is_due_every_tenth_of_the_first_80_percent(steps: int, every: int):
    steps_due = [step + 1 for step in range(steps) if reinitialization_due(step, steps)]
    assert steps_due == [n for n in range(every, steps + 1, every) if n <= 0.8 * steps]


def test_faint_and_small_paths_are_replaced_by_visible_ones():
    style, random = ART_STYLES["iconography"], generator()
    drawing = style.random_drawing(4, CANVAS, random, torch.empty(0, dtype=torch.float64))
    optimizer = torch.optim.Adam(drawing.parameters["points"] + drawing.parameters["color"])
    with torch.no_grad():
        drawing.colors[1, 3] = 0.01
        drawing.points[24:36] = drawing.points[24:36].mean(0) + 0.1 * (
            drawing.points[24:36] - drawing.points[24:36].mean(0)
        )
    before = drawing.control_points.clone()
    assert reinitialize_dead(drawing, style, CANVAS, random, optimizer) == 2
    changed = (drawing.control_points != before).flatten(1).any(1)
    assert changed.tolist() == [False, True, True, False]
    assert drawing.colors[1, 3] >= 0.7
    assert reinitialize_dead(drawing, style, CANVAS, random, optimizer) == 0

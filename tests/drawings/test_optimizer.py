"""Learning rates against the published numbers."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.drawings.optimizer import EDITING, FROM_SCRATCH, PIXEL_ART, REFINING, TRACING

KINDS = ("points", "width", "color", "background")


@pytest.mark.parametrize(
    "step, rate",
    [(0, 0.02), (250, 0.11), (500, 0.2), (750, 0.125), (1000, 0.05), (600, 0.05 + 0.075 * (1 + math.cos(math.pi / 5)))],
)
def test_dreamsampler_eq_21(step, rate):
    rates = FROM_SCRATCH.at(step / 1000)
    assert rates["points"] == pytest.approx(rate)
    assert rates["color"] == pytest.approx(rate / 20)
    assert rates["background"] == pytest.approx(rate / 200)


@pytest.mark.parametrize("step, rate", [(0, 1), (60, 1), (100, 1), (300, 0.4), (500, 0.16)])
def test_tracing_keeps_the_rate_of_points_and_then_decays(step, rate):
    assert TRACING.at(step / 500) == pytest.approx({"points": rate, "width": 0.1, "color": 0.01, "background": 0.01})


@pytest.mark.parametrize("step, rate", [(0, 0.02), (25, 0.51), (50, 1), (525, 0.7), (1000, 0.4)])
def test_refining_warms_up_and_then_follows_a_cosine(step, rate):
    assert REFINING.at(step / 1000) == pytest.approx({"points": rate, "width": 0.1, "color": 0.01, "background": 0.01})


@pytest.mark.parametrize("step, rate", [(0, 1e-5), (500, 5.5e-5), (1000, 1e-4)])
def test_pixel_art_warms_up_throughout(step, rate):
    assert PIXEL_ART.at(step / 1000)["color"] == pytest.approx(rate)


def test_editing_is_constant():
    assert EDITING.at(0.0) == EDITING.at(0.37) == EDITING.at(1.0)
    assert EDITING.at(0.5)["points"] == 0.8 and EDITING.at(0.5)["color"] == 0.01


@pytest.mark.parametrize("rates", [TRACING, REFINING, FROM_SCRATCH, PIXEL_ART, EDITING])
def test_rates_go_without_jumps_and_never_to_zero(rates):
    steps = [rates.at(i / 2000) for i in range(2001)]
    for kind in KINDS:
        values = [step[kind] for step in steps]
        assert min(values) > 0
        assert max(values) == pytest.approx(getattr(rates, kind))
        assert max(abs(a - b) for a, b in zip(values, values[1:])) < 0.012 * max(values)


def test_the_optimiser_has_a_group_for_each_kind():
    parameters = {kind: [torch.zeros(3, requires_grad=True)] for kind in KINDS}
    optimizer = FROM_SCRATCH.adam(parameters)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == FROM_SCRATCH.at(0.0)
    assert all(group["betas"] == (0.9, 0.9) and group["eps"] == 1e-6 for group in optimizer.param_groups)
    FROM_SCRATCH.set(optimizer, 0.75)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == FROM_SCRATCH.at(0.75)


def test_a_step_is_as_long_as_the_rate():
    points, color = (torch.zeros(4, 2, requires_grad=True) for _ in range(2))
    optimizer = EDITING.adam({"points": [points], "color": [color]})
    (points.sum() - 3 * color.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(points.detach(), torch.full((4, 2), -0.8))
    torch.testing.assert_close(color.detach(), torch.full((4, 2), 0.01))


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="no learning rate for opacity"):
        EDITING.adam({"opacity": [torch.zeros(1, requires_grad=True)]})

"""Learning rates, compared with the papers; rows of the optimizer state, compared with Adam."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.drawings.drawing import PARAMETER_GROUPS
from dreamsampler.drawings.optimizer import (
    EDITING,
    FROM_SCRATCH,
    PIXEL_ART,
    REFINING,
    TRACING,
    append_rows,
    reset_state,
)
from support.tensors import normal
from torch import Tensor
from torch.optim import Adam

BETAS = [(0.9, 0.9), (0.9, 0.999)]

# Learning rates


@pytest.mark.parametrize(
    "step, rate",
    [(0, 0.02), (250, 0.11), (500, 0.2), (750, 0.125), (1000, 0.05), (600, 0.05 + 0.075 * (1 + math.cos(math.pi / 5)))],
)
def test_from_scratch_follows_dreamsampler_eq_21(step, rate):
    rates = FROM_SCRATCH.at(step / 1000)
    assert rates["points"] == pytest.approx(rate)
    assert rates["color"] == pytest.approx(rate / 20)
    assert rates["background"] == pytest.approx(rate / 200)


@pytest.mark.parametrize("step, rate", [(0, 1), (60, 1), (100, 1), (300, 0.4), (500, 0.16)])
def test_tracing_keeps_the_point_rate_then_decays(step, rate):
    assert TRACING.at(step / 500) == pytest.approx({"points": rate, "width": 0.1, "color": 0.01, "background": 0.01})


@pytest.mark.parametrize("step, rate", [(0, 0.02), (25, 0.51), (50, 1), (525, 0.7), (1000, 0.4)])
def test_refining_warms_up_then_follows_a_cosine(step, rate):
    assert REFINING.at(step / 1000) == pytest.approx({"points": rate, "width": 0.1, "color": 0.01, "background": 0.01})


@pytest.mark.parametrize("step, rate", [(0, 1e-5), (500, 5.5e-5), (1000, 1e-4)])
def test_pixel_art_warms_up_throughout(step, rate):
    assert PIXEL_ART.at(step / 1000)["color"] == pytest.approx(rate)


def test_editing_is_constant():
    assert EDITING.at(0.0) == EDITING.at(0.37) == EDITING.at(1.0)
    assert EDITING.at(0.5)["points"] == 0.8 and EDITING.at(0.5)["color"] == 0.01


@pytest.mark.parametrize("rates", [TRACING, REFINING, FROM_SCRATCH, PIXEL_ART, EDITING])
def test_rates_are_continuous_and_positive(rates):
    steps = [rates.at(i / 2000) for i in range(2001)]
    for kind in PARAMETER_GROUPS:
        values = [step[kind] for step in steps]
        assert min(values) > 0
        assert max(values) == pytest.approx(getattr(rates, kind))
        assert max(abs(a - b) for a, b in zip(values, values[1:])) < 0.012 * max(values)


def test_adam_has_one_group_per_parameter_group():
    parameters = {kind: [torch.zeros(3, requires_grad=True)] for kind in PARAMETER_GROUPS}
    optimizer = FROM_SCRATCH.adam(parameters)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == FROM_SCRATCH.at(0.0)
    assert all(group["betas"] == (0.9, 0.9) and group["eps"] == 1e-6 for group in optimizer.param_groups)
    FROM_SCRATCH.set(optimizer, 0.75)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == FROM_SCRATCH.at(0.75)


def test_first_step_has_the_length_of_the_learning_rate():
    points, color = (torch.zeros(4, 2, requires_grad=True) for _ in range(2))
    optimizer = EDITING.adam({"points": [points], "color": [color]})
    (points.sum() - 3 * color.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(points.detach(), torch.full((4, 2), -0.8))
    torch.testing.assert_close(color.detach(), torch.full((4, 2), 0.01))


def test_group_without_a_rate_raises_an_error():
    with pytest.raises(ValueError, match="no learning rate for opacity"):
        EDITING.adam({"opacity": [torch.zeros(1, requires_grad=True)]})


# Rows of the optimizer state


def gradient(shape: tuple[int, ...], step: int) -> Tensor:
    return normal(*shape, seed=step)


def leaf(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64, requires_grad=True)


def take_step(optimizer: Adam, parameter: Tensor, grad: Tensor) -> Tensor:
    """The parameter after one step."""
    parameter.grad = grad.clone()
    optimizer.step()
    return parameter.detach().clone()


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("rows", [torch.tensor([1, 3]), torch.tensor([False, True, False, True, False])])
def test_reset_rows_continue_like_rows_without_previous_gradients(betas, rows):
    """The other rows continue unchanged. Both are compared with separate Adam optimizers."""
    parameter, untouched, without_gradients = leaf(5, 2), leaf(5, 2), leaf(5, 2)
    optimizers = [Adam([p], lr=0.1, betas=betas) for p in (parameter, untouched, without_gradients)]
    for step in range(20):
        grad = gradient((5, 2), step)
        take_step(optimizers[0], parameter, grad)
        take_step(optimizers[1], untouched, grad)
        take_step(optimizers[2], without_gradients, torch.zeros(5, 2, dtype=torch.float64))
    with torch.no_grad():
        parameter[rows] = 0
    reset_state(optimizers[0], parameter, rows)
    for step in range(20, 25):
        after, unchanged, fresh = (
            take_step(o, p, gradient((5, 2), step))
            for o, p in zip(optimizers, (parameter, untouched, without_gradients))
        )
        assert torch.equal(after[[1, 3]], fresh[[1, 3]])
        assert torch.equal(after[[0, 2, 4]], unchanged[[0, 2, 4]])
        assert not torch.isclose(after[[1, 3]], unchanged[[1, 3]]).any()


@pytest.mark.parametrize("betas", BETAS)
def test_first_step_after_a_late_reset_has_the_documented_length(betas):
    parameter = leaf(2, 2)
    optimizer = Adam([parameter], lr=0.1, betas=betas)
    for step in range(12000):
        take_step(optimizer, parameter, gradient((2, 2), step % 7))
    reset_state(optimizer, parameter, torch.tensor([0]))
    before = parameter.detach().clone()
    step = take_step(optimizer, parameter, torch.ones(2, 2, dtype=torch.float64)) - before
    expected = 0.1 * (1 - betas[0]) / math.sqrt(1 - betas[1])
    torch.testing.assert_close(step[0], torch.full((2,), -expected, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_appended_rows(amsgrad):
    """Old rows continue; new rows behave like those of a longer parameter whose gradient was 0."""
    parameter, longer = leaf(3, 4, 2), leaf(5, 4, 2)
    other_parameter = leaf(2)
    optimizer = Adam(
        [{"params": [other_parameter, parameter], "name": "points"}, {"params": [leaf(1)], "lr": 1.0}],
        lr=0.1,
        amsgrad=amsgrad,
    )
    oracle = Adam([longer], lr=0.1, amsgrad=amsgrad)
    for step in range(10):
        grad = gradient((3, 4, 2), step)
        take_step(optimizer, parameter, grad)
        take_step(oracle, longer, torch.cat([grad, torch.zeros(2, 4, 2, dtype=torch.float64)]))
    old = parameter.detach().clone()
    new = append_rows(optimizer, parameter, torch.zeros(2, 4, 2))
    assert new.is_leaf and new.requires_grad and new.dtype == torch.float64
    assert torch.equal(new.detach(), longer.detach())
    assert optimizer.param_groups[0]["params"][1] is new and optimizer.param_groups[0]["params"][0] is other_parameter
    assert len(optimizer.param_groups) == 2 and parameter not in optimizer.state
    for step in range(10, 15):
        grad = gradient((5, 4, 2), step)
        assert torch.equal(take_step(optimizer, new, grad), take_step(oracle, longer, grad))
    assert torch.equal(parameter.detach(), old)


def test_rows_can_be_appended_repeatedly_before_the_first_step():
    parameter = leaf(1, 2)
    optimizer = Adam([parameter], lr=0.1)
    new = append_rows(optimizer, append_rows(optimizer, parameter, torch.ones(1, 2)), torch.full((2, 2), 2.0))
    reset_state(optimizer, new, torch.tensor([0]))
    assert new[:, 0].tolist() == [0, 1, 2, 2]
    grad = gradient((4, 2), 0)
    expected = torch.tensor([0.0, 1, 2, 2])[:, None] - 0.1 * grad.sign()
    torch.testing.assert_close(take_step(optimizer, new, grad), expected, rtol=0, atol=1e-6)


def test_parameter_of_another_optimizer_raises_an_error():
    optimizer = Adam([leaf(3, 2)], lr=0.1)
    with pytest.raises(ValueError, match="does not hold"):
        reset_state(optimizer, leaf(3, 2), torch.tensor([0]))
    with pytest.raises(ValueError, match="does not hold"):
        append_rows(optimizer, leaf(3, 2), torch.zeros(1, 2))


def test_rows_of_another_shape_raise_an_error():
    parameter = leaf(3, 12, 2)
    with pytest.raises(ValueError, match="same number of points"):
        append_rows(Adam([parameter], lr=0.1), parameter, torch.zeros(1, 9, 2))

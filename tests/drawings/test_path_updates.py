"""What happens to paths between steps, against Adam's own behaviour."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.drawings.drawing import clamp_colors
from dreamsampler.drawings.optimizer import extended, reset_state
from dreamsampler.drawings.styles import dead, polygon_area
from torch import Tensor
from torch.optim import Adam

BETAS = [(0.9, 0.9), (0.9, 0.999)]


def gradient(shape: tuple[int, ...], step: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=torch.float64)


def leaf(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64, requires_grad=True)


def stepped(optimizer: Adam, parameter: Tensor, grad: Tensor) -> Tensor:
    """One step, and the parameter after it."""
    parameter.grad = grad.clone()
    optimizer.step()
    return parameter.detach().clone()


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
    points = gradient((3, 12, 2), 0).requires_grad_()
    assert torch.autograd.gradcheck(polygon_area, points)


def test_faint_and_small_paths_are_dead():
    opacity = torch.tensor([0.04, 0.05, 0.9, 0.9, 0.01])
    area = torch.tensor([500.0, 64.0, 63.9, 64.0, 1.0])
    assert dead(opacity, area).tolist() == [True, False, True, False, True]
    assert dead(opacity, area, min_area=0.0).tolist() == [True, False, False, False, True]


def test_colours_are_clamped_in_place_and_stay_leaves():
    color = torch.tensor([[-0.2, 0.5, 1.7]], requires_grad=True)
    opacity = torch.tensor([1.01], requires_grad=True)
    clamp_colors(color, opacity)
    assert torch.equal(color.detach(), torch.tensor([[0.0, 0.5, 1.0]])) and opacity.item() == 1
    assert color.is_leaf and color.requires_grad


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("rows", [torch.tensor([1, 3]), torch.tensor([False, True, False, True, False])])
def test_rows_that_are_reset_go_on_as_if_they_never_had_a_gradient(betas, rows):
    """The other rows as if nothing had happened. Adam itself says what both are."""
    parameter, untouched, never = leaf(5, 2), leaf(5, 2), leaf(5, 2)
    optimizers = [Adam([p], lr=0.1, betas=betas) for p in (parameter, untouched, never)]
    for step in range(20):
        grad = gradient((5, 2), step)
        stepped(optimizers[0], parameter, grad)
        stepped(optimizers[1], untouched, grad)
        stepped(optimizers[2], never, torch.zeros(5, 2, dtype=torch.float64))
    with torch.no_grad():
        parameter[rows] = 0
    reset_state(optimizers[0], parameter, rows)
    for step in range(20, 25):
        after, as_before, fresh = (
            stepped(o, p, gradient((5, 2), step)) for o, p in zip(optimizers, (parameter, untouched, never))
        )
        assert torch.equal(after[[1, 3]], fresh[[1, 3]])
        assert torch.equal(after[[0, 2, 4]], as_before[[0, 2, 4]])
        assert not torch.isclose(after[[1, 3]], as_before[[1, 3]]).any()


@pytest.mark.parametrize("betas", BETAS)
def test_the_first_step_after_a_late_reset_is_as_long_as_documented(betas):
    parameter = leaf(2, 2)
    optimizer = Adam([parameter], lr=0.1, betas=betas)
    for step in range(12000):
        stepped(optimizer, parameter, gradient((2, 2), step % 7))
    reset_state(optimizer, parameter, torch.tensor([0]))
    before = parameter.detach().clone()
    step = stepped(optimizer, parameter, torch.ones(2, 2, dtype=torch.float64)) - before
    expected = 0.1 * (1 - betas[0]) / math.sqrt(1 - betas[1])
    torch.testing.assert_close(step[0], torch.full((2,), -expected, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("amsgrad", [False, True])
def test_an_extended_parameter_goes_on(amsgrad):
    """Old rows as before, new ones as rows of a longer parameter that never had a gradient."""
    parameter, longer = leaf(3, 4, 2), leaf(5, 4, 2)
    bystander = leaf(2)
    optimizer = Adam(
        [{"params": [bystander, parameter], "name": "points"}, {"params": [leaf(1)], "lr": 1.0}],
        lr=0.1,
        amsgrad=amsgrad,
    )
    oracle = Adam([longer], lr=0.1, amsgrad=amsgrad)
    for step in range(10):
        grad = gradient((3, 4, 2), step)
        stepped(optimizer, parameter, grad)
        stepped(oracle, longer, torch.cat([grad, torch.zeros(2, 4, 2, dtype=torch.float64)]))
    old = parameter.detach().clone()
    new = extended(optimizer, parameter, torch.zeros(2, 4, 2))
    assert new.is_leaf and new.requires_grad and new.dtype == torch.float64
    assert torch.equal(new.detach(), longer.detach())
    assert optimizer.param_groups[0]["params"][1] is new and optimizer.param_groups[0]["params"][0] is bystander
    assert len(optimizer.param_groups) == 2 and parameter not in optimizer.state
    for step in range(10, 15):
        grad = gradient((5, 4, 2), step)
        assert torch.equal(stepped(optimizer, new, grad), stepped(oracle, longer, grad))
    assert torch.equal(parameter.detach(), old)


def test_extending_before_the_first_step_and_twice():
    parameter = leaf(1, 2)
    optimizer = Adam([parameter], lr=0.1)
    new = extended(optimizer, extended(optimizer, parameter, torch.ones(1, 2)), torch.full((2, 2), 2.0))
    reset_state(optimizer, new, torch.tensor([0]))
    assert new[:, 0].tolist() == [0, 1, 2, 2]
    grad = gradient((4, 2), 0)
    expected = torch.tensor([0.0, 1, 2, 2])[:, None] - 0.1 * grad.sign()
    torch.testing.assert_close(stepped(optimizer, new, grad), expected, rtol=0, atol=1e-6)


def test_a_parameter_of_another_optimiser_is_refused():
    optimizer = Adam([leaf(3, 2)], lr=0.1)
    with pytest.raises(ValueError, match="does not hold"):
        reset_state(optimizer, leaf(3, 2), torch.tensor([0]))
    with pytest.raises(ValueError, match="does not hold"):
        extended(optimizer, leaf(3, 2), torch.zeros(1, 2))


def test_rows_of_another_shape_are_refused():
    parameter = leaf(3, 12, 2)
    with pytest.raises(ValueError, match="same number of points"):
        extended(Adam([parameter], lr=0.1), parameter, torch.zeros(1, 9, 2))

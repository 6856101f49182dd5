"""Scenes as parameters: learning rates by group, and splats that are moved during a run."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.scenes.optimizer import FITTING, GENERATING, LearningRates, TrainableScene, set_rates
from support.splats import ball

RATES = LearningRates(1e-2, 1e-4, 0.2, 0.3, 0.4, 0.5, 0.6)


def test_scene_survives_the_split_into_groups():
    scene = ball(5, coefficients=4)
    for before, after in zip(scene.parameters, TrainableScene(scene).scene().parameters, strict=True):
        assert torch.equal(before, after)


def test_each_group_has_its_rate_and_that_of_positions_falls():
    optimizer = TrainableScene(ball(5, coefficients=4)).adam(RATES)
    set_rates(optimizer, RATES, 0.5)
    rates = {group["name"]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({
        "positions": 1e-3, "log_scales": 0.2, "rotations": 0.3, "opacity_logits": 0.4, "colors": 0.5, "details": 0.6
    })  # fmt: skip


def test_factors_of_rates():
    changed = RATES.times(2.0, geometry=0.1).of_size(10.0).at(0.0)
    assert changed == pytest.approx({
        "positions": 2e-2, "log_scales": 0.04, "rotations": 0.06, "opacity_logits": 0.8, "colors": 1.0, "details": 1.2
    })  # fmt: skip
    assert FITTING.at(1.0)["positions"] == FITTING.final_positions
    assert GENERATING.at(1.0)["positions"] == pytest.approx(GENERATING.final_positions)


def step(trainable: TrainableScene, optimizer: torch.optim.Adam) -> None:
    optimizer.zero_grad()
    torch.stack([leaf.square().sum() for leaf in trainable.groups.values()]).sum().backward()
    optimizer.step()
    trainable.constrain()


def test_transparent_splats_move_and_lose_their_momentum():
    scene = ball(20)
    scene.opacity_logits[:] = 1.0
    scene.opacity_logits[3] = -9.0
    trainable = TrainableScene(scene)
    optimizer = trainable.adam(RATES)
    step(trainable, optimizer)
    positions = trainable.groups["positions"].detach().clone()
    assert trainable.relocate(optimizer, torch.Generator().manual_seed(0)) == 2  # the splat, and the one it moves to
    moved = (trainable.groups["positions"] != positions).any(1)
    assert moved.nonzero().flatten().tolist() == [3]
    home = int((positions == trainable.groups["positions"][3]).all(1).nonzero())
    moments = optimizer.state[trainable.groups["positions"]]["exp_avg"]
    assert (moments == 0).all(1).nonzero().flatten().tolist() == sorted([3, home])
    step(trainable, optimizer)
    assert trainable.scene().positions.isfinite().all()


def test_nothing_moves_where_all_are_visible():
    scene = ball(20)
    scene.opacity_logits[:] = 1.0
    trainable = TrainableScene(scene)
    assert trainable.relocate(trainable.adam(RATES), torch.Generator()) == 0


def test_rotations_keep_length_1():
    trainable = TrainableScene(ball(5))
    trainable.constrain()
    assert trainable.groups["rotations"].norm(dim=1).tolist() == pytest.approx([1.0] * 5)

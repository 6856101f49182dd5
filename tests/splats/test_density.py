"""Splats that have become transparent are moved, and the image stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dreamsampler.splats.camera import orbit
from dreamsampler.splats.density import relocated
from dreamsampler.splats.rasterizer import render
from dreamsampler.splats.scene import Scene
from support.splats import ball


def with_dead(count: int, dead: int) -> Scene:
    """A ball whose last `dead` splats are transparent."""
    scene = ball(count, size=0.2)
    logits = scene.opacity_logits.clone()
    logits[count - dead :] = -10
    return Scene(scene.positions, scene.log_scales, scene.rotations, logits, scene.harmonics)


def test_dead_splats_move_onto_living_ones():
    scene = with_dead(60, 20)
    found, changed = relocated(scene, torch.Generator().manual_seed(0))
    assert changed[40:].all() and (found.opacities > 0.004).all()
    for i in range(40, 60):
        home = int((found.positions[i] == scene.positions[:40]).all(1).nonzero()[0])
        assert changed[home]
        for mine, other in zip(found[torch.tensor([i])].parameters, found[torch.tensor([home])].parameters):
            assert torch.equal(mine, other)
    kept = ~changed
    for mine, before in zip(found[kept].parameters, scene[kept].parameters):
        assert torch.equal(mine, before)


def test_the_image_stays():
    scene = with_dead(60, 20)
    camera = orbit(azimuth=20, elevation=10, distance=4, fov=40, width=64, height=64)
    before, after = (render(each, camera).color for each in (scene, relocated(scene, torch.Generator())[0]))
    naive = scene.map(lambda values: torch.cat([values[:40], values[:20]]))
    assert (after - before).abs().mean() < 0.25 * (render(naive, camera).color - before).abs().mean()


@pytest.mark.parametrize("copies", [2, 3, 7])
@pytest.mark.parametrize("opacity", [0.05, 0.5, 0.95])
def test_copies_cover_as_much_as_one(copies: int, opacity: float):
    logits = torch.full((copies,), -10.0, dtype=torch.float64)
    logits[0] = torch.tensor(opacity).logit()
    one = ball(copies)
    scene = Scene(one.positions, torch.zeros_like(one.log_scales), one.rotations, logits, one.harmonics)
    found, _ = relocated(scene, torch.Generator().manual_seed(0))
    x = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    gaussian = torch.exp(-x.square() / 2 / found.scales[0, 0] ** 2)
    together = 1 - (1 - found.opacities[0] * gaussian) ** copies
    alone = opacity * torch.exp(-x.square() / 2)
    torch.testing.assert_close(together.max(), alone.max(), rtol=1e-6, atol=0)
    torch.testing.assert_close(together.sum(), alone.sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("dead", [0, 9])
def test_nothing_to_move(dead: int):
    scene = with_dead(9, dead)
    if not dead:
        scene = replace(scene, opacity_logits=torch.zeros(9, dtype=torch.float64))
    found, changed = relocated(scene, torch.Generator())
    assert found is scene and not changed.any()

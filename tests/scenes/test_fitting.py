"""A scene fitted to views of another one shows that one, from other sides too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import SuperResolution
from dreamsampler.scenes.cameras import Ball, CameraRange, Look
from dreamsampler.scenes.fitting import Targets, fit, relocation_due
from dreamsampler.scenes.losses import SparsityTerm, image_distance, ssim
from dreamsampler.scenes.optimizer import FITTING, TrainableScene
from dreamsampler.scenes.views import SceneViews, seen
from dreamsampler.splats.harmonics import from_colors
from dreamsampler.splats.initialization import in_ball
from dreamsampler.splats.scene import Scene
from support.splats import ball
from support.tensors import generator, psnr, uniform
from torch import Tensor

WHITE = torch.ones(3)
SIZE = 20


def object_of_two_colors() -> Scene:
    """An opaque ball whose upper half is red and whose lower half is blue."""
    scene = ball(150, size=0.12, dtype=torch.float32)
    colors = torch.where(scene.positions[:, 1:2] < 0, torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]))
    return replace(scene, opacity_logits=torch.full((150,), 2.0), harmonics=from_colors(colors))


def views(scene: Scene, azimuth: float, count: int) -> tuple[list[Any], Tensor]:
    cameras = [
        CameraRange().camera(Ball(radius=1.0), azimuth + 360 * i / count, 15 * (i % 3 - 1), SIZE) for i in range(count)
    ]
    with torch.no_grad():
        return cameras, seen(scene, [Look(camera, WHITE) for camera in cameras])


def fitted(targets: Targets, steps: int, seed: int = 0) -> Scene:
    draws = generator(seed)
    trainable = TrainableScene(in_ball(150, draws))
    for _ in fit(trainable, targets, steps, draws, rates=FITTING):
        pass
    return trainable.scene()


def test_views_of_a_fitted_scene_are_right_from_sides_it_was_not_fitted_to():
    scene = object_of_two_colors()
    cameras, images = views(scene, 0, 8)
    found = fitted(Targets(cameras, WHITE, images), 200)
    others, held_out = views(scene, 20, 5)
    with torch.no_grad():
        rendered = seen(found, [Look(camera, WHITE) for camera in others])
    assert psnr(rendered, held_out) > 19  # 12 at the start


def test_scene_fits_what_is_measured_of_its_views():
    scene = object_of_two_colors()
    cameras, images = views(scene, 0, 6)
    operator = SuperResolution(SIZE, SIZE, 2)
    measurement = Measurement(operator, operator.forward(2 * images - 1))
    found = fitted(Targets(cameras, WHITE, measurement=measurement), 150)
    with torch.no_grad():
        rendered = seen(found, [Look(camera, WHITE) for camera in cameras])
    assert psnr((operator.forward(2 * rendered - 1) + 1) / 2, (measurement.y + 1) / 2) > 17


def test_relocation_is_due_every_hundred_steps_but_not_at_the_end():
    assert [step for step in range(600) if relocation_due(step, 600)] == [99, 199, 299, 399, 499]


def test_unseen_splats_shrink_and_fade_until_they_move_to_visible_ones():
    """Images give no gradient for them; so it is sparsity that changes them, and then relocation, after 100 steps."""
    scene = object_of_two_colors()
    cameras, images = views(scene, 0, 4)
    unseen = torch.arange(150) < 30
    start = replace(
        scene,
        positions=torch.where(unseen[:, None], scene.positions - 50, scene.positions),
        opacity_logits=torch.where(unseen, -9.0, scene.opacity_logits),
    )
    trainable, at_start = TrainableScene(start), start[unseen]
    for step in fit(trainable, Targets(cameras, WHITE, images), 120, generator()):
        now = trainable.scene()[unseen]
        if step.index == 98:
            assert torch.equal(now.positions, at_start.positions)
            assert (now.opacity_logits < at_start.opacity_logits - 1).all()
            assert (now.log_scales < at_start.log_scales - 0.1).all()
        elif step.index == 99:
            assert (now.positions.norm(dim=1) < 1.5).all() and (now.opacities > 0.005).all()
            break


def test_distance_of_images_is_that_of_3dgs():
    """0.8 L1 + 0.2 (1 - SSIM) with the SSIM of kornia."""
    kornia = pytest.importorskip("kornia")
    x, y = (uniform(2, 3, 20, 30, seed=seed) for seed in (0, 1))
    similarity = kornia.metrics.ssim(x, y, 11, padding="valid").mean().item()
    assert ssim(x, y).item() == pytest.approx(similarity, abs=1e-9)
    assert ssim(x, x).item() == pytest.approx(1.0)
    expected = 0.8 * (x - y).abs().mean().item() + 0.2 * (1 - similarity)
    assert image_distance(x, y).item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", [(9, 16), (1, 4), (16, 2)])
def test_ssim_of_images_smaller_than_its_window(size: tuple[int, int]):
    x, y = (uniform(1, 3, *size, seed=seed) for seed in (0, 1))
    assert float(ssim(x, x)) == pytest.approx(1.0)
    assert float(ssim(x, y)) < 0.9
    assert float(image_distance(x, x)) == pytest.approx(0.0, abs=1e-12)


def test_sparsity_pulls_to_transparent_and_small():
    trainable = TrainableScene(ball(5))
    SparsityTerm(trainable)().backward()
    assert (trainable.groups["opacity_logits"].grad > 0).all()
    assert (trainable.groups["log_scales"].grad > 0).all()


def test_views_of_a_step_add_up_their_gradients():
    scene, cameras = ball(30), CameraRange().orbit(Ball(radius=1.0), 2, 16)

    def gradient(chosen: list[Any]) -> Tensor:
        trainable = TrainableScene(scene)
        latent = SceneViews(trainable, lambda images: images, lambda: [Look(camera, WHITE) for camera in chosen])()
        latent.backward(torch.ones_like(latent))
        grad = trainable.groups["positions"].grad
        assert grad is not None
        return grad

    each = torch.stack([gradient([camera]) for camera in cameras]).sum(0)
    assert torch.allclose(gradient(cameras), each, atol=1e-12)
    assert each.abs().max() > 0


def test_another_scene_is_seen_by_the_cameras_of_the_step():
    draws = iter([[Look(camera, WHITE)] for camera in CameraRange().orbit(Ball(radius=1.0), 2, 16)])
    scene = ball(30)
    found = SceneViews(TrainableScene(scene), lambda images: images, lambda: next(draws))
    found()
    assert torch.equal(found.of(scene), found.images)
    before = found.images
    found()
    assert torch.equal(found.of(scene), found.images) and not torch.equal(found.images, before)

"""Random cameras stand where they should, and given ones tell where the object is."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from dreamsampler.scenes.cameras import (
    Ball,
    CameraRange,
    among,
    backgrounds,
    ball_around,
    ball_seen,
    fitted_size,
    seen_side,
)
from dreamsampler.splats.camera import orbit
from support.splats import ball

BALL = Ball((1.0, -2.0, 0.5), 0.7)
WHITE = backgrounds("white", torch.Generator())


def angles(camera, center) -> tuple[float, float, float]:
    """Azimuth, elevation and distance of a camera."""
    x, y, z = (camera.position - torch.tensor(center, dtype=torch.float64)).tolist()
    distance = math.hypot(x, y, z)
    return math.degrees(math.atan2(x, -z)), math.degrees(math.asin(-y / distance)), distance


def test_random_cameras_are_in_their_range_and_spread_over_it():
    cameras = CameraRange((5.0, 30.0), (-60.0, 120.0), fov=40.0)
    draw = cameras.random(BALL, 3, 32, WHITE, torch.Generator().manual_seed(0))
    for _ in range(20):
        looks = draw()
        for i, look in enumerate(looks):
            azimuth, elevation, distance = angles(look.camera, BALL.center)
            assert -60 + 60 * i <= azimuth <= 60 * i + 1e-6
            assert 5 <= elevation <= 30
            assert distance == pytest.approx(4 * 0.7)
            assert look.camera.focal[0] == pytest.approx(16 / math.tan(math.radians(20)))
    assert draw()[0].camera.position.tolist() != draw()[0].camera.position.tolist()


def test_orbit_goes_around_once_from_the_front():
    found = [angles(camera, BALL.center) for camera in CameraRange((0.0, 20.0), distance=3.0).orbit(BALL, 4, 8)]
    assert [azimuth % 360 for azimuth, _, _ in found] == pytest.approx([0, 90, 180, 270])
    assert [(elevation, distance) for _, elevation, distance in found] == [pytest.approx((10, 3))] * 4


def test_given_cameras_are_all_seen_before_any_comes_again():
    cameras = CameraRange().orbit(Ball(), 5, 8)
    draw = among(cameras, 2, WHITE, torch.Generator().manual_seed(0))
    indices = [look.index for _ in range(5) for look in draw()]
    assert sorted(indices[:5]) == sorted(indices[5:]) == list(range(5))
    look = draw()[0]
    assert look.camera is cameras[look.index]


@pytest.mark.parametrize(
    ("azimuth", "elevation", "side"),
    [
        (0, 0, "front"),
        (44, 0, "front"),
        (-44, 20, "front"),
        (46, 0, "side"),
        (-46, 59, "side"),
        (134, 0, "side"),
        (-134, 30, "side"),
        (136, 0, "back"),
        (-136, 0, "back"),
        (180, 59, "back"),
        (0, 59, "front"),
        (0, 61, "overhead"),
        (100, 61, "overhead"),
    ],
)
def test_side_of_the_object(azimuth: float, elevation: float, side: str):
    camera = orbit(azimuth=azimuth, elevation=elevation, distance=3, fov=40, width=8, height=8, target=BALL.center)
    assert seen_side(camera) == side


def test_cameras_tell_where_the_object_is():
    cameras = CameraRange((0.0, 40.0), distance=2.0, fov=60.0).orbit(BALL, 6, 8)
    found = ball_seen(cameras)
    assert found.center == pytest.approx(BALL.center, abs=1e-3)
    assert found.radius == pytest.approx(2 * math.tan(math.radians(30)), rel=1e-3)


def test_parallel_cameras_have_the_object_in_front_of_them():
    camera = orbit(azimuth=0, elevation=0, distance=2, fov=60, width=8, height=8)
    assert ball_seen([camera]).center == pytest.approx((0, 0, -1), abs=1e-6)


def test_ball_around_a_scene_ignores_few_far_and_transparent_splats():
    scene = ball(400, size=0.001)
    scene.opacity_logits[:] = 2.0
    scene.positions[:4] = 1000.0
    scene.opacity_logits[4:100], scene.positions[4:100] = -9.0, 50.0
    found = ball_around(scene)
    assert max(abs(each) for each in found.center) < 0.15
    assert 0.8 < found.radius < 1.05


def test_ball_around_a_scene_of_opacity_0_is_that_of_all_splats():
    scene = ball(400, size=0.001, dtype=torch.float32)
    opaque, transparent = (replace(scene, opacity_logits=torch.full((400,), logit)) for logit in (2.0, -200.0))
    assert ball_around(transparent) == ball_around(opaque)


def test_backgrounds():
    draw = backgrounds("random", torch.Generator().manual_seed(0))
    assert not torch.equal(draw(), draw())
    assert backgrounds("gray", torch.Generator())().tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 480), (512, 384)), ((480, 640), (384, 512)), ((1000, 8), (512, 8))]
)
def test_size_of_a_view_keeps_the_proportions(size: tuple[int, int], expected: tuple[int, int]):
    camera = orbit(azimuth=0, elevation=0, distance=2, fov=60, width=size[0], height=size[1])
    assert fitted_size(camera, 512, 8) == expected

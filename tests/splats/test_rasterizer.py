"""The rasterizer of splats, against a loop over splats, finite differences and closed forms."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dreamsampler.splats import rasterizer
from dreamsampler.splats.camera import Camera, looking_at, orbit
from dreamsampler.splats.harmonics import from_colors
from dreamsampler.splats.rasterizer import OversizedView, render
from dreamsampler.splats.scene import Scene
from support.splats import ball, rendered_by_loop
from torch import Tensor

from benchmarks.memory import PROCESS

SIDE = orbit(azimuth=30, elevation=20, distance=4, fov=40, width=40, height=32)
BACKGROUND = torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64)
VIEWS = {
    "around": SIDE,
    "inside": orbit(azimuth=200, elevation=-50, distance=0.5, fov=70, width=24, height=40),
    "above": orbit(azimuth=0, elevation=90, distance=3, fov=30, width=16, height=16),
}
views = pytest.mark.parametrize("view", VIEWS)


def image(scene: Scene, camera: Camera, background: Tensor = BACKGROUND) -> Tensor:
    """Color and alpha (4, H, W)."""
    made = render(scene, camera, background)
    return torch.cat([made.color, made.alpha])


def single(opacity: float = 0.8, size: float = 0.2, color: tuple[float, float, float] = (1.0, 0.5, 0.0)) -> Scene:
    """A round splat at the origin."""
    return Scene.activated(
        torch.zeros(1, 3, dtype=torch.float64),
        torch.full((1, 3), size, dtype=torch.float64),
        torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64),
        torch.tensor([opacity], dtype=torch.float64),
        from_colors(torch.tensor([color], dtype=torch.float64)),
    )


@views
def test_matches_a_loop_over_splats_in_values_and_gradients(view: str):
    scene, camera = ball(150, coefficients=16), VIEWS[view]
    weights = torch.rand(4, camera.height, camera.width, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for draw in (image, rendered_by_loop):
        given = [each.clone().requires_grad_() for each in (*scene.parameters, BACKGROUND)]
        made = draw(Scene(*given[:-1]), camera, given[-1])
        found.append((made.detach(), torch.autograd.grad((made * weights).sum(), given)))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
    assert ours.std() > 0.1
    for one, other in zip(our_gradients, their_gradients, strict=True):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8 * other.abs().max().item())


def test_gradients_match_finite_differences():
    scene = ball(6, size=0.4, coefficients=4)
    camera = orbit(azimuth=10, elevation=10, distance=4, fov=40, width=5, height=4)
    given = [each.clone().requires_grad_() for each in (*scene.parameters, BACKGROUND)]
    # Large and opaque enough that no footprint ends inside the image.
    given[3] = torch.full_like(given[3], 1.0).requires_grad_()

    def draw(*values: Tensor) -> Tensor:
        return image(Scene(*values[:-1]), camera, values[-1])

    assert torch.autograd.gradcheck(draw, given, eps=1e-6, atol=1e-6)


def test_one_round_splat_is_a_gaussian_at_its_projection():
    camera = orbit(azimuth=0, elevation=0, distance=4, fov=40, width=33, height=33)
    made = render(single(), camera, BACKGROUND)
    focal = 33 / 2 / math.tan(math.radians(20))
    variance = (focal * 0.2 / 4) ** 2 + 0.3
    offsets = torch.arange(33, dtype=torch.float64) - 16
    alpha = 0.8 * torch.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * variance))
    alpha = torch.where(alpha < 1 / 255, 0, alpha)
    torch.testing.assert_close(made.alpha[0], alpha, rtol=0, atol=1e-12)
    color = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)[:, None, None]
    torch.testing.assert_close(made.color, alpha * color + (1 - alpha) * BACKGROUND[:, None, None], rtol=0, atol=1e-12)


def test_nearer_splats_hide_farther_ones():
    near, far = single(0.999, color=(1.0, 0.0, 0.0)), single(0.999, color=(0.0, 1.0, 0.0))
    behind = far.positions + torch.tensor([0, 0, 1.0], dtype=torch.float64)
    for order in ((0, 1), (1, 0)):
        both = [torch.cat(pair) for pair in zip(near.parameters, (behind, *far.parameters[1:]), strict=True)]
        scene = Scene(*both)[torch.tensor(order)]
        for azimuth, seen in ((0, 0), (180, 1)):
            camera = orbit(azimuth=azimuth, elevation=0, distance=4, fov=40, width=9, height=9)
            color = render(scene, camera).color[:, 4, 4]
            assert color[seen] > 0.99 and color[1 - seen] < 0.01


def test_directions_of_the_image_are_right_and_down():
    for offset, (row, column) in {(0.5, 0, 0): (8, 12), (0, 0.5, 0): (12, 8)}.items():
        scene = single(0.9, size=0.05)
        moved = Scene(scene.positions + torch.tensor(offset, dtype=torch.float64), *scene.parameters[1:])
        alpha = render(moved, orbit(azimuth=0, elevation=0, distance=3, fov=40, width=17, height=17)).alpha[0]
        peak = divmod(int(alpha.argmax()), 17)
        assert abs(peak[0] - row) <= 1 and abs(peak[1] - column) <= 1


def test_azimuth_turns_the_camera_to_the_right_and_elevation_lifts_it():
    position = orbit(azimuth=90, elevation=0, distance=2, fov=40, width=8, height=8).position
    torch.testing.assert_close(position, torch.tensor([2.0, 0, 0], dtype=torch.float64), rtol=0, atol=1e-12)
    assert orbit(azimuth=0, elevation=45, distance=2, fov=40, width=8, height=8).position[1] < -1


@views
def test_axes_are_a_rotation(view: str):
    axes = VIEWS[view].axes
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.linalg.det(axes) > 0


@pytest.mark.parametrize("scene", [ball(5), ball(0)], ids=["behind", "empty"])
def test_a_view_without_splats_is_the_background(scene: Scene):
    away = looking_at(
        torch.tensor([0, 0, -5.0], dtype=torch.float64), torch.tensor([0, 0, -9.0], dtype=torch.float64), fov=40,
        width=6, height=4,
    )  # fmt: skip
    given = [each.clone().requires_grad_() for each in scene.parameters]
    made = render(Scene(*given), away, BACKGROUND)
    assert torch.equal(made.color, BACKGROUND[:, None, None].expand(3, 4, 6)) and not made.alpha.any()
    gradients = torch.autograd.grad(made.color.sum(), given, allow_unused=True)
    assert all(each is None or not each.any() for each in gradients)


def test_float32_is_as_good_as_the_screen_needs():
    scene = ball(2000, dtype=torch.float32)
    exact = render(scene.map(Tensor.double), SIDE).color
    torch.testing.assert_close(render(scene, SIDE).color.double(), exact, rtol=0, atol=2e-4)


def test_many_pairs_are_not_kept_for_the_backward_pass(monkeypatch: pytest.MonkeyPatch):
    scene, found = ball(150, coefficients=4), []
    monkeypatch.setattr(rasterizer, "BAND", 5000)
    for most in (10**9, 0):
        monkeypatch.setattr(rasterizer, "KEPT", most)
        given = [each.clone().requires_grad_() for each in (*scene.parameters, BACKGROUND)]
        made = image(Scene(*given[:-1]), SIDE, given[-1])
        found.append((made.detach(), torch.autograd.grad(made.square().sum(), given)))
    (image_kept, gradients_kept), (image_again, gradients_again) = found
    assert torch.equal(image_kept, image_again)
    for one, other in zip(gradients_kept, gradients_again, strict=True):
        assert one.abs().max() > 1e-3 and torch.equal(one, other)


PEAK = """
import sys
from benchmarks.memory import growth
from support.splats import ball
from dreamsampler.splats import orbit, rasterizer

rasterizer.KEPT = 10**6
camera = orbit(azimuth=0, elevation=0, distance=4, fov=40, width=160, height=160)


def draw(scene):
    color = rasterizer.render(scene, camera).color
    if color.requires_grad:
        color.sum().backward()


with_gradients = sys.argv[1] == "True"
small, large = (ball(n, size=0.3).map(lambda each: each.float().requires_grad_(with_gradients)) for n in (9, 4000))
draw(small)
spans = rasterizer.footprints(rasterizer.project(large, camera), 160, 160)
print(growth(lambda: draw(large)) / int(spans.count.sum()))
"""


@pytest.mark.skipif(not (PROCESS / "clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("with_gradients", [False, True])
def test_memory_is_that_of_a_band(with_gradients: bool):
    """In bytes per pair of 37 million: all of them would take more than 20 each. In a process of its own."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-c", PEAK, str(with_gradients)], text=True, capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert float(ran.stdout) < 6


def test_oversized_views_are_refused_before_they_are_drawn(monkeypatch: pytest.MonkeyPatch):
    scene = ball(150)
    pairs = rasterizer.footprints(rasterizer.project(scene, SIDE), SIDE.width, SIDE.height).count.sum().item()
    monkeypatch.setattr(rasterizer, "MOST_PAIRS", pairs)
    assert render(scene, SIDE).alpha.any()
    monkeypatch.setattr(rasterizer, "MOST_PAIRS", pairs - 1)
    with pytest.raises(OversizedView, match=f"The splats cover {pairs:,} pixels of an image of 40x32.*Use fewer"):
        render(scene, SIDE)
    monkeypatch.setattr(rasterizer, "MOST_SPANS", 1000)
    with pytest.raises(OversizedView, match="The splats cover .* rows of an image of 40x32"):
        render(scene, SIDE)


def test_part_of_a_view_is_the_same_as_a_camera_of_its_own():
    """Columns 60 to 80 of 80: their camera has its optical axis far outside the image."""
    whole = orbit(azimuth=0, elevation=0, distance=3, fov=40, width=80, height=20)
    part = Camera(whole.position, whole.axes, whole.focal, (whole.center[0] - 60, whole.center[1]), 20, 20)
    scene = ball(60, size=0.4)
    moved = Scene(0.3 * scene.positions, *scene.parameters[1:])
    moved.positions[:, 0] += 3 * 30 / whole.focal[0]  # to the column 70
    found, cut = image(moved, part), image(moved, whole)[:, :, 60:]
    assert cut[3].mean() > 0.3
    torch.testing.assert_close(found, cut, rtol=0, atol=1e-9)


@pytest.mark.parametrize("length", [1.0, 30.0, 1000.0])
def test_needles_are_as_good_in_float32(length: float):
    """Splats far longer than the view, in all directions and at all depths."""
    some = ball(200, dtype=torch.float32)
    scales = torch.tensor([length, 1e-3, 1e-3]).expand(200, 3)
    scene = Scene(some.positions, scales.log(), *some.parameters[2:])
    camera = orbit(azimuth=10, elevation=5, distance=1.2, fov=50, width=128, height=128)
    exact = image(scene.map(Tensor.double), camera)
    found = image(scene, camera).double()
    assert exact[3].mean() > 0.3
    assert (found - exact).abs().mean() < 1e-5


def test_scaled_cameras_see_the_same():
    scene = ball(100, size=0.2)
    small, large = render(scene, SIDE).color, render(scene, SIDE.scaled(160, 128)).color
    reduced = torch.nn.functional.avg_pool2d(large[None], 4)[0]
    assert (reduced - small).abs().mean() < 0.02

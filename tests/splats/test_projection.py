"""The projection of splats onto the image, against SciPy's rotations and autograd's Jacobian of a pinhole camera."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from dreamsampler.splats.camera import Camera, orbit
from dreamsampler.splats.projection import project
from dreamsampler.splats.scene import Scene
from scipy.spatial.transform import Rotation
from support.splats import conics
from support.tensors import normal
from torch import Tensor

SCALES = torch.tensor([0.5, 0.2, 0.05], dtype=torch.float64)
ANGLES = [(20.0, -35.0, 50.0), (-70.0, 15.0, 110.0)]
"""Euler angles of a splat in degrees."""


def camera() -> Camera:
    """Neither square, nor centered, nor at an axis of the world."""
    seen = orbit(azimuth=35, elevation=-20, distance=4, fov=60, width=40, height=32)
    return Camera(seen.position, seen.axes, (30.0, 24.0), (18.0, 17.5), seen.width, seen.height)


def elongated(position: Tensor, angles: tuple[float, float, float]) -> tuple[Scene, Tensor]:
    """A scene of one elongated splat, and its covariance R S S^T R^T."""
    turn = Rotation.from_euler("xyz", angles, degrees=True)
    quaternion = torch.from_numpy(turn.as_quat(scalar_first=True))
    scene = Scene.activated(position[None], SCALES[None], 3 * quaternion[None], torch.tensor([0.5]), normal(1, 4, 3))
    half = torch.from_numpy(turn.as_matrix()) * SCALES
    return scene, half @ half.T


def pinhole(seen_by: Camera, point: Tensor) -> Tensor:
    """The pixel (x, y) of a point (3,) in camera coordinates: right, down, forward."""
    x, y, z = point
    (fx, fy), (cx, cy) = seen_by.focal, seen_by.center
    return torch.stack([fx * x / z + cx, fy * y / z + cy])


def conic(seen_by: Camera, covariance: Tensor, at: Tensor) -> Tensor:
    """Entries xx, xy, yy of the inverse of J W R S S^T R^T W^T J^T + 0.3 I (3DGS, eq. 5), with J at a point (3,)."""
    jacobian = torch.autograd.functional.jacobian(lambda point: pinhole(seen_by, point), at)
    assert isinstance(jacobian, Tensor)
    half = jacobian @ seen_by.axes
    inverse = torch.linalg.inv(half @ covariance @ half.T + 0.3 * torch.eye(2, dtype=torch.float64))
    return inverse[(0, 0, 1), (0, 1, 1)]


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("point", [(0.0, 0.0, 4.0), (1.1, -0.7, 3.0), (-1.5, 1.2, 3.0)])
def test_ellipse_is_the_linearized_image_of_the_splat(point: tuple[float, ...], angles: tuple[float, float, float]):
    eye, local = camera(), torch.tensor(point, dtype=torch.float64)
    scene, covariance = elongated(eye.position + eye.axes.T @ local, angles)
    found = project(scene, eye)
    torch.testing.assert_close(conics(found)[0], conic(eye, covariance, local))
    torch.testing.assert_close(found.centers[0], pinhole(eye, local))
    assert found.depths.tolist() == pytest.approx([point[2]])


@pytest.mark.parametrize(("point", "pixel"), [((9.0, -8.0, 3.0), (46.0, -4.8)), ((-9.0, 8.0, 3.0), (-6.0, 36.8))])
def test_far_outside_the_image_the_map_is_linearized_at_its_margin(
    point: tuple[float, ...], pixel: tuple[float, float]
):
    """As in gsplat, at most 0.3 times half the image beyond its borders, wherever the optical axis meets it."""
    eye, local = camera(), torch.tensor(point, dtype=torch.float64)
    (fx, fy), (cx, cy) = eye.focal, eye.center
    margin = 3 * torch.tensor([(pixel[0] - cx) / fx, (pixel[1] - cy) / fy, 1.0], dtype=torch.float64)
    scene, covariance = elongated(eye.position + eye.axes.T @ local, ANGLES[0])
    found = project(scene, eye)
    torch.testing.assert_close(conics(found)[0], conic(eye, covariance, margin))
    torch.testing.assert_close(found.centers[0], pinhole(eye, local))


@pytest.mark.parametrize("length", [3.0, 100.0, 1e4])
def test_needles_keep_their_shape_in_single_precision(length: float):
    """Near the camera, where determinants of their covariances cancel: against double precision, along both axes."""
    eye = camera()
    local = torch.tensor([0.04, 0.03, 0.2], dtype=torch.float64)
    for angles in (*ANGLES, (0.0, 0.0, 0.0), (10.0, 5.0, 90.0)):
        scene, _ = elongated(eye.position + eye.axes.T @ local, angles)
        scales = torch.tensor([[length, 1e-3, 1e-3]], dtype=torch.float64)
        scene = replace(scene, log_scales=scales.log()).map(Tensor.float)
        turn = scene.map(Tensor.double).axes()[0]
        exact = conic(eye, turn @ scales[0].square().diag() @ turn.T, local)
        a, s, e = project(scene, eye).forms[0].double()
        along = torch.linalg.eigh(torch.stack([exact[:2], exact[1:]])).eigenvectors
        for across, down in (along[:, 1], 1000 * along[:, 0]):  # in pixels, along the short axis and the long one
            distance = a * (across + s * down) ** 2 + e * down**2
            expected = exact[0] * across**2 + 2 * exact[1] * across * down + exact[2] * down**2
            assert distance.item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-2)


def test_splats_that_single_precision_cannot_hold_are_left_out():
    eye, local = camera(), torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64)
    scene, _ = elongated(eye.position + eye.axes.T @ local, ANGLES[0])
    for size in (17.0, 30.0, 80.0, 100.0):  # logarithms; exp(100) is infinite
        scales = torch.full((1, 3), size, dtype=torch.float64)
        huge = replace(scene, log_scales=scales).map(lambda values: values.float().requires_grad_())
        found = project(huge, eye)
        assert len(found.depths) == 0 or found.forms.isfinite().all()
        gradients = torch.autograd.grad(found.forms.sum(), huge.parameters, allow_unused=True)
        assert all(each is None or each.isfinite().all() for each in gradients)


def test_color_is_that_in_the_direction_from_the_camera():
    """0.5 + Y h with the harmonics of degree 0 and 1, whose signs in the files of 3DGS are +, -y, z, -x."""
    eye, local = camera(), torch.tensor([1.1, -0.7, 3.0], dtype=torch.float64)
    offset = eye.axes.T @ local
    scene, _ = elongated(eye.position + offset, ANGLES[0])
    x, y, z = (offset / offset.norm()).tolist()
    degree_1 = math.sqrt(3 / (4 * math.pi))
    basis = torch.tensor([math.sqrt(1 / (4 * math.pi)), -degree_1 * y, degree_1 * z, -degree_1 * x]).double()
    expected = 0.5 + basis @ scene.harmonics[0]
    torch.testing.assert_close(project(scene, eye).colors[0], expected.clamp(min=0))

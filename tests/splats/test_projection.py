"""The projection of splats onto the image, against SciPy's rotations and autograd's Jacobian of a pinhole camera."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.splats.camera import Camera, orbit
from dreamsampler.splats.projection import project
from dreamsampler.splats.scene import Scene
from scipy.spatial.transform import Rotation
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
    torch.testing.assert_close(found.conics[0], conic(eye, covariance, local))
    torch.testing.assert_close(found.centers[0], pinhole(eye, local))
    assert found.depths.tolist() == pytest.approx([point[2]])


def test_far_outside_the_image_the_map_is_linearized_at_its_margin():
    """As in 3DGS, at most 1.3 times as far from the optical axis as half the image."""
    eye, local = camera(), torch.tensor([9.0, -8.0, 3.0], dtype=torch.float64)
    margin = 3 * torch.tensor([1.3 * 20 / 30, -1.3 * 16 / 24, 1.0], dtype=torch.float64)
    scene, covariance = elongated(eye.position + eye.axes.T @ local, ANGLES[0])
    found = project(scene, eye)
    torch.testing.assert_close(found.conics[0], conic(eye, covariance, margin))
    torch.testing.assert_close(found.centers[0], pinhole(eye, local))


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

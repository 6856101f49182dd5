"""Splats as ellipses on the image of a camera (EWA splatting: Zwicker et al., 2001; 3DGS, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .camera import Camera
from .harmonics import seen_colors
from .scene import Scene

NEAR = 0.01
"""Splats closer to the camera's plane are not drawn."""
LOW_PASS = 0.3
"""The variance of the antialiasing filter in pixels squared, as in 3DGS."""
REACH = 1.3
"""How far outside the image, relative to its half, the projection is linearized at most, as in 3DGS."""


@dataclass(frozen=True)
class Ellipses:
    """The visible splats of a view, front to back.

    Attributes:
        centers: (M, 2), x and y in pixels.
        conics: (M, 3), the entries xx, xy, yy of the inverse covariance, per pixel squared.
        opacities: (M,), at the center.
        colors: (M, 3), at least 0.
        depths: (M,), along the optical axis.
    """

    centers: Tensor
    conics: Tensor
    opacities: Tensor
    colors: Tensor
    depths: Tensor


def project(scene: Scene, camera: Camera) -> Ellipses:
    """The splats in front of the camera as ellipses, nearest first."""
    camera = camera.to(scene.positions)
    with torch.no_grad():
        depth = (scene.positions - camera.position) @ camera.axes[2]
        front = torch.nonzero(depth > NEAR)[:, 0]
        order = front[depth[front].argsort(stable=True)]
    scene = scene[order]
    offsets = scene.positions - camera.position
    x, y, z = (offsets @ camera.axes.mT).unbind(-1)
    (fx, fy), (cx, cy) = camera.focal, camera.center
    centers = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1)
    # The projection (fx x / z, fy y / z) is linear near the center: its Jacobian is
    #     J = [fx / z, 0, -fx x / z^2; 0, fy / z, -fy y / z^2]
    # Far outside the image the linear map is poor, so x / z and y / z are bounded there.
    limits = REACH * camera.width / 2 / fx, REACH * camera.height / 2 / fy
    tx, ty = (v.clamp(-limit, limit) for v, limit in zip((x / z, y / z), limits, strict=True))
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([fx / z, zero, -fx * tx / z], dim=-1), torch.stack([zero, fy / z, -fy * ty / z], dim=-1)], dim=-2
    )
    # The covariance of the ellipse is H H^T with H = J W R S, plus the low-pass.
    half = jacobian @ camera.axes @ (scene.axes() * scene.scales[:, None])
    xx, xy, yy = (half[:, i] * half[:, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    xx, xy, yy = xx.sum(-1) + LOW_PASS, xy.sum(-1), yy.sum(-1) + LOW_PASS
    conics = torch.stack([yy, -xy, xx], dim=-1) / (xx * yy - xy * xy)[:, None]
    colors = seen_colors(scene.harmonics, F.normalize(offsets, dim=-1))
    return Ellipses(centers, conics, scene.opacities, colors, z)

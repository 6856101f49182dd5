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
MARGIN = 0.3
"""How far outside the image, relative to its half, the projection is linearized at most, as in 3DGS and gsplat."""
WIDEST = 1e8
"""Splats with a larger standard deviation in pixels are not drawn: single precision cannot hold its fourth power."""


@dataclass(frozen=True)
class Ellipses:
    """The visible splats of a view, front to back.

    Attributes:
        centers: (M, 2), x and y in pixels.
        forms: (M, 3), the numbers a, s, e of the squared distance from the center in standard deviations, at an offset
            (x, y) in pixels: q = a (x + s y)^2 + e y^2. Of long ellipses the entries of the inverse covariance would
            cancel in single precision, as q = xx x^2 + 2 xy x y + yy y^2 is small between large numbers.
        opacities: (M,), at the center.
        colors: (M, 3), at least 0.
        depths: (M,), along the optical axis.
    """

    centers: Tensor
    forms: Tensor
    opacities: Tensor
    colors: Tensor
    depths: Tensor


def project(scene: Scene, camera: Camera) -> Ellipses:
    """The splats in front of the camera as ellipses, nearest first."""
    camera = camera.to(scene.positions)
    with torch.no_grad():
        depth = (scene.positions - camera.position) @ camera.axes[2]
        widest = scene.scales.amax(1) * max(camera.focal) / depth
        front = torch.nonzero((depth > NEAR) & depth.isfinite() & (widest < WIDEST))[:, 0]
        order = front[depth[front].argsort(stable=True)]
    scene = scene[order]
    offsets = scene.positions - camera.position
    x, y, z = (offsets @ camera.axes.mT).unbind(-1)
    (fx, fy), (cx, cy) = camera.focal, camera.center
    centers = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1)
    # The projection (fx x / z, fy y / z) is linear near the center: its Jacobian is
    #     J = [fx / z, 0, -fx x / z^2; 0, fy / z, -fy y / z^2]
    # Far outside the image the linear map is poor, so x / z and y / z are bounded there.
    sides = zip((x / z, y / z), camera.focal, camera.center, (camera.width, camera.height), strict=True)
    tx, ty = (v.clamp((-MARGIN * n / 2 - c) / f, (n + MARGIN * n / 2 - c) / f) for v, f, c, n in sides)
    zero = torch.zeros_like(z)
    jacobian = torch.stack(
        [torch.stack([fx / z, zero, -fx * tx / z], dim=-1), torch.stack([zero, fy / z, -fy * ty / z], dim=-1)], dim=-2
    )
    # The covariance of the ellipse is H H^T with H = J W R S, plus the low-pass l. In single precision xx yy - xy^2
    # cancels if it is long. Lagrange's identity, with the rows g and h of H, does not:
    #     det = |g x h|^2 + l (|g|^2 + |h|^2) + l^2
    g, h = (jacobian @ camera.axes @ (scene.axes() * scene.scales[:, None])).unbind(-2)
    xx, xy, yy = ((one * other).sum(-1) for one, other in ((g, g), (g, h), (h, h)))
    det = torch.linalg.cross(g, h).square().sum(-1) + LOW_PASS * (xx + yy) + LOW_PASS**2
    yy = yy + LOW_PASS
    forms = torch.stack([yy / det, -xy / yy, 1 / yy], dim=-1)
    colors = seen_colors(scene.harmonics, F.normalize(offsets, dim=-1))
    return Ellipses(centers, forms, scene.opacities, colors, z)

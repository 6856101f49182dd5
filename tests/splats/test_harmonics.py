"""Spherical harmonics, against their defining integrals."""

from __future__ import annotations

import numpy as np
import torch
from dreamsampler.splats.harmonics import basis, from_colors, seen_colors
from support.tensors import normal, uniform


def test_are_orthonormal_on_the_sphere():
    # Gauss-Legendre nodes in z and even angles integrate products of degree 6 exactly.
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(8))
    angles = torch.arange(16, dtype=torch.float64) * torch.pi / 8
    z, phi = torch.meshgrid(nodes, angles, indexing="ij")
    radius = (1 - z * z).sqrt()
    directions = torch.stack([radius * phi.cos(), radius * phi.sin(), z], dim=-1).reshape(-1, 3)
    values = basis(directions, 16)
    areas = (weights[:, None] * torch.pi / 8).expand_as(z).reshape(-1, 1)
    torch.testing.assert_close(values.T @ (areas * values), torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-12)


def test_have_the_signs_of_3dgs():
    # Of degree 1: -y, z, -x. Of degree 2 and 3 the first and last, toward the corners where they are largest.
    x, y, z = torch.eye(3, dtype=torch.float64)
    assert basis(y[None], 4)[0, 1] < 0 < basis(z[None], 4)[0, 2] and basis(x[None], 4)[0, 3] < 0
    corner = torch.nn.functional.normalize(torch.tensor([[2.0, 1.0, 0.5]], dtype=torch.float64))
    signs = basis(corner, 16)[0].sign().int().tolist()
    assert signs == [1, -1, 1, -1, 1, -1, -1, -1, 1, -1, 1, 1, -1, 1, 1, -1]


def test_colors_without_direction_come_back():
    colors = uniform(5, 3)
    directions = torch.nn.functional.normalize(normal(5, 3), dim=-1)
    torch.testing.assert_close(seen_colors(from_colors(colors), directions), colors)

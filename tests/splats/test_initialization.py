"""Scenes to start from."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.splats.harmonics import CONSTANT
from dreamsampler.splats.initialization import from_points, in_ball, neighbor_distances, on_mesh

GRID = torch.cartesian_prod(*[torch.arange(5.0)] * 3)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_ball_is_evenly_filled():
    scene = in_ball(20_000, random(), radius=2.0)
    distances = scene.positions.norm(dim=1)
    assert distances.max() <= 2
    for share in (0.25, 0.5, 0.75):  # the volume inside a radius r is r^3
        assert abs((distances < 2 * share ** (1 / 3)).float().mean() - share) < 0.02
    assert torch.equal(in_ball(10, random(3)).positions, in_ball(10, random(3)).positions)


def test_points_are_as_wide_as_their_neighbors_are_away():
    scene = from_points(GRID, torch.full_like(GRID, 0.25))
    torch.testing.assert_close(scene.scales, torch.ones_like(GRID))
    torch.testing.assert_close(scene.opacities, torch.full((125,), 0.1))
    torch.testing.assert_close(0.5 + CONSTANT * scene.harmonics[:, 0], torch.full_like(GRID, 0.25))


def test_neighbors_are_found_across_chunks():
    points = torch.randn(3000, 3, generator=random())
    distances = torch.cdist(points[2100:2110], points).sort(dim=1).values[:, 1:4]
    torch.testing.assert_close(neighbor_distances(points)[2100:2110], distances.square().mean(1).sqrt())
    assert neighbor_distances(points[:1]).tolist() == [1]
    torch.testing.assert_close(neighbor_distances(GRID[:2]), torch.ones(2))


def test_mesh_is_evenly_covered_with_its_colors():
    # Two right triangles, of areas 1/2 and 2, in the planes z = 0 and z = 1.
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 1], [0, 2, 1]])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    colors = vertices.clone()
    colors[:, 2] = 0.5
    scene = on_mesh(vertices, faces, 10_000, random(), colors=colors / 2)
    x, y, z = scene.positions.unbind(1)
    assert abs((z > 0.5).float().mean() - 0.8) < 0.02
    large = z > 0.5
    assert abs(x[large].mean() - 2 / 3) < 0.02 and abs(y[large].mean() - 2 / 3) < 0.02
    assert (x + y <= 1 + z + 1e-5).all() and x.min() >= 0 and set(z.round(decimals=5).tolist()) == {0.0, 1.0}
    torch.testing.assert_close(0.5 + CONSTANT * scene.harmonics[:, 0, 0], x / 2, rtol=0, atol=1e-5)


def test_mesh_without_area_is_refused():
    with pytest.raises(ValueError, match="no surface"):
        on_mesh(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]), 5, random())

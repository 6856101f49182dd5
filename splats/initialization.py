"""Scenes to start from: random splats, points, and the surface of a mesh. All draws are from a generator."""

from __future__ import annotations

from dataclasses import replace

import torch
from scipy.spatial import KDTree
from torch import Tensor

from .harmonics import COUNTS, from_colors
from .scene import Scene

OPACITY = 0.1
"""The opacity of new splats, as in 3DGS."""


def in_ball(count: int, generator: torch.Generator, *, radius: float = 1.0, colors: Tensor | None = None) -> Scene:
    """`count` splats, evenly over the volume of a ball around the origin; `colors` (count, 3), mid gray by default."""
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    distances = radius * torch.rand(count, 1, generator=generator) ** (1 / 3)
    return from_points(directions * distances, torch.full((count, 3), 0.5) if colors is None else colors)


def from_points(points: Tensor, colors: Tensor) -> Scene:
    """A round splat at each of `points` (N, 3) with `colors` (N, 3) in [0, 1], as wide as its neighbors are away."""
    widths = neighbor_distances(points).clamp(min=1e-7)
    return Scene(
        positions=points,
        log_scales=widths.log()[:, None].repeat(1, 3),
        rotations=points.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(points), 1),
        opacity_logits=torch.full_like(widths, OPACITY).logit(),
        harmonics=from_colors(colors),
    )


def neighbor_distances(points: Tensor, neighbors: int = 3) -> Tensor:
    """The root mean square distance (N,) of `points` (N, 3) from their nearest `neighbors`; 1 for a lone point."""
    count = min(neighbors, len(points) - 1)
    if count < 1:
        return points.new_ones(len(points))
    places = points.detach().cpu().double().numpy()
    distances, _ = KDTree(places).query(places, k=count + 1)
    return torch.from_numpy(distances[:, 1:]).square().mean(1).sqrt().to(points)  # the first is the point itself


def on_mesh(
    vertices: Tensor, faces: Tensor, count: int, generator: torch.Generator, *, colors: Tensor | None = None
) -> Scene:
    """`count` splats, evenly over the surface of a mesh.

    Args:
        vertices: (V, 3) positions.
        faces: (F, 3) indices of vertices.
        colors: (V, 3) in [0, 1]; mid gray by default.

    Raises:
        ValueError: the mesh has no area.
    """
    corners = vertices[faces]
    sides = corners[:, 1:] - corners[:, :1]
    areas = torch.linalg.cross(sides[:, 0], sides[:, 1]).norm(dim=1)
    if not areas.sum() > 0:
        raise ValueError("The mesh has no surface: all its faces are empty. Connect another mesh.")
    chosen = torch.multinomial(areas.cpu().double(), count, replacement=True, generator=generator).to(faces.device)
    # Two even draws in a square, folded into its lower triangle, are even in the triangle.
    draws = torch.rand(count, 2, generator=generator).to(vertices)
    draws = torch.where(draws.sum(1, keepdim=True) > 1, 1 - draws, draws)
    weights = torch.cat([1 - draws.sum(1, keepdim=True), draws], dim=1)

    def between(values: Tensor) -> Tensor:
        return torch.einsum("nk,nkc->nc", weights, values[faces[chosen]])

    return from_points(between(vertices), vertices.new_full((count, 3), 0.5) if colors is None else between(colors))


def with_degree(scene: Scene, degree: int) -> Scene:
    """The scene with harmonics up to `degree`, 0 to 3; new ones are 0."""
    count = COUNTS[degree] - scene.harmonics.shape[1]
    zeros = scene.harmonics.new_zeros(len(scene), max(count, 0), 3)
    return replace(scene, harmonics=torch.cat([scene.harmonics[:, : COUNTS[degree]], zeros], dim=1))

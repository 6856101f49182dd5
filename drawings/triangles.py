"""Triangles: an image as triangles of one color each, smaller where it has more detail.

Greedy insertion (Garland and Heckbert, 1995), for constant colors: a Delaunay triangulation of the canvas grows point
by point. A triangle that a visible edge crosses has two colors, so its error is large; its new point is put on the
strongest edge in it, weighted with the distance from its corners. Edges soon run along sides of triangles.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_gradient_magnitude
from scipy.spatial import Delaunay
from torch import Tensor

from .initialization import Paths, opaque, polygons
from .regions.segmentation import Floats, Ints, as_array

GROWTH = 0.1
"""How many points a round adds, as a fraction of those there are."""
OVERLAP = 0.25
"""How far triangles reach over their sides, in pixels, so that little shows through between them. What does has the
mean color: a triangle of it lies below all others."""
LONGEST_MOVE = 1.5
"""How far a corner may move for that, in pixels."""
NEAR_BORDER = 2.0
"""Points nearer to the border of the canvas than this, in pixels, move onto it, as no triangle should be so thin."""


def triangulated(image: Tensor, most: int, alpha: Tensor | None = None) -> Paths:
    """At most `most` triangles that look like an image.

    Args:
        image: (3, H, W) in [0, 1].
        most: The largest number of triangles, 1 or more. The lowest covers the canvas and has the mean color.
        alpha: (H, W) in [0, 1]. Where it is below 1/2 on average, there is no triangle, nor one below all.
    """
    pixels = as_array(image)
    points, triangles, owner = _refined(pixels, most - 1)
    corners = points[triangles]
    colors = _means(owner, pixels, corners)
    if alpha is None and most > 1:
        corners = np.concatenate([_around(pixels)[None], corners])
        colors = np.concatenate([pixels.mean((0, 1))[None], colors])
    if alpha is not None:
        kept = _means(owner, alpha.detach().cpu().double().numpy()[..., None], corners)[:, 0] >= 0.5
        corners, colors = corners[kept], colors[kept]
    closed = polygons(torch.from_numpy(_enlarged(corners)).float())
    return Paths(closed, opaque(torch.from_numpy(colors).float()))


def _refined(pixels: Floats, most: int) -> tuple[Floats, Ints, Ints]:
    """Points (V, 2), the triangles (T, 3) between them, and the triangle of each pixel (H, W)."""
    height, width, _ = pixels.shape
    canvas = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    if most < 2:
        return _around(pixels), np.arange(3)[None], np.zeros((height, width), int)
    edges = np.linalg.norm(
        [gaussian_gradient_magnitude(channel, 1.0) for channel in np.moveaxis(pixels, -1, 0)], axis=0
    )
    places = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    points = canvas
    while True:
        mesh = Delaunay(points)
        owner = mesh.find_simplex(places)
        room = (most - len(mesh.simplices)) // 2  # a point inside makes two triangles more, one on the border one
        new = _new_points(mesh, owner, pixels, edges.ravel(), places, min(room, max(1, int(GROWTH * len(points)))))
        if not len(new):
            return points, mesh.simplices, owner.reshape(height, width)
        points = np.concatenate([points, new])


def _around(pixels: Floats) -> Floats:
    """A triangle (3, 2) that holds the canvas."""
    height, width, _ = pixels.shape
    return np.array([[0, 0], [2 * width, 0], [0, 2 * height]], float)


def _new_points(mesh: Delaunay, owner: Ints, pixels: Floats, edges: Floats, places: Floats, count: int) -> Floats:
    """One new point in each of the `count` triangles with the largest errors; none where an image is flat."""
    colors = pixels.reshape(len(owner), -1)
    corners = mesh.points[mesh.simplices]
    errors = ((colors - _means(owner, colors, corners)[owner]) ** 2).sum(1)
    total = np.bincount(owner, errors, len(corners))
    apart = np.linalg.norm(corners[owner] - places[:, None], axis=-1).min(1)
    points = _on_border(places, pixels.shape[1], pixels.shape[0])
    # A pixel at the border may stand for a corner that is there already, which would not divide its triangle.
    is_new = ~np.isin(_as_complex(points), _as_complex(mesh.points))
    score = edges * np.maximum(apart - 1, 0) * is_new
    order = np.lexsort((-score, owner))
    strongest = order[np.unique(owner[order], return_index=True)[1]]  # the first pixel of each triangle
    strongest = strongest[score[strongest] > 1e-9]
    strongest = strongest[np.argsort(-total[owner[strongest]])]
    _, first = np.unique(points[strongest], axis=0, return_index=True)
    return points[strongest][np.sort(first)][: max(count, 0)]


def _as_complex(points: Floats) -> np.ndarray:
    """Points (..., 2) as one number each, which can be compared."""
    return points[..., 0] + 1j * points[..., 1]


def _on_border(points: Floats, width: int, height: int) -> Floats:
    """Points (..., 2), those near the border on it."""
    size = np.array([width, height], float)
    points = np.where(points < NEAR_BORDER, 0, points)
    return np.where(size - points < NEAR_BORDER, size, points)


def _means(owner: Ints, values: Floats, corners: Floats) -> Floats:
    """The mean (T, C) of the values of each triangle's pixels; if it has none, the value at its center."""
    flat, channels = owner.ravel(), values.reshape(owner.size, -1)
    count = np.bincount(flat, minlength=len(corners))
    sums = np.stack([np.bincount(flat, channel, len(corners)) for channel in channels.T], 1)
    means = sums / np.maximum(count, 1)[:, None]
    if (count == 0).any() and values.ndim == 3:
        limit = np.array([values.shape[1], values.shape[0]]) - 1
        columns, rows = np.floor(corners[count == 0].mean(1)).astype(int).clip(0, limit).T
        means[count == 0] = values[rows, columns]
    return means


def _enlarged(corners: Floats) -> Floats:
    """Triangles (T, 3, 2) whose sides are moved outward by `OVERLAP`; by less where corners would move far.

    Moving all sides of a triangle by d is a scaling by 1 + d / r around the center of the inscribed circle of radius r.
    It moves a corner at distance l by d l / r, which is a long spike for thin triangles.
    """
    sides = np.linalg.norm(np.roll(corners, -1, 1) - np.roll(corners, -2, 1), axis=-1)  # opposite of each corner
    perimeter = sides.sum(1)
    center = (sides[..., None] * corners).sum(1) / perimeter[:, None]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    radius = abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / perimeter
    arms = corners - center[:, None]
    growth = np.minimum(OVERLAP / np.maximum(radius, 1e-9), LONGEST_MOVE / np.linalg.norm(arms, axis=-1).max(1))
    return corners + growth[:, None, None] * arms

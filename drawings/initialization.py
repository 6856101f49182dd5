"""Initial paths on a canvas: random shapes, and the places where a drawing differs most from its target (LIVE).

Coordinates are pixels of the canvas: x to the right, y down, pixel centers at .5. A closed contour of n cubics has 3n
control points, an open one 3n + 1. Random numbers come from the generator, in float32 on its device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ..svg.document import Color, Contour, Document, Fill, Matrix, Point, Shape, Stroke, ViewBox

Canvas = tuple[int, int]
"""Height and width in pixels."""
VECTORFUSION_SIDE = 600.0
"""Side in pixels of VectorFusion's canvas, which its lengths and learning rates are for."""
MIN_ERROR = 0.1
"""LIVE drops pixels whose squared error, summed over channels, is smaller."""
INVISIBLE_ERROR = 1e-3
"""Squared errors below this cannot be seen."""
ERROR_LEVELS = 200
"""The number of quantiles that LIVE divides the errors of an image into."""
THIRDS = (0.0, 1 / 3, 2 / 3)
"""Parameters of the first three control points of a straight cubic."""


def canvas_side(canvas: Canvas) -> float:
    """The side in pixels of a square with the area of the canvas."""
    return math.sqrt(canvas[0] * canvas[1])


def canvas_scale(canvas: Canvas) -> float:
    """The factor from lengths on VectorFusion's canvas to lengths on this one."""
    return canvas_side(canvas) / VECTORFUSION_SIDE


def on_canvas(shapes: Iterable[Shape], canvas: Canvas) -> Document:
    """Shapes as a document whose user units are the canvas's pixels."""
    height, width = canvas
    return Document(ViewBox(0.0, 0.0, float(width), float(height)), tuple(shapes))


class Paths(NamedTuple):
    """Paths of one kind, one color each, as tensors.

    Attributes:
        points: Control points (N, n, 2) in pixels.
        colors: Straight colors and opacities (N, 4) in [0, 1].
        widths: None for closed, filled paths; stroke widths (N,) in pixels for open ones with round caps and joins.
    """

    points: Tensor
    colors: Tensor
    widths: Tensor | None = None

    def shapes(self, placement: Matrix) -> list[Shape]:
        """The paths in user units; `placement`, a uniform scale and a translation, maps user units to pixels."""
        scale, x, y = placement.a, placement.e, placement.f
        widths = [None] * len(self.points) if self.widths is None else (self.widths / scale).tolist()
        shapes = []
        for points, (*color, opacity), width in zip(self.points.tolist(), self.colors.tolist(), widths):
            in_user_units = tuple(Point((px - x) / scale, (py - y) / scale) for px, py in points)
            contours, paint = (Contour(in_user_units, closed=width is None),), Color(*color)
            if width is None:
                shapes.append(Shape(contours, Fill(paint, opacity)))
            else:
                shapes.append(Shape(contours, stroke=Stroke(paint, opacity, width, cap="round", join="round")))
        return shapes


class Centers(NamedTuple):
    """Where to start new paths.

    Attributes:
        points: Positions (N, 2) in pixels.
        colors: The target's colors (N, 3) there, in [0, 1].
        min_radius: Smallest useful radius of a new shape in pixels; 0 for any. A measurement does not resolve smaller
            ones.
    """

    points: Tensor
    colors: Tensor
    min_radius: float = 0.0


# Shapes


def circle(center: Tensor, radius: float, segments: int) -> Tensor:
    """Circles of cubic Béziers: (..., 3 segments, 2) around `center` (..., 2).

    They start at the right and run clockwise on the screen. Handles lie on the tangents. Their length h (for radius 1)
    follows from putting the middle of each cubic on the circle. With n cubics and half their angle u = pi / n, the
    control points project onto the bisector at cos u (ends) and cos u + h sin u (handles), and at t = 1/2 a cubic is
    (p0 + 3 p1 + 3 p2 + p3) / 8, so

        (2 cos u + 6 (cos u + h sin u)) / 8 = 1    <=>    h = 4/3 (1 - cos u) / sin u = 4/3 tan(u / 2).

    The radius is then off by at most 2.7e-4 for four cubics. LIVE also puts the handles on the circle, which gives a
    rounded square.

    Raises:
        ValueError: There are fewer than two segments.
    """
    if segments < 2:
        raise ValueError(f"A circle of {segments} cubics cannot be drawn; choose 2 segments or more.")
    angle = 2 * math.pi / segments * torch.arange(segments + 1, dtype=center.dtype, device=center.device)
    point = torch.stack([angle.cos(), angle.sin()], -1)
    handle = 4 / 3 * math.tan(math.pi / (2 * segments)) * torch.stack([-angle.sin(), angle.cos()], -1)
    cubics = torch.stack([point[:-1], (point + handle)[:-1], (point - handle)[1:]], 1)
    return center[..., None, :] + radius * cubics.reshape(-1, 2)


def random_closed(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    segments: int = 4,
    radius: float = 20.0,
    jitter: float = 0.2,
) -> Tensor:
    """Random blobs (count, 3 segments, 2): circles at random positions (VectorFusion, supplement F.1).

    Each control point is moved along x and along y by up to `jitter` times the radius. The default radius in pixels is
    for VectorFusion's canvas of 600 pixels.
    """
    circles = circle(random_points(count, height, width, generator), radius, segments)
    return circles + jitter * radius * (2 * _uniform(circles.shape, generator) - 1)


def random_strokes(
    count: int,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    segments: int = 3,
    step: float = 30.0,
) -> Tensor:
    """Open random walks (count, 3 segments + 1, 2) from random positions; they may leave the canvas.

    Each control point is up to `step` pixels along x and along y from the one before.
    """
    start = random_points(count, height, width, generator)[:, None]
    steps = step * (2 * _uniform((count, 3 * segments, 2), generator) - 1)
    return torch.cat([start, start + steps.cumsum(1)], 1)


def random_fills(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colors (count, 3) ~ U(0, 1) and opacities (count,) ~ U(0.7, 1) (VectorFusion, supplement F.1)."""
    return _uniform((count, 3), generator), 0.7 + 0.3 * _uniform((count,), generator)


def pixel_grid(rows: int, columns: int, height: int, width: int) -> Tensor:
    """The canvas as a grid of rectangles (rows columns, 12, 2), row by row (VectorFusion's pixel art: 32 x 32).

    Each has four straight cubics, from its top left corner and clockwise on the screen.
    """
    unit = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    corners = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(-1)[:, None] + unit
    return polygons(corners * torch.tensor([width / columns, height / rows]))


def polygons(corners: Tensor) -> Tensor:
    """Closed contours of straight cubics (N, 3 k, 2) from their corners (N, k, 2)."""
    sides = corners.roll(-1, 1) - corners
    thirds = torch.tensor(THIRDS, dtype=corners.dtype, device=corners.device)[:, None]
    return (corners[:, :, None] + thirds * sides[:, :, None]).flatten(1, 2)


def random_triangles(centers: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Random triangles (N, 9, 2) around `centers` (N, 2).

    The k-th corner has a random angle in the k-th third of the circle, and a distance of half to all of the radius.
    """
    turn = _uniform((len(centers), 3), generator)
    distance = 0.5 + 0.5 * _uniform((len(centers), 3), generator)
    angle = 2 * math.pi * (torch.arange(3) + turn) / 3
    directions = torch.stack([angle.cos(), angle.sin()], -1)
    return polygons(centers[:, None] + radius * distance[..., None] * directions)


def random_points(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Uniformly random positions (count, 2) on the canvas, in pixels."""
    size = torch.tensor([width, height], device=generator.device)
    return size * _uniform((count, 2), generator)


# Centers of new paths


def component_centers(rendered: Tensor, target: Tensor, count: int, generator: torch.Generator) -> Centers:
    """Component-wise path initialization (LIVE): centers of the largest regions with a similar error.

    1. Error map: e(p) = sum over channels of (rendered - target)^2; errors below `MIN_ERROR` are dropped.
    2. Quantized: the quantiles q_1 < q_2 < ... of all errors, those that are 0 left out, are the edges of levels;
       l(p) = number of q_i <= e(p), so dropped pixels have level 0.
    3. Regions: connected components of pixels of the same level, 1 or higher.
    4. Center: take the level with the most pixels, and in it the largest region. Its center is the pixel nearest to its
       centroid, which itself may lie outside the region. Remove the region and repeat.

    When no region is left, LIVE takes random positions. Here the steps are repeated for errors a tenth as large, down
    to `INVISIBLE_ERROR`; only then positions are random.

    Args:
        rendered: The drawing's image (3, H, W) in [0, 1].
        target: The image (3, H, W) in [0, 1] that it should become.
        count: The number of centers.
        generator: Source of random positions.
    """
    error, threshold, pixels = _squared_error(rendered, target), MIN_ERROR, []
    while len(pixels) < count and threshold >= INVISIBLE_ERROR:
        pixels += _largest_regions(error, threshold, count - len(pixels))
        error = torch.where(error < threshold, error, 0)
        threshold /= 10
    pixels += [_random_pixel(error, generator) for _ in range(count - len(pixels))]
    return _centers(pixels, target)


def _largest_regions(error: Tensor, threshold: float, count: int) -> list[Tensor]:
    """Step 4 of `component_centers`: the central pixels of at most `count` regions."""
    labels, sizes, levels = _regions(error, threshold)
    population = sizes.new_zeros(ERROR_LEVELS + 1).index_add_(0, levels, sizes)
    pixels = []
    while len(pixels) < count and (population > 0).any():
        region = torch.where(levels == population.argmax(), sizes, 0).argmax()
        population[levels[region]] -= sizes[region]
        sizes[region] = 0
        pixels.append(_central_pixel((labels == region + 1).nonzero()))
    return pixels


def _regions(error: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Steps 2 and 3 of `component_centers`: labels (H, W) of the regions, and their sizes and levels (R,)."""
    error = torch.where(error < threshold, 0, error)
    ordered = error.flatten().sort().values
    quantiles = ordered[torch.linspace(0, len(ordered) - 1, ERROR_LEVELS, device=error.device)[:-1].long()]
    # The lowest kept error is an edge too: if few pixels are wrong, no quantile falls among them.
    edges = torch.cat([ordered[ordered > 0][:1], quantiles[quantiles > 0]]).unique()
    levels = torch.bucketize(error, edges, right=True)
    labels = connected_components(levels)
    sizes = labels.flatten().bincount(minlength=1)
    level_of_label = torch.zeros_like(sizes)
    level_of_label[labels.flatten()] = levels.flatten()
    return labels, sizes[1:], level_of_label[1:]


def sparse_centers(rendered: Tensor, target: Tensor, count: int, generator: torch.Generator) -> Centers:
    """Pixels with a large error that are far apart, by farthest-point sampling.

    Each center maximizes e(p) d(p)^2, with the squared error e summed over channels and the distance d to the nearest
    earlier center; the first maximizes e. When no error is left, positions are random. Arguments are those of
    `component_centers`.
    """
    error = _squared_error(rendered, target)
    rows, columns = (torch.arange(n, device=error.device, dtype=error.dtype) for n in error.shape)
    nearest = torch.full_like(error, float(error.shape[0] ** 2 + error.shape[1] ** 2))
    pixels = []
    for _ in range(count):
        score = error * nearest
        best = score.argmax()
        pixel = torch.stack([best // error.shape[1], best % error.shape[1]])
        if score.view(-1)[best] <= 0:
            pixel = _random_pixel(error, generator)
        pixels.append(pixel)
        nearest = nearest.minimum((rows - pixel[0]).square()[:, None] + (columns - pixel[1]).square())
    return _centers(pixels, target)


def connected_components(levels: Tensor) -> Tensor:
    """Labels (H, W) of the connected regions of equal level: 1, 2, ..., and 0 where the level is 0.

    `levels` (H, W) are integers of 0 or more; pixels that share a side are connected.

    Horizontal runs of one level are the nodes of a graph, and runs that touch vertically are its edges. If two runs
    touch, they do so in a column where at least one of them starts, so only those columns are compared.
    """
    kept = levels > 0
    starts = torch.ones_like(kept)
    starts[:, 1:] = levels[:, 1:] != levels[:, :-1]
    run = starts.flatten().cumsum(0).reshape(levels.shape) - 1
    touching = (levels[1:] == levels[:-1]) & kept[1:] & (starts[1:] | starts[:-1])
    parent = _lowest_connected(run[:-1][touching], run[1:][touching], int(run[-1, -1]) + 1)
    is_root = (parent == torch.arange(len(parent), device=parent.device)) & kept[starts]
    return torch.where(kept, is_root.cumsum(0)[parent][run], 0)


def _lowest_connected(a: Tensor, b: Tensor, count: int) -> Tensor:
    """The lowest node of each node's component, (count,), in the graph with edges a - b (E,).

    Union-find in parallel: every root hooks onto its lowest neighbor, then paths are halved until nothing changes. A
    few rounds are enough even for spirals.
    """
    parent = torch.arange(count, device=a.device)
    while len(a):
        a, b = parent[a], parent[b]
        apart = a != b
        a, b = a[apart], b[apart]
        parent.scatter_reduce_(0, a.maximum(b), a.minimum(b), "amin")
        while not torch.equal(parent, grandparent := parent[parent]):
            parent = grandparent
    return parent


def _squared_error(rendered: Tensor, target: Tensor) -> Tensor:
    return (rendered.detach() - target).float().square().sum(0)


def _central_pixel(pixels: Tensor) -> Tensor:
    """The one of pixels (K, 2) nearest to their centroid."""
    offset = pixels - pixels.float().mean(0)
    return pixels[offset.square().sum(1).argmin()]


def _random_pixel(image: Tensor, generator: torch.Generator) -> Tensor:
    """A random row and column of an image (H, W)."""
    draw = _uniform((2,), generator).to(image.device) * torch.tensor(image.shape, device=image.device)
    return draw.long()


def _centers(pixels: list[Tensor], target: Tensor) -> Centers:
    """Pixels, given as row and column, as centers with the target's colors."""
    rows, columns = torch.stack(pixels).unbind(1) if pixels else torch.zeros(2, 0, dtype=torch.long)
    return Centers(torch.stack([columns, rows], 1) + 0.5, target[:, rows, columns].mT)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def with_random_fills(points: Tensor, generator: torch.Generator, widths: Tensor | None = None) -> Paths:
    """Paths with the random colors and opacities of VectorFusion, from their control points (N, n, 2)."""
    colors, opacities = random_fills(len(points), generator)
    return Paths(points, torch.cat([colors, opacities[:, None]], 1), widths)


def opaque(colors: Tensor) -> Tensor:
    """Colors (N, 3) with an opacity of 1, (N, 4)."""
    return torch.cat([colors, torch.ones_like(colors[:, :1])], 1)


def moved_to(points: Tensor, centers: Centers) -> Tensor:
    """Control points (N, n, 2), moved so that their means are at the centers."""
    return points - points.mean(1, keepdim=True) + centers.points[:, None]

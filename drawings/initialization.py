"""Where paths start: circles, random walks, a grid of squares, and the places that a drawing gets most wrong.

Coordinates are those of the canvas in pixels: x to the right, y down, pixel centres at .5. A closed contour of n cubics
is its 3n control points, an open one 3n + 1. Random numbers come from the generator, in float32 on its device.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..svg.document import Color, Contour, Fill, Matrix, Point, Shape, Stroke

MIN_ERROR = 0.1
"""LIVE drops pixels whose squared error, summed over channels, is less."""
UNSEEN_ERROR = 1e-3
"""Pixels that are less wrong than that look right."""
LEVELS = 200
"""Quantiles into which LIVE divides the errors of a picture."""
THIRDS = (0.0, 1 / 3, 2 / 3)
"""Where the control points of a straight cubic lie."""


class Paths(NamedTuple):
    """Control points (N, n, 2) in pixels, straight colours and opacities (N, 4) in [0, 1], widths (N,) of strokes.

    Without widths the contours are closed and filled, with them open and stroked with round caps and joins.
    """

    points: Tensor
    colors: Tensor
    widths: Tensor | None = None

    def shapes(self, placement: Matrix) -> list[Shape]:
        """The paths in the units of a document that `placement` takes to pixels, alike in all directions."""
        scale, x, y = placement.a, placement.e, placement.f
        widths = [None] * len(self.points) if self.widths is None else (self.widths / scale).tolist()
        shapes = []
        for points, (*color, opacity), width in zip(self.points.tolist(), self.colors.tolist(), widths):
            places = tuple(Point((px - x) / scale, (py - y) / scale) for px, py in points)
            contours, paint = (Contour(places, closed=width is None),), Color(*color)
            if width is None:
                shapes.append(Shape(contours, Fill(paint, opacity)))
            else:
                shapes.append(Shape(contours, stroke=Stroke(paint, opacity, width, cap="round", join="round")))
        return shapes


class Centres(NamedTuple):
    """Where paths are to start: places (N, 2) in pixels, and the target's colours (N, 3) there.

    Shapes smaller than `resolved`, a radius in pixels, cannot be told apart there.
    """

    points: Tensor
    colors: Tensor
    resolved: float = 0.0


def circle(centre: Tensor, radius: float, segments: int) -> Tensor:
    """Circles (..., 3 segments, 2) around `centre` (..., 2), from the right and clockwise as seen on the screen.

    The handles are 4/3 tan(pi / 2n) long, which leaves 2.7e-4 of the radius as error for four segments. LIVE places
    the handles on the circle too, which makes a rounder square. Raises ValueError for less than two segments.
    """
    if segments < 2:
        raise ValueError(f"A circle of {segments} cubics cannot be drawn; choose 2 segments or more.")
    angle = 2 * math.pi / segments * torch.arange(segments + 1, dtype=centre.dtype, device=centre.device)
    point = torch.stack([angle.cos(), angle.sin()], -1)
    handle = 4 / 3 * math.tan(math.pi / (2 * segments)) * torch.stack([-angle.sin(), angle.cos()], -1)
    cubics = torch.stack([point[:-1], (point + handle)[:-1], (point - handle)[1:]], 1)
    return centre[..., None, :] + radius * cubics.reshape(-1, 2)


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
    """Circles anywhere on the canvas, (count, 3 segments, 2) (VectorFusion, supplement F.1, on a canvas of 600 pixels).

    Each control point is moved along x and y by up to `jitter` of the radius, so that no two are the same shape.
    """
    circles = circle(anywhere(count, height, width, generator), radius, segments)
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
    """Open random walks, (count, 3 segments + 1, 2), each control point up to `step` along x and y from the last.

    They start anywhere on the canvas and may leave it. Paintings take 1 to 3 segments and widths that are optimised,
    VectorFusion's sketches 16 black strokes of 5 segments, 6 pixels wide.
    """
    start = anywhere(count, height, width, generator)[:, None]
    steps = step * (2 * _uniform((count, 3 * segments, 2), generator) - 1)
    return torch.cat([start, start + steps.cumsum(1)], 1)


def random_fills(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Colours (count, 3) ~ U(0, 1) and opacities (count,) ~ U(0.7, 1) (VectorFusion, supplement F.1)."""
    return _uniform((count, 3), generator), 0.7 + 0.3 * _uniform((count,), generator)


def pixel_grid(rows: int, columns: int, height: int, width: int) -> Tensor:
    """The canvas as squares, (rows columns, 12, 2), row by row: pixel art (VectorFusion: 32 x 32).

    Each is four straight cubics, from its top left corner and clockwise as seen on the screen.
    """
    unit = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    corners = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).flip(-1)[:, None] + unit
    return polygons(corners * torch.tensor([width / columns, height / rows]))


def polygons(corners: Tensor) -> Tensor:
    """Closed contours of straight cubics (N, 3 k, 2) from their corners (N, k, 2)."""
    sides = corners.roll(-1, 1) - corners
    thirds = torch.tensor(THIRDS, dtype=corners.dtype, device=corners.device)[:, None]
    return (corners[:, :, None] + thirds * sides[:, :, None]).flatten(1, 2)


def random_polygons(centres: Tensor, radius: float, generator: torch.Generator, corners: int = 3) -> Tensor:
    """Polygons (N, 3 corners, 2) around `centres` (N, 2), their corners anywhere on circles of half to all the radius.

    The corners are in order around the centre, so no sides cross.
    """
    turn, far = _uniform((len(centres), corners), generator), 0.5 + 0.5 * _uniform((len(centres), corners), generator)
    angle = 2 * math.pi * (torch.arange(corners) + turn) / corners
    around = torch.stack([angle.cos(), angle.sin()], -1)
    return polygons(centres[:, None] + radius * far[..., None] * around)


def component_centres(rendered: Tensor, target: Tensor, count: int, generator: torch.Generator) -> Centres:
    """The middles of the `count` largest regions that one picture (3, H, W) in [0, 1] gets equally wrong (LIVE).

    Squared errors below `MIN_ERROR` are dropped and the others divided into levels. Of the level with the most pixels
    the largest connected region is taken, and the next one as if it were gone. The middle is the region's pixel nearest
    to its centroid, which itself may lie outside. When no region is left, LIVE goes on with random places; this with
    errors a tenth as large, and with random places once those cannot be seen.
    """
    error, least, places = _squared_error(rendered, target), MIN_ERROR, []
    while len(places) < count and least >= UNSEEN_ERROR:
        places += _largest_regions(error, least, count - len(places))
        error = torch.where(error < least, error, 0)
        least /= 10
    places += [_any_pixel(error, generator) for _ in range(count - len(places))]
    return _centres(places, target)


def _largest_regions(error: Tensor, least: float, count: int) -> list[Tensor]:
    """The middles of at most `count` regions of one error level, of errors from `least` on."""
    labels, sizes, levels = _regions(error, least)
    population = sizes.new_zeros(LEVELS + 1).index_add_(0, levels, sizes)
    places = []
    while len(places) < count and (population > 0).any():
        region = torch.where(levels == population.argmax(), sizes, 0).argmax()
        population[levels[region]] -= sizes[region]
        sizes[region] = 0
        places.append(_middle((labels == region + 1).nonzero()))
    return places


def sparse_centres(rendered: Tensor, target: Tensor, count: int, generator: torch.Generator) -> Centres:
    """`count` pixels that one picture (3, H, W) in [0, 1] gets most wrong, far from each other.

    Farthest-point sampling: each is where the squared error times the squared distance to the nearest place before it
    is largest, the first where the error is. When no error is left the places are random.
    """
    score = _squared_error(rendered, target)
    rows, columns = (torch.arange(n, device=score.device, dtype=score.dtype) for n in score.shape)
    nearest = torch.full_like(score, float(score.shape[0] ** 2 + score.shape[1] ** 2))
    places = []
    for _ in range(count):
        weighted = score * nearest
        best = weighted.argmax()
        place = torch.stack([best // score.shape[1], best % score.shape[1]])
        if weighted.view(-1)[best] <= 0:
            place = _any_pixel(score, generator)
        places.append(place)
        nearest = nearest.minimum((rows - place[0]).square()[:, None] + (columns - place[1]).square())
    return _centres(places, target)


def connected_components(levels: Tensor) -> Tensor:
    """Labels (H, W) of regions of one level, from integers `levels` (H, W): 1, 2, ... and 0 where the level is 0.

    Pixels that share a side are connected. Runs along rows are the nodes of a graph; every root hooks onto its lowest
    neighbour and paths are halved until nothing changes, a few rounds even for spirals.
    """
    kept = levels > 0
    starts = torch.ones_like(kept)
    starts[:, 1:] = levels[:, 1:] != levels[:, :-1]
    run = starts.flatten().cumsum(0).reshape(levels.shape) - 1
    # Two runs that touch do so in a column where one of them starts: that one alone is looked at.
    touch = (levels[1:] == levels[:-1]) & kept[1:] & (starts[1:] | starts[:-1])
    parent = _united(run[:-1][touch], run[1:][touch], int(run[-1, -1]) + 1)
    is_root = (parent == torch.arange(len(parent), device=parent.device)) & kept[starts]
    return torch.where(kept, is_root.cumsum(0)[parent][run], 0)


def _united(a: Tensor, b: Tensor, count: int) -> Tensor:
    """The lowest node (count,) of each node's component, in the graph of the edges a - b (E,)."""
    parent = torch.arange(count, device=a.device)
    while len(a):
        a, b = parent[a], parent[b]
        apart = a != b
        a, b = a[apart], b[apart]
        parent.scatter_reduce_(0, a.maximum(b), a.minimum(b), "amin")
        while not torch.equal(parent, upper := parent[parent]):
            parent = upper
    return parent


def _regions(error: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (H, W) of the regions of one error level, and their sizes and levels (R,); errors below `least` are 0."""
    error = torch.where(error < least, 0, error)
    ordered = error.flatten().sort().values
    quantiles = ordered[torch.linspace(0, len(ordered) - 1, LEVELS, device=error.device)[:-1].long()]
    # The lowest kept error as well: few wrong pixels have no quantile among them.
    edges = torch.cat([ordered[ordered > 0][:1], quantiles[quantiles > 0]]).unique()
    levels = torch.bucketize(error, edges, right=True)
    labels = connected_components(levels)
    sizes = labels.flatten().bincount(minlength=1)
    of = torch.zeros_like(sizes)
    of[labels.flatten()] = levels.flatten()
    return labels, sizes[1:], of[1:]


def _squared_error(rendered: Tensor, target: Tensor) -> Tensor:
    return (rendered.detach() - target).float().square().sum(0)


def _middle(pixels: Tensor) -> Tensor:
    """Of pixels (K, 2) the one nearest to their centroid."""
    offset = pixels - pixels.float().mean(0)
    return pixels[offset.square().sum(1).argmin()]


def _any_pixel(of: Tensor, generator: torch.Generator) -> Tensor:
    """A random row and column of a picture (H, W)."""
    draw = _uniform((2,), generator).to(of.device) * torch.tensor(of.shape, device=of.device)
    return draw.long()


def _centres(places: list[Tensor], target: Tensor) -> Centres:
    """The centres of pixels, given as row and column."""
    rows, columns = torch.stack(places).unbind(1) if places else torch.zeros(2, 0, dtype=torch.long)
    return Centres(torch.stack([columns, rows], 1) + 0.5, target[:, rows, columns].mT)


def anywhere(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Places (count, 2) anywhere on the canvas."""
    size = torch.tensor([width, height], device=generator.device)
    return size * _uniform((count, 2), generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)

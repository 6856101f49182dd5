"""What a drawing is fitted to, besides a diffusion model: a target picture, outlines that do not cross, calm colours.

Coordinates are those of the canvas in pixels: x to the right, y down, pixel centres at .5. Pictures are (B, 3, H, W) in
[0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ..svg.raster.flattening import cross, ragged_arange

SHORT = 1e-2
"""Pixels below which a leg's direction means nothing; it bounds the gradient of `xing` by 1 / SHORT for each leg."""
WINDOWED = 2**18
"""Distances that are worked out at once: a few tens of megabytes."""


def xing(cubics: Tensor) -> Tensor:
    """The self-intersection ("Xing") loss of cubics (S, 4, 2), a scalar in [0, 1] (LIVE; VectorFusion, eq. 6).

    With the legs s1, s2, s3 of the control polygon, a cubic costs |sin(s1, s3)| where s3 turns from s1 to the other
    side than s2 does, which is how its handles cross. The mean over all cubics; of none it is 0. Published weight of it
    in a loss: 0.01.

    The gradient is finite everywhere: legs shorter than `SHORT` count in proportion to their length, and a middle leg
    of length 0, which turns to no side, costs nothing. It leaves out the jump where s2 changes sides, as published.
    """
    s1, s2, s3 = cubics.diff(dim=-2).unbind(-2)
    side = torch.where(cross(s1, s2) >= 0, 1, -1) * (s2 != 0).any(-1)
    return functional.relu(-side * _sine(s1, s3)).sum() / max(len(cubics), 1)


def _sine(a: Tensor, b: Tensor) -> Tensor:
    """The sine of the angle from a to b (..., 2)."""
    length_a, length_b = (v.square().sum(-1).clamp_min(SHORT**2).sqrt() for v in (a, b))
    return cross(a, b) / (length_a * length_b)


def data_loss(rendered: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """How far each picture is from its target (B, 3, H, W): (B,).

    Without a weight the squared error's mean over channels and pixels. With a `weight` (H, W) or (B, H, W) as in LIVE
    (VectorFusion, eq. 5, up to a factor): the sum over channels, weighted, and the mean over pixels. So a weight of 1
    everywhere gives three times the unweighted loss.
    """
    error = (rendered - target).square()
    if weight is None:
        return error.mean((1, 2, 3))
    return (weight * error.sum(1)).mean((1, 2))


def saturation_penalty(colors: Tensor) -> Tensor:
    """The mean square of colours scaled to [-1, 1], a scalar in [0, 1] (VectorFusion, supplement F.3; weight 0.05).

    `colors` in [0, 1], of any shape: a rendered picture (B, 3, H, W) as published, or fills (N, 3). It is 0 for mid
    grey and 1 for the corners of the colour cube, white and black among them: it pulls at contrast too.
    """
    return (2 * colors - 1).square().mean()


@torch.no_grad()
def udf_weight(edges: Tensor, height: int, width: int, reach: float = 10.0) -> Tensor:
    """How near each pixel is to an outline, (H, W) in [0, 1]: the weight of LIVE's UDF loss, no gradient.

    `w = (reach - d) / reach`, d being the distance of the pixel's centre to the nearest of the line segments `edges`
    (E, 2, 2), start and end, truncated at `reach` pixels. It is exact for the segments, up to rounding; of a curve they
    may be chords a few pixels long, which is quicker than chords of one pixel.

    Only pixels within reach of a segment are visited: the memory is that of the picture and the edges, and a constant.
    """
    edges = _clipped(edges, edges.new_tensor([-reach, -reach]), edges.new_tensor([width + reach, height + reach]))
    squared = edges.new_full((height * width + 1,), reach**2)
    for pieces, longest in _pieces(edges, 2 * reach):
        index, distances = _windowed_distances(pieces, height, width, reach + longest / 2)
        squared.scatter_reduce_(0, index.flatten(), distances.flatten(), "amin")
    return 1 - squared[:-1].sqrt().reshape(height, width) / reach


def _clipped(edges: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The parts of the edges that lie in a box: how long an edge is outside costs nothing."""
    start, leg = edges[:, 0], edges[:, 1] - edges[:, 0]
    # Where a leg is 0, infinities of opposite sign say that it is inside, of the same sign that it is not.
    times = torch.stack([(low - start) / leg, (high - start) / leg])
    enter = times.amin(0).amax(1).clamp_min(0)
    leave = times.amax(0).amin(1).clamp_max(1)
    parts = start[:, None] + torch.stack([enter, leave], 1)[..., None] * leg[:, None]
    return parts[enter <= leave]


def _pieces(edges: Tensor, longest: float) -> Iterator[tuple[Tensor, float]]:
    """The edges cut into pieces (P, 2, 2), as many at a time as `WINDOWED` allows, and how long a piece can be.

    A piece's window is wider than the piece by the reach, so longer pieces visit fewer pixels; but all windows are as
    large as the longest piece needs, so few long edges among many short ones are cut.
    """
    lengths = (edges[:, 1] - edges[:, 0]).norm(dim=1)
    longest = min(max(float(lengths.mean()), 1.0), longest) if len(edges) else longest
    counts = (lengths / longest).ceil().long().clamp_min(1)
    index, position = ragged_arange(counts)
    edges, of = edges[index], counts[index]
    times = torch.stack([position, position + 1], 1) / of[:, None]
    pieces = edges[:, :1] + times[..., None] * (edges[:, 1:] - edges[:, :1])
    for part in pieces.split(max(WINDOWED // int(2 * longest + 2) ** 2, 1)):
        yield part, longest


def _windowed_distances(pieces: Tensor, height: int, width: int, half: float) -> tuple[Tensor, Tensor]:
    """Pixels whose centres are at most `half` from the middle of each piece, along x and along y.

    Returns their places in the flattened picture, `height * width` for those outside it, and their squared distances to
    the piece: both (P, n, n).
    """
    (x, y), (leg_x, leg_y) = pieces[:, 0].mT[..., None, None], (pieces[:, 1] - pieces[:, 0]).mT[..., None, None]
    n = torch.arange(int(2 * half) + 1, device=pieces.device)
    first = (pieces.mean(1) - half - 0.5).ceil().long()
    columns, rows = first[:, 0, None, None] + n, first[:, 1, None, None] + n[:, None]
    dx, dy = columns + 0.5 - x, rows + 0.5 - y
    tiny = torch.finfo(pieces.dtype).tiny
    t = ((dx * leg_x + dy * leg_y) / (leg_x.square() + leg_y.square()).clamp_min(tiny)).clamp(0, 1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    index = torch.where(inside, rows * width + columns, height * width)
    return index, (dx - t * leg_x).square() + (dy - t * leg_y).square()

"""Losses of a drawing besides score distillation: the error to an image, self-intersection, kinks, saturation.

Coordinates are pixels of the canvas: x to the right, y down, pixel centers at .5. Images are (B, 3, H, W) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from ..svg.raster.flattening import cross, ragged_arange

MIN_LEG = 1e-2
"""Legs shorter than this, in pixels, have no meaningful direction. It bounds the gradient of `xing` by 1 / MIN_LEG per
leg."""
DISTANCES_AT_ONCE = 2**18
"""How many distances `udf_weight` computes at once: a few tens of megabytes."""


def xing(cubics: Tensor) -> Tensor:
    """The self-intersection ("Xing") loss (LIVE; VectorFusion, eq. 6): a scalar in [0, 1], for cubics (S, 4, 2).

    Let s1, s2, s3 be the legs of the control polygon p0 p1 p2 p3, and D = 1 if sin(s1, s2) >= 0, else 0. Each cubic
    costs

        D relu(-sin(s1, s3)) + (1 - D) relu(sin(s1, s3)).

    | s2 turns from s1 to | s3 turns from s1 to | cost |
    |---|---|---|
    | one side | the same side, or is parallel | 0: an arch, or an S with parallel ends |
    | one side | the other side | abs(sin(s1, s3)): the handles lean towards each other, or s3 swings back across s1 |

    With side = 2 D - 1, both cases are relu(-side sin(s1, s3)). The result is the mean over all cubics, 0 without any.
    The papers' weight in a loss is 0.01.

    Two deviations keep the gradient finite everywhere: legs shorter than `MIN_LEG` count in proportion to their length,
    and a middle leg of length 0, which turns to no side, costs nothing. As in the papers, the gradient ignores the jump
    where s2 changes sides.
    """
    s1, s2, s3 = cubics.diff(dim=-2).unbind(-2)
    side = torch.where(cross(s1, s2) >= 0, 1, -1) * (s2 != 0).any(-1)
    return functional.relu(-side * _sine(s1, s3)).sum() / max(len(cubics), 1)


def _sine(a: Tensor, b: Tensor) -> Tensor:
    """The sine of the angle from a to b (..., 2)."""
    return cross(a, b) / (_length(a) * _length(b))


def _length(legs: Tensor) -> Tensor:
    """The lengths (...,) of legs (..., 2), at least `MIN_LEG`."""
    return legs.square().sum(-1).clamp_min(MIN_LEG**2).sqrt()


def kinks(joins: Tensor) -> Tensor:
    """How far smooth joins are from smooth: a scalar in [0, 2], for joins (J, 3, 2).

    A join is the last handle of a curve, the point where the next one starts, and the first handle there. With the
    angle a between the leg into the point and the leg out of it, each costs 1 - cos a: 0 where the handles are on one
    line. The result is the mean, 0 without any. Legs shorter than `MIN_LEG` count in proportion to their length.
    """
    into, out = joins.diff(dim=-2).unbind(-2)
    cosine = (into * out).sum(-1) / (_length(into) * _length(out))
    return (1 - cosine).sum() / max(len(joins), 1)


def data_loss(rendered: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """The error of each image to its target, (B,) (LIVE; VectorFusion, eq. 5, up to a factor).

    Without a weight, the mean squared error over channels and pixels. With one, the squared error is summed over
    channels, weighted, and averaged over pixels; a weight of 1 everywhere thus gives three times the unweighted loss.

    Args:
        rendered: Images (B, 3, H, W).
        target: Their targets, of the same shape.
        weight: (H, W) or (B, H, W), for example from `udf_weight`.
    """
    error = (rendered - target).square()
    if weight is None:
        return error.mean((1, 2, 3))
    return (weight * error.sum(1)).mean((1, 2))


def saturation_penalty(colors: Tensor) -> Tensor:
    """The saturation penalty (VectorFusion, supplement F.3; weight 0.05): a scalar in [0, 1].

    The mean of (2 c - 1)^2 over all channels c in [0, 1]. Its gradient is in proportion to 2 c - 1 and pulls every
    channel to 1/2: the penalty is 0 for mid gray and 1 at the corners of the color cube. Black and white are corners
    too, so it also lowers contrast.

    Args:
        colors: In [0, 1], of any shape: a rendered image (B, 3, H, W) as in the paper, or fills (N, 3).
    """
    return (2 * colors - 1).square().mean()


@torch.no_grad()
def udf_weight(edges: Tensor, height: int, width: int, reach: float = 10.0) -> Tensor:
    """The weight of LIVE's UDF loss, (H, W) in [0, 1]: how near each pixel is to an outline. No gradient.

    For a pixel center p and the distance d(p) to the nearest outline, truncated at `reach` pixels,

        w(p) = (reach - d(p)) / reach.

    The distance to a segment from a to b, with leg l = b - a, is that to its nearest point a + t l,
    t = clamp((p - a) . l / |l|^2, 0, 1). The minimum is taken of squared distances, which start at reach^2.

    Only pixels within reach of a segment are visited: a piece of length L at most is surrounded by a window of half
    side reach + L / 2 around its middle, which holds every pixel within reach of it.

    Args:
        edges: Line segments (E, 2, 2), start and end, in pixels. For curves, chords a few pixels long are enough.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        reach: Distance in pixels at which the weight becomes 0; the paper uses 10.
    """
    edges = _clipped(edges, edges.new_tensor([-reach, -reach]), edges.new_tensor([width + reach, height + reach]))
    squared = edges.new_full((height * width + 1,), reach**2)
    for pieces, longest in _pieces(edges, 2 * reach):
        index, distances = _windowed_distances(pieces, height, width, reach + longest / 2)
        squared.scatter_reduce_(0, index.flatten(), distances.flatten(), "amin")
    return 1 - squared[:-1].sqrt().reshape(height, width) / reach


def _clipped(edges: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The parts of the edges inside a box, so that long parts outside cost nothing (Liang-Barsky)."""
    start, leg = edges[:, 0], edges[:, 1] - edges[:, 0]
    # If a leg is 0 along an axis, the two quotients are infinities: of opposite sign inside the box, of equal sign
    # outside.
    times = torch.stack([(low - start) / leg, (high - start) / leg])
    enter = times.amin(0).amax(1).clamp_min(0)
    leave = times.amax(0).amin(1).clamp_max(1)
    parts = start[:, None] + torch.stack([enter, leave], 1)[..., None] * leg[:, None]
    return parts[enter <= leave]


def _pieces(edges: Tensor, longest: float) -> Iterator[tuple[Tensor, float]]:
    """The edges cut into pieces (P, 2, 2), in batches of `DISTANCES_AT_ONCE` at most, and the longest length.

    Longer pieces visit fewer pixels, because a window exceeds its piece by the reach. But all windows are as large as
    the longest piece needs, so edges longer than the mean are cut.
    """
    lengths = (edges[:, 1] - edges[:, 0]).norm(dim=1)
    longest = min(max(float(lengths.mean()), 1.0), longest) if len(edges) else longest
    counts = (lengths / longest).ceil().long().clamp_min(1)
    index, position = ragged_arange(counts)
    edges, counts = edges[index], counts[index]
    times = torch.stack([position, position + 1], 1) / counts[:, None]
    pieces = edges[:, :1] + times[..., None] * (edges[:, 1:] - edges[:, :1])
    for part in pieces.split(max(DISTANCES_AT_ONCE // int(2 * longest + 2) ** 2, 1)):
        yield part, longest


def _windowed_distances(pieces: Tensor, height: int, width: int, half: float) -> tuple[Tensor, Tensor]:
    """Squared distances from each piece to the pixels around it.

    The window of a piece holds the pixel centers at most `half` from its middle, along x and along y. Returns, both
    (P, n, n), their indices in the flattened image (`height * width` for those outside) and their squared distances.
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

"""Segmentation: an image as regions whose colors are constant or a ramp, by merging in the Mumford-Shah sense.

An image I that is approximated on each region R by a function c_R of few parameters costs

    E = sum over pixels of |I(p) - c_R(p)|^2  +  scale * (total length of the borders).

Merging regions i and j, with a common border of length L, changes E by

    e(i and j) - e(i) - e(j) - scale * L,

where e is the error of the best c_R, so they merge while the first three terms, divided by L, are below the scale. The
scale rises geometrically to its final value, and at every scale the cheapest merges come first (Koepfler, Lopez and
Morel, 1994). A larger scale means fewer regions, which is how a bound on their number is kept. Specks merge early, as
they have few pixels for their border.

c_R is linear in its features f(p): (1) for constant colors, (1, x, y) for ramps. With the moments of a region, summed
over its pixels,

    M = sum f f^T,    C = sum f I^T,    Q = sum |I|^2,    e = Q - tr(C^T M^-1 C),

and moments of merged regions add up. Ramps are slopes with a small prior, so that a few pixels do not have one. First
regions merge with constant colors, then with ramps, which join the bands that smooth shading was cut into.

Pixels that lie between two colors, along a smoothed edge, would form rims. They do not count for colors; each belongs
to the region beside it with the nearest color.

Images are arrays (H, W, C), usually with 3 channels, in [0, 1]; labels are (H, W), from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..initialization import connected_components as labeled

Floats, Ints, Flags = NDArray[np.floating[Any]], NDArray[np.integer[Any]], NDArray[np.bool_]

FIRST_SCALE, GROWTH = 1e-4, 2.0
FINER_GROWTH = 1.1
"""By how much the scale grows at a time until the regions are few enough."""
BINS = 32
"""Neighboring pixels in the same of this many bins of each channel start as one region."""
CONTRAST = 0.1
"""A pixel lies between two others only if these differ by at least this much."""
ASIDE = 0.2
"""How far it may be from the line between their colors, as a fraction of their difference."""
PAIRS = (((0, -1), (0, 1)), ((-1, 0), (1, 0)), ((-1, -1), (1, 1)), ((-1, 1), (1, -1)))
"""Opposite neighbors, as row and column."""
SLOPE_PRIOR = 100.0
"""What is added to the diagonal of a region's moments for the slopes of its ramp, in pixels cubed: five times what a
square of 4 x 4 pixels has."""
FAINT = 1e-6
"""What pixels that are not pure count, so that a region without pure ones has a color too."""


@dataclass(frozen=True)
class Regions:
    """A segmented image.

    Attributes:
        labels: The region (H, W) of each pixel, 0 to N - 1.
        colors: Their mean colors (N, C) in [0, 1].
        pure: Which pixels (H, W) do not lie between two colors.
    """

    labels: Ints
    colors: Floats
    pure: Flags


def as_array(image: Tensor, alpha: Tensor | None = None) -> Floats:
    """An image (3, H, W) as an array (H, W, 3), or (H, W, 4) with its alpha (H, W)."""
    channels = image if alpha is None else torch.cat([image, alpha[None]])
    array: Floats = channels.detach().movedim(0, -1).cpu().double().numpy()
    return array


def segmented(image: Floats, most: int, *, scale: float, smallest: int = 0, ramps: bool = True) -> Regions:
    """The regions of an image: at most `most`, each of `smallest` pixels or more.

    Args:
        image: (H, W, C) in [0, 1].
        most: The largest number of regions, 1 or more.
        scale: How much error a pixel of border is worth.
        smallest: Regions of fewer pixels join a neighbor.
        ramps: Whether colors may change linearly within a region.

    Raises:
        ValueError: The image has NaN or infinite values, which are near no color.
    """
    if not np.isfinite(image).all():
        raise ValueError("The image contains NaN or infinite values: check what made it.")
    pure = ~_between(image)
    if not pure.any():
        pure = np.ones_like(pure)
    labels, least = _grown(_seeds(image, pure), image), 1
    while True:
        for features in [_constant, _ramp] if ramps else [_constant]:
            labels = _merged(labels, _moments(labels, image, pure, features(*labels.shape)), scale, smallest, least)
        if labels.max() < most:
            return Regions(labels, _means(labels, image, pure + FAINT), pure)
        scale, least = scale * FINER_GROWTH, most


# The first regions


def _between(image: Floats) -> Flags:
    """Pixels whose color lies between those of two opposite neighbors, as smoothed edges have them."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width, _ = image.shape
    found = np.zeros((height, width), bool)
    for pair in PAIRS:
        one, other = (padded[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in pair)
        leg, offset = other - one, image - one
        squared = (leg**2).sum(-1)
        along = (offset * leg).sum(-1) / np.maximum(squared, CONTRAST**2)
        aside = ((offset - along[..., None] * leg) ** 2).sum(-1)
        found |= (squared > CONTRAST**2) & (abs(along - 0.5) < 0.4) & (aside < ASIDE**2 * squared)
    return found


def _seeds(image: Floats, pure: Flags) -> Ints:
    """Connected pure pixels of the same bin as regions from 1; the others are 0."""
    bins = np.minimum((image * BINS).astype(np.int64), BINS - 1) @ (BINS ** np.arange(image.shape[-1]))
    return labeled(torch.from_numpy(np.where(pure, bins + 1, 0))).numpy()


def _grown(seeds: Ints, image: Floats) -> Ints:
    """Every pixel labeled, from 0: those without a seed join the neighbor with the nearest color, from outside in."""
    labels = seeds.copy()
    height, width = labels.shape
    means = np.concatenate([np.full((1, image.shape[-1]), np.inf), _means(labels, image, seeds > 0)[1:]])
    while (unlabeled := labels == 0).any():
        padded = np.pad(labels, 1)
        beside = np.stack([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]])[:, unlabeled]
        distance = ((image[unlabeled] - means[beside]) ** 2).sum(-1)
        labels[unlabeled] = np.take_along_axis(beside, distance.argmin(0)[None], 0)[0]
    return labels - 1


# Merging


@dataclass(frozen=True)
class _Moments:
    """M (N, d, d), C (N, d, channels) and Q (N,) of regions, and their areas (N,) in pixels."""

    m: Floats
    c: Floats
    q: Floats
    area: Floats

    def errors(self) -> Floats:
        """e of each region."""
        slopes = np.arange(self.m.shape[1]) > 0
        prior = np.diag(SLOPE_PRIOR * slopes)
        return self.q - (self.c * np.linalg.solve(self.m + prior, self.c)).sum((1, 2))

    def __getitem__(self, rows: Ints) -> _Moments:
        return _Moments(self.m[rows], self.c[rows], self.q[rows], self.area[rows])

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.m + other.m, self.c + other.c, self.q + other.q, self.area + other.area)

    def summed(self, group: Ints, groups: int) -> _Moments:
        """The moments of groups of regions."""

        def total(values: Floats) -> Floats:
            sums = np.zeros((groups, *values.shape[1:]))
            np.add.at(sums, group, values)
            return sums

        return _Moments(total(self.m), total(self.c), total(self.q), total(self.area))


def _constant(height: int, width: int) -> Floats:
    """The feature (H, W, 1) of constant colors."""
    return np.ones((height, width, 1))


def _ramp(height: int, width: int) -> Floats:
    """The features (H, W, 3) of ramps, with coordinates around the center in pixels."""
    y, x = np.mgrid[:height, :width]
    return np.stack([np.ones((height, width)), x - width / 2, y - height / 2], -1)


def _moments(labels: Ints, image: Floats, pure: Flags, features: Floats) -> _Moments:
    flat, regions = labels.ravel(), int(labels.max()) + 1
    weight = pure.ravel() + FAINT
    f, colors = features.reshape(len(flat), -1), image.reshape(len(flat), -1)

    def total(values: Floats) -> Floats:
        return _sums(flat, weight * values, regions)

    m = np.stack([total(a * b) for a in f.T for b in f.T], 1).reshape(regions, f.shape[1], f.shape[1])
    c = np.stack([total(a * channel) for a in f.T for channel in colors.T], 1).reshape(regions, f.shape[1], -1)
    return _Moments(m, c, total((colors**2).sum(1)), np.bincount(flat).astype(float))


def _merged(labels: Ints, moments: _Moments, final: float, smallest: int, least: int) -> Ints:
    """Merge to no fewer than `least` regions: up to the scale `final`, then those smaller than `smallest` pixels."""
    edges, lengths = _borders(labels)
    errors = moments.errors()
    scale = min(FIRST_SCALE, final)
    while True:
        one, other = edges.T
        cost = ((moments[one] + moments[other]).errors() - errors[one] - errors[other]) / lengths
        last = scale >= final
        small = last & (moments.area[edges] < smallest).any(1)
        mutual = _mutual(edges, np.where((cost < scale) | small, cost, np.inf), len(errors))
        cheapest = mutual[np.argsort(cost[mutual], kind="stable")]
        pairs = edges[cheapest[: max(len(errors) - least, 0)]]
        if len(pairs):
            root = components(len(errors), *pairs.T)
            moments = moments.summed(root, int(root.max()) + 1)
            errors = moments.errors()
            labels, (edges, lengths) = root[labels], _joined(root[edges], lengths, len(errors))
        elif last:
            return labels
        else:
            scale = min(scale * GROWTH, final)


def _mutual(edges: Ints, cost: Floats, regions: int) -> Ints:
    """The edges (K,) between regions that are each other's cheapest neighbor, at a finite cost."""
    best = np.full(regions, np.inf)
    for side in edges.T:
        np.minimum.at(best, side, cost)
    edge = np.full(regions, len(edges))
    for side in edges.T:
        cheapest = np.flatnonzero((cost == best[side]) & np.isfinite(cost))
        np.minimum.at(edge, side[cheapest], cheapest)
    one, other = edges.T
    number = np.arange(len(edges))
    return number[(edge[one] == number) & (edge[other] == number)]


def _borders(labels: Ints) -> tuple[Ints, Floats]:
    """Pairs (E, 2) of neighboring regions and the lengths (E,) of their borders in pixels."""
    pairs = np.stack(_neighbors(labels), 1)
    return _joined(pairs, np.ones(len(pairs)), int(labels.max()) + 1)


def _neighbors(values: Ints) -> tuple[Ints, Ints]:
    """The values of all pairs of pixels that share a side."""
    one = np.concatenate([values[:, :-1].ravel(), values[:-1].ravel()])
    other = np.concatenate([values[:, 1:].ravel(), values[1:].ravel()])
    return one, other


def _joined(pairs: Ints, lengths: Floats, regions: int) -> tuple[Ints, Floats]:
    """Each pair of different regions once, with the sum of its lengths."""
    apart = pairs[:, 0] != pairs[:, 1]
    keys = pairs[apart].min(1) * regions + pairs[apart].max(1)
    unique, inverse = np.unique(keys, return_inverse=True)
    return np.stack([unique // regions, unique % regions], 1), _sums(inverse, lengths[apart], len(unique))


def components(count: int, one: Ints, other: Ints) -> Ints:
    """The connected component of each of `count` nodes."""
    graph = coo_array((np.ones(len(one), bool), (one, other)), (count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _means(labels: Ints, image: Floats, weight: Floats | Flags) -> Floats:
    """The mean color (N, C) of each label; 0 where nothing counts."""
    flat = labels.ravel()
    regions = int(labels.max()) + 1
    amount = np.maximum(_sums(flat, weight.ravel(), regions), 1e-12)
    colors = image.reshape(len(flat), -1)
    return np.stack([_sums(flat, weight.ravel() * channel, regions) / amount for channel in colors.T], 1)


def _sums(groups: Ints, values: Floats | Flags, count: int) -> Floats:
    """The sum of the values of each of `count` groups."""
    return np.bincount(groups, values, count).astype(float)

"""Lines: an image as strokes, along the middle of its thin regions and along the borders of the others.

1. The regions of the image (`segmentation`). A region is thin if no disc of more than `THIN` of the canvas fits into
   it: drawn lines, letters, outlines.
2. The pixels of thin regions, and those along borders between other regions, are thinned to lines one pixel wide
   (Guo and Hall, 1989).
3. The lines are a graph. Two pixels are linked if they share a side, or a corner and no neighbor of both. Pixels with
   three or more links are joints; the chains between joints and loose ends are pieces. Short loose pieces are what
   thinning leaves of corners, and go.
4. At each joint, pieces that go on in nearly the same direction become one line. The lines that matter most are kept:
   the sum of the image's contrast along them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, cycle

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, maximum_filter, minimum_filter
from torch import Tensor

from ...svg.document import Contour
from .curves import contour, fitted, fitted_line
from .segmentation import Flags, Floats, Ints, as_array, components, segmented

THIN = 0.03
"""The radius of discs that do not fit into a thin region, as a fraction of the side of the canvas."""
SCALE = 0.02
"""The scale of the segmentation, see there."""
SMALLEST_AREA = 9
"""Regions of fewer pixels are specks."""
MOST_REGIONS = 256
STRAIGHT_ON = math.radians(50)
"""The largest turn with which a line goes on at a joint."""
DIRECTION = 5
"""How many pixels of a piece give its direction at its end."""
LOOSE = 0.03
"""Loose pieces that are shorter than this fraction of the side of the canvas go."""
SMOOTHINGS = 3
"""How often each point moves halfway to the middle of its neighbors, which takes the steps between pixels away."""
TOLERANCE = 0.7
"""How far curves may be from the smoothed points, in pixels."""
CONTRAST_WINDOW = 5
"""The side of the square in which contrast is the largest difference, in pixels."""


def drawn_lines(image: Tensor, most: int, alpha: Tensor | None = None) -> list[Contour]:
    """At most `most` lines of an image, the ones with the most contrast along them, from high to low.

    Args:
        image: (3, H, W) in [0, 1].
        most: The largest number of lines.
        alpha: (H, W) in [0, 1]. Its edges are lines too.
    """
    pixels = as_array(image, alpha)
    side = math.sqrt(pixels.shape[0] * pixels.shape[1])
    graph = _Graph.of(thinned(_line_pixels(pixels, THIN * side)))
    lines = _joined(_without_loose(graph.pieces(), LOOSE * side))
    contrast = _contrast(pixels)
    weights = [contrast[tuple(line.pixels.T)].sum() for line in lines]
    kept = sorted(range(len(lines)), key=lambda n: -weights[n])[:most]
    return [_contour(lines[n]) for n in kept]


def _line_pixels(pixels: Floats, thin: float) -> Flags:
    """The pixels (H, W) of thin regions, and those right of and below the borders between others."""
    labels = segmented(pixels, MOST_REGIONS, scale=SCALE, smallest=SMALLEST_AREA, ramps=True).labels
    is_thin = np.array([_inscribed(labels[box] == n) <= thin for n, box in enumerate(find_objects(labels + 1))])
    if is_thin.all():
        is_thin[np.bincount(labels.ravel()).argmax()] = False
    ink = is_thin[labels]
    borders = np.zeros_like(ink)
    borders[:, 1:] |= (labels[:, 1:] != labels[:, :-1]) & ~ink[:, 1:] & ~ink[:, :-1]
    borders[1:] |= (labels[1:] != labels[:-1]) & ~ink[1:] & ~ink[:-1]
    return ink | borders


def _inscribed(mask: Flags) -> float:
    """The radius in pixels of the largest disc in a region; what lies outside of the array counts as outside."""
    return float(np.asarray(distance_transform_edt(np.pad(mask, 1))).max())


def _contrast(pixels: Floats) -> Floats:
    """The largest difference (H, W) of a channel around each pixel."""
    size = (CONTRAST_WINDOW, CONTRAST_WINDOW, 1)
    difference: Floats = (maximum_filter(pixels, size) - minimum_filter(pixels, size)).max(-1)
    return difference


# Thinning


def thinned(mask: Flags) -> Flags:
    """Lines one pixel wide with the connections of a set of pixels (H, W) (Guo and Hall, 1989).

    With the neighbors p0 ... p7 of a pixel, clockwise from above, it goes if it holds nothing together (its neighbors
    are one run, in which sides and corners count as connected) and is no end of a line (of the four pairs of successive
    neighbors, two or three are set, for the better of both ways to pair them). Passes take from opposite sides in turn.
    """
    thin = np.pad(mask, 1)
    passes_without_change = 0
    for turn in cycle((0, 4)):
        p = _around(thin)
        runs = np.sum([~p[n] & (p[n + 1] | p[(n + 2) % 8]) for n in (0, 2, 4, 6)], 0)
        pairs = [np.sum([p[n] | p[(n + 1) % 8] for n in firsts], 0) for firsts in ((1, 3, 5, 7), (0, 2, 4, 6))]
        ends = np.minimum(pairs[0], pairs[1])
        side = (p[4 - turn] | p[5 - turn] | ~p[7 - turn]) & p[6 - turn]
        goes = thin[1:-1, 1:-1] & (runs == 1) & (ends >= 2) & (ends <= 3) & ~side
        thin[1:-1, 1:-1] &= ~goes
        passes_without_change = 0 if goes.any() else passes_without_change + 1
        if passes_without_change == 2:
            break
    return thin[1:-1, 1:-1]


def _around(padded: Flags) -> Flags:
    """The eight neighbors (8, H, W) of each pixel, clockwise from above."""
    shifts = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
    height, width = padded.shape
    return np.stack([padded[1 + y : height - 1 + y, 1 + x : width - 1 + x] for y, x in shifts])


# Pieces and lines


@dataclass(frozen=True)
class Line:
    """A chain of pixels (K, 2), as row and column, and the joints that it starts and ends at; -1 for loose ends."""

    pixels: Ints
    joints: tuple[int, int]

    @property
    def reversed(self) -> Line:
        return Line(self.pixels[::-1], (self.joints[1], self.joints[0]))

    @property
    def closed(self) -> bool:
        """Whether it is a ring without joints."""
        return len(self.pixels) > 2 and max(self.joints) < 0 and bool((self.pixels[0] == self.pixels[-1]).all())

    def following(self, other: Line) -> Line:
        """The line that goes on as another."""
        return Line(np.concatenate([self.pixels, other.pixels]), (self.joints[0], other.joints[1]))

    def direction(self) -> Floats:
        """The unit direction in which it ends."""
        way = (self.pixels[-1] - self.pixels[max(-1 - DIRECTION, -len(self.pixels))]).astype(float)
        unit: Floats = way / max(float(np.linalg.norm(way)), 1e-12)
        return unit


@dataclass(frozen=True)
class _Graph:
    """Thinned pixels (N, 2), the other pixels that each is linked to, and its joint (N,), -1 for none."""

    pixels: Ints
    links: list[list[int]]
    joint: Ints

    @classmethod
    def of(cls, mask: Flags) -> _Graph:
        pixels = np.argwhere(mask)
        number = np.full((mask.shape[0] + 2, mask.shape[1] + 2), -1)
        number[1:-1, 1:-1][mask] = np.arange(len(pixels))
        around = number[1:, 1:], number[1:, :-1], number[:-1, 1:], number[:-1, :-1]
        here, left, above, _ = around
        pairs = [(here, left), (here, above)]
        pairs += [(np.where((left < 0) & (above < 0), here, -1), around[3])]
        pairs += [(np.where((here < 0) & (around[3] < 0), left, -1), above)]
        both = [(a[(a >= 0) & (b >= 0)], b[(a >= 0) & (b >= 0)]) for a, b in pairs]
        one, other = (np.concatenate(ends) for ends in zip(*both))
        links: list[list[int]] = [[] for _ in pixels]
        for a, b in zip(one.tolist(), other.tolist()):
            links[a].append(b)
            links[b].append(a)
        branched = np.array([len(each) > 2 for each in links], bool)
        among = branched[one] & branched[other]
        return cls(pixels, links, _clusters(branched, one[among], other[among]))

    def pieces(self) -> list[Line]:
        """The chains between joints and loose ends, rings, and pixels that are alone."""
        used: set[tuple[int, int]] = set()
        ends = [n for n, each in enumerate(self.links) if len(each) != 2 or self.joint[n] >= 0]
        found = [self._walked(n, step, used) for n in ends for step in self.links[n] if self._leads_away(n, step)]
        seen = {n for chain in found if chain for n in chain}
        for n, each in enumerate(self.links):
            if n not in seen and len(each) == 2 and self.joint[n] < 0:
                ring = self._walked(n, each[0], used)
                seen.update(ring)
                found.append(ring)
        found += [[n, n] for n, each in enumerate(self.links) if not each]
        return [Line(self.pixels[c], (int(self.joint[c[0]]), int(self.joint[c[-1]]))) for c in found if c]

    def _leads_away(self, n: int, step: int) -> bool:
        return self.joint[n] < 0 or self.joint[step] != self.joint[n]

    def _walked(self, start: int, step: int, used: set[tuple[int, int]]) -> list[int]:
        """The chain from a pixel over a neighbor to the next joint or loose end; empty if it was walked before."""
        if (start, step) in used:
            return []
        chain = [start, step]
        while len(self.links[chain[-1]]) == 2 and self.joint[chain[-1]] < 0 and chain[-1] != start:
            one, other = self.links[chain[-1]]
            chain.append(other if one == chain[-2] else one)
        used.update({(start, step), (chain[-1], chain[-2])})
        return chain


def _clusters(branched: Flags, one: Ints, other: Ints) -> Ints:
    """The joint of each pixel: branched pixels that are linked are one; -1 for the others."""
    joints: Ints = np.where(branched, components(len(branched), one, other), -1) if len(branched) else np.zeros(0, int)
    return joints


def _without_loose(pieces: list[Line], shortest: float) -> list[Line]:
    """Pieces without the short ones that lead from a joint to nowhere."""
    return [p for p in pieces if len(p.pixels) >= shortest or min(p.joints) >= 0 or max(p.joints) < 0]


def _joined(pieces: list[Line]) -> list[Line]:
    """Pieces that go on in nearly the same direction at a joint as one line, the straightest first."""
    lines = dict(enumerate(pieces))
    for joint in sorted({j for piece in pieces for j in piece.joints if j >= 0}):
        while pair := _straightest(lines, joint):
            (a, one), (b, other) = pair
            del lines[a]
            lines[b] = one.following(other)
    return list(lines.values())


def _straightest(lines: dict[int, Line], joint: int) -> tuple[tuple[int, Line], tuple[int, Line]] | None:
    """The two lines at a joint that go on as each other with the smallest turn: the first ends there."""
    ending = [(n, line) for n, each in lines.items() for line in (each, each.reversed) if line.joints[1] == joint]
    best, found = math.cos(STRAIGHT_ON), None
    for (a, one), (b, other) in combinations(ending, 2):
        cosine = -float(one.direction() @ other.direction())
        if a != b and cosine > best:
            best, found = cosine, ((a, one), (b, other.reversed))
    return found


def _contour(line: Line) -> Contour:
    """A line as cubics through the middles of its pixels; a pixel that is alone is a line of one pixel."""
    points = line.pixels[:, ::-1] + 0.5
    if (points == points[0]).all():
        points = points[:2] + np.array([[-0.5, 0.0], [0.5, 0.0]])
    points = _smoothed(points, line.closed)
    if line.closed:
        return contour(fitted(points[:-1], np.full(len(points) - 1, TOLERANCE)), closed=True)
    return contour(fitted_line(points, TOLERANCE), closed=False)


def _smoothed(points: Floats, closed: bool) -> Floats:
    """Points (K, 2) without the steps between pixels; the ends of open lines stay."""
    for _ in range(SMOOTHINGS):
        before, after = points[-2:-1] if closed else points[:1], points[1:2] if closed else points[-1:]
        middles = (np.concatenate([before, points[:-1]]) + np.concatenate([points[1:], after])) / 2
        smooth = (points + middles) / 2
        points = smooth if closed else np.concatenate([points[:1], smooth[1:-1], points[-1:]])
    return points

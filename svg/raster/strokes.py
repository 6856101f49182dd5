"""Outlines of strokes: polygons whose nonzero union is the stroke, differentiable in the curve and in the width.

Every curve, join and cap becomes a polygon of its own, all wound in the same direction, so under the nonzero rule they
form their union. Neighbors share a straight border, traversed in opposite directions, which cancels in the winding
number: nothing is covered twice along it.

With h half the stroke width, p(t) a curve and n(t) its unit normal (its direction turned by 90 degrees):

Body    p(t) + h n(t) forward, then p(t) - h n(t) backward, closed by straight lines across both ends.
Join    Let n0 and n1 be the normals before and after the corner c, and theta the angle between them. Only the outer
        side has a gap, between c + h u and c + h v, where (u, v) is (n0, n1) or (-n1, -n0), depending on the turn.
        Bevel: the triangle c, c + h u, c + h v. Round: a sector of angle theta. Miter: the tip lies on the bisector at
        distance h / cos(theta / 2), and |u + v| = 2 cos(theta / 2), so it is c + h (u + v) / (1 + cos theta). SVG
        allows it if miter length over width, 1 / cos(theta / 2), is at most the limit: 2 <= limit^2 (1 + cos theta).
Cap     Square: the half square c +- h n, c +- h n + h d with d the outward direction. Round: half a disc.

Every vertex has the form c + h v with v independent of h. So its derivative in h is v, and autograd carries the
gradient of each vertex (from `coverage`) to the width and, through p, c and the normals, to the control points.

Arcs of radius h are divided into chords of angle a, whose sagitta is h (1 - cos(a / 2)) <= h a^2 / 8; it stays within
the tolerance for a <= sqrt(8 tolerance / h).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .flattening import MAX_EDGES, TOLERANCE, bernstein_derivative, cross, flatten_within, outside, ragged_arange

MIN_LENGTH = 1e-6
"""Vectors shorter than this, in pixels before the pen, have no direction."""

MAX_SECTOR_EDGES = 2**20
"""Edges of all round joins together, and of all round caps at one end; beyond it each arc gets fewer."""

SMOOTH = 0.02
"""A corner counts as smooth if the bodies of its two curves part by less than this many pixels at the stroke's edge."""


@dataclass(frozen=True)
class StrokePlan:
    """Which curves are stroked and how: S curves belong to K strokes.

    Attributes:
        stroke: The stroke (S,) of each curve.
        joins: Pairs (J, 2) of curves where the second continues at the end of the first.
        starts: Curves at whose start an open contour starts.
        ends: Curves at whose end an open contour ends.
        round_join: Per stroke, bool (K,).
        miter_join: Per stroke, bool (K,).
        miter_limit: Per stroke (K,), at least 1.
        round_cap: Per stroke, bool (K,).
        square_cap: Per stroke, bool (K,).
        pen: Per stroke (K, 2, 2), the linear map applied to the stroke as a whole (`document.Stroke.pen`).
    """

    stroke: Tensor
    joins: Tensor
    starts: Tensor
    ends: Tensor
    round_join: Tensor
    miter_join: Tensor
    miter_limit: Tensor
    round_cap: Tensor
    square_cap: Tensor
    pen: Tensor


def outlines(cubics: Tensor, width: Tensor, plan: StrokePlan, canvas: Tensor) -> tuple[Tensor, Tensor]:
    """Outline strokes as closed polygons, to be filled by the nonzero rule.

    Args:
        cubics: Control points (S, 4, 2), in pixels.
        width: Stroke widths (K,), in pixels before `pen`.
        plan: How the curves are stroked.
        canvas: Least and greatest coordinates (2, 2) of the canvas; outlines are coarse outside it.

    Returns:
        Edges (E, 2, 2) in pixels, and the stroke (E,) of each.
    """
    from_pen = torch.linalg.inv(plan.pen)
    cubics = cubics @ from_pen.index_select(0, plan.stroke).mT
    half = width / 2
    window = _windows(canvas, from_pen, half.detach())
    parts = [
        *_bodies(cubics, half, plan, window),
        *_joins(cubics, half, plan, window),
        *_caps(cubics, half, plan, window),
    ]
    edges, stroke = torch.cat([edges for edges, _ in parts]), torch.cat([stroke for _, stroke in parts])
    return edges @ plan.pen.index_select(0, stroke).mT, stroke


def _windows(canvas: Tensor, from_pen: Tensor, half: Tensor) -> Tensor:
    """Per stroke, a box (K, 2, 2) in the coordinates before the pen: a line outside it has no visible stroke."""
    columns, rows = canvas.unbind(1)
    corners = torch.cartesian_prod(columns, rows) @ from_pen.mT
    low, high = corners.amin(1) - half[:, None], corners.amax(1) + half[:, None]
    return torch.stack((low, high), 1)


Part = tuple[Tensor, Tensor]
"""Edges (E, 2, 2) and the stroke (E,) of each."""


def _bodies(cubics: Tensor, half: Tensor, plan: StrokePlan, window: Tensor) -> Iterator[Part]:
    """The polygons between the two offset curves."""
    max_turn = _max_turn(half.detach()).index_select(0, plan.stroke)
    flat = flatten_within(cubics, window.index_select(0, plan.stroke), max_turn)
    derivative = bernstein_derivative(flat.t) @ cubics.index_select(0, flat.curve)
    chord = (flat.edges[:, 1] - flat.edges[:, 0])[:, None].expand_as(derivative)
    stroke = plan.stroke.index_select(0, flat.curve)
    offset = _normal(derivative, chord) * half.index_select(0, stroke)[:, None, None]
    yield flat.edges + offset, stroke
    yield (flat.edges - offset).flip(1), stroke
    for first in (True, False):
        at, side = flat.edges[:, 0 if first else 1], offset[:, 0 if first else 1]
        here = (flat.t[:, 0] == 0 if first else flat.t[:, 1] == 1).nonzero().squeeze(1)
        across = torch.stack((at - side, at + side) if first else (at + side, at - side), 1)
        yield across.index_select(0, here), stroke.index_select(0, here)


def _max_turn(half: Tensor) -> Tensor:
    """Largest angle of a chord that stays within the tolerance of an arc with radius `half` (see the docstring)."""
    return (8 * TOLERANCE / half.clamp(min=TOLERANCE)).sqrt()


def _normal(direction: Tensor, fallback: Tensor) -> Tensor:
    """Unit normals of `direction` (..., 2); where that has no length, of `fallback`, and then of the x axis."""
    x = torch.zeros_like(direction)
    x[..., 0] = 1
    for vector in (fallback, direction):
        x = torch.where((vector.detach().square().sum(-1, keepdim=True) > MIN_LENGTH**2), vector, x)
    x = x / x.norm(dim=-1, keepdim=True)
    return torch.stack((-x[..., 1], x[..., 0]), -1)


def _end_normal(cubics: Tensor, *, at_end: bool) -> Tensor:
    """Normals (S, 2) at the start or end of curves, from the nearest control point that differs from the end point."""
    p = cubics.flip(1) if at_end else cubics
    legs = [p[:, n] - p[:, 0] for n in (1, 2, 3)]
    direction = legs[2]
    for leg in (legs[1], legs[0]):
        direction = torch.where(leg.detach().square().sum(1, keepdim=True) > MIN_LENGTH**2, leg, direction)
    if at_end:
        direction = -direction
    return _normal(direction, torch.zeros_like(direction))


def _joins(cubics: Tensor, half: Tensor, plan: StrokePlan, window: Tensor) -> Iterator[Part]:
    """Join polygons on the outer side of corners, and corrections of smooth corners on the inner side."""
    before, after = cubics.index_select(0, plan.joins[:, 0]), cubics.index_select(0, plan.joins[:, 1])
    stroke = plan.stroke.index_select(0, plan.joins[:, 0])
    n0, n1 = _end_normal(before, at_end=True), _end_normal(after, at_end=False)
    sine, cosine = cross(n0, n1), (n0 * n1).sum(1)
    turns_positive = (sine > 0)[:, None]
    h = half.index_select(0, stroke)[:, None]
    first, last = torch.where(turns_positive, -n1, n0), torch.where(turns_positive, -n0, n1)
    center = after[:, 0]
    round_ = plan.round_join.index_select(0, stroke)
    miter = plan.miter_join.index_select(0, stroke) & (
        2 <= plan.miter_limit.index_select(0, stroke).square() * (1 + cosine.detach())
    )
    tip = (first + last) / (1 + cosine.clamp(min=MIN_LENGTH - 1))[:, None]
    bevel = ~round_ & ~miter
    yield _polygons([center, center + h * first, center + h * last], stroke, bevel)
    yield _polygons([center, center + h * first, center + h * tip, center + h * last], stroke, miter)
    # |sine| without abs(), whose derivative at 0 is 0; and 0 - sine, because -sine can be -0, which flips atan2.
    angle = -torch.atan2(torch.where(sine > 0, sine, 0 - sine), cosine)
    yield from _sectors(center, first, angle, h, stroke, round_, window)
    # At a smooth corner the bodies overlap in a sliver on the inner side. Its winding number of 2 raises a pixel's mean
    # above 1 by so little that the fold takes it for rounding and passes on its gradient, which is not that of the
    # image. The same triangle with opposite orientation removes the overlap.
    smooth = (cosine > 0) & (h[:, 0] * sine.abs() < SMOOTH)
    yield _polygons([center, center - h * last, center - h * first], stroke, smooth)


def _caps(cubics: Tensor, half: Tensor, plan: StrokePlan, window: Tensor) -> Iterator[Part]:
    """Cap polygons at the ends of open contours."""
    for chosen, at_end in ((plan.starts, False), (plan.ends, True)):
        curves, stroke = cubics.index_select(0, chosen), plan.stroke.index_select(0, chosen)
        at = curves[:, 3] if at_end else curves[:, 0]
        side = _end_normal(curves, at_end=at_end) * (1 if at_end else -1)
        h = half.index_select(0, stroke)[:, None]
        outward = torch.stack((side[:, 1], -side[:, 0]), 1)
        corners = [at + h * v for v in (side, side + outward, outward - side, -side)]
        yield _polygons(corners, stroke, plan.square_cap.index_select(0, stroke))
        half_turn = side.new_full((len(side),), -torch.pi)
        yield from _sectors(at, side, half_turn, h, stroke, plan.round_cap.index_select(0, stroke), window)


def _polygons(corners: list[Tensor], stroke: Tensor, chosen: Tensor) -> Part:
    """The edges of the `chosen` (N,) polygons, given their corners (N, 2) in order."""
    here = chosen.nonzero().squeeze(1)
    points = torch.stack(corners, 1).index_select(0, here)
    edges = torch.stack((points, points.roll(-1, 1)), 2)
    return edges.flatten(0, 1), stroke.index_select(0, here).repeat_interleave(len(corners))


def _sectors(
    center: Tensor, first: Tensor, angle: Tensor, h: Tensor, stroke: Tensor, chosen: Tensor, window: Tensor
) -> Iterator[Part]:
    """The `chosen` (N,) sectors of discs of radius h (N, 1), from direction `first` (N, 2) by `angle` (N,) radians."""
    here = chosen.nonzero().squeeze(1)
    center, first, angle, h, stroke = (v.index_select(0, here) for v in (center, first, angle, h, stroke))
    # One edge for sectors that are not finite or not visible; a limit for huge ones.
    count = (angle.detach().abs() / _max_turn(h.detach()[:, 0])).ceil().nan_to_num(1)
    count = count.masked_fill(outside(center.detach()[:, None], window.index_select(0, stroke)), 1)
    count = count.clamp(1, max(MAX_SECTOR_EDGES // max(len(here), 1), 1)).clamp(max=MAX_EDGES).long()
    sector, nth = ragged_arange(count)
    fraction = torch.stack((nth, nth + 1), 1).to(h) / count.index_select(0, sector)[:, None]
    direction = _rotated(first.index_select(0, sector)[:, None], angle.index_select(0, sector)[:, None] * fraction)
    arc = center.index_select(0, sector)[:, None] + h.index_select(0, sector)[:, None] * direction
    yield arc, stroke.index_select(0, sector)
    last = _rotated(first, angle)
    yield torch.stack((center, center + h * first), 1), stroke
    yield torch.stack((center + h * last, center), 1), stroke


def _rotated(vector: Tensor, angle: Tensor) -> Tensor:
    x, y = vector.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((x * cos - y * sin, x * sin + y * cos), -1)

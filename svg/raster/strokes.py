"""Outlines of strokes: polygons whose nonzero union is the stroke, differentiable in the curve and in the width.

The body of each curve, each join and each cap is a polygon of its own, all turning the same way. Neighbours share a
straight border, which cancels in the winding number, so nothing is covered twice along it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .flattening import MOST, TOLERANCE, bernstein_derivative, beyond, cross, enumerated, flatten_within

TINY = 1e-6
"""Shorter vectors, in pixels, have no direction."""

MOST_OF_SECTORS = 2**20
"""Edges of all round joins, and of all round caps at one end: each has fewer where very many of them are huge."""

SMOOTH = 0.02
"""Where a contour turns by so little that the bodies, at the stroke's border, part by fewer pixels, it goes on."""


@dataclass(frozen=True)
class StrokePlan:
    """What is stroked how; K strokes of S curves.

    `stroke` (S,) is the stroke of each curve; `joins` (J, 2) are pairs of a curve and the one that goes on where it
    ends, `starts` and `ends` the curves at whose start or end a contour ends. Of each stroke: `round_join`,
    `miter_join`, `round_cap`, `square_cap` (K,) bool, `miter_limit` (K,), and `pen` (K, 2, 2), the map that the stroke
    undergoes as a whole.
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
    """Edges (E, 2, 2) of the outlines of curves (S, 4, 2) in pixels, and the stroke (E,) of each; `width` is (K,).

    They are coarse where the canvas, from `canvas[0]` to `canvas[1]` (2, 2), does not show them.
    """
    back = torch.linalg.inv(plan.pen)
    cubics = cubics @ back.index_select(0, plan.stroke).mT
    half = width / 2
    window = _windows(canvas, back, half.detach())
    parts = [
        *_bodies(cubics, half, plan, window),
        *_joins(cubics, half, plan, window),
        *_caps(cubics, half, plan, window),
    ]
    edges, stroke = torch.cat([edges for edges, _ in parts]), torch.cat([stroke for _, stroke in parts])
    return edges @ plan.pen.index_select(0, stroke).mT, stroke


def _windows(canvas: Tensor, back: Tensor, half: Tensor) -> Tensor:
    """Boxes (K, 2, 2) around what `back` (K, 2, 2) makes of the canvas; a line beyond them has no stroke on it."""
    columns, rows = canvas.unbind(1)
    corners = torch.cartesian_prod(columns, rows) @ back.mT
    low, high = corners.amin(1) - half[:, None], corners.amax(1) + half[:, None]
    return torch.stack((low, high), 1)


Part = tuple[Tensor, Tensor]
"""Edges (E, 2, 2) and the stroke (E,) they belong to."""


def _bodies(cubics: Tensor, half: Tensor, plan: StrokePlan, window: Tensor) -> Iterator[Part]:
    finest_turn = _finest_turn(half.detach()).index_select(0, plan.stroke)
    flat = flatten_within(cubics, window.index_select(0, plan.stroke), finest_turn)
    derivative = bernstein_derivative(flat.t) @ cubics.index_select(0, flat.curve)
    chord = (flat.edges[:, 1] - flat.edges[:, 0])[:, None].expand_as(derivative)
    stroke = plan.stroke.index_select(0, flat.curve)
    offset = _normal(derivative, chord) * half.index_select(0, stroke)[:, None, None]
    yield flat.edges + offset, stroke
    yield (flat.edges - offset).flip(1), stroke
    for first in (True, False):
        at, side = flat.edges[:, 0 if first else 1], offset[:, 0 if first else 1]
        here = (flat.t[:, 0] == 0 if first else flat.t[:, 1] == 1).nonzero().squeeze(1)
        ends = torch.stack((at - side, at + side) if first else (at + side, at - side), 1)
        yield ends.index_select(0, here), stroke.index_select(0, here)


def _finest_turn(half: Tensor) -> Tensor:
    """Angle whose chord keeps within the tolerance of an arc around the stroke's middle line."""
    return (8 * TOLERANCE / half.clamp(min=TOLERANCE)).sqrt()


def _normal(direction: Tensor, otherwise: Tensor) -> Tensor:
    """Unit vectors at a right angle to `direction` (..., 2); where that has no length, to `otherwise` or to x."""
    x = torch.zeros_like(direction)
    x[..., 0] = 1
    for vector in (otherwise, direction):
        x = torch.where((vector.detach().square().sum(-1, keepdim=True) > TINY**2), vector, x)
    x = x / x.norm(dim=-1, keepdim=True)
    return torch.stack((-x[..., 1], x[..., 0]), -1)


def _end_normal(cubics: Tensor, *, at_end: bool) -> Tensor:
    """Normals (S, 2) where curves begin or end."""
    p = cubics.flip(1) if at_end else cubics
    legs = [p[:, n] - p[:, 0] for n in (1, 2, 3)]
    direction = legs[2]
    for leg in (legs[1], legs[0]):
        direction = torch.where(leg.detach().square().sum(1, keepdim=True) > TINY**2, leg, direction)
    if at_end:
        direction = -direction
    return _normal(direction, torch.zeros_like(direction))


def _joins(cubics: Tensor, half: Tensor, plan: StrokePlan, window: Tensor) -> Iterator[Part]:
    """What lies outside the bodies where a contour turns, a triangle, a quadrilateral or a sector, and what of them is
    taken off on the inner side."""
    into, out = cubics.index_select(0, plan.joins[:, 0]), cubics.index_select(0, plan.joins[:, 1])
    stroke = plan.stroke.index_select(0, plan.joins[:, 0])
    n0, n1 = _end_normal(into, at_end=True), _end_normal(out, at_end=False)
    sine, dot = cross(n0, n1), (n0 * n1).sum(1)
    left = (sine > 0)[:, None]
    h = half.index_select(0, stroke)[:, None]
    first, last = torch.where(left, -n1, n0), torch.where(left, -n0, n1)
    centre = out[:, 0]
    round_ = plan.round_join.index_select(0, stroke)
    miter = plan.miter_join.index_select(0, stroke) & (
        2 <= plan.miter_limit.index_select(0, stroke).square() * (1 + dot.detach())
    )
    tip = (first + last) / (1 + dot.clamp(min=TINY - 1))[:, None]
    bevel = ~round_ & ~miter
    yield _polygons([centre, centre + h * first, centre + h * last], stroke, bevel)
    yield _polygons([centre, centre + h * first, centre + h * tip, centre + h * last], stroke, miter)
    # Not abs(), which has no derivative at 0, and 0 - sine as that is never -0, which would turn the other way.
    angle = -torch.atan2(torch.where(sine > 0, sine, 0 - sine), dot)
    yield from _sectors(centre, first, angle, h, stroke, round_, window)
    # Where bodies hardly overlap, the fold takes what they have twice for rounding, and a change of it for a change of
    # the picture. Taken off once, it stays covered once however the contour turns.
    smooth = (dot > 0) & (h[:, 0] * sine.abs() < SMOOTH)
    yield _polygons([centre, centre - h * last, centre - h * first], stroke, smooth)


def _caps(cubics: Tensor, half: Tensor, plan: StrokePlan, window: Tensor) -> Iterator[Part]:
    """What lies beyond the ends of open contours: half a disc or half a square."""
    for chosen, at_end in ((plan.starts, False), (plan.ends, True)):
        curves, stroke = cubics.index_select(0, chosen), plan.stroke.index_select(0, chosen)
        at = curves[:, 3] if at_end else curves[:, 0]
        side = _end_normal(curves, at_end=at_end) * (1 if at_end else -1)
        h = half.index_select(0, stroke)[:, None]
        beyond = torch.stack((side[:, 1], -side[:, 0]), 1)
        corners = [at + h * v for v in (side, side + beyond, beyond - side, -side)]
        yield _polygons(corners, stroke, plan.square_cap.index_select(0, stroke))
        turn = side.new_full((len(side),), -torch.pi)
        yield from _sectors(at, side, turn, h, stroke, plan.round_cap.index_select(0, stroke), window)


def _polygons(corners: list[Tensor], stroke: Tensor, chosen: Tensor) -> Part:
    """The edges of those polygons, of corners (N, 2) each, that are chosen."""
    here = chosen.nonzero().squeeze(1)
    points = torch.stack(corners, 1).index_select(0, here)
    edges = torch.stack((points, points.roll(-1, 1)), 2)
    return edges.flatten(0, 1), stroke.index_select(0, here).repeat_interleave(len(corners))


def _sectors(
    centre: Tensor, first: Tensor, angle: Tensor, h: Tensor, stroke: Tensor, chosen: Tensor, window: Tensor
) -> Iterator[Part]:
    """Sectors of discs of radius h (N, 1) from the direction `first` (N, 2) on, by `angle` (N,) radians."""
    here = chosen.nonzero().squeeze(1)
    centre, first, angle, h, stroke = (v.index_select(0, here) for v in (centre, first, angle, h, stroke))
    # What is not finite or not seen makes no edges to speak of, and what is huge no more than a curve may have.
    count = (angle.detach().abs() / _finest_turn(h.detach()[:, 0])).ceil().nan_to_num(1)
    count = count.masked_fill(beyond(centre.detach()[:, None], window.index_select(0, stroke)), 1)
    count = count.clamp(1, max(MOST_OF_SECTORS // max(len(here), 1), 1)).clamp(max=MOST).long()
    one, nth = enumerated(count)
    share = torch.stack((nth, nth + 1), 1).to(h) / count.index_select(0, one)[:, None]
    turned = _rotated(first.index_select(0, one)[:, None], angle.index_select(0, one)[:, None] * share)
    arc = centre.index_select(0, one)[:, None] + h.index_select(0, one)[:, None] * turned
    yield arc, stroke.index_select(0, one)
    last = _rotated(first, angle)
    yield torch.stack((centre, centre + h * first), 1), stroke
    yield torch.stack((centre + h * last, centre), 1), stroke


def _rotated(vector: Tensor, angle: Tensor) -> Tensor:
    x, y = vector.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((x * cos - y * sin, x * sin + y * cos), -1)

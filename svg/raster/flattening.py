"""Cubic Bézier curves as edges: polygons that keep within a tolerance of the curve."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 0.0025
"""Furthest an edge may lie from its curve, in pixels; a pixel's coverage is off by this much at most."""

MOST = 4096
"""Edges of one curve or span. A curve wants more, to keep the tolerance, from some 50,000 pixels on."""

MOST_OF_ALL = 8_000_000
"""Edges of all curves together, some 4 GB of them."""

FEW = 256
"""Where only a canvas counts, curves of more edges are divided into spans."""

SPANS, SHORTEST = 16, 16.0**-5
"""How many at a time, and a span that is not divided. Powers of two, so that neighbours end at the same parameter."""


class Flattened(NamedTuple):
    """Curves in edges: ends (E, 2, 2), the parameters (E, 2) of those ends and the curve's index (E,)."""

    edges: Tensor
    t: Tensor
    curve: Tensor


def flatten(cubics: Tensor, tolerance: float = TOLERANCE, finest_turn: Tensor | None = None) -> Flattened:
    """Cubics (S, 4, 2), in pixels, as edges that join exactly; differentiable in the control points.

    `finest_turn` (S,) bounds the angle, in radians, that each edge of a curve may stand for. A curve of `MOST` edges
    may be further from them than the tolerance, and one that is not finite has edges that are not.
    """
    count = _count(cubics.detach(), tolerance, finest_turn)
    curve, nth = enumerated(count)
    t = torch.stack((nth, nth + 1), 1).to(cubics) / count.index_select(0, curve)[:, None]
    return Flattened(bernstein(t) @ cubics.index_select(0, curve), t, curve)


def flatten_within(cubics: Tensor, window: Tensor, finest_turn: Tensor | None = None) -> Flattened:
    """Cubics (S, 4, 2) in edges as `flatten` gives them, but coarse where they lie outside a window (S or 1, 2, 2).

    That is the least and the greatest coordinates of what is shown. Curves of any size come to few edges: those that
    the window shows, and some at every scale on the way there. What closed outlines cover in it is the same. Raises
    ValueError for more edges than memory is likely to hold.
    """
    index = torch.arange(len(cubics), device=cubics.device)
    seen = _Seen(window.detach().expand(len(cubics), 2, 2), finest_turn)
    found = _spans(cubics.detach(), index, cubics.new_zeros(len(cubics)), 1.0, seen)
    curve, begin, length, count = (torch.cat(values) for values in zip(*found))
    if (edges := int(count.sum())) > MOST_OF_ALL:
        raise ValueError(
            f"The curves of the drawing come to {edges:,} edges on this canvas, and {MOST_OF_ALL:,} can be drawn: "
            "simplify the drawing, or draw it smaller."
        )
    span, nth = enumerated(count)
    share = torch.stack((nth, nth + 1), 1).to(cubics) / count.index_select(0, span)[:, None]
    t = torch.addcmul(begin.index_select(0, span)[:, None], length.index_select(0, span)[:, None], share)
    curve = curve.index_select(0, span)
    return Flattened(bernstein(t) @ cubics.index_select(0, curve), t, curve)


def enumerated(count: Tensor) -> tuple[Tensor, Tensor]:
    """Each index of `count` (N,) as often as it says, and which time it is: (0, 0, 2), (0, 1, 0) for (2, 0, 1)."""
    index = torch.repeat_interleave(count)
    first = count.cumsum(0) - count
    return index, torch.arange(len(index), device=count.device) - first.index_select(0, index)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product of vectors (..., 2): |a| |b| times the sine of the angle from a to b."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def bernstein(t: Tensor) -> Tensor:
    """Weights (..., 4) of the control points at t (...)."""
    s = 1 - t
    return torch.stack((s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t), -1)


def bernstein_derivative(t: Tensor) -> Tensor:
    """Weights (..., 4) of the control points in the curve's derivative at t (...)."""
    s = 1 - t
    return 3 * torch.stack((-s * s, s * s - 2 * s * t, 2 * s * t - t * t, t * t), -1)


def _count(cubics: Tensor, tolerance: float, finest_turn: Tensor | None) -> Tensor:
    """Edges each curve needs: a chord's distance is at most |B''| / (8 n²)."""
    bends = cubics[:, :-2] - 2 * cubics[:, 1:-1] + cubics[:, 2:]
    count = (0.75 / tolerance * bends.norm(dim=2).amax(1)).sqrt().ceil()
    if finest_turn is not None:
        count = count.maximum((_turn(cubics) / finest_turn).ceil())
    return count.nan_to_num(1).clamp(1, MOST).long()


def _turn(cubics: Tensor) -> Tensor:
    """The angle by which the control polygon turns, which no part of the curve exceeds."""
    legs = cubics[:, 1:] - cubics[:, :-1]
    a, b = legs[:, :-1], legs[:, 1:]
    return torch.atan2(cross(a, b), (a * b).sum(2)).abs().sum(1)


Spans = tuple[Tensor, Tensor, Tensor, Tensor]
"""Curve, begin and length in the curve's parameter, and number of edges of spans; each (N,)."""


class _Seen(NamedTuple):
    """Of all curves, the window (S, 2, 2) they are seen in and the angle (S,) that an edge may stand for."""

    window: Tensor
    finest_turn: Tensor | None

    def hides(self, parts: Tensor, curve: Tensor) -> Tensor:
        """Whether parts (N, 4, 2) of curves (N,) lie outside, (N,)."""
        return beyond(parts, self.window.index_select(0, curve))

    def turns(self, parts: Tensor, curve: Tensor, length: float) -> Tensor:
        """Edges (N,) that parts of one length need for their turn: no more for all of a curve than it may have."""
        if self.finest_turn is None:
            return curve.new_ones(len(curve))
        turns = (_turn(parts) / self.finest_turn.index_select(0, curve)).ceil()
        return turns.nan_to_num(1).clamp(1, max(MOST * length, 1)).long()


def _spans(cubics: Tensor, curve: Tensor, begin: Tensor, length: float, seen: _Seen) -> Iterator[Spans]:
    """The spans of one length that begin at `begin` (N,) on cubics (N, 4, 2), or what these are divided into."""
    parts = _part(cubics, begin, length)
    hidden = seen.hides(parts, curve)
    count = _count(parts, TOLERANCE, None).masked_fill(hidden, 1)
    divided = (count > FEW) & (length > SHORTEST) & parts.isfinite().all(2).all(1)
    count = count.maximum(seen.turns(parts, curve, length).masked_fill(hidden, 1))
    yield curve[~divided], begin[~divided], begin.new_full((int((~divided).sum()),), length), count[~divided]
    if divided.any():
        shift = torch.arange(SPANS, device=begin.device) * (length / SPANS)
        begin = (begin[divided, None] + shift).flatten()
        cubics, curve = (values[divided].repeat_interleave(SPANS, 0) for values in (cubics, curve))
        yield from _spans(cubics, curve, begin, length / SPANS, seen)


def _part(cubics: Tensor, begin: Tensor, length: float) -> Tensor:
    """Control points (N, 4, 2) of the spans of cubics (N, 4, 2) that begin at `begin` (N,)."""
    t = torch.stack((begin, begin + length), 1)
    first, last = (bernstein(t) @ cubics).unbind(1)
    leg, into = (bernstein_derivative(t) @ cubics * (length / 3)).unbind(1)
    return torch.stack((first, first + leg, last - into, last), 1)


def beyond(points: Tensor, window: Tensor) -> Tensor:
    """Whether points (N, P, 2) all lie above, below, left or right of their windows (N, 2, 2), (N,).

    A line between two of them leaves that side no more than a curve in their hull does, and so passes what the window
    shows on the same side.
    """
    low, high = window.unbind(1)
    return ((points.amax(1) < low) | (points.amin(1) > high)).any(1)

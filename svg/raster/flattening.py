"""Flattening: cubic Bézier curves to polylines that stay within a tolerance of the curve.

How many edges a cubic B needs. Evaluated at n + 1 equally spaced parameters, each edge spans h = 1/n. By the error
bound of linear interpolation, applied along every direction, an edge is nowhere further from the curve than

    h^2 / 8  max |B''|.

The second derivative B''(t) = 6 ((1 - t) b0 + t b1) is a convex combination of the second differences
b_i = p_i - 2 p_{i+1} + p_{i+2} of the control points, so |B''| <= 6 max |b_i|. The distance is at most the tolerance if

    n >= sqrt(6/8 max |b_i| / tolerance).

Edges are evaluated directly from the control points with Bernstein weights, so they are differentiable in them; the
number of edges is held constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = 0.0025
"""Largest distance between an edge and its curve, in pixels: the outline moves, and coverage changes, by less."""

MAX_EDGES = 4096
"""Edges of one curve or span. A curve needs more for the tolerance from a size of about 50,000 pixels."""

MAX_TOTAL_EDGES = 8_000_000
"""Edges of all curves together, about 1.5 GB with gradients."""

SPLIT_ABOVE = 256
"""When only a window matters, curves that need more edges than this are split into spans."""

SPLIT_FACTOR, MIN_SPAN = 16, 16.0**-5
"""Spans per split, and the parameter length at which splitting stops.

Both are powers of two, so that neighboring spans meet at exactly the same parameter."""


class OversizedDrawing(ValueError):
    """Drawings that need more memory or time than is reasonable, raised before the work starts."""


class Flattened(NamedTuple):
    """Edges of flattened curves: end points (E, 2, 2), their parameters (E, 2), and the index of each curve (E,)."""

    edges: Tensor
    t: Tensor
    curve: Tensor


def flatten(cubics: Tensor, tolerance: float = TOLERANCE) -> Flattened:
    """Flatten curves into edges that join exactly; differentiable in the control points.

    Curves limited by `MAX_EDGES` may exceed the tolerance. Curves that are not finite produce edges that are not
    finite.

    Args:
        cubics: Control points (S, 4, 2), in pixels.
        tolerance: Largest distance between an edge and its curve, in pixels (> 0).
    """
    count = _edge_count(cubics.detach(), tolerance)
    curve, nth = ragged_arange(count)
    t = torch.stack((nth, nth + 1), 1).to(cubics) / count.index_select(0, curve)[:, None]
    return Flattened(bernstein(t) @ cubics.index_select(0, curve), t, curve)


def flatten_within(cubics: Tensor, window: Tensor, max_turn: Tensor | None = None) -> Flattened:
    """Flatten curves as `flatten` does, but coarsely where they are outside a window.

    A span whose control points all lie on one outer side of the window becomes a single edge, which lies on that side
    too. The coverage of closed outlines inside the window does not change, and curves of any size need few edges: those
    seen in the window, and some at each scale on the way to it.

    Args:
        cubics: Control points (S, 4, 2), in pixels.
        window: Least and greatest coordinates (S or 1, 2, 2) that are visible.
        max_turn: Angle in radians (S,). A curve that turns by more gets an edge for each multiple of it; offset curves
            need this, since their error depends on how much the normal turns along an edge.

    Raises:
        OversizedDrawing: More than `MAX_TOTAL_EDGES` edges are needed.
    """
    index = torch.arange(len(cubics), device=cubics.device)
    limits = _Limits(window.detach().expand(len(cubics), 2, 2), max_turn)
    spans = _spans(cubics.detach(), index, cubics.new_zeros(len(cubics)), 1.0, limits)
    curve, begin, length, count = (torch.cat(values) for values in zip(*spans, strict=True))
    if (edges := int(count.sum())) > MAX_TOTAL_EDGES:
        raise OversizedDrawing(
            f"The curves of the drawing need {edges:,} edges on this canvas; the limit is {MAX_TOTAL_EDGES:,}. "
            "Simplify the drawing or use a smaller canvas."
        )
    span, nth = ragged_arange(count)
    fraction = torch.stack((nth, nth + 1), 1).to(cubics) / count.index_select(0, span)[:, None]
    t = torch.addcmul(begin.index_select(0, span)[:, None], length.index_select(0, span)[:, None], fraction)
    curve = curve.index_select(0, span)
    return Flattened(bernstein(t) @ cubics.index_select(0, curve), t, curve)


def ragged_arange(count: Tensor, start: Tensor | int = 0) -> tuple[Tensor, Tensor]:
    """Row and column of every entry of a ragged array whose row i has count[i] >= 0 entries, from column start[i] on.

    For (2, 0, 1) from 0: rows (0, 0, 2), columns (0, 1, 0).
    """
    row = torch.repeat_interleave(count)
    first = count.cumsum(0) - count - start
    return row, torch.arange(len(row), device=count.device) - first.index_select(0, row)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product of vectors (..., 2): |a| |b| times the sine of the angle from a to b."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def bernstein(t: Tensor) -> Tensor:
    """Weights (..., 4) of the control points at parameters t (...)."""
    s = 1 - t
    return torch.stack((s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t), -1)


def bernstein_derivative(t: Tensor) -> Tensor:
    """Weights (..., 4) of the control points in the derivative of the curve at parameters t (...)."""
    s = 1 - t
    return 3 * torch.stack((-s * s, s * s - 2 * s * t, 2 * s * t - t * t, t * t), -1)


def outside(points: Tensor, window: Tensor) -> Tensor:
    """Whether all points (N, P, 2) lie on the same outer side of their windows (N, 2, 2): a bool (N,).

    The convex hull of the points then lies on that side as well, and with it both the curve and any chord of it.
    """
    low, high = window.unbind(1)
    return ((points.amax(1) < low) | (points.amin(1) > high)).any(1)


def _edge_count(cubics: Tensor, tolerance: float) -> Tensor:
    """Edges (S,) that curves need; see the module's docstring."""
    bends = cubics[:, :-2] - 2 * cubics[:, 1:-1] + cubics[:, 2:]
    count = (0.75 / tolerance * bends.norm(dim=2).amax(1)).sqrt().ceil()
    return count.nan_to_num(1).clamp(1, MAX_EDGES).long()


def _turn(cubics: Tensor) -> Tensor:
    """Total turning angle of the control polygon, an upper bound of that of the curve and of each of its parts."""
    legs = cubics[:, 1:] - cubics[:, :-1]
    a, b = legs[:, :-1], legs[:, 1:]
    return torch.atan2(cross(a, b), (a * b).sum(2)).abs().sum(1)


Spans = tuple[Tensor, Tensor, Tensor, Tensor]
"""Curve index, start and length in the curve's parameter, and number of edges; each (N,)."""


class _Limits(NamedTuple):
    """For every curve, the window (S, 2, 2) it is seen in and the angle (S,) an edge may turn by."""

    window: Tensor
    max_turn: Tensor | None

    def hide(self, parts: Tensor, curve: Tensor) -> Tensor:
        """Whether parts (N, 4, 2) of curves (N,) are outside their windows: a bool (N,)."""
        return outside(parts, self.window.index_select(0, curve))

    def edges_for_turn(self, parts: Tensor, curve: Tensor, length: float) -> Tensor:
        """Edges (N,) that parts of one parameter length need for their turning angle, at most MAX_EDGES per curve."""
        if self.max_turn is None:
            return curve.new_ones(len(curve))
        edges = (_turn(parts) / self.max_turn.index_select(0, curve)).ceil()
        return edges.nan_to_num(1).clamp(1, max(MAX_EDGES * length, 1)).long()


def _spans(cubics: Tensor, curve: Tensor, begin: Tensor, length: float, limits: _Limits) -> Iterator[Spans]:
    """Spans of one parameter length that start at `begin` (N,) on cubics (N, 4, 2), split recursively."""
    parts = _part(cubics, begin, length)
    hidden = limits.hide(parts, curve)
    count = _edge_count(parts, TOLERANCE).masked_fill(hidden, 1)
    split = (count > SPLIT_ABOVE) & (length > MIN_SPAN) & parts.isfinite().all(2).all(1)
    count = count.maximum(limits.edges_for_turn(parts, curve, length).masked_fill(hidden, 1))
    yield curve[~split], begin[~split], begin.new_full((int((~split).sum()),), length), count[~split]
    if split.any():
        shift = torch.arange(SPLIT_FACTOR, device=begin.device) * (length / SPLIT_FACTOR)
        begin = (begin[split, None] + shift).flatten()
        cubics, curve = (values[split].repeat_interleave(SPLIT_FACTOR, 0) for values in (cubics, curve))
        yield from _spans(cubics, curve, begin, length / SPLIT_FACTOR, limits)


def _part(cubics: Tensor, begin: Tensor, length: float) -> Tensor:
    """Control points (N, 4, 2) of the spans of cubics (N, 4, 2) that start at `begin` (N,)."""
    t = torch.stack((begin, begin + length), 1)
    first, last = (bernstein(t) @ cubics).unbind(1)
    leg_out, leg_in = (bernstein_derivative(t) @ cubics * (length / 3)).unbind(1)
    return torch.stack((first, first + leg_out, last - leg_in, last), 1)

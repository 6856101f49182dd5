"""Exact area coverage of polygons, with an exact derivative: no samples, no noise.

Signed areas. The winding number at a point is the sum of sign(dy) over all edges that cross the horizontal ray from the
point to the left. So in the average over a pixel, a piece of an edge with signed height dy, which lies within one pixel
at a mean distance x in [0, 1] from its left border, counts

    dy (1 - x)   for that pixel: the area to the right of the piece,
    dy           for every pixel further right in the row.

So each piece adds dy (1 - x) to its own cell and dy x to the next, and a running sum along the row gives the mean
winding number of every pixel. To get such pieces, an edge is clipped to the canvas, divided into steps of at most one
pixel, and each step cut where it crosses a row or a column of pixels, which it does at most once each.

Derivative. Let an edge be p(t) = (1 - t) a + t b with d = b - a, and let its ends move by da and db. Then p(t) moves by
(1 - t) da + t db, and the component of that along n = (-d_y, d_x) is the area swept per dt, with the sign of the change
of the winding number there. A pixel's mean winding number therefore changes by

    integral over the t within the pixel of ((1 - t) da + t db) . n dt  =  s (1 - m) da . n  +  s m db . n

for a piece of parameter length s and midpoint m: exact, since the integrand is linear in t. With the incoming gradient
g of each pixel, a gets the gradient n sum g s (1 - m) and b gets n sum g s m. The backward pass needs no running sum.

The fold by fill rule (`rasterizer.folded`) turns the mean winding number w into coverage: min(|w|, 1) for nonzero, the
triangle wave 1 - |1 - |w| mod 2| for evenodd. This is exact unless edges overlap within one pixel, where folding the
mean differs from averaging the folded values: a contour drawn twice has edges that are up to half a pixel too wide.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .flattening import ragged_arange

STRIDES = (8, 16, 24, 32, 48, 64, 96)
"""Row lengths of narrow tiles; wider ones use multiples of the last. Tiles of equal stride share one running sum."""

STEPS, SOME_STEPS = 2**20, 2**18
"""Edges that need more than so many steps of at most a pixel are divided into some at a time, and again in the backward
pass, so that not all pieces exist at once."""

FAR = 2.0**40
"""Coordinates are clamped to this: up to here, float64 clips to within a thousandth of a pixel."""


Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels; all 0 if empty."""


@dataclass(frozen=True)
class TileLayout:
    """Where the pixels of each layer are stored: one tile per layer, all in one flat buffer.

    A tile covers the layer's bounding box plus a margin of one pixel on each side, row by row.

    Attributes:
        boxes: (top, left, height, width) of each layer in pixels; all 0 if the layer is off the canvas or has a
            coordinate that is not finite.
        strides: Cells per row of each tile.
        origins: Where pixel (0, 0) of the canvas would be in the buffer, by the tile's own stride.
        stride_groups: (first cell, rows, stride) of all consecutive tiles with the same stride.
        cells: Size of the buffer.
        height: Height of the canvas in pixels, or of a band of its rows; `boxes` count rows from its top.
        width: Width of the canvas in pixels.
        above: Rows of the canvas above the band.
        below: Rows of the canvas below the band.
    """

    boxes: Sequence[Box]
    strides: Sequence[int]
    origins: Sequence[int]
    stride_groups: Sequence[tuple[int, int, int]]
    cells: int
    height: int
    width: int
    above: int = 0
    below: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether the tiles are of the whole canvas and not of a band."""
        return not (self.above or self.below)

    def view(self, buffer: Tensor, layer: int) -> Tensor:
        """A layer's pixels (..., height, width), without the margin, as a view of a buffer (..., cells)."""
        top, left, height, width = self.boxes[layer]
        stride = self.strides[layer]
        first = self.origins[layer] + top * stride + left
        return buffer.as_strided(
            (*buffer.shape[:-1], height, width),
            (*buffer.stride()[:-1], stride, 1),
            buffer.storage_offset() + first,
        )

    def within(self, window: Box, layers: Iterable[int]) -> TileLayout:
        """The layout for compositing some layers over a window of the canvas, which counts rows and columns from there.

        Cells stay where they are. Only the boxes of `layers` are cut to the window.
        """
        if window == (0, 0, self.height, self.width):
            return self
        boxes, origins = list(self.boxes), list(self.origins)
        for layer in layers:
            top, left, height, width = intersection(self.boxes[layer], window)
            boxes[layer] = (top - window[0], left - window[1], height, width) if height else (0, 0, 0, 0)
            origins[layer] += window[0] * self.strides[layer] + window[1]
        return replace(self, boxes=boxes, origins=origins, height=window[2], width=window[3])


def intersection(one: Box, other: Box) -> Box:
    """What two boxes have in common; all 0 if that is nothing."""
    top, left = max(one[0], other[0]), max(one[1], other[1])
    height = min(one[0] + one[2], other[0] + other[2]) - top
    width = min(one[1] + one[3], other[1] + other[3]) - left
    return (top, left, height, width) if height > 0 and width > 0 else (0, 0, 0, 0)


def tile_layout(edges: Tensor, layers: Tensor, count: int, height: int, width: int) -> TileLayout:
    """Lay out the tiles of `count` layers.

    Args:
        edges: End points (E, 2, 2), in pixels.
        layers: The layer (E,) of each edge, from 0 to count - 1.
        count: Number of layers.
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
    """
    return laid_out(_boxes(edges.detach(), layers, count, height, width), height, width)


def laid_out(boxes: Sequence[Box], height: int, width: int, above: int = 0, below: int = 0) -> TileLayout:
    """Lay out the tiles of layers with known boxes; see `TileLayout` for the arguments."""
    strides = [stride_of(box) for box in boxes]
    origins, groups, cells = [0] * len(boxes), [], 0
    for stride in sorted(set(strides) - {0}):
        first = cells
        for layer in (n for n in range(len(boxes)) if strides[n] == stride):
            top, left, rows, _ = boxes[layer]
            origins[layer] = cells - (top - 1) * stride - (left - 1)
            cells += (rows + 2) * stride
        groups.append((first, (cells - first) // stride, stride))
    return TileLayout(boxes, strides, origins, groups, cells, height, width, above, below)


def _boxes(edges: Tensor, layers: Tensor, count: int, height: int, width: int) -> list[Box]:
    index = layers[:, None].expand(-1, 2)
    low, high = _extent(edges)
    low = edges.new_full((count, 2), torch.inf).scatter_reduce_(0, index, low, "amin")
    high = edges.new_full((count, 2), -torch.inf).scatter_reduce_(0, index, high, "amax")
    zero, size = edges.new_zeros(2), edges.new_tensor([width, height])
    first, last = low.floor().clamp(zero, size).long(), high.ceil().clamp(zero, size).long()
    finite = (low.isfinite() & high.isfinite()).all(1, keepdim=True)
    boxes = torch.cat((first, (last - first) * finite), 1).tolist()
    return [(y, x, rows, columns) if rows > 0 and columns > 0 else (0, 0, 0, 0) for x, y, columns, rows in boxes]


def _extent(edges: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest coordinates (E, 2) of edges (E, 2, 2)."""
    begin, end = edges.unbind(1)
    return torch.minimum(begin, end), torch.maximum(begin, end)


def stride_of(box: Box) -> int:
    """Cells per row of a box's tile; 0 if the box is empty."""
    cells = box[3] + 2
    if cells == 2:
        return 0
    fitting = [stride for stride in STRIDES if stride >= cells]
    return fitting[0] if fitting else -(-cells // STRIDES[-1]) * STRIDES[-1]


def winding(edges: Tensor, layers: Tensor, tiles: TileLayout) -> Tensor:
    """Mean winding number (cells,) of every pixel of every tile; differentiable in the edges.

    A contour drawn counterclockwise on the screen counts +1, clockwise -1. Time and memory grow with the number of
    canvas pixels that edges cross, and with E. A layer with a coordinate that is not finite covers nothing, and the
    gradient of its edges is NaN.

    An edge exactly on the border of two pixels has two one-sided derivatives. Its gradient is the sum of both pixels'
    terms, of which the fold by fill rule cancels the one outside the shape: the edge behaves as if it moved inward.

    Args:
        edges: Directed edges (E, 2, 2) as (x, y), in pixels; pixel (0, 0) spans 0 to 1. Those of a layer must form
            closed contours.
        layers: The layer (E,) of each edge.
        tiles: The layout from `tile_layout` for the same edges.
    """
    return _Winding.apply(edges, layers, tiles)  # type: ignore[no-any-return]


class _Winding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Tensor, layers: Tensor, tiles: TileLayout) -> Tensor:
        lines = _clipped(edges, layers, tiles)
        buffer = edges.new_zeros(tiles.cells + 1)
        kept: tuple[Tensor, ...] = ()
        for steps in _steps(lines, tiles):
            pieces = _pixel_pieces(lines, steps, tiles)
            right = pieces.height * pieces.x
            buffer.index_add_(0, pieces.cell, pieces.height - right)
            buffer.index_add_(0, pieces.cell + 1, right)
            kept = (pieces.line, pieces.cell, pieces.beside, pieces.length, pieces.middle) if steps.are_all else ()
        for first, rows, stride in tiles.stride_groups:
            part = buffer[first : first + rows * stride].view(rows, stride)
            torch.cumsum(part, 1, out=part)
        ctx.tiles = tiles
        ctx.save_for_backward(edges, layers, lines.edge, lines.at, *kept)
        return buffer[:-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        edges, layers, edge, at, *kept = ctx.saved_tensors
        weights = edges.new_zeros(len(edges) + len(edge), 2)
        for line, cell, beside, length, middle in [kept] if kept else _recomputed(edges, layers, ctx.tiles):
            value = gradients[0].index_select(0, cell)
            aligned = (beside != cell).nonzero().squeeze(1)
            value[aligned] += gradients[0].index_select(0, beside.index_select(0, aligned))
            of_both = value * length
            of_end = of_both * middle
            weights.index_add_(0, line, torch.stack((of_both - of_end, of_end), 1))
        weights, of_parts = weights.tensor_split([len(edges)])
        weights.index_add_(0, edge, _of_edges(of_parts, at))
        along = edges[:, 1] - edges[:, 0]
        normal = torch.stack((-along[:, 1], along[:, 0]), 1)
        return weights[:, :, None] * normal[:, None], None, None


def _recomputed(edges: Tensor, layers: Tensor, tiles: TileLayout) -> Iterator[tuple[Tensor, ...]]:
    """What the backward pass needs of the pieces, some at a time."""
    lines = _clipped(edges, layers, tiles)
    for steps in _steps(lines, tiles):
        pieces = _pixel_pieces(lines, steps, tiles)
        yield pieces.line, pieces.cell, pieces.beside, pieces.length, pieces.middle


def _of_edges(weights: Tensor, at: Tensor) -> Tensor:
    """Convert weights (C, 2) of the ends of clipped parts to weights of the ends of their edges; `at` as in `_Lines`.

    With t = begin + length u for u in [0, 1] and w0, w1 the integrals of g (1 - u) and g u over u, the integral of g t
    over t is length (begin (w0 + w1) + length w1), and that of g is length (w0 + w1). The position of a part on its
    edge is held constant, because sliding along the edge sweeps no area.
    """
    begin, length = at.unbind(1)
    whole = weights.sum(1)
    of_end = begin * whole + length * weights[:, 1]
    return torch.stack((whole - of_end, of_end), 1) * length[:, None]


@dataclass(frozen=True)
class _Lines:
    """All edges, followed by the clipped parts of those that leave the canvas.

    A part is either on the canvas or to the left of it; the latter are moved onto the left border, where they keep
    their height, which counts for the whole row.

    Attributes:
        ends: End points (E + C, 2, 2).
        layer: The layer (E + C,) of each.
        drawn: Whether each is drawn (E + C,): either an edge or its parts.
        edge: The edge (C,) of each part.
        at: Start and length (C, 2) of each part in the parameter of its edge. The length is 0 left of the canvas, since
            moving the edge sweeps nothing there.
    """

    ends: Tensor
    layer: Tensor
    drawn: Tensor
    edge: Tensor
    at: Tensor

    @cached_property
    def begin(self) -> Tensor:
        """Where each line begins (E + C, 2)."""
        return self.ends[:, 0]

    @cached_property
    def along(self) -> Tensor:
        """The way from its begin to its end (E + C, 2)."""
        return self.ends[:, 1] - self.ends[:, 0]


def _clipped(edges: Tensor, layers: Tensor, tiles: TileLayout) -> _Lines:
    """The lines that affect some pixel of the canvas: those not above, below or to the right of it."""
    visible = torch.tensor([box[2] > 0 for box in tiles.boxes], dtype=torch.bool, device=edges.device)
    visible, size = (
        visible.index_select(0, layers),
        edges.new_tensor([tiles.width, tiles.above + tiles.height + tiles.below]),
    )
    low, high = _extent(edges)
    within, starts_before_end = (low >= 0) & (high <= size), low <= size
    whole = visible & within[:, 0] & within[:, 1]
    reaches_canvas = starts_before_end[:, 0] & starts_before_end[:, 1] & (high[:, 1] >= 0)
    leaving = (visible & ~whole & reaches_canvas).nonzero().squeeze(1)
    if not len(leaving):
        return _Lines(edges, layers, whole, leaving, edges.new_zeros(0, 2))
    ends, nth, at = _parts(edges.index_select(0, leaving), size)
    edge = leaving.index_select(0, nth)
    return _Lines(
        torch.cat((edges, ends)),
        torch.cat((layers, layers.index_select(0, edge))),
        torch.cat((whole, whole.new_ones(len(edge)))),
        edge,
        at,
    )


def _parts(edges: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Parts of edges (N, 2, 2) on a canvas of `size` (2,) and left of it: their ends, edge index, and `at`."""
    wide = edges.to(_clipping_dtype(edges)).clamp(-FAR, FAR)
    begin, along = wide[:, 0], wide[:, 1] - wide[:, 0]
    times = _times(begin, along, size)
    ends = (begin[:, None] + times[..., None] * along[:, None]).clamp(torch.zeros_like(size), size).to(edges)
    length = times[..., 1] - times[..., 0]
    at = torch.stack((times[..., 0], length), 2).to(edges)
    at[1, :, 1] = 0
    real = length > 0
    return ends[real], real.nonzero()[:, 1], at[real]


def _clipping_dtype(edges: Tensor) -> torch.dtype:
    """float64 where the device has it: float32 would shift an edge from a million pixels away by a tenth of a pixel."""
    return edges.dtype if edges.device.type == "mps" else torch.float64


def _times(begin: Tensor, along: Tensor, size: Tensor) -> Tensor:
    """Parameters (2, N, 2) between which edges are on the canvas, and to the left of it within its rows.

    Empty intervals end before they begin. Along a border the parameter is 0 / 0; such an edge counts as inside.
    """
    borders = -begin / along, (size - begin) / along
    enter = torch.minimum(*borders).nan_to_num(0).clamp(0, 1)
    leave = torch.maximum(*borders).nan_to_num(1).clamp(0, 1)
    on_canvas = torch.stack((enter.amax(1), leave.amin(1)), 1)
    rightward = along[:, 0] >= 0
    first = torch.where(rightward, enter[:, 1], enter[:, 1].maximum(leave[:, 0]))
    last = torch.where(rightward, leave[:, 1].minimum(enter[:, 0]), leave[:, 1])
    return torch.stack((on_canvas, torch.stack((first, last), 1)))


@dataclass(frozen=True)
class _PixelPieces:
    """Pieces of lines that each lie in one pixel; all tensors are (N,).

    Attributes:
        line: Index of the line.
        cell: The pixel's cell in the buffer.
        beside: For a piece on a pixel border, the cell on the other side; otherwise `cell`.
        x: Mean distance from the pixel's left border.
        height: Signed height.
        length: Length in the line's parameter.
        middle: Midpoint in the line's parameter.
    """

    line: Tensor
    cell: Tensor
    beside: Tensor
    x: Tensor
    height: Tensor
    length: Tensor
    middle: Tensor


def _pixel_pieces(lines: _Lines, steps: _Steps, tiles: TileLayout) -> _PixelPieces:
    begins, alongs = lines.begin, lines.along
    line, low, high, _ = steps
    first, second = _crossings(begins.index_select(0, line), alongs.index_select(0, line), low, high)
    times = torch.stack((low, first, second, high))
    length, middle = times.diff(dim=0).flatten(), ((times[:-1] + times[1:]) / 2).flatten()
    line, real = line.repeat(3), length > 0
    if not tiles.is_whole:
        real &= _in_band(begins[:, 1].index_select(0, line) + middle * alongs[:, 1].index_select(0, line), tiles)
    real = real.nonzero().squeeze(1)
    length, middle, line = (values.index_select(0, real) for values in (length, middle, line))
    along = alongs.index_select(0, line)
    center = begins.index_select(0, line) + middle[:, None] * along
    corner = center.floor()
    inside = center - corner
    layer = lines.layer.index_select(0, line)
    cell, beside = _cells(corner.long(), (inside == 0) & (along == 0), layer, tiles)
    return _PixelPieces(line, cell, beside, inside[:, 0], along[:, 1] * length, length, middle)


def _in_band(y: Tensor, tiles: TileLayout) -> Tensor:
    """Whether pieces at heights y (N,) belong to the band: a bool (N,).

    Those in the row below it do too, for pieces on the border between the two; that row is a margin of the tiles.
    """
    row = y.floor() - tiles.above
    return (row >= 0) & (row <= tiles.height)


class _Steps(NamedTuple):
    """Steps of lines of at most one pixel: the line (N,), the start and end parameter (N,), and if there are others."""

    line: Tensor
    low: Tensor
    high: Tensor
    are_all: bool


def _steps(lines: _Lines, tiles: TileLayout) -> Iterator[_Steps]:
    """Divide the drawn lines into equal steps of at most one pixel; up to `STEPS` of those in the band at a time."""
    x, y = lines.along.abs().unbind(1)
    whole = torch.maximum(x, y).ceil().clamp(min=1).long() * lines.drawn
    first, count = (None, whole) if tiles.is_whole else _steps_in_band(lines, whole, tiles)
    borders = _portions(count)
    for begin, end in pairwise(borders):
        line, nth = ragged_arange(count[begin:end], 0 if first is None else first[begin:end])
        line = line + begin if begin else line
        steps = whole.index_select(0, line)
        yield _Steps(line, nth.to(lines.ends) / steps, (nth + 1).to(lines.ends) / steps, len(borders) == 2)


def _portions(count: Tensor) -> list[int]:
    """Where to cut lines with `count` (L,) steps into portions of up to `SOME_STEPS` steps and one more line."""
    total = int(count.sum())
    if total <= STEPS:
        return [0, len(count)]
    filled = torch.arange(SOME_STEPS, total, SOME_STEPS, device=count.device)
    return sorted({0, *(torch.searchsorted(count.cumsum(0), filled) + 1).tolist(), len(count)})


def _steps_in_band(lines: _Lines, whole: Tensor, tiles: TileLayout) -> tuple[Tensor, Tensor]:
    """First and number (L,) of the steps of each line that reach the band, if lines have `whole` (L,) steps.

    With a margin of one step and of the rounding of heights, so that some reach only its neighborhood.
    """
    margin = 8 * torch.finfo(lines.ends.dtype).eps * (tiles.above + tiles.height + tiles.below)
    y, dy = lines.begin[:, 1], lines.along[:, 1]
    enter, leave = (tiles.above - margin - y) / dy, (tiles.above + tiles.height + margin - y) / dy
    enter, leave = torch.minimum(enter, leave), torch.maximum(enter, leave)
    first = (enter.nan_to_num(0).clamp(0, 1) * whole).floor().long() - 1
    last = (leave.nan_to_num(1).clamp(0, 1) * whole).ceil().long() + 1
    first, last = first.clamp(min=0), torch.minimum(last, whole)
    misses = (enter > 1) | (leave < 0)
    return first, (last - first).clamp(min=0).masked_fill(misses, 0)


def _crossings(begin: Tensor, along: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Parameters at which steps cross a row and a column of pixels, in ascending order; `high` if they cross none."""
    pixel_low, pixel_high = (begin + low[:, None] * along).floor(), (begin + high[:, None] * along).floor()
    at = (torch.maximum(pixel_low, pixel_high) - begin) / along
    at = torch.where(pixel_low == pixel_high, high[:, None], at.clamp(low[:, None], high[:, None]))
    return at.amin(1), at.amax(1)


def _cells(pixels: Tensor, border: Tensor, layer: Tensor, tiles: TileLayout) -> tuple[Tensor, Tensor]:
    """Cells (N,) of pixels (N, 2), and of those across their left or top `border` (N, 2) where that is set.

    Pieces on the right or bottom border of the canvas fall into the margin of their tile.
    """
    origins = [origin - tiles.above * stride for origin, stride in zip(tiles.origins, tiles.strides, strict=True)]
    origin, stride = (
        torch.tensor(v, dtype=torch.long, device=layer.device).index_select(0, layer) for v in (origins, tiles.strides)
    )
    column, row = pixels.unbind(1)
    cell = origin + row * stride + column
    return cell, cell - border[:, 0].long() - border[:, 1] * stride

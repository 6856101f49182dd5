"""Exact area coverage of polygons, and its exact derivative: no samples, no noise.

An edge is cut where it crosses pixel borders. Each cut adds its signed area to its pixel and its signed height to the
pixel on the right; a running sum along each row then is the winding number, averaged over every pixel. Moving an edge
changes that average by what the edge sweeps, so the derivative is an integral over the same cuts and needs no running
sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .flattening import enumerated

WIDTHS = (8, 16, 24, 32, 48, 64, 96)
"""Row lengths of narrow tiles; wider ones are multiples of the last. Tiles of one row length share a running sum."""


@dataclass(frozen=True)
class Tiles:
    """The pixels each layer touches: a box on the canvas, kept as rows in one flat buffer.

    `boxes` holds (top, left, height, width) of each layer in pixels, all 0 where it misses the canvas. In the buffer a
    box has a margin of a pixel on all sides, its rows take `strides` cells, and `origins` is where pixel (0, 0) of the
    canvas would lie. `classes` lists (first cell, rows, cells of a row) of all boxes with one stride. The canvas has
    `height` x `width` pixels.
    """

    boxes: Sequence[tuple[int, int, int, int]]
    strides: Sequence[int]
    origins: Sequence[int]
    classes: Sequence[tuple[int, int, int]]
    cells: int
    height: int
    width: int

    def view(self, buffer: Tensor, layer: int) -> Tensor:
        """A layer's pixels (..., height, width) in a buffer (..., cells)."""
        top, left, height, width = self.boxes[layer]
        stride = self.strides[layer]
        first = self.origins[layer] + top * stride + left
        return buffer.as_strided(
            (*buffer.shape[:-1], height, width),
            (*buffer.stride()[:-1], stride, 1),
            buffer.storage_offset() + first,
        )


def tiles(edges: Tensor, layers: Tensor, count: int, height: int, width: int) -> Tiles:
    """Tiles for edges (E, 2, 2), in pixels, of `count` layers; `layers` (E,) says whose an edge is."""
    boxes = _boxes(edges.detach(), layers, count, height, width)
    strides = [_stride(box[3] + 2) if box[3] else 0 for box in boxes]
    origins, classes, cells = [0] * count, [], 0
    for stride in sorted(set(strides) - {0}):
        first = cells
        for layer in (n for n in range(count) if strides[n] == stride):
            top, left, rows, _ = boxes[layer]
            origins[layer] = cells - (top - 1) * stride - (left - 1)
            cells += (rows + 2) * stride
        classes.append((first, (cells - first) // stride, stride))
    return Tiles(boxes, strides, origins, classes, cells, height, width)


def _boxes(edges: Tensor, layers: Tensor, count: int, height: int, width: int) -> list[tuple[int, int, int, int]]:
    index = layers[:, None].expand(-1, 2)
    low = edges.new_full((count, 2), torch.inf).scatter_reduce_(0, index, edges.amin(1), "amin")
    high = edges.new_full((count, 2), -torch.inf).scatter_reduce_(0, index, edges.amax(1), "amax")
    zero, size = edges.new_zeros(2), edges.new_tensor([width, height])
    first, last = low.floor().clamp(zero, size).long(), high.ceil().clamp(zero, size).long()
    boxes = torch.cat((first, last - first), 1).tolist()
    return [(y, x, rows, columns) if rows > 0 and columns > 0 else (0, 0, 0, 0) for x, y, columns, rows in boxes]


def _stride(cells: int) -> int:
    fitting = [width for width in WIDTHS if width >= cells]
    return fitting[0] if fitting else -(-cells // WIDTHS[-1]) * WIDTHS[-1]


def winding(edges: Tensor, layers: Tensor, tiles: Tiles) -> Tensor:
    """Mean winding number over every pixel of every tile, (cells,).

    `edges` (E, 2, 2) are directed, in pixels (x, y), pixel (0, 0) reaching from 0 to 1; those of a layer must close.
    What is drawn counter-clockwise on the screen counts 1, clockwise -1. Differentiable in the edges; an edge on the
    border of two pixels moves inwards.
    """
    return _Winding.apply(edges, layers, tiles)  # type: ignore[no-any-return]


class _Winding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Tensor, layers: Tensor, tiles: Tiles) -> Tensor:
        cuts = _cut(edges, layers, tiles)
        buffer = edges.new_zeros(tiles.cells + 1)
        right = cuts.height * cuts.x
        buffer.index_add_(0, cuts.cell, cuts.height - right)
        buffer.index_add_(0, cuts.cell + 1, right)
        for first, rows, stride in tiles.classes:
            part = buffer[first : first + rows * stride].view(rows, stride)
            torch.cumsum(part, 1, out=part)
        ctx.save_for_backward(edges, cuts.edge, cuts.cell, cuts.share, cuts.middle, cuts.beside)
        return buffer[:-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        edges, edge, cell, share, middle, beside = ctx.saved_tensors
        value = gradients[0].take(cell)
        aligned = (beside != cell).nonzero().squeeze(1)
        value[aligned] += gradients[0].take(beside[aligned])
        swept = value * share
        late = swept * middle
        weights = edges.new_zeros(len(edges), 2).index_add_(0, edge, torch.stack((swept - late, late), 1))
        along = edges[:, 1] - edges[:, 0]
        normal = torch.stack((-along[:, 1], along[:, 0]), 1)
        return weights[:, :, None] * normal[:, None], None, None


@dataclass(frozen=True)
class _Cuts:
    """Parts of edges that lie in one pixel each, all (N,).

    `cell` is the pixel's place in the buffer, `beside` the one on the other side of an edge that lies on a border, `x`
    the mean distance from the pixel's left border, `height` the signed height; `share` and `middle` are length and
    midpoint in the edge's own parameter, 0 to 1, with a share of 0 left of the canvas, where only height counts.
    """

    edge: Tensor
    cell: Tensor
    beside: Tensor
    x: Tensor
    height: Tensor
    share: Tensor
    middle: Tensor


def _cut(edges: Tensor, layers: Tensor, tiles: Tiles) -> _Cuts:
    visible = _visible(edges, layers, tiles)
    piece, low, high = _pieces(edges.index_select(0, visible))
    edge = visible.index_select(0, piece)
    begins, alongs = edges[:, 0], edges[:, 1] - edges[:, 0]
    first, second = _crossings(begins.index_select(0, edge), alongs.index_select(0, edge), low, high)
    times = torch.stack((low, first, second, high))
    share, middle = times.diff(dim=0).flatten(), ((times[:-1] + times[1:]) / 2).flatten()
    real = (share > 0).nonzero().squeeze(1)
    share, middle, edge = share[real], middle[real], edge.repeat(3)[real]
    return _placed(edge, begins, alongs, share, middle, layers, tiles)


def _visible(edges: Tensor, layers: Tensor, tiles: Tiles) -> Tensor:
    """Indices of edges that some pixel of the canvas depends on: not above, below, or right of it."""
    drawn = torch.tensor([box[2] > 0 for box in tiles.boxes], device=edges.device)
    x, y = edges[..., 0], edges[..., 1]
    meets = (y.amax(1) >= 0) & (y.amin(1) <= tiles.height) & (x.amin(1) <= tiles.width)
    return (meets & drawn.index_select(0, layers)).nonzero().squeeze(1)


def _pieces(edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges in pieces of at most a pixel: the edge's index, and where on it the piece begins and ends; each (N,)."""
    count = (edges[:, 1] - edges[:, 0]).abs().amax(1).ceil().clamp(min=1).long()
    edge, nth = enumerated(count)
    of = count.index_select(0, edge)
    return edge, nth.to(edges) / of, (nth + 1).to(edges) / of


def _crossings(begin: Tensor, along: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Where pieces cross a row's and a column's border, in order; `high` where they do not."""
    pixel_low, pixel_high = (begin + low[:, None] * along).floor(), (begin + high[:, None] * along).floor()
    at = (torch.maximum(pixel_low, pixel_high) - begin) / along
    at = torch.where(pixel_low == pixel_high, high[:, None], at.clamp(low[:, None], high[:, None]))
    return at.amin(1), at.amax(1)


def _placed(
    edge: Tensor,
    begins: Tensor,
    alongs: Tensor,
    share: Tensor,
    middle: Tensor,
    layers: Tensor,
    tiles: Tiles,
) -> _Cuts:
    """Cuts by their midpoints. One on the canvas' lower or right border falls into the margin of its tile."""
    along = alongs.index_select(0, edge)
    centre = begins.index_select(0, edge) + middle[:, None] * along
    corner = centre.floor()
    inside, pixel = centre - corner, corner.long()
    column, row = pixel.unbind(1)
    layer = layers.index_select(0, edge)
    origin, stride = (
        torch.tensor(v, device=edge.device).index_select(0, layer) for v in (tiles.origins, tiles.strides)
    )
    cell = origin + row * stride + column.clamp(min=-1)
    left = column < 0
    border = (inside == 0) & (along == 0) & ~left[:, None]
    beside = cell - border[:, 0].long() - border[:, 1] * stride
    x, seen = inside[:, 0].masked_fill(left, 0), share.masked_fill(left, 0)
    cuts = _Cuts(edge, cell, beside, x, along[:, 1] * share, seen, middle)
    across = (column < tiles.width) | border[:, 0] & (column == tiles.width)
    keep = ((row >= 0) & (row <= tiles.height) & across).nonzero().squeeze(1)
    return _Cuts(**{name: value.index_select(0, keep) for name, value in vars(cuts).items()})

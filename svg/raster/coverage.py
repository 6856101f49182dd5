"""Exact area coverage of polygons, and its exact derivative: no samples, no noise.

An edge is clipped to the canvas and cut where it crosses pixel borders. Each cut adds its signed area to its pixel and
its signed height to the pixel on the right; a running sum along each row then is the winding number, averaged over
every pixel. Moving an edge changes that average by what the edge sweeps, so the derivative is an integral over the same
cuts and needs no running sum.

The mean winding number, brought to [0, 1], is a pixel's coverage unless edges that lie in one pixel overlap: where a
contour is drawn twice, its edges are covered twice and so wider, by up to half a pixel.
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

FAR = 2.0**40
"""Coordinates further out are drawn as if here: float64 clips to a thousandth of a pixel from here."""


@dataclass(frozen=True)
class Tiles:
    """The pixels each layer touches: a box on the canvas, kept as rows in one flat buffer.

    `boxes` holds (top, left, height, width) of each layer in pixels, all 0 where it misses the canvas and where one of
    its coordinates is not finite. In the buffer a box has a margin of a pixel on all sides, its rows take `strides`
    cells, and `origins` is where pixel (0, 0) of the canvas would lie. `classes` lists (first cell, rows, cells of a
    row) of all boxes with one stride. The canvas has `height` x `width` pixels.
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
    low, high = _extent(edges)
    low = edges.new_full((count, 2), torch.inf).scatter_reduce_(0, index, low, "amin")
    high = edges.new_full((count, 2), -torch.inf).scatter_reduce_(0, index, high, "amax")
    zero, size = edges.new_zeros(2), edges.new_tensor([width, height])
    first, last = low.floor().clamp(zero, size).long(), high.ceil().clamp(zero, size).long()
    finite = (low.isfinite() & high.isfinite()).all(1, keepdim=True)
    boxes = torch.cat((first, (last - first) * finite), 1).tolist()
    return [(y, x, rows, columns) if rows > 0 and columns > 0 else (0, 0, 0, 0) for x, y, columns, rows in boxes]


def _extent(edges: Tensor) -> tuple[Tensor, Tensor]:
    """The least and greatest coordinates (E, 2) of edges (E, 2, 2)."""
    begin, end = edges.unbind(1)
    return torch.minimum(begin, end), torch.maximum(begin, end)


def _stride(cells: int) -> int:
    fitting = [width for width in WIDTHS if width >= cells]
    return fitting[0] if fitting else -(-cells // WIDTHS[-1]) * WIDTHS[-1]


def winding(edges: Tensor, layers: Tensor, tiles: Tiles) -> Tensor:
    """Mean winding number over every pixel of every tile, (cells,).

    `edges` (E, 2, 2) are directed, in pixels (x, y), pixel (0, 0) reaching from 0 to 1; those of a layer must close.
    What is drawn counter-clockwise on the screen counts 1, clockwise -1. Differentiable in the edges; an edge on the
    border of two pixels moves inwards. A layer with a coordinate that is not finite covers nothing, and the gradient to
    the edges that have it is NaN. Time and memory grow with the pixels of the canvas that edges cross and with E.
    """
    return _Winding.apply(edges, layers, tiles)  # type: ignore[no-any-return]


class _Winding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, edges: Tensor, layers: Tensor, tiles: Tiles) -> Tensor:
        lines = _clipped(edges, layers, tiles)
        cuts = _cut(lines, tiles)
        buffer = edges.new_zeros(tiles.cells + 1)
        right = cuts.height * cuts.x
        buffer.index_add_(0, cuts.cell, cuts.height - right)
        buffer.index_add_(0, cuts.cell + 1, right)
        for first, rows, stride in tiles.classes:
            part = buffer[first : first + rows * stride].view(rows, stride)
            torch.cumsum(part, 1, out=part)
        ctx.save_for_backward(edges, lines.edge, lines.at, cuts.line, cuts.cell, cuts.beside, cuts.share, cuts.middle)
        return buffer[:-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        edges, edge, at, line, cell, beside, share, middle = ctx.saved_tensors
        value = gradients[0].index_select(0, cell)
        aligned = (beside != cell).nonzero().squeeze(1)
        value[aligned] += gradients[0].index_select(0, beside.index_select(0, aligned))
        swept = value * share
        late = swept * middle
        weights = edges.new_zeros(len(edges) + len(edge), 2)
        weights.index_add_(0, line, torch.stack((swept - late, late), 1))
        weights, of_parts = weights.tensor_split([len(edges)])
        weights.index_add_(0, edge, _of_edges(of_parts, at))
        along = edges[:, 1] - edges[:, 0]
        normal = torch.stack((-along[:, 1], along[:, 0]), 1)
        return weights[:, :, None] * normal[:, None], None, None


def _of_edges(weights: Tensor, at: Tensor) -> Tensor:
    """Weights (C, 2) of the ends of parts as weights of the ends of their edges; `at` as in `_Lines`.

    Where on its edge a part begins is held: to slide along the edge sweeps nothing.
    """
    begin, length = at.unbind(1)
    whole = weights.sum(1)
    late = begin * whole + length * weights[:, 1]
    return torch.stack((whole - late, late), 1) * length[:, None]


@dataclass(frozen=True)
class _Lines:
    """All edges, followed by the parts of those that leave the canvas: on it, and left of it, these put to its border.

    Of each, E + C in number: its `ends` (E + C, 2, 2), its `layer` (E + C,) and whether it is `drawn` (E + C,), an edge
    or its parts. Of each part: its `edge` (C,), and where in that edge's own parameter, 0 to 1, it begins and how long
    it is, `at` (C, 2). The length is 0 left of the canvas, where only height counts and nothing is swept.
    """

    ends: Tensor
    layer: Tensor
    drawn: Tensor
    edge: Tensor
    at: Tensor


def _clipped(edges: Tensor, layers: Tensor, tiles: Tiles) -> _Lines:
    """The lines that some pixel of the canvas depends on: not above, below, or right of it."""
    seen = torch.tensor([box[2] > 0 for box in tiles.boxes], dtype=torch.bool, device=edges.device)
    seen, size = seen.index_select(0, layers), edges.new_tensor([tiles.width, tiles.height])
    low, high = _extent(edges)
    within, begun = (low >= 0) & (high <= size), low <= size
    whole = seen & within[:, 0] & within[:, 1]
    leaving = (seen & ~whole & begun[:, 0] & begun[:, 1] & (high[:, 1] >= 0)).nonzero().squeeze(1)
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
    """Parts of edges (N, 2, 2) on a canvas of `size` (2,) and left of it: `ends`, nth edge, `at`."""
    wide = edges.to(_widest(edges)).clamp(-FAR, FAR)
    begin, along = wide[:, 0], wide[:, 1] - wide[:, 0]
    times = _times(begin, along, size)
    ends = (begin[:, None] + times[..., None] * along[:, None]).clamp(torch.zeros_like(size), size).to(edges)
    length = times[..., 1] - times[..., 0]
    at = torch.stack((times[..., 0], length), 2).to(edges)
    at[1, :, 1] = 0
    real = length > 0
    return ends[real], real.nonzero()[:, 1], at[real]


def _widest(edges: Tensor) -> torch.dtype:
    """The type to clip in: float32 would move an edge that comes from a million pixels away by a tenth of one."""
    return edges.dtype if edges.device.type == "mps" else torch.float64


def _times(begin: Tensor, along: Tensor, size: Tensor) -> Tensor:
    """Where edges enter and leave the canvas, and where what lies left of it in its rows begins and ends: (2, N, 2).

    What is not there ends before it begins. An edge along a border, where its place is 0 / 0, lies within.
    """
    borders = -begin / along, (size - begin) / along
    enter = torch.minimum(*borders).nan_to_num(0).clamp(0, 1)
    leave = torch.maximum(*borders).nan_to_num(1).clamp(0, 1)
    on = torch.stack((enter.amax(1), leave.amin(1)), 1)
    rightwards = along[:, 0] >= 0
    first = torch.where(rightwards, enter[:, 1], enter[:, 1].maximum(leave[:, 0]))
    last = torch.where(rightwards, leave[:, 1].minimum(enter[:, 0]), leave[:, 1])
    return torch.stack((on, torch.stack((first, last), 1)))


@dataclass(frozen=True)
class _Cuts:
    """Pieces of lines that lie in one pixel each, all (N,).

    `cell` is the pixel's place in the buffer, `beside` the one on the other side of a line that lies on a border, `x`
    the mean distance from the pixel's left border, `height` the signed height; `share` and `middle` are length and
    midpoint in the line's own parameter, 0 to 1.
    """

    line: Tensor
    cell: Tensor
    beside: Tensor
    x: Tensor
    height: Tensor
    share: Tensor
    middle: Tensor


def _cut(lines: _Lines, tiles: Tiles) -> _Cuts:
    begins, alongs = lines.ends[:, 0], lines.ends[:, 1] - lines.ends[:, 0]
    line, low, high = _pieces(alongs, lines.drawn)
    first, second = _crossings(begins.index_select(0, line), alongs.index_select(0, line), low, high)
    times = torch.stack((low, first, second, high))
    share, middle = times.diff(dim=0).flatten(), ((times[:-1] + times[1:]) / 2).flatten()
    real = (share > 0).nonzero().squeeze(1)
    share, middle, line = (values.index_select(0, real) for values in (share, middle, line.repeat(3)))
    along = alongs.index_select(0, line)
    centre = begins.index_select(0, line) + middle[:, None] * along
    corner = centre.floor()
    inside = centre - corner
    layer = lines.layer.index_select(0, line)
    cell, beside = _cells(corner.long(), (inside == 0) & (along == 0), layer, tiles)
    return _Cuts(line, cell, beside, inside[:, 0], along[:, 1] * share, share, middle)


def _pieces(along: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lines (L, 2) that are drawn in pieces of at most a pixel: a piece's line, and where on it it begins and ends."""
    x, y = along.abs().unbind(1)
    count = torch.maximum(x, y).ceil().clamp(min=1).long() * drawn
    line, nth = enumerated(count)
    of = count.index_select(0, line)
    return line, nth.to(along) / of, (nth + 1).to(along) / of


def _crossings(begin: Tensor, along: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Where pieces cross a row's and a column's border, in order; `high` where they do not."""
    pixel_low, pixel_high = (begin + low[:, None] * along).floor(), (begin + high[:, None] * along).floor()
    at = (torch.maximum(pixel_low, pixel_high) - begin) / along
    at = torch.where(pixel_low == pixel_high, high[:, None], at.clamp(low[:, None], high[:, None]))
    return at.amin(1), at.amax(1)


def _cells(pixels: Tensor, border: Tensor, layer: Tensor, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Places (N,) in the buffer of pixels (N, 2) and of those beyond their left or top `border` (N, 2), if it is set.

    What lies on the canvas' lower or right border falls into the margin of its tile.
    """
    origin, stride = (
        torch.tensor(v, dtype=torch.long, device=layer.device).index_select(0, layer)
        for v in (tiles.origins, tiles.strides)
    )
    column, row = pixels.unbind(1)
    cell = origin + row * stride + column
    return cell, cell - border[:, 0].long() - border[:, 1] * stride

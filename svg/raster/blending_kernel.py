"""The blend of `compositing` as two Triton kernels, for CUDA: all layers of a canvas in one launch.

The canvas is cut into squares. A square goes through the layers that touch it, from the lowest up, with its pixels in
registers, and keeps what each layer changed; the backward pass goes through them from the top down. No two programs
write to one place, so nothing depends on the order in which they run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from .coverage import Tiles
from .flattening import enumerated

SIDE = 16
"""Pixels on a side of a square."""
FIELDS = 8
"""Numbers the kernels know of a layer: top, left, height and width of its box, where pixel (0, 0) would lie in the
buffer, the length of its rows there, where its picture begins (`NONE` without one), and its row in the colours."""
NONE = -(2**60)


@dataclass(frozen=True)
class _Squares:
    """Which layers touch which squares.

    `layers` (N, FIELDS) are the layers that are drawn. The entries (E,), layers by their row in that table, are sorted
    by square and in a square from the lowest up; those of square n are `begins[n]` to `begins[n + 1]`. `by_layer` (E,)
    is each entry's place when they are sorted by layer, of which each has `counts` (N,).
    """

    layers: Tensor
    entries: Tensor
    begins: Tensor
    by_layer: Tensor
    counts: Tensor
    across: int
    number: int


def _squares(drawn: Sequence[int], has: Sequence[bool], tiles: Tiles, device: torch.device) -> _Squares:
    layers = torch.tensor(_table(drawn, has, tiles), dtype=torch.long, device=device)
    across, down = -(-tiles.width // SIDE), -(-tiles.height // SIDE)
    top, left, height, width = layers[:, :4].unbind(1)
    first_row, first = top // SIDE, left // SIDE
    columns = (left + width - 1) // SIDE - first + 1
    counts = columns * ((top + height - 1) // SIDE - first_row + 1)
    layer, nth = enumerated(counts)
    wide = columns.index_select(0, layer)
    row, column = first_row.index_select(0, layer) + nth // wide, first.index_select(0, layer) + nth % wide
    square, by_layer = (row * across + column).sort(stable=True)
    begins = torch.searchsorted(square, torch.arange(across * down + 1, device=device))
    return _Squares(layers, layer.index_select(0, by_layer), begins, by_layer, counts, across, across * down)


def _table(drawn: Sequence[int], has: Sequence[bool], tiles: Tiles) -> list[tuple[int, ...]]:
    rows, begin = [], 0
    for layer, painted in zip(drawn, has):
        box = tiles.boxes[layer]
        rows.append((*box, tiles.origins[layer], tiles.strides[layer], begin if painted else NONE, layer))
        begin += box[2] * box[3] if painted else 0
    return rows


class Blend(torch.autograd.Function):
    """As the one of `compositing`, which is its oracle, with the same arguments."""

    @staticmethod
    def forward(
        ctx: Any,
        keep: bool,
        canvas: Tensor,
        layers: tuple[int, ...],
        has: tuple[bool, ...],
        coverage: Tensor,
        tiles: Tiles,
        colors: Tensor,
        *pictures: Tensor,
    ) -> Tensor:
        squares = _squares(layers, has, tiles, canvas.device)
        paint = _joined(pictures, colors)
        canvas, coverage, colors = canvas.contiguous(), coverage.contiguous(), colors.contiguous()
        result = torch.empty_like(canvas)
        changes = canvas.new_empty(4, tiles.cells if keep else 0)
        launch: Any = _forward[(squares.number,)]
        launch(
            canvas, result, changes, coverage, colors, paint, squares.layers, squares.entries, squares.begins,
            tiles.height, tiles.width, squares.across, tiles.cells, paint.shape[1], keep, SIDE, FIELDS,
        )  # fmt: skip
        ctx.tiles, ctx.squares, ctx.sizes = tiles, squares, [picture.shape for picture in pictures]
        ctx.save_for_backward(changes, coverage, colors, paint)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        changes, coverage, colors, paint = ctx.saved_tensors
        tiles, squares = ctx.tiles, ctx.squares
        gradient = gradients[0].contiguous()
        to_canvas, to_coverage, to_paint = map(torch.zeros_like, (gradient, coverage, paint))
        to_entries = colors.new_zeros(len(squares.entries), 4)
        launch: Any = _backward[(squares.number,)]
        launch(
            gradient, to_canvas, to_coverage, to_entries, to_paint, changes, coverage, colors, paint, squares.layers,
            squares.entries, squares.begins, tiles.height, tiles.width, squares.across, tiles.cells, paint.shape[1],
            SIDE, FIELDS,
        )  # fmt: skip
        to_colors = torch.zeros_like(colors)
        to_colors[squares.layers[:, 7]] = _by_layer(to_entries, squares)
        return None, to_canvas, None, None, to_coverage, None, to_colors, *_apart(to_paint, ctx.sizes)


def _by_layer(values: Tensor, squares: _Squares) -> Tensor:
    """The sums (N, 4) over the entries of each layer, always added in the same order."""
    ordered = torch.empty_like(values).index_copy_(0, squares.by_layer, values)
    return torch.segment_reduce(ordered, "sum", lengths=squares.counts)


def _joined(pictures: Sequence[Tensor], like: Tensor) -> Tensor:
    """Pictures (4, height, width) one after the other, (4, P)."""
    return torch.cat([like.new_empty(4, 0), *(picture.flatten(1) for picture in pictures)], 1)


def _apart(joined: Tensor, sizes: Sequence[torch.Size]) -> list[Tensor]:
    parts = joined.split([size[1] * size[2] for size in sizes], 1)
    return [part.unflatten(1, size[1:]) for part, size in zip(parts, sizes)]


@torch.inference_mode(False)
@torch.enable_grad()
def difference(oracle: Any, like: Tensor) -> float:
    """How far the kernels are from another blend, in picture and gradients, relative to the largest number of each.

    On a small drawing of the type of `like`: three overlapping layers on several squares, one of them with a picture.
    """
    boxes, strides = [(0, 0, 20, 30), (5, 18, 17, 22), (12, 3, 12, 30)], (32, 24, 32)
    cells = [(box[2] + 2) * stride for box, stride in zip(boxes, strides)]
    firsts = (0, cells[0], cells[0] + cells[1])
    origins = [first - (box[0] - 1) * stride - (box[1] - 1) for first, box, stride in zip(firsts, boxes, strides)]
    tiles = Tiles(boxes, strides, origins, (), sum(cells), height=24, width=40)
    canvas, coverage, colors, picture = (
        torch.linspace(0, 9 * n, math.prod(shape)).sin().square().view(shape).to(like).requires_grad_()
        for n, shape in enumerate(((4, 24, 40), (sum(cells),), (3, 4), (4, 17, 22)), start=1)
    )
    ours, theirs = (
        _with_gradients(blend.apply(True, canvas, (0, 1, 2), (False, True, False), coverage, tiles, colors, picture),
                        (canvas, coverage, colors, picture))
        for blend in (Blend, oracle)
    )  # fmt: skip
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs))


def _with_gradients(picture: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return picture, *torch.autograd.grad(picture.square().sum(), leaves)


@triton.jit
def _pixels(height, width, across, SIDE: tl.constexpr):
    """This program's square: its number, row and column of its pixels, and which of them are on the canvas."""
    square = tl.program_id(0)
    lane = tl.arange(0, SIDE * SIDE)
    row, column = square // across * SIDE + lane // SIDE, square % across * SIDE + lane % SIDE
    return square, row, column, (row < height) & (column < width)


@triton.jit
def _of_layer(layer, row, column, on):
    """Which pixels a layer touches, their places in the buffer and in its picture, and which of them that paints."""
    top, left, high, wide = tl.load(layer), tl.load(layer + 1), tl.load(layer + 2), tl.load(layer + 3)
    inside = on & (row >= top) & (row < top + high) & (column >= left) & (column < left + wide)
    cell = tl.load(layer + 4) + row * tl.load(layer + 5) + column
    place = tl.load(layer + 6) + (row - top) * wide + column - left
    return inside, cell, place, inside & (place >= 0)


@triton.jit
def _forward(
    canvas, result, changes, coverage, colors, paint, layers, entries, begins,
    height, width, across, cells, painted, KEEP: tl.constexpr, SIDE: tl.constexpr, FIELDS: tl.constexpr,
):  # fmt: skip
    square, row, column, on = _pixels(height, width, across, SIDE)  # type: ignore[misc]
    pixel, size = row * width + column, height * width
    r = tl.load(canvas + pixel, mask=on, other=0.0)
    g = tl.load(canvas + size + pixel, mask=on, other=0.0)
    b = tl.load(canvas + 2 * size + pixel, mask=on, other=0.0)
    a = tl.load(canvas + 3 * size + pixel, mask=on, other=0.0)
    entry, end = tl.load(begins + square), tl.load(begins + square + 1)
    while entry < end:
        layer = layers + tl.load(entries + entry) * FIELDS
        inside, cell, place, has = _of_layer(layer, row, column, on)
        color = colors + 4 * tl.load(layer + 7)
        alpha = tl.load(coverage + cell, mask=inside, other=0.0) * tl.load(color + 3)
        to_r = tl.where(has, tl.load(paint + place, mask=has, other=0.0), tl.load(color)) - r
        to_g = tl.where(has, tl.load(paint + painted + place, mask=has, other=0.0), tl.load(color + 1)) - g
        to_b = tl.where(has, tl.load(paint + 2 * painted + place, mask=has, other=0.0), tl.load(color + 2)) - b
        to_a = 1 - a
        alpha = alpha * tl.where(has, tl.load(paint + 3 * painted + place, mask=has, other=1.0), 1.0)
        if KEEP:
            tl.store(changes + cell, to_r, mask=inside)
            tl.store(changes + cells + cell, to_g, mask=inside)
            tl.store(changes + 2 * cells + cell, to_b, mask=inside)
            tl.store(changes + 3 * cells + cell, to_a, mask=inside)
        r += to_r * alpha
        g += to_g * alpha
        b += to_b * alpha
        a += to_a * alpha
        entry += 1
    tl.store(result + pixel, r, mask=on)
    tl.store(result + size + pixel, g, mask=on)
    tl.store(result + 2 * size + pixel, b, mask=on)
    tl.store(result + 3 * size + pixel, a, mask=on)


@triton.jit
def _backward(
    gradient, to_canvas, to_coverage, to_entries, to_paint, changes, coverage, colors, paint, layers, entries, begins,
    height, width, across, cells, painted, SIDE: tl.constexpr, FIELDS: tl.constexpr,
):  # fmt: skip
    square, row, column, on = _pixels(height, width, across, SIDE)  # type: ignore[misc]
    pixel, size = row * width + column, height * width
    r = tl.load(gradient + pixel, mask=on, other=0.0)
    g = tl.load(gradient + size + pixel, mask=on, other=0.0)
    b = tl.load(gradient + 2 * size + pixel, mask=on, other=0.0)
    a = tl.load(gradient + 3 * size + pixel, mask=on, other=0.0)
    begin, entry = tl.load(begins + square), tl.load(begins + square + 1)
    while entry > begin:
        entry -= 1
        layer = layers + tl.load(entries + entry) * FIELDS
        inside, cell, place, has = _of_layer(layer, row, column, on)
        opacity = tl.load(colors + 4 * tl.load(layer + 7) + 3)
        covered = tl.load(coverage + cell, mask=inside, other=0.0)
        to_alpha = (
            r * tl.load(changes + cell, mask=inside, other=0.0)
            + g * tl.load(changes + cells + cell, mask=inside, other=0.0)
            + b * tl.load(changes + 2 * cells + cell, mask=inside, other=0.0)
            + a * tl.load(changes + 3 * cells + cell, mask=inside, other=0.0)
        )
        own = tl.where(has, tl.load(paint + 3 * painted + place, mask=has, other=1.0), 1.0)
        alpha = covered * opacity * own
        tl.store(to_paint + place, r * alpha, mask=has)
        tl.store(to_paint + painted + place, g * alpha, mask=has)
        tl.store(to_paint + 2 * painted + place, b * alpha, mask=has)
        tl.store(to_paint + 3 * painted + place, to_alpha * covered * opacity, mask=has)
        to_alpha *= own
        tl.store(to_coverage + cell, to_alpha * opacity, mask=inside)
        flat = tl.where(has, 0.0, alpha)
        tl.store(to_entries + 4 * entry, tl.sum(r * flat))
        tl.store(to_entries + 4 * entry + 1, tl.sum(g * flat))
        tl.store(to_entries + 4 * entry + 2, tl.sum(b * flat))
        tl.store(to_entries + 4 * entry + 3, tl.sum(to_alpha * covered))
        r -= r * alpha
        g -= g * alpha
        b -= b * alpha
        a -= a * alpha
    tl.store(to_canvas + pixel, r, mask=on)
    tl.store(to_canvas + size + pixel, g, mask=on)
    tl.store(to_canvas + 2 * size + pixel, b, mask=on)
    tl.store(to_canvas + 3 * size + pixel, a, mask=on)

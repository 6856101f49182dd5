"""`compositing.Blend` as two Triton kernels for CUDA: all layers of a canvas in one launch each way.

The canvas is divided into blocks of 16 x 16 pixels, and the layers that touch each block are listed from the lowest to
the highest (`_LayerBins`). One Triton program handles one block, a lane per pixel.

Forward     loads its pixels c into registers and runs through its layers upward, c += alpha (s - c), storing the change
            s - c of every layer if there will be a backward pass. Finally it stores its pixels.
Backward    loads the gradient G of its pixels and runs through its layers downward. From the stored change it computes
            the gradients of coverage, paint and color (see `compositing`) and updates G *= 1 - alpha. Finally it stores
            G as the gradient of the canvas.

Memory. Coverage and its gradient have the tile layout of `coverage.TileLayout`; changes are four planes of the same
layout; gradient paints are four planes (4, P), one tile after the other. The gradient of a layer's color is a sum over
its pixels, which is split by block: each (block, layer) entry has its own slot of four numbers, and the slots of a
layer are added afterwards in a fixed order.

So every address is written by exactly one program: there are no atomics, and results do not depend on scheduling. Per
pixel the operations are those of `Blend` in the same order, so both agree except for rounding, in fused multiply-adds
and in the order in which color gradients are summed. `compositing` checks this once per device before using them.
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

from .coverage import TileLayout
from .flattening import ragged_arange

BLOCK = 16
"""Side of a block in pixels."""
FIELDS = 8
"""Numbers per row of the layer table: top, left, height and width of the box, origin and stride of the tile, start of
the paint in the paint buffer (`NO_PAINT` for a plain color), and row in the color table."""
NO_PAINT = -(2**60)


@dataclass(frozen=True)
class _LayerBins:
    """Which layers touch which blocks, as a flat list of (block, layer) entries.

    Attributes:
        layers: The table (N, FIELDS) of the layers that are drawn.
        entries: Row (E,) in that table, sorted by block and within a block from the lowest layer to the highest.
        begins: Entries `begins[n]` to `begins[n + 1]` belong to block n; (blocks + 1,).
        by_layer: Position (E,) of each entry when sorted by layer.
        counts: Number of entries (N,) of each layer.
        blocks_per_row: Blocks per row of the canvas.
        blocks: Number of blocks.
    """

    layers: Tensor
    entries: Tensor
    begins: Tensor
    by_layer: Tensor
    counts: Tensor
    blocks_per_row: int
    blocks: int


def _layer_bins(drawn: Sequence[int], has_paint: Sequence[bool], tiles: TileLayout, device: torch.device) -> _LayerBins:
    layers = torch.tensor(_layer_table(drawn, has_paint, tiles), dtype=torch.long, device=device)
    per_row, rows = -(-tiles.width // BLOCK), -(-tiles.height // BLOCK)
    top, left, height, width = layers[:, :4].unbind(1)
    first_row, first_column = top // BLOCK, left // BLOCK
    columns = (left + width - 1) // BLOCK - first_column + 1
    counts = columns * ((top + height - 1) // BLOCK - first_row + 1)
    layer, nth = ragged_arange(counts)
    columns = columns.index_select(0, layer)
    row = first_row.index_select(0, layer) + nth // columns
    column = first_column.index_select(0, layer) + nth % columns
    block, by_layer = (row * per_row + column).sort(stable=True)
    begins = torch.searchsorted(block, torch.arange(per_row * rows + 1, device=device))
    return _LayerBins(layers, layer.index_select(0, by_layer), begins, by_layer, counts, per_row, per_row * rows)


def _layer_table(drawn: Sequence[int], has_paint: Sequence[bool], tiles: TileLayout) -> list[tuple[int, ...]]:
    rows, begin = [], 0
    for layer, painted in zip(drawn, has_paint, strict=True):
        box = tiles.boxes[layer]
        rows.append((*box, tiles.origins[layer], tiles.strides[layer], begin if painted else NO_PAINT, layer))
        begin += box[2] * box[3] if painted else 0
    return rows


class Blend(torch.autograd.Function):
    """The same function as `compositing.Blend`, with the same arguments."""

    @staticmethod
    def forward(
        ctx: Any,
        keep: bool,
        canvas: Tensor,
        layers: tuple[int, ...],
        has_paint: tuple[bool, ...],
        coverage: Tensor,
        tiles: TileLayout,
        colors: Tensor,
        *paints: Tensor,
    ) -> Tensor:
        bins = _layer_bins(layers, has_paint, tiles, canvas.device)
        paint = _joined(paints, colors)
        canvas, coverage, colors = canvas.contiguous(), coverage.contiguous(), colors.contiguous()
        result = torch.empty_like(canvas)
        changes = canvas.new_empty(4, tiles.cells if keep else 0)
        launch: Any = _forward[(bins.blocks,)]
        launch(
            canvas, result, changes, coverage, colors, paint, bins.layers, bins.entries, bins.begins,
            tiles.height, tiles.width, bins.blocks_per_row, tiles.cells, paint.shape[1], keep, BLOCK, FIELDS,
        )  # fmt: skip
        ctx.tiles, ctx.bins, ctx.paint_shapes = tiles, bins, [paint.shape for paint in paints]
        ctx.save_for_backward(changes, coverage, colors, paint)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        changes, coverage, colors, paint = ctx.saved_tensors
        tiles, bins = ctx.tiles, ctx.bins
        gradient = gradients[0].contiguous()
        to_canvas, to_coverage, to_paint = map(torch.zeros_like, (gradient, coverage, paint))
        to_entries = colors.new_zeros(len(bins.entries), 4)
        launch: Any = _backward[(bins.blocks,)]
        launch(
            gradient, to_canvas, to_coverage, to_entries, to_paint, changes, coverage, colors, paint, bins.layers,
            bins.entries, bins.begins, tiles.height, tiles.width, bins.blocks_per_row, tiles.cells, paint.shape[1],
            BLOCK, FIELDS,
        )  # fmt: skip
        to_colors = torch.zeros_like(colors)
        to_colors[bins.layers[:, 7]] = _sums_by_layer(to_entries, bins)
        return None, to_canvas, None, None, to_coverage, None, to_colors, *_split(to_paint, ctx.paint_shapes)


def _sums_by_layer(values: Tensor, bins: _LayerBins) -> Tensor:
    """Sums (N, 4) over the entries (E, 4) of each layer, always added in the same order."""
    ordered = torch.empty_like(values).index_copy_(0, bins.by_layer, values)
    return torch.segment_reduce(ordered, "sum", lengths=bins.counts)


def _joined(paints: Sequence[Tensor], like: Tensor) -> Tensor:
    """Concatenate paints (4, height, width) into one buffer (4, P)."""
    return torch.cat([like.new_empty(4, 0), *(paint.flatten(1) for paint in paints)], 1)


def _split(joined: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The inverse of `_joined`."""
    parts = joined.split([shape[1] * shape[2] for shape in shapes], 1)
    return [part.unflatten(1, shape[1:]) for part, shape in zip(parts, shapes, strict=True)]


@torch.inference_mode(False)
@torch.enable_grad()
def deviation(reference: Any, like: Tensor) -> float:
    """Largest deviation of the kernels from another blend, over image and gradients, relative to each one's maximum.

    Measured on a small drawing: three overlapping layers on several blocks, one of them with a paint.

    Args:
        reference: An autograd function with the arguments of `Blend`.
        like: A tensor with the dtype and device to test.
    """
    boxes, strides = [(0, 0, 20, 30), (5, 18, 17, 22), (12, 3, 12, 30)], (32, 24, 32)
    sizes = [(box[2] + 2) * stride for box, stride in zip(boxes, strides, strict=True)]
    firsts = (0, sizes[0], sizes[0] + sizes[1])
    origins = [
        first - (box[0] - 1) * stride - (box[1] - 1) for first, box, stride in zip(firsts, boxes, strides, strict=True)
    ]
    tiles = TileLayout(boxes, strides, origins, (), sum(sizes), height=24, width=40)
    canvas, coverage, colors, paint = (
        torch.linspace(0, 9 * n, math.prod(shape)).sin().square().view(shape).to(like).requires_grad_()
        for n, shape in enumerate(((4, 24, 40), (sum(sizes),), (3, 4), (4, 17, 22)), start=1)
    )
    ours, theirs = (
        _with_gradients(blend.apply(True, canvas, (0, 1, 2), (False, True, False), coverage, tiles, colors, paint),
                        (canvas, coverage, colors, paint))
        for blend in (Blend, reference)
    )  # fmt: skip
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, theirs, strict=True))


def _with_gradients(image: Tensor, leaves: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return image, *torch.autograd.grad(image.square().sum(), leaves)


@triton.jit
def _pixels(height, width, blocks_per_row, BLOCK: tl.constexpr):
    """This program's block: its number, the rows and columns of its pixels, and which of them are on the canvas."""
    block = tl.program_id(0)
    lane = tl.arange(0, BLOCK * BLOCK)
    row = block // blocks_per_row * BLOCK + lane // BLOCK
    column = block % blocks_per_row * BLOCK + lane % BLOCK
    return block, row, column, (row < height) & (column < width)


@triton.jit
def _layer_pixels(layer, row, column, on_canvas):
    """A layer's part of the block: the pixels in its box, their cells in the tile and places in its paint, and which
    of them have a paint."""
    top, left, high, wide = tl.load(layer), tl.load(layer + 1), tl.load(layer + 2), tl.load(layer + 3)
    inside = on_canvas & (row >= top) & (row < top + high) & (column >= left) & (column < left + wide)
    cell = tl.load(layer + 4) + row * tl.load(layer + 5) + column
    place = tl.load(layer + 6) + (row - top) * wide + column - left
    return inside, cell, place, inside & (place >= 0)


@triton.jit
def _forward(
    canvas, result, changes, coverage, colors, paint, layers, entries, begins,
    height, width, blocks_per_row, cells, paint_size, KEEP: tl.constexpr, BLOCK: tl.constexpr, FIELDS: tl.constexpr,
):  # fmt: skip
    block, row, column, on_canvas = _pixels(height, width, blocks_per_row, BLOCK)  # type: ignore[misc]
    pixel, size = row * width + column, height * width
    r = tl.load(canvas + pixel, mask=on_canvas, other=0.0)
    g = tl.load(canvas + size + pixel, mask=on_canvas, other=0.0)
    b = tl.load(canvas + 2 * size + pixel, mask=on_canvas, other=0.0)
    a = tl.load(canvas + 3 * size + pixel, mask=on_canvas, other=0.0)
    entry, end = tl.load(begins + block), tl.load(begins + block + 1)
    while entry < end:
        layer = layers + tl.load(entries + entry) * FIELDS
        inside, cell, place, painted = _layer_pixels(layer, row, column, on_canvas)
        color = colors + 4 * tl.load(layer + 7)
        alpha = tl.load(coverage + cell, mask=inside, other=0.0) * tl.load(color + 3)
        change_r = tl.where(painted, tl.load(paint + place, mask=painted, other=0.0), tl.load(color)) - r
        change_g = (
            tl.where(painted, tl.load(paint + paint_size + place, mask=painted, other=0.0), tl.load(color + 1)) - g
        )
        change_b = (
            tl.where(painted, tl.load(paint + 2 * paint_size + place, mask=painted, other=0.0), tl.load(color + 2)) - b
        )
        change_a = 1 - a
        alpha = alpha * tl.where(painted, tl.load(paint + 3 * paint_size + place, mask=painted, other=1.0), 1.0)
        if KEEP:
            tl.store(changes + cell, change_r, mask=inside)
            tl.store(changes + cells + cell, change_g, mask=inside)
            tl.store(changes + 2 * cells + cell, change_b, mask=inside)
            tl.store(changes + 3 * cells + cell, change_a, mask=inside)
        r += change_r * alpha
        g += change_g * alpha
        b += change_b * alpha
        a += change_a * alpha
        entry += 1
    tl.store(result + pixel, r, mask=on_canvas)
    tl.store(result + size + pixel, g, mask=on_canvas)
    tl.store(result + 2 * size + pixel, b, mask=on_canvas)
    tl.store(result + 3 * size + pixel, a, mask=on_canvas)


@triton.jit
def _backward(
    gradient, to_canvas, to_coverage, to_entries, to_paint, changes, coverage, colors, paint, layers, entries, begins,
    height, width, blocks_per_row, cells, paint_size, BLOCK: tl.constexpr, FIELDS: tl.constexpr,
):  # fmt: skip
    block, row, column, on_canvas = _pixels(height, width, blocks_per_row, BLOCK)  # type: ignore[misc]
    pixel, size = row * width + column, height * width
    r = tl.load(gradient + pixel, mask=on_canvas, other=0.0)
    g = tl.load(gradient + size + pixel, mask=on_canvas, other=0.0)
    b = tl.load(gradient + 2 * size + pixel, mask=on_canvas, other=0.0)
    a = tl.load(gradient + 3 * size + pixel, mask=on_canvas, other=0.0)
    begin, entry = tl.load(begins + block), tl.load(begins + block + 1)
    while entry > begin:
        entry -= 1
        layer = layers + tl.load(entries + entry) * FIELDS
        inside, cell, place, painted = _layer_pixels(layer, row, column, on_canvas)
        opacity = tl.load(colors + 4 * tl.load(layer + 7) + 3)
        covered = tl.load(coverage + cell, mask=inside, other=0.0)
        to_alpha = (
            r * tl.load(changes + cell, mask=inside, other=0.0)
            + g * tl.load(changes + cells + cell, mask=inside, other=0.0)
            + b * tl.load(changes + 2 * cells + cell, mask=inside, other=0.0)
            + a * tl.load(changes + 3 * cells + cell, mask=inside, other=0.0)
        )
        paint_alpha = tl.where(painted, tl.load(paint + 3 * paint_size + place, mask=painted, other=1.0), 1.0)
        alpha = covered * opacity * paint_alpha
        tl.store(to_paint + place, r * alpha, mask=painted)
        tl.store(to_paint + paint_size + place, g * alpha, mask=painted)
        tl.store(to_paint + 2 * paint_size + place, b * alpha, mask=painted)
        tl.store(to_paint + 3 * paint_size + place, to_alpha * covered * opacity, mask=painted)
        to_alpha *= paint_alpha
        tl.store(to_coverage + cell, to_alpha * opacity, mask=inside)
        plain_alpha = tl.where(painted, 0.0, alpha)
        tl.store(to_entries + 4 * entry, tl.sum(r * plain_alpha))
        tl.store(to_entries + 4 * entry + 1, tl.sum(g * plain_alpha))
        tl.store(to_entries + 4 * entry + 2, tl.sum(b * plain_alpha))
        tl.store(to_entries + 4 * entry + 3, tl.sum(to_alpha * covered))
        r -= r * alpha
        g -= g * alpha
        b -= b * alpha
        a -= a * alpha
    tl.store(to_canvas + pixel, r, mask=on_canvas)
    tl.store(to_canvas + size + pixel, g, mask=on_canvas)
    tl.store(to_canvas + 2 * size + pixel, b, mask=on_canvas)
    tl.store(to_canvas + 3 * size + pixel, a, mask=on_canvas)

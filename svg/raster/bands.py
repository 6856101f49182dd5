"""Drawing in bands of rows, which bounds memory at any number of layers and any size of the canvas.

Drawn at once, all layers hold their tiles at the same time: with gradients some 34 bytes per cell of `TileLayout`
(winding number, coverage, its gradient, the change s - c of `compositing`), without 22. That is fastest for a drawing
of few cells, but a drawing of L layers as large as the canvas has L H W of them.

Exact. Compositing works on each pixel alone, and the running sum of `coverage` along each row, so rows do not depend on
each other. A band takes the same steps of the same edges as the whole canvas does, as far as they reach its rows, and
sums them in the same order: each pixel gets the same operations.

Without gradients, the layers of a band are composited in portions of `CELLS` cells, from the lowest to the highest, and
memory is that of one portion.

With gradients, each band is drawn without keeping anything but its inputs, and again in the backward pass
(`recomputed`): one more forward pass buys the memory of a single band. Bands then have as many rows as hold `CELLS`
cells. But a tile has a margin of a row on either side, and each layer of a band costs some calls whatever its size. So
they have `MIN_ROWS` rows or more, and where those hold too many cells, the portions are recomputed, too. A band of R
rows with P portions then keeps P canvases of R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from .coverage import Box, TileLayout, stride_of
from .flattening import OversizedDrawing

CELLS = 2**22
"""Cells of a band, or of a portion of its layers."""

CELLS_WITH_GRADIENTS = 2**25
"""Cells up to which a drawing to be differentiated is drawn at once, about 1.1 GB."""

MAX_CELLS = 10**11
"""Cells of all drawings together, some ten minutes without gradients on one core."""

MIN_ROWS = 32
"""Rows of a band to be differentiated, if the groups of the drawing leave memory for so many."""

PAINTED = 5
"""A cell with a gradient paint takes the memory of this many cells with a plain color."""

CANVAS = 2
"""A pixel of the canvas takes the memory of this many cells."""

GROUP = 2
"""A pixel of a group takes the memory of this many cells until the backward pass."""


def fit(tiles: TileLayout, painted: Sequence[bool], groups: int, is_kept: bool) -> bool:
    """Whether layers can be drawn at once.

    Args:
        tiles: The tiles of the layers.
        painted: Whether each layer (L) has a gradient paint.
        groups: The number of groups.
        is_kept: Whether there will be a backward pass.

    Raises:
        OversizedDrawing: They have more than `MAX_CELLS` cells.
    """
    more = (n for n, has_paint in enumerate(painted) if has_paint)
    total = tiles.cells + (PAINTED - 1) * sum((tiles.boxes[n][2] + 2) * tiles.strides[n] for n in more)
    if total > MAX_CELLS:
        raise OversizedDrawing(
            f"The paths of the drawing cover {total:,} pixels on a canvas of {tiles.width}x{tiles.height}, all layers "
            f"added up; the limit is {MAX_CELLS:,}. Use fewer or smaller paths or a smaller canvas."
        )
    if not is_kept:
        return total <= CELLS
    return total + GROUP * groups * tiles.height * tiles.width <= CELLS_WITH_GRADIENTS


def cells(boxes: Sequence[Box], painted: Sequence[bool]) -> int:
    """The memory of the tiles of layers, in cells."""
    return sum(_cells_per_tile(box, has_paint) for box, has_paint in zip(boxes, painted, strict=True))


def bands(
    boxes: Sequence[Box], painted: Sequence[bool], height: int, width: int, groups: int, is_kept: bool
) -> list[tuple[int, int]]:
    """First and last row, exclusive, of the bands of a canvas.

    Args:
        boxes: The boxes (L) of the layers.
        painted: Whether each layer (L) has a gradient paint.
        height: Height of the canvas in pixels.
        width: Width of the canvas in pixels.
        groups: The number of groups.
        is_kept: Whether there will be a backward pass.
    """
    if not is_kept:
        rows = max(CELLS // (CANVAS * width), 1)
        return [(first, min(first + rows, height)) for first in range(0, height, rows)]
    per_pixel = CANVAS + GROUP * groups
    least = max(min(CELLS // (per_pixel * width), MIN_ROWS), 1)
    changes = [0] * (height + 1)
    for box, has_paint in zip(boxes, painted, strict=True):
        per_row = _cells_per_row(box, has_paint)
        changes[box[0]] += per_row
        changes[box[0] + box[2]] -= per_row
    borders, held = [0], 0
    for row, cells_of_row in enumerate(accumulate(changes[:-1])):
        held += cells_of_row + per_pixel * width
        if held > CELLS and row - borders[-1] >= least:
            borders.append(row)
            held = 3 * cells_of_row + per_pixel * width  # with the two margins of each tile
    return list(pairwise([*borders, height]))


def boxes_within(boxes: Sequence[Box], first: int, last: int) -> list[Box]:
    """The parts of boxes in the rows from `first` to `last`, counted from there."""
    parts: list[Box] = []
    for top, left, height, width in boxes:
        begin, end = max(top, first), min(top + height, last)
        parts.append((begin - first, left, end - begin, width) if begin < end else (0, 0, 0, 0))
    return parts


def portions(run: Sequence[int], boxes: Sequence[Box], painted: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last layer, exclusive, of portions of a run of consecutive layers, each of at most `CELLS` cells."""
    drawn = [layer for layer in run if boxes[layer][2]]
    first, total = 0, 0
    for n, layer in enumerate(drawn):
        more = _cells_per_tile(boxes[layer], painted[layer])
        if total and total + more > CELLS:
            yield drawn[first], drawn[n - 1] + 1
            first, total = n, 0
        total += more
    if drawn:
        yield drawn[first], drawn[-1] + 1


def _cells_per_tile(box: Box, has_paint: bool) -> int:
    return (box[2] + 2) * _cells_per_row(box, has_paint)


def _cells_per_row(box: Box, has_paint: bool) -> int:
    return stride_of(box) * (PAINTED if has_paint else 1)


def needs_gradients(tensors: Sequence[Tensor]) -> bool:
    """Whether autograd records what is done with these tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def call(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """function(*tensors), the counterpart of `recomputed` that keeps what the backward pass needs."""
    return function(*tensors)


def recomputed(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """function(*tensors), of which only the tensors are kept; the backward pass calls the function again.

    Args:
        function: Maps the tensors to one tensor. What else it uses gets no gradient.
        tensors: What it is differentiated in.
    """
    if not needs_gradients(tensors):
        return function(*tensors)
    return _Recomputed.apply(function, *tensors)  # type: ignore[no-any-return]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[1:]
        tensors = [t.detach().requires_grad_(needs) for t, needs in zip(ctx.saved_tensors, needed, strict=True)]
        with torch.enable_grad():
            result = ctx.function(*tensors)
        if not result.requires_grad:  # nothing was drawn over a constant canvas
            return (None, *(None for _ in needed))
        leaves = [tensor for tensor in tensors if tensor.requires_grad]
        found = iter(torch.autograd.grad(result, leaves, gradients[0], allow_unused=True))
        return None, *(next(found) if needs else None for needs in needed)

"""The built-in rasterizer: scenes to images, with gradients to every parameter.

Each layer's outline is flattened to edges, edges become exact area coverage (`coverage`), the fill rule folds it, and
the layers are composited in order (`compositing`); large drawings band by band (`bands`). The image is the box-filtered
drawing itself. The fold is an approximation only where an outline meets itself within one pixel, because it sees the
mean winding number there: contours of one path that abut in opposite directions leave a faint seam, and a border drawn
twice is too heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from . import bands
from .compositing import blended, over
from .coverage import Box, TileLayout, intersection, laid_out, tile_layout, winding
from .flattening import flatten_within
from .layers import Layers, joined
from .scene import PaintOrder, Scene
from .strokes import outlines
from .threads import one_thread

ROUNDING = 1e4
"""Bound of the error of winding numbers, in units of machine epsilon: 0.001 in float32."""

Edges = tuple[Tensor, Tensor]
"""Edges (E, 2, 2) in pixels, and the layer (E,) of each."""


class Rasterizer(Protocol):
    """Renders scenes differentiably."""

    def __call__(self, scenes: Sequence[Scene], background: Tensor | None = None) -> Tensor:
        """Render scenes.

        Args:
            scenes: One or more scenes with the same canvas size, dtype and device.
            background: Opaque colors (B or 1, 3) in [0, 1]; None for a transparent canvas.

        Returns:
            Premultiplied RGBA (B, 4, H, W) in [0, 1].
        """
        ...


def rasterize(scenes: Sequence[Scene], background: Tensor | None = None) -> Tensor:
    """The built-in rasterizer, for any dtype and device; see `Rasterizer.__call__` for arguments and result.

    Raises:
        OversizedDrawing: The drawings need too many edges, or would take too long. It is a ValueError.
    """
    with one_thread(scenes[0].points.device):
        each = [outlined(scene) for scene in scenes]
        layers, starts = joined(each)
        with torch.no_grad():
            tiles = tile_layout(layers.edges, layers.layer, len(layers.colors), scenes[0].height, scenes[0].width)
        canvases = [_blank(scene, background, n) for n, scene in enumerate(scenes)]
        is_kept = bands.needs_gradients([*layers.tensors, *(scene.opacities for scene in scenes), *canvases])
        if bands.fit(tiles, layers.painted, sum(len(scene.opacities) for scene in scenes), is_kept):
            paint, whole = _painter(layers, tiles), (0, 0, tiles.height, tiles.width)
            images = [
                _composite(canvas, whole, _shifted(scene.layout.order, start), scene.opacities, tiles.boxes, paint)
                for canvas, scene, start in zip(canvases, scenes, starts, strict=True)
            ]
            return torch.stack(images)
    boxes = [tiles.boxes[start : start + len(one.colors)] for one, start in zip(each, starts, strict=True)]
    images = [
        _composite_in_bands(canvas, scene.layout.order, scene.opacities, one, own, is_kept)
        for canvas, scene, one, own in zip(canvases, scenes, each, boxes, strict=True)
    ]
    return torch.stack(images)


Paint = Callable[[Tensor, Sequence[int], Box, bool], Tensor]
"""Composites consecutive layers over a window (4, h, w) of the canvas; or what they cover, as if they were opaque."""


def _composite(
    canvas: Tensor, window: Box, order: PaintOrder, opacities: Tensor | None, boxes: Sequence[Box], paint: Paint
) -> Tensor:
    """Composite layers and groups over a window (4, h, w) of the canvas, in order; `boxes` are those of the layers.

    Each group is composited in the window where it may be visible. Without opacities, as the clip of a group, where
    only coverage counts.
    """
    covers, given = opacities is None, canvas
    run: list[int] = []
    for entry in order:
        if isinstance(entry, int):
            run.append(entry)
            continue
        canvas, run = paint(canvas, run, window, covers), []
        number, inner, clip = entry
        part = _part(window, inner, clip, boxes)
        clear = canvas.new_zeros(4, 1, 1).expand(4, *part[2:])
        group = _composite(clear, part, inner, opacities, boxes, paint)
        if opacities is not None:
            group = group * opacities[number]
        if clip:
            # A copy, because a view would keep all four channels for the backward pass.
            group = group * _composite(clear, part, clip, None, boxes, paint)[3].clone()
        canvas = blended(canvas.clone() if canvas is given else canvas, group, part[0] - window[0], part[1] - window[1])
    return paint(canvas, run, window, covers)


def _painter(layers: Layers, tiles: TileLayout) -> Paint:
    """Paints any of the layers; the coverage of all is computed at once."""
    coverage = folded(winding(layers.edges, layers.layer, tiles), tiles, layers.even_odd)
    paints = [
        gradient.at(tiles.above + top, left, height, width) if gradient and height else None
        for gradient, (top, left, height, width) in zip(layers.gradients, tiles.boxes, strict=True)
    ]

    def paint(canvas: Tensor, run: Sequence[int], window: Box, covers: bool) -> Tensor:
        part = tiles.within(window, run)
        if covers:
            return over(canvas, run, coverage, part, torch.ones_like(layers.colors), [None] * len(paints))
        return over(canvas, run, coverage, part, layers.colors, _cropped(paints, run, tiles, window))

    return paint


def _cropped(
    paints: Sequence[Tensor | None], run: Sequence[int], tiles: TileLayout, window: Box
) -> list[Tensor | None]:
    """The paints of all layers, of which those of a run have only the pixels in a window."""
    cropped = list(paints)
    for layer in run:
        paint = paints[layer]
        if paint is not None:
            top, left = tiles.boxes[layer][:2]
            inner = intersection(tiles.boxes[layer], window)
            rows = slice(inner[0] - top, inner[0] - top + inner[2])
            cropped[layer] = paint[:, rows, inner[1] - left : inner[1] - left + inner[3]]
    return cropped


def _composite_in_bands(
    canvas: Tensor, order: PaintOrder, opacities: Tensor, layers: Layers, boxes: Sequence[Box], is_kept: bool
) -> Tensor:
    """The same as `_composite`, some rows at a time; `boxes` are those of the layers."""
    height, width = canvas.shape[1:]
    layers = layers.sorted()

    def band(first: int, last: int) -> Tensor:
        near, own = layers.near(first, last), bands.boxes_within(boxes, first, last)
        draw = partial(_composite_band, near, own, order, first, height - last)
        return bands.recomputed(draw, canvas[:, first:last], opacities, *near.tensors)

    rows = bands.bands(boxes, layers.painted, height, width, len(opacities), is_kept)
    return torch.cat([band(first, last) for first, last in rows], 1)


def _composite_band(
    layers: Layers,
    boxes: Sequence[Box],
    order: PaintOrder,
    above: int,
    below: int,
    canvas: Tensor,
    opacities: Tensor,
    *tensors: Tensor,
) -> Tensor:
    """Composite layers with these `tensors` over a band (4, h, W), and too many of them in portions."""
    layers = layers.with_tensors(tensors)
    call = bands.call if bands.cells(boxes, layers.painted) <= bands.CELLS else bands.recomputed

    band = (0, 0, canvas.shape[1], canvas.shape[2])

    def paint(canvas: Tensor, run: Sequence[int], window: Box, covers: bool) -> Tensor:
        for first, last in bands.portions(run, boxes, layers.painted):
            part = layers.portion(first, last)
            tiles = laid_out(boxes[first:last], *band[2:], above, below)
            canvas = call(partial(_composite_portion, part, tiles, window, covers), canvas, *part.tensors)
        return canvas

    return _composite(canvas, band, order, opacities, boxes, paint)


def _composite_portion(
    layers: Layers, tiles: TileLayout, window: Box, covers: bool, canvas: Tensor, *tensors: Tensor
) -> Tensor:
    """Composite all layers, with these `tensors`, over a window (4, h, w) of a band."""
    return _painter(layers.with_tensors(tensors), tiles)(canvas, range(len(layers.colors)), window, covers)


def outlined(scene: Scene) -> Layers:
    """The layers of a scene."""
    edges, layers = zip(*scene_edges(scene), strict=True)
    gradients = [None if n is None else scene.gradients[n] for n in scene.layout.gradient_of_layer]
    return Layers(torch.cat(edges), torch.cat(layers), scene.colors, scene.layout.even_odd, gradients)


def scene_edges(scene: Scene) -> list[Edges]:
    """The edges of all layers of a scene, as fine as its canvas needs."""
    layout = scene.layout
    cubics = scene.points[layout.curves]
    canvas = cubics.new_tensor([[0, 0], [scene.width, scene.height]])
    filled = flatten_within(cubics.index_select(0, layout.filled_curves), canvas[None])
    parts = [
        (filled.edges, layout.filled_layer.index_select(0, filled.curve)),
        (scene.points[layout.closing_lines], layout.closing_layer),
    ]
    if len(layout.stroked_curves):
        stroked = cubics.index_select(0, layout.stroked_curves)
        edges, stroke = outlines(stroked, scene.widths, layout.stroke_plan, canvas)
        parts.append((edges, layout.stroke_layer.index_select(0, stroke)))
    return parts


def folded(winding: Tensor, tiles: TileLayout, even_odd: Tensor) -> Tensor:
    """Coverage (cells,) in [0, 1] from mean winding numbers.

    Layers marked in `even_odd` (L,) use the even-odd rule, 1 - |1 - |w| mod 2|; the others nonzero, min(|w|, 1).
    """
    coverage = _nonzero(winding)
    marked = even_odd.nonzero().squeeze(1).tolist()
    if not marked:
        return coverage
    mask = torch.zeros_like(winding, dtype=torch.bool)
    for layer in marked:
        tiles.view(mask, layer).fill_(True)
    return torch.where(mask, 1 - (1 - winding.abs() % 2).abs(), coverage)


def _nonzero(winding: Tensor) -> Tensor:
    """min(|w|, 1), with the derivative of |w| where |w| exceeds 1 only by rounding, as in pixels that are just full."""
    magnitude = winding.abs()
    excess = (magnitude - 1).clamp(min=0)
    return torch.where(excess < ROUNDING * torch.finfo(winding.dtype).eps, magnitude - excess.detach(), 1)


def _part(window: Box, order: PaintOrder, clip: PaintOrder, boxes: Sequence[Box]) -> Box:
    """The part of a window where a group with this order and clip may be visible."""
    part = intersection(window, extent(order, boxes))
    return intersection(part, extent(clip, boxes)) if clip else part


def extent(order: PaintOrder, boxes: Sequence[Box]) -> Box:
    """The smallest box around the layers of an order; empty if nothing is visible."""
    parts = [boxes[entry] if isinstance(entry, int) else extent(entry[1], boxes) for entry in order]
    visible = [(top, left, top + height, left + width) for top, left, height, width in parts if height]
    if not visible:
        return 0, 0, 0, 0
    tops, lefts, bottoms, rights = zip(*visible, strict=True)
    return min(tops), min(lefts), max(bottoms) - min(tops), max(rights) - min(lefts)


def _shifted(order: PaintOrder, start: int) -> PaintOrder:
    """The order with `start` added to the number of each layer."""
    return tuple(
        entry + start if isinstance(entry, int) else (entry[0], _shifted(entry[1], start), _shifted(entry[2], start))
        for entry in order
    )


def _blank(scene: Scene, background: Tensor | None, n: int) -> Tensor:
    """An empty canvas (4, H, W), which takes no memory."""
    color = scene.colors.new_zeros(4)
    if background is not None:
        opaque = background[n if len(background) > 1 else 0]
        color = torch.cat((opaque, opaque.new_ones(1)))
    return color[:, None, None].expand(4, scene.height, scene.width)

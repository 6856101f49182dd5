"""The built-in rasterizer: scenes to images, with gradients to every parameter.

Each layer's outline is flattened to edges, edges become exact area coverage (`coverage`), the fill rule folds it, and
the layers are composited in order (`compositing`). The image is the box-filtered drawing itself. The fold is an
approximation only where an outline meets itself within one pixel, because it sees the mean winding number there:
contours of one path that abut in opposite directions leave a faint seam, and a border drawn twice is too heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .compositing import over
from .coverage import TileLayout, tile_layout, winding
from .flattening import flatten_within
from .scene import PaintOrder, Scene
from .strokes import outlines

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
    """The built-in rasterizer, for any dtype and device; see `Rasterizer.__call__` for arguments and result."""
    height, width = scenes[0].height, scenes[0].width
    counts = [len(scene.colors) for scene in scenes]
    starts = [sum(counts[:n]) for n in range(len(counts))]
    parts = [
        (edges, layers + start)
        for scene, start in zip(scenes, starts, strict=True)
        for edges, layers in scene_edges(scene)
    ]
    edges, layers = torch.cat([edges for edges, _ in parts]), torch.cat([layers for _, layers in parts])
    with torch.no_grad():
        tiles = tile_layout(edges, layers, sum(counts), height, width)
    even_odd = torch.cat([scene.layout.even_odd for scene in scenes])
    coverage = folded(winding(edges, layers, tiles), tiles, even_odd)
    colors = torch.cat([scene.colors for scene in scenes])
    paints = [paint for scene, start in zip(scenes, starts, strict=True) for paint in _paints(scene, tiles, start)]

    # What covers a clip is opaque.
    opaque, no_paints = torch.ones_like(colors), [None] * len(colors)

    def composite(canvas: Tensor, order: PaintOrder, opacities: Tensor | None) -> Tensor:
        """Draw layers over a canvas; without opacities, as the clip of a group, where only coverage counts."""
        style = (colors, paints) if opacities is not None else (opaque, no_paints)
        run: list[int] = []
        for entry in order:
            if isinstance(entry, int):
                run.append(entry)
                continue
            canvas, run = over(canvas, run, coverage, tiles, *style), []
            number, inner, clip = entry
            rows, columns = _window(inner, clip, tiles)
            # Copies of the window, because views of canvases would keep all of each canvas for the backward pass.
            group = composite(torch.zeros_like(canvas), inner, opacities)[:, rows, columns].clone()
            if opacities is not None:
                group = group * opacities[number]
            if clip:
                group = group * composite(torch.zeros_like(canvas), clip, None)[3, rows, columns].clone()
            below, canvas = canvas[:, rows, columns].clone(), canvas.clone()
            canvas[:, rows, columns] = below * (1 - group[3]) + group
        return over(canvas, run, coverage, tiles, *style)

    images = []
    for n, (scene, start) in enumerate(zip(scenes, starts, strict=True)):
        order = _shifted(scene.layout.order, start)
        images.append(composite(_blank(scene, background, n), order, scene.opacities))
    return torch.stack(images)


def scene_edges(scene: Scene) -> list[Edges]:
    """The edges of all layers of a scene, as fine as its canvas needs."""
    layout = scene.layout
    cubics = scene.points[layout.curves]
    canvas = cubics.new_tensor([[0, 0], [scene.width, scene.height]])
    filled = flatten_within(cubics.index_select(0, layout.filled_curves), canvas[None])
    strokes, stroke = outlines(cubics.index_select(0, layout.stroked_curves), scene.widths, layout.stroke_plan, canvas)
    return [
        (filled.edges, layout.filled_layer.index_select(0, filled.curve)),
        (scene.points[layout.closing_lines], layout.closing_layer),
        (strokes, layout.stroke_layer.index_select(0, stroke)),
    ]


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


def _paints(scene: Scene, tiles: TileLayout, start: int) -> list[Tensor | None]:
    """For each layer of a scene, its gradient on its tile, or None if it has a plain color or is not visible."""
    paints: list[Tensor | None] = []
    for layer, gradient in enumerate(scene.layout.gradient_of_layer):
        box = tiles.boxes[start + layer]
        paints.append(None if gradient is None or not box[2] else scene.gradients[gradient].at(*box))
    return paints


def _window(order: PaintOrder, clip: PaintOrder, tiles: TileLayout) -> tuple[slice, slice]:
    """The rows and columns of the canvas where a group with this order and clip may be visible."""
    top, left, bottom, right = _extent(order, tiles)
    if clip:
        shown = _extent(clip, tiles)
        top, left, bottom, right = max(top, shown[0]), max(left, shown[1]), min(bottom, shown[2]), min(right, shown[3])
    return slice(top, max(top, bottom)), slice(left, max(left, right))


def _extent(order: PaintOrder, tiles: TileLayout) -> tuple[int, int, int, int]:
    """The first row and column of the layers of an order, and those after the last; no rows if nothing is visible."""
    boxes: list[tuple[int, int, int, int]] = []
    for entry in order:
        if isinstance(entry, int):
            top, left, height, width = tiles.boxes[entry]
            boxes.append((top, left, top + height, left + width))
        else:
            boxes.append(_extent(entry[1], tiles))
    boxes = [box for box in boxes if box[0] < box[2]]
    tops, lefts, bottoms, rights = zip(*boxes) if boxes else ((0,), (0,), (0,), (0,))
    return min(tops), min(lefts), max(bottoms), max(rights)


def _shifted(order: PaintOrder, start: int) -> PaintOrder:
    """The order with `start` added to the number of each layer."""
    return tuple(
        entry + start if isinstance(entry, int) else (entry[0], _shifted(entry[1], start), _shifted(entry[2], start))
        for entry in order
    )


def _blank(scene: Scene, background: Tensor | None, n: int) -> Tensor:
    canvas = scene.colors.new_zeros(4, scene.height, scene.width)
    if background is None:
        return canvas
    color = background[n if len(background) > 1 else 0]
    return torch.cat((color, color.new_ones(1)))[:, None, None].expand_as(canvas)

"""Scenes to pictures, with gradients to every parameter.

Every layer's outline becomes edges, edges become exact area coverage (`coverage`), the fill rule folds it, and the
layers are laid over one another in order (`compositing`). The picture is the box-filtered drawing itself. Only where an
outline meets itself within one pixel is the fold an approximation: it sees the mean winding number there, so contours
of one path that abut in opposite directions leave a faint seam, and a border drawn twice is too heavy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .compositing import over
from .coverage import Tiles, tiles, winding
from .flattening import flatten_within
from .scene import Order, Scene
from .strokes import outlines

ROUNDING = 1e4
"""More than a winding number is ever off by, in units of its type's precision: 0.001 in float32."""

Edges = tuple[Tensor, Tensor]
"""Edges (E, 2, 2) in pixels and the layer (E,) they bound."""


class Rasterizer(Protocol):
    """Draws scenes differentiably."""

    def __call__(self, scenes: Sequence[Scene], background: Tensor | None = None) -> Tensor:
        """Premultiplied RGBA (B, 4, H, W) in [0, 1] of scenes of one canvas size.

        `background` (B or 1, 3) is an opaque colour; without it the canvas is transparent.
        """
        ...


def rasterize(scenes: Sequence[Scene], background: Tensor | None = None) -> Tensor:
    """The built-in rasteriser; see `Rasterizer`. Any type, device and number of scenes."""
    height, width = scenes[0].height, scenes[0].width
    counts = [len(scene.colors) for scene in scenes]
    starts = [sum(counts[:n]) for n in range(len(counts))]
    parts = [(edges, layers + start) for scene, start in zip(scenes, starts) for edges, layers in scene_edges(scene)]
    edges, layers = torch.cat([edges for edges, _ in parts]), torch.cat([layers for _, layers in parts])
    with torch.no_grad():
        boxes = tiles(edges, layers, sum(counts), height, width)
    even_odd = torch.cat([scene.layout.even_odd for scene in scenes])
    coverage = folded(winding(edges, layers, boxes), boxes, even_odd)
    colors = torch.cat([scene.colors for scene in scenes])
    painted = [picture for scene, start in zip(scenes, starts) for picture in _pictures(scene, boxes, start)]
    orders = [_shifted(scene.layout.order, start) for scene, start in zip(scenes, starts)]

    def draw(canvas: Tensor, order: Order, opacities: Tensor) -> Tensor:
        run: list[int] = []
        for entry in order:
            if isinstance(entry, int):
                run.append(entry)
                continue
            canvas, run = over(canvas, run, coverage, boxes, colors, painted), []
            number, inner = entry
            group = draw(torch.zeros_like(canvas), inner, opacities) * opacities[number]
            canvas = canvas * (1 - group[3]) + group
        return over(canvas, run, coverage, boxes, colors, painted)

    blank = [_blank(scenes[n], background, n) for n in range(len(scenes))]
    return torch.stack([draw(canvas, order, scene.opacities) for canvas, order, scene in zip(blank, orders, scenes)])


def scene_edges(scene: Scene) -> list[Edges]:
    """Edges of all layers of a scene, in as much detail as its canvas shows."""
    layout = scene.layout
    cubics = scene.points[layout.curves]
    canvas = cubics.new_tensor([[0, 0], [scene.width, scene.height]])
    filled = flatten_within(cubics.index_select(0, layout.filled), canvas[None])
    strokes, stroke = outlines(cubics.index_select(0, layout.stroked), scene.widths, layout.plan, canvas)
    return [
        (filled.edges, layout.filled_layer.index_select(0, filled.curve)),
        (scene.points[layout.closing], layout.closing_layer),
        (strokes, layout.stroke_layer.index_select(0, stroke)),
    ]


def folded(winding: Tensor, boxes: Tiles, even_odd: Tensor) -> Tensor:
    """Coverage in [0, 1] from winding numbers: nonzero where `even_odd` (L,) is not set."""
    coverage = _nonzero(winding)
    chosen = even_odd.nonzero().squeeze(1).tolist()
    if not chosen:
        return coverage
    mask = torch.zeros_like(winding, dtype=torch.bool)
    for layer in chosen:
        boxes.view(mask, layer).fill_(True)
    return torch.where(mask, 1 - (1 - winding.abs() % 2).abs(), coverage)


def _nonzero(winding: Tensor) -> Tensor:
    """|w| up to 1, with the derivative of |w| also where only rounding carries a full pixel past 1."""
    magnitude = winding.abs()
    excess = (magnitude - 1).clamp(min=0)
    return torch.where(excess < ROUNDING * torch.finfo(winding.dtype).eps, magnitude - excess.detach(), 1)


def _pictures(scene: Scene, boxes: Tiles, start: int) -> list[Tensor | None]:
    found: list[Tensor | None] = []
    for layer, gradient in enumerate(scene.layout.gradient):
        box = boxes.boxes[start + layer]
        found.append(None if gradient is None or not box[2] else scene.gradients[gradient].at(*box))
    return found


def _shifted(order: Order, start: int) -> Order:
    return tuple(entry + start if isinstance(entry, int) else (entry[0], _shifted(entry[1], start)) for entry in order)


def _blank(scene: Scene, background: Tensor | None, n: int) -> Tensor:
    canvas = scene.colors.new_zeros(4, scene.height, scene.width)
    if background is None:
        return canvas
    color = background[n if len(background) > 1 else 0]
    return torch.cat((color, color.new_ones(1)))[:, None, None].expand_as(canvas)

"""Visibility: what each layer of a scene contributes to the image, and what its removal would change.

The image is linear in the opacity of each single layer. With a_i the layer's coverage times opacity, s_i = (color, 1)
its source, b_i the premultiplied composite of all layers beneath it, and T_i the product of 1 - a_j over all layers
above it, the layer changes the image by

    d_i = T_i a_i (s_i - b_i),

which is exactly what its removal takes away, and T_i a_i is its weight in the image. One pass from the lowest layer up
gives every b_i, one from the highest down every T_i.

A group with opacity o (0 outside its clip) and composite g, painted on the canvas c, gives c + o (g - g_alpha c). This
is linear in g: a change d of the group's composite changes the canvas by o (d - d_alpha c). The group lets
1 - o (1 - T) through, where T is the product of 1 - a_j over its own layers.

Decisions on the way down. When the pass reaches a layer, all above it are settled and all below it are as they were. If
it is then removed, T is not multiplied by 1 - a_i, and the next layers see the scene without it. So the changes d_i of
the layers that are removed add up to the exact change of the image by their joint removal.

Bounded memory. A decision needs all pixels of its layer, so no band of rows can be finished before the next one begins.
But layers can be visited some at a time: an order whose layers have more than `CELLS` cells is halved. The lower half
is painted, the upper one visited on top of it, then the lower one on the canvas as it was. So an order of P times as
many cells takes the memory of one part and log2 P canvases, and is painted 1 + log2(P) / 2 times. Groups are painted on
canvases of their own extent, one for each level of nesting. Each pixel gets the same operations as at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from . import bands
from .coverage import Box, TileLayout, intersection, laid_out, tile_layout, winding
from .rasterizer import extent, folded, outlined
from .scene import PaintOrder, Scene

CELLS = 2**24
"""Cells of the layers that are visited at once, about 0.6 GB."""

Group = tuple[int, PaintOrder, PaintOrder]
"""A group of a paint order: its number, its own order, and the order of its clip."""


@dataclass(frozen=True)
class Seen:
    """A layer when the pass from above reaches it. All tensors are for the pixels of its box.

    Attributes:
        layer: Its index.
        box: Where it is; empty if it is off the canvas.
        coverage: Its coverage (h, w) in [0, 1].
        opacity: Its opacity in [0, 1]; with a gradient (h, w).
        source: Its straight color and 1, (4, 1, 1); with a gradient (4, h, w).
        below: The premultiplied RGBA (4, h, w) of what lies beneath it, in its innermost group.
        frames: What turns a change of the composite up to this layer into one of the image, in order: how much is seen
            (h, w) of what lies here, and for groups the canvas (4, h, w) that they are painted on.
    """

    layer: int
    box: Box
    coverage: Tensor
    opacity: Tensor | float
    source: Tensor
    below: Tensor
    frames: Sequence[tuple[Tensor, Tensor | None]]

    def shown(self, change: Tensor) -> Tensor:
        """How the image changes (4, h, w) if the composite up to this layer changes by `change` (4, h, w)."""
        for seen, canvas in self.frames:
            change = (change if canvas is None else change - change[3] * canvas) * seen
        return change

    @property
    def in_group(self) -> bool:
        """Whether the layer is in a translucent group."""
        return len(self.frames) > 1

    @property
    def change(self) -> Tensor:
        """What the layer changes in the image, (4, h, w) premultiplied: the image with it less the image without it."""
        return self.shown((self.source - self.below) * (self.coverage * self.opacity))

    @property
    def weight(self) -> Tensor:
        """The layer's weight (h, w) in the image, in [0, 1]."""
        weight = self.coverage * self.opacity
        for seen, _ in self.frames:
            weight = weight * seen
        return weight


def sweep(scene: Scene, decide: Callable[[Seen], float]) -> None:
    """Visit all layers of a scene from the highest to the lowest.

    Takes the memory of `CELLS` cells or of the largest layer, and of some canvases, whatever the number of layers.

    Args:
        scene: The scene, rendered on a transparent canvas.
        decide: Gets each layer and returns by how much its opacity is multiplied for the layers beneath it: 1 leaves
            it, 0 removes it.
    """
    with torch.no_grad():
        _Sweep(scene, decide).run()


class _Held(NamedTuple):
    """Consecutive layers, from `first` to `last`, exclusive, and what they cover."""

    first: int
    last: int
    tiles: TileLayout
    coverage: Tensor


class _Frame(NamedTuple):
    """A group that is being visited: its box, how much is seen (h, w) of what lies in it, and the canvas (4, h, w) that
    it is painted on."""

    box: Box
    seen: Tensor
    canvas: Tensor


class _Sweep:
    """Canvases and masks are of the pixels of an `area`, the box of the group that is painted or visited."""

    def __init__(self, scene: Scene, decide: Callable[[Seen], float]):
        self.scene, self.decide = scene, decide
        layers = outlined(scene)
        self.layers = layers.sorted()
        self.boxes = tile_layout(layers.edges, layers.layer, len(layers.colors), scene.height, scene.width).boxes
        self.opacities, self.group_opacities = scene.colors[:, 3].tolist(), scene.opacities.tolist()
        cells = accumulate(map(self.cells, range(len(self.boxes))), initial=0)
        self.portions = [before // CELLS for before in cells][:-1]
        """The number of the portion of each layer: layers whose coverage is computed at once."""
        self.held: _Held | None = None

    def run(self) -> None:
        area = (0, 0, self.scene.height, self.scene.width)
        order = self.flattened(self.scene.layout.order)
        self.visit(order, area, self.empty(area), self.transparent(area), [])

    def empty(self, area: Box) -> Tensor:
        return self.scene.colors.new_zeros(4, *area[2:])

    def transparent(self, area: Box) -> Tensor:
        return self.scene.colors.new_ones(area[2:])

    def flattened(self, order: PaintOrder) -> PaintOrder:
        """The order without groups of opacity 1 and no clip: their layers may as well be painted one by one."""
        flat: list = []
        for entry in order:
            if isinstance(entry, int):
                flat.append(entry)
            elif self.group_opacities[entry[0]] == 1 and not entry[2]:
                flat.extend(self.flattened(entry[1]))
            else:
                flat.append((entry[0], self.flattened(entry[1]), entry[2]))
        return tuple(flat)

    def cells(self, entry: int | Group) -> int:
        """The memory that it takes to visit a layer or a group, in cells."""
        if isinstance(entry, int):
            return bands.cells(self.boxes[entry : entry + 1], self.layers.painted[entry : entry + 1])
        *_, height, width = self.box(entry)
        return height * width + sum(map(self.cells, entry[1]))

    def box(self, entry: int | Group) -> Box:
        """The box of a layer, or of all layers of a group."""
        return self.boxes[entry] if isinstance(entry, int) else extent(entry[1], self.boxes)

    def coverage(self, layer: int) -> Tensor:
        """The coverage (h, w) of a layer. That of its portion is held until a layer of another one is asked for."""
        if self.held is None or not self.held.first <= layer < self.held.last:
            self.held = None  # before the next one takes memory
            number = self.portions[layer]
            first, last = bisect_left(self.portions, number), bisect_right(self.portions, number)
            part = self.layers.portion(first, last)
            tiles = laid_out(self.boxes[first:last], self.scene.height, self.scene.width)
            coverage = folded(winding(part.edges, part.layer, tiles), tiles, part.even_odd)
            self.held = _Held(first, last, tiles, coverage)
        return self.held.tiles.view(self.held.coverage, layer - self.held.first)

    def source(self, layer: int) -> tuple[Tensor, Tensor | float]:
        """The straight color of a layer with 1, and its opacity."""
        gradient, box, opacity = self.layers.gradients[layer], self.boxes[layer], self.opacities[layer]
        if gradient is None or not box[2]:
            color = self.scene.colors[layer, :3]
            return torch.cat((color, color.new_ones(1)))[:, None, None], opacity
        paint = gradient.at(*box)
        return torch.cat((paint[:3], torch.ones_like(paint[3:]))), paint[3] * opacity

    def visible(self, group: Group) -> Tensor:
        """The opacity (h, w) of a group, 0 outside its clip."""
        (number, _, clip), area = group, self.box(group)
        return self.group_opacities[number] * (self.covered(clip, area) if clip else self.transparent(area))

    def covered(self, order: PaintOrder, area: Box) -> Tensor:
        """What layers cover (h, w) as a clip, where their paints do not count."""
        uncovered = self.transparent(area)
        for entry in order:
            shared = intersection(area, self.box(entry))
            if isinstance(entry, int):
                covered = _part(self.coverage(entry), self.boxes[entry], shared)
            else:
                _, inner, clip = entry
                covered = self.covered(inner, shared) * (self.covered(clip, shared) if clip else 1)
            _part(uncovered, area, shared).mul_(1 - covered)
        return 1 - uncovered

    def paint(self, order: PaintOrder, area: Box, canvas: Tensor) -> None:
        """Paint an order on a canvas (4, h, w) in place."""
        for entry in order:
            box = self.box(entry)
            part = _part(canvas, area, box)
            if isinstance(entry, int):
                source, opacity = self.source(entry)
                part.addcmul_(source - part, self.coverage(entry) * opacity)
                continue
            group = self.empty(box)
            self.paint(entry[1], box, group)
            group *= self.visible(entry)
            part.mul_(1 - group[3]).add_(group)

    def visit(self, order: PaintOrder, area: Box, canvas: Tensor, through: Tensor, frames: Sequence[_Frame]) -> None:
        """Visit an order from the highest layer to the lowest.

        Args:
            order: What is visited.
            area: The box of the canvas.
            canvas: What lies beneath the order (4, h, w); used up.
            through: What the layers above it let through (h, w), changed in place.
            frames: The groups that it is in, from the innermost.
        """
        if len(order) > 1 and sum(map(self.cells, order)) > CELLS:
            lower, upper = order[: len(order) // 2], order[len(order) // 2 :]
            beneath = canvas.clone()
            self.paint(lower, area, canvas)
            self.visit(upper, area, canvas, through, frames)
            self.visit(lower, area, beneath, through, frames)
            return
        below: list[Tensor] = []
        for n, entry in enumerate(order):
            if n:
                self.paint(order[n - 1 : n], area, canvas)
            below.append(_part(canvas, area, self.box(entry)).clone())
        for entry in reversed(order):
            box = self.box(entry)
            part = _part(through, area, box)
            if isinstance(entry, int):
                seen = self.seen(entry, below.pop(), part, frames)
                part.mul_(1 - seen.coverage * (seen.opacity * self.decide(seen)))
                continue
            visible, within = self.visible(entry), self.transparent(box)
            frame = _Frame(box, part * visible, below.pop())
            self.visit(entry[1], box, self.empty(box), within, [frame, *frames])
            part.mul_(1 - visible * (1 - within))

    def seen(self, layer: int, below: Tensor, through: Tensor, frames: Sequence[_Frame]) -> Seen:
        box = self.boxes[layer]
        source, opacity = self.source(layer)
        groups = [(_part(frame.seen, frame.box, box), _part(frame.canvas, frame.box, box)) for frame in frames]
        return Seen(layer, box, self.coverage(layer), opacity, source, below, [(through, None), *groups])


def _part(values: Tensor, box: Box, part: Box) -> Tensor:
    """The values (..., h, w) of a part of their box."""
    top, left, height, width = part
    if not height:
        return values[..., :0, :0]
    top, left = top - box[0], left - box[1]
    return values[..., top : top + height, left : left + width]

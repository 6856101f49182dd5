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
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .coverage import TileLayout, tile_layout, winding
from .rasterizer import folded, scene_edges
from .scene import PaintOrder, Scene

Box = tuple[int, int, int, int]
"""Top, left, height and width in pixels."""


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
    """Visit all layers of a scene from the highest to the lowest. Takes as much memory as rendering with gradients.

    Args:
        scene: The scene, rendered on a transparent canvas.
        decide: Gets each layer and returns by how much its opacity is multiplied for the layers beneath it: 1 leaves
            it, 0 removes it.
    """
    with torch.no_grad():
        _Sweep(scene, decide).run()


class _Sweep:
    def __init__(self, scene: Scene, decide: Callable[[Seen], float]):
        self.scene, self.decide = scene, decide
        parts = scene_edges(scene)
        edges, layers = torch.cat([edges for edges, _ in parts]), torch.cat([layers for _, layers in parts])
        self.tiles: TileLayout = tile_layout(edges, layers, len(scene.colors), scene.height, scene.width)
        self.coverage = folded(winding(edges, layers, self.tiles), self.tiles, scene.layout.even_odd)
        self.opacities, self.group_opacities = scene.colors[:, 3].tolist(), scene.opacities.tolist()
        self.sources: dict[int, tuple[Tensor, Tensor | float]] = {}
        self.below: dict[int, Tensor] = {}
        self.canvases: dict[int, Tensor] = {}
        """What each group is painted on."""
        self.visible: dict[int, Tensor] = {}
        """The opacity (H, W) of each group, 0 outside its clip."""

    def run(self) -> None:
        order = self.flattened(self.scene.layout.order)
        self.up(self.scene.colors.new_zeros(4, self.scene.height, self.scene.width), order)
        self.down(self.transparent(), order, [])

    def transparent(self) -> Tensor:
        return self.scene.colors.new_ones(self.scene.height, self.scene.width)

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

    def up(self, canvas: Tensor, order: PaintOrder) -> None:
        """Paint layers on a canvas (4, H, W) in place and remember what is below each."""
        for entry in order:
            if isinstance(entry, int):
                self.sources[entry] = source, opacity = self.source(entry)
                part = _part(canvas, self.tiles.boxes[entry])
                self.below[entry] = part.clone()
                part.addcmul_(source - part, self.tiles.view(self.coverage, entry) * opacity)
                continue
            number, inner, clip = entry
            group = torch.zeros_like(canvas)
            self.up(group, inner)
            self.canvases[number] = canvas.clone()
            self.visible[number] = self.group_opacities[number] * (self.covered(clip) if clip else self.transparent())
            group *= self.visible[number]
            canvas.mul_(1 - group[3]).add_(group)

    def covered(self, order: PaintOrder) -> Tensor:
        """What layers cover (H, W) as a clip, where their paints do not count."""
        uncovered = self.transparent()
        for entry in order:
            if isinstance(entry, int):
                _part(uncovered, self.tiles.boxes[entry]).mul_(1 - self.tiles.view(self.coverage, entry))
                continue
            _, inner, clip = entry
            uncovered *= 1 - self.covered(inner) * (self.covered(clip) if clip else 1)
        return 1 - uncovered

    def source(self, layer: int) -> tuple[Tensor, Tensor | float]:
        """The straight color of a layer with 1, and its opacity."""
        number, box = self.scene.layout.gradient_of_layer[layer], self.tiles.boxes[layer]
        opacity = self.opacities[layer]
        if number is None or not box[2]:
            color = self.scene.colors[layer, :3]
            return torch.cat((color, color.new_ones(1)))[:, None, None], opacity
        paint = self.scene.gradients[number].at(*box)
        return torch.cat((paint[:3], torch.ones_like(paint[3:]))), paint[3] * opacity

    def down(self, through: Tensor, order: PaintOrder, frames: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Visit layers from the highest, with `through` (H, W) what those above let through, changed in place."""
        for entry in reversed(order):
            if isinstance(entry, int):
                seen = self.seen(entry, through, frames)
                scale = self.decide(seen)
                alpha = seen.coverage * (seen.opacity * scale)
                _part(through, seen.box).mul_(1 - alpha)
                continue
            number, inner, _ = entry
            visible, within = self.visible[number], self.transparent()
            self.down(within, inner, [(through * visible, self.canvases[number]), *frames])
            through.mul_(1 - visible * (1 - within))

    def seen(self, layer: int, through: Tensor, frames: Sequence[tuple[Tensor, Tensor]]) -> Seen:
        box = self.tiles.boxes[layer]
        source, opacity = self.sources.pop(layer)
        return Seen(
            layer=layer,
            box=box,
            coverage=self.tiles.view(self.coverage, layer),
            opacity=opacity,
            source=source,
            below=self.below.pop(layer),
            frames=[(_part(through, box), None), *((_part(seen, box), _part(c, box)) for seen, c in frames)],
        )


def _part(canvas: Tensor, box: Box) -> Tensor:
    top, left, height, width = box
    return canvas[..., top : top + height, left : left + width]

"""Selections: the parts of a drawing that may change, by name or by area."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..svg.document import Color, Document, Group, Node, Shape, shapes_in
from ..svg.raster.rasterizer import rasterize
from ..svg.raster.scene import scene
from .initialization import Canvas

LONGEST = 128
"""Longer side in pixels of the canvas on which areas are compared."""
MOST = 0.5
"""A shape is selected by an area that holds at least this part of it."""


class NothingSelected(ValueError):
    """No part of a drawing has one of the names, or lies in the area."""


@dataclass(frozen=True)
class Selection:
    """Which numbers of a drawing may change, in the order of its scene's tensors; see `svg.raster.scene.Scene`.

    Attributes:
        points: (P,) control points.
        layers: (L,) colors.
        widths: (K,) strokes.
        opacities: (G,) groups.
        gradients: One entry per gradient.
    """

    points: Tensor
    layers: Tensor
    widths: Tensor
    opacities: Tensor
    gradients: Sequence[bool]

    def starting_with(self, other: Selection) -> Selection:
        """This selection, but for its first parts that of a smaller drawing."""
        pairs = [(getattr(other, name), getattr(self, name)) for name in ("points", "layers", "widths", "opacities")]
        points, layers, widths, opacities = (torch.cat([first, rest[len(first) :]]) for first, rest in pairs)
        gradients = [*other.gradients, *self.gradients[len(other.gradients) :]]
        return Selection(points, layers, widths, opacities, gradients)


def selection(document: Document, names: Sequence[str] = (), area: Tensor | None = None) -> Selection:
    """The shapes that have one of the names or classes, or are in a group with one, and lie in the area.

    Args:
        document: The drawing.
        names: Ids of the drawing, shapes and groups, and classes as ".class". None given selects all.
        area: (H, W) in [0, 1], of any size; it is stretched over the drawing. A shape lies in it if at least half of
            what it paints does. Clips are not selected by area.

    Raises:
        NothingSelected: A name is unknown, or nothing lies in the area.
    """
    known = {document.name} - {""} | {name for node in _nodes(document.children) for name in _names(node)}
    if unknown := [name for name in names if name not in known]:
        listed = ", ".join(f"'{name}'" for name in sorted(known)) or "none"
        raise NothingSelected(f"The drawing has no part named '{unknown[0]}'. Its names are: {listed}.")
    shapes = [*enumerate(_named(document.children, frozenset({document.name} - {""})))]
    chosen = {number for number, (ancestry, _) in shapes if not names or not ancestry.isdisjoint(names)}
    if area is not None:
        painted = chosen - {number for number, (_, clips) in shapes if clips}
        chosen = {number for number in painted if _share(document, number, area) >= MOST}
    if not chosen:
        raise NothingSelected("No shape of the drawing lies in the selected area: paint over at least half of one.")
    everything = not names or document.name in names
    groups = [everything or node.name in names for node in _nodes(document.children) if isinstance(node, Group)]
    return _of_shapes(document, chosen, groups if area is None else [False] * len(groups))


def _names(node: Node) -> set[str]:
    """The id of a node, and the classes of a shape as ".class"."""
    classes = {f".{name}" for name in node.classes} if isinstance(node, Shape) else set()
    return classes | ({node.name} if node.name else set())


def _nodes(children: Sequence[Node]) -> Iterator[Node]:
    """All nodes in the order of the scene's tensors, those of clips included."""
    for node in children:
        yield node
        if isinstance(node, Group):
            yield from _nodes(node.children)
            yield from _nodes(node.clip)


def _named(nodes: Sequence[Node], outer: frozenset[str], clips: bool = False) -> Iterator[tuple[frozenset[str], bool]]:
    """For each shape in the order of the scene's tensors, its name and those of its groups, and whether it clips."""
    for node in nodes:
        own = outer | _names(node)
        if isinstance(node, Group):
            yield from _named(node.children, own, clips)
            yield from _named(node.clip, own, clips=True)
        else:
            yield own, clips


def _share(document: Document, number: int, area: Tensor) -> float:
    """The part of what a shape paints that lies in an area."""
    shape = list(shapes_in(document.children, clips=True))[number]
    height, width = _small_canvas(document)
    alone = Document(document.view_box, (shape,))
    painted = rasterize([scene(alone, height, width)])[0, 3]
    resized = torch.nn.functional.interpolate(area[None, None].float().cpu(), (height, width), mode="area")[0, 0]
    return float((painted * resized).sum() / painted.sum().clamp_min(1e-6))


def _small_canvas(document: Document) -> Canvas:
    box = document.view_box
    scale = LONGEST / max(box.width, box.height)
    return max(round(box.height * scale), 1), max(round(box.width * scale), 1)


def _of_shapes(document: Document, chosen: set[int], groups: Sequence[bool]) -> Selection:
    points: list[bool] = []
    layers: list[bool] = []
    widths: list[bool] = []
    gradients: list[bool] = []
    for number, shape in enumerate(shapes_in(document.children, clips=True)):
        selected = number in chosen
        points += [selected] * sum(len(contour.points) for contour in shape.contours)
        paints = [part.paint for part in (shape.fill, shape.stroke) if part]
        layers += [selected] * len(paints)
        widths += [selected] * bool(shape.stroke)
        gradients += [selected] * sum(not isinstance(paint, Color) for paint in paints)
    return Selection(_flags(points), _flags(layers), _flags(widths), _flags(groups), gradients)


def _flags(values: Sequence[bool]) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)

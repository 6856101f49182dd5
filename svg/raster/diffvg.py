"""Scenes drawn by pydiffvg, where that is installed: for comparison with the built-in rasteriser.

Its conventions are others than SVG's, and what it would draw wrongly is refused: a width is half of SVG's, strokes have
round caps and joins, a group of shapes is filled before it is stroked, open paths are not closed for filling, opacity
of groups is not known. Colours are averaged straight, so pictures are made on an opaque background.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Any

import torch
from torch import Tensor

from ..document import IDENTITY, Group, Shape, Stroke
from .paint import GradientPaint
from .scene import Scene

MOST_FRAGMENTS = 256
"""Layers over one another in a place. With more of them pydiffvg ends the process."""


@dataclass(frozen=True)
class Layer:
    """A fill or a stroke in pydiffvg's terms: a group of shapes.

    `contours` are control points (P, 2) in pixels; those of a fill are closed. `radius` is half the width of a stroke,
    None for a fill. `color` (4,) is straight; `gradient` takes its place where there is one.
    """

    contours: tuple[Tensor, ...]
    closed: tuple[bool, ...]
    radius: Tensor | None
    color: Tensor
    gradient: GradientPaint | None
    even_odd: bool


class Diffvg:
    """A `Rasterizer` of `samples` x `samples` samples a pixel, in float32. Raises ImportError without pydiffvg."""

    def __init__(self, samples: int = 2):
        try:
            import pydiffvg
        except ImportError as error:
            raise ImportError(
                "pydiffvg is not installed, and must be built from its source. Choose the rasteriser 'torch', which "
                "needs nothing and is more exact."
            ) from error
        self._library: Any = pydiffvg
        self._samples = samples

    def __call__(self, scenes: Sequence[Scene], background: Tensor | None = None) -> Tensor:
        if background is None:
            black, white = (self(scenes, scenes[0].colors.new_full((1, 3), value))[:, :3] for value in (0.0, 1.0))
            return torch.cat((black, 1 - (white - black).mean(1, keepdim=True)), 1)
        papers = background.expand(len(scenes), 3)
        return torch.stack([self._drawn(scene, paper) for scene, paper in zip(scenes, papers)])

    def _drawn(self, scene: Scene, paper: Tensor) -> Tensor:
        library = self._library
        library.set_use_gpu(scene.points.is_cuda)
        canvas = torch.cat((paper, paper.new_ones(1))).expand(scene.height, scene.width, 4).float().contiguous()
        shapes: list[Any] = []
        groups: list[Any] = []
        for layer in filter(lambda layer: layer.contours, layers(scene)):
            added = [self._path(layer, *contour) for contour in zip(layer.contours, layer.closed)]
            groups.append(self._group(layer, range(len(shapes), len(shapes) + len(added))))
            shapes += added
        described = library.RenderFunction.serialize_scene(scene.width, scene.height, shapes, groups)
        samples = self._samples
        drawn = library.RenderFunction.apply(scene.width, scene.height, samples, samples, 0, canvas, *described)
        return drawn.movedim(-1, 0).to(scene.points)

    def _path(self, layer: Layer, points: Tensor, closed: bool) -> Any:
        controls = torch.full((len(points) // 3,), 2, dtype=torch.int32)
        radius = points.new_zeros(()) if layer.radius is None else layer.radius
        return self._library.Path(controls, points.float().contiguous(), closed, stroke_width=radius.float())

    def _group(self, layer: Layer, shapes: range) -> Any:
        paint = layer.color.float() if layer.gradient is None else self._gradient(layer.gradient, layer.color[3])
        ids = torch.tensor(list(shapes), dtype=torch.int32)
        if layer.radius is None:
            return self._library.ShapeGroup(ids, paint, use_even_odd_rule=layer.even_odd)
        return self._library.ShapeGroup(ids, None, stroke_color=paint)

    def _gradient(self, paint: GradientPaint, opacity: Tensor) -> Any:
        stops = torch.cat((paint.colors[:, :3], paint.colors[:, 3:] * opacity), 1).float()
        begin, end = _in_pixels(paint)
        if len(paint.geometry) == 4:
            return self._library.LinearGradient(begin, end, paint.offsets.float(), stops)
        return self._library.RadialGradient(begin, end - begin, paint.offsets.float(), stops)


def layers(scene: Scene) -> list[Layer]:
    """The layers of a scene in pydiffvg's terms. Raises ValueError for what it cannot draw, or would draw wrongly."""
    found = list(_layers(scene))
    depth = _depth(found, scene.height, scene.width)
    if depth > MOST_FRAGMENTS:
        raise ValueError(
            f"Up to {depth} layers may lie over one another in the drawing, and pydiffvg takes {MOST_FRAGMENTS}. Draw "
            "it with the rasteriser 'torch'."
        )
    return found


def _layers(scene: Scene) -> Iterator[Layer]:
    numbers, widths, begun = count(), iter(scene.widths.unbind()), 0
    for shape in _shapes(scene.document.children):
        ends = list(accumulate((len(contour.points) for contour in shape.contours), initial=begun))
        outlines = [(scene.points[a:b], contour.closed) for a, b, contour in zip(ends, ends[1:], shape.contours)]
        begun, outlines = ends[-1], [(points, closed) for points, closed in outlines if len(points) > 1]
        if shape.fill:
            filled = [(points if closed else _closed(points), True) for points, closed in outlines]
            yield _layer(scene, next(numbers), filled, None)
        if shape.stroke:
            _check_stroke(shape.stroke)
            yield _layer(scene, next(numbers), outlines, next(widths) / 2)


def _shapes(children: Sequence[Shape | Group]) -> Iterator[Shape]:
    for child in children:
        if isinstance(child, Shape):
            yield child
        elif child.opacity == 1:
            yield from _shapes(child.children)
        else:
            raise _refused("a group with an opacity")


def _layer(scene: Scene, number: int, outlines: Sequence[tuple[Tensor, bool]], radius: Tensor | None) -> Layer:
    if any((points == points[0]).all() for points, _ in outlines):
        raise _refused("a path without length")
    gradient = scene.layout.gradient[number]
    return Layer(
        tuple(points for points, _ in outlines),
        tuple(closed for _, closed in outlines),
        radius,
        scene.colors[number],
        None if gradient is None else _checked(scene.gradients[gradient]),
        bool(scene.layout.even_odd[number]),
    )


def _closed(points: Tensor) -> Tensor:
    """An open contour that goes straight back to where it begins."""
    return torch.cat((points, torch.lerp(points[-1], points[0], points.new_tensor([[1 / 3], [2 / 3]]))))


def _check_stroke(stroke: Stroke) -> None:
    if stroke.cap != "round" or stroke.join != "round":
        raise _refused("a stroke whose caps or joins are not round")
    if stroke.pen[:4] != IDENTITY[:4]:
        raise _refused("a stroke that is wider in one direction than in another")


def _checked(paint: GradientPaint) -> GradientPaint:
    if paint.spread != "pad":
        raise _refused("a gradient that is repeated")
    if len(paint.geometry) == 5 and not torch.equal(*paint.geometry[:4].view(2, 2)):
        raise _refused("a radial gradient whose focus is not its centre")
    if len(paint.geometry) == 5 and (paint.inverse[0, 1] or paint.inverse[1, 0]):
        raise _refused("a radial gradient that is turned or sheared")
    return paint


def _refused(what: str) -> ValueError:
    return ValueError(f"pydiffvg cannot draw {what}. Draw it with the rasteriser 'torch'.")


def _in_pixels(paint: GradientPaint) -> tuple[Tensor, Tensor]:
    """Begin and end of a linear gradient, or the centre of a radial one and the corner of its box, in float32."""
    matrix, shift = paint.inverse[:, :2], paint.inverse[:, 2]
    begin = torch.linalg.solve(matrix, paint.geometry[:2] - shift)
    if len(paint.geometry) == 5:
        return begin.float(), (begin + paint.geometry[4] / matrix.diagonal().abs()).float()
    # The parameter rises along the pull-back of the gradient's axis, not along the axis' image.
    along = paint.geometry[2:] - paint.geometry[:2]
    rise = matrix.mT @ along / along.square().sum()
    return begin.float(), (begin + rise / rise.square().sum()).float()


def _depth(found: Sequence[Layer], height: int, width: int) -> int:
    """How many layers may lie over one another, by the boxes of their control points."""
    steps = torch.zeros(height + 2, width + 2, dtype=torch.long)
    size = torch.tensor([width, height])
    for layer in found:
        points = torch.cat([layer.color.new_zeros(0, 2), *layer.contours]).detach().cpu()
        if not len(points):
            continue
        grown = 0.0 if layer.radius is None else layer.radius.item()
        left, top = (points.amin(0) - grown).floor().clamp(torch.zeros(2), size).long().tolist()
        right, bottom = (points.amax(0) + grown).ceil().clamp(torch.zeros(2), size).long().tolist()
        for row, column, step in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            steps[row, column] += step
    return int(steps.cumsum(0).cumsum(1).max())

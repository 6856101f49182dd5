"""Renders scenes with pydiffvg, where that is installed, for comparison with the built-in rasterizer.

pydiffvg's conventions differ from SVG's. The adapter translates what it can:

- A stroke's width is half of SVG's, and a group of shapes is stroked below its fill: each fill and each stroke becomes
  a group of its own.
- Open paths are not closed for filling: closing lines are added.
- Gradients of shapes inside a scaled group are wrong: all coordinates are given in pixels.
- Partly covered pixels average straight colors: images are drawn on an opaque background. A transparent one is drawn on
  black and on white, and alpha recovered from the difference.

It refuses the rest with `UnsupportedDrawing`: what pydiffvg would draw differently (group opacity, clips, caps and
joins other than round, strokes with a pen, repeated or reflected gradients, some radial gradients), and what would make
it end the process (paths of zero length, more than 256 layers in one place). Its gradient of the last stop of a radial
gradient is known to be wrong and is passed on as it is.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, pairwise
from typing import Any

import torch
from torch import Tensor

from ..document import IDENTITY, Node, Shape, Stroke
from .paint import GradientPaint
from .scene import Scene

MAX_LAYERS_IN_ONE_PLACE = 256
"""With more layers on one sample, pydiffvg ends the process."""


class UnsupportedDrawing(ValueError):
    """A drawing that pydiffvg cannot draw correctly; the message says why and what to do instead."""


@dataclass(frozen=True)
class Layer:
    """A fill or a stroke, as pydiffvg's shape group.

    Attributes:
        contours: Control points (P, 2) of each path, in pixels.
        closed: Whether each path is closed; always true for a fill.
        radius: Half the stroke's width, or None for a fill.
        color: Straight color and opacity (4,).
        gradient: Replaces the color, but not the opacity, if not None.
        even_odd: The fill rule; False is nonzero.
    """

    contours: tuple[Tensor, ...]
    closed: tuple[bool, ...]
    radius: Tensor | None
    color: Tensor
    gradient: GradientPaint | None
    even_odd: bool


def installed() -> bool:
    """Whether pydiffvg is installed. It is not imported, so importing it may still fail."""
    return sys.modules.get("pydiffvg") is not None or importlib.util.find_spec("pydiffvg") is not None


class Diffvg:
    """A `Rasterizer` that calls pydiffvg in float32, with `samples` x `samples` samples per pixel.

    Raises:
        ImportError: pydiffvg is not installed or cannot be imported.
        UnsupportedDrawing: When called with a scene that pydiffvg cannot draw correctly.
    """

    def __init__(self, samples: int = 2):
        self._library, self._samples = _library(), samples

    def __call__(self, scenes: Sequence[Scene], background: Tensor | None = None) -> Tensor:
        if background is None:
            black, white = (self(scenes, scenes[0].colors.new_full((1, 3), value))[:, :3] for value in (0.0, 1.0))
            return torch.cat((black, 1 - (white - black).mean(1, keepdim=True)), 1)
        backgrounds = background.expand(len(scenes), 3)
        return torch.stack([self._image(scene, color) for scene, color in zip(scenes, backgrounds, strict=True)])

    def _image(self, scene: Scene, background: Tensor) -> Tensor:
        library, samples = self._library, self._samples
        library.set_use_gpu(scene.points.is_cuda)
        canvas = torch.cat((background, background.new_ones(1)))
        canvas = canvas.expand(scene.height, scene.width, 4).float().contiguous()
        shapes: list[Any] = []
        groups: list[Any] = []
        for layer in filter(lambda layer: layer.contours, layers(scene)):
            paths = [self._path(layer, *contour) for contour in zip(layer.contours, layer.closed, strict=True)]
            groups.append(self._group(layer, range(len(shapes), len(shapes) + len(paths))))
            shapes += paths
        if not groups:
            return canvas.movedim(-1, 0).to(scene.points)
        arguments = library.RenderFunction.serialize_scene(scene.width, scene.height, shapes, groups)
        image = library.RenderFunction.apply(scene.width, scene.height, samples, samples, 0, canvas, *arguments)
        return image.movedim(-1, 0).to(scene.points)

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
        if paint.is_radial:
            return self._library.RadialGradient(begin, end - begin, paint.offsets.float(), stops)
        return self._library.LinearGradient(begin, end, paint.offsets.float(), stops)


def _library() -> Any:
    if not installed():
        raise ImportError(
            "The renderer 'diffvg' needs the Python package pydiffvg, which is not installed. Build it from "
            "https://github.com/BachiLi/diffvg, or choose the renderer 'built-in', which needs no package and is exact."
        )
    try:
        import pydiffvg
    except (ImportError, OSError) as error:
        raise ImportError(
            f"The renderer 'diffvg' cannot be used because importing pydiffvg fails ({error}). Rebuild pydiffvg for "
            "this version of Python and PyTorch, or choose the renderer 'built-in'."
        ) from error
    return pydiffvg


def layers(scene: Scene) -> list[Layer]:
    """The layers of a scene as pydiffvg's shape groups, from the lowest to the highest.

    Raises:
        UnsupportedDrawing: pydiffvg cannot draw the scene correctly.
    """
    result = list(_layers(scene))
    depth = _depth(result, scene.height, scene.width)
    if depth > MAX_LAYERS_IN_ONE_PLACE:
        raise UnsupportedDrawing(
            f"Up to {depth} layers of the drawing may overlap in one place, and pydiffvg supports at most "
            f"{MAX_LAYERS_IN_ONE_PLACE}. Choose the renderer 'built-in' or use fewer overlapping paths."
        )
    return result


def _layers(scene: Scene) -> Iterator[Layer]:
    numbers, widths, start = count(), iter(scene.widths.unbind()), 0
    for shape in _shapes(scene.document.children):
        bounds = list(accumulate((len(contour.points) for contour in shape.contours), initial=start))
        outlines = [
            (scene.points[first:last], contour.closed)
            for (first, last), contour in zip(pairwise(bounds), shape.contours, strict=True)
        ]
        start, outlines = bounds[-1], [(points, closed) for points, closed in outlines if len(points) > 1]
        if shape.fill:
            filled = [(points if closed else _closed(points), True) for points, closed in outlines]
            yield _layer(scene, next(numbers), filled, None)
        if shape.stroke:
            _check_stroke(shape.stroke)
            yield _layer(scene, next(numbers), outlines, next(widths) / 2)


def _shapes(children: Sequence[Node]) -> Iterator[Shape]:
    for child in children:
        if isinstance(child, Shape):
            yield child
        elif child.clip:
            raise _unsupported("a group with a clip")
        elif child.opacity == 1:
            yield from _shapes(child.children)
        else:
            raise _unsupported("a group with an opacity")


def _layer(scene: Scene, number: int, outlines: Sequence[tuple[Tensor, bool]], radius: Tensor | None) -> Layer:
    if any((points == points[0]).all() for points, _ in outlines):
        raise _unsupported("a path of zero length")
    gradient = scene.layout.gradient_of_layer[number]
    return Layer(
        contours=tuple(points for points, _ in outlines),
        closed=tuple(closed for _, closed in outlines),
        radius=radius,
        color=scene.colors[number],
        gradient=None if gradient is None else _checked(scene.gradients[gradient]),
        even_odd=bool(scene.layout.even_odd[number]),
    )


def _closed(points: Tensor) -> Tensor:
    """An open contour with a straight closing line."""
    return torch.cat((points, torch.lerp(points[-1], points[0], points.new_tensor([[1 / 3], [2 / 3]]))))


def _check_stroke(stroke: Stroke) -> None:
    if stroke.cap != "round" or stroke.join != "round":
        raise _unsupported("a stroke whose caps or joins are not round")
    if stroke.pen[:4] != IDENTITY[:4]:
        raise _unsupported("a stroke that is wider in one direction than in another")


def _checked(paint: GradientPaint) -> GradientPaint:
    if paint.spread != "pad":
        raise _unsupported("a gradient that is repeated or reflected")
    if paint.is_radial and not torch.equal(*paint.geometry[:4].view(2, 2)):
        raise _unsupported("a radial gradient whose focus is not its center")
    if paint.is_radial and (paint.inverse[0, 1] or paint.inverse[1, 0]):
        raise _unsupported("a radial gradient that is rotated or skewed")
    return paint


def _unsupported(what: str) -> UnsupportedDrawing:
    return UnsupportedDrawing(f"pydiffvg cannot draw {what}. Choose the renderer 'built-in' or change the drawing.")


def _in_pixels(paint: GradientPaint) -> tuple[Tensor, Tensor]:
    """A gradient's geometry in pixels, float32: the ends of a linear one; center and box corner of a radial one.

    With v the axis of a linear gradient and A the linear part of `inverse`, t(q) = v . (A q + ...) / |v|^2 has
    the gradient g = A^T v / |v|^2 in pixels, so it rises from 0 to 1 along the vector g / |g|^2.
    """
    matrix, shift = paint.inverse[:, :2], paint.inverse[:, 2]
    begin = torch.linalg.solve(matrix, paint.geometry[:2] - shift)
    if paint.is_radial:
        return begin.float(), (begin + paint.geometry[4] / matrix.diagonal().abs()).float()
    axis = paint.geometry[2:] - paint.geometry[:2]
    rise = matrix.mT @ axis / axis.square().sum()
    return begin.float(), (begin + rise / rise.square().sum()).float()


def _depth(layers: Sequence[Layer], height: int, width: int) -> int:
    """An upper bound of how many layers overlap in one place, from the bounding boxes of their control points.

    Each box adds +1 and -1 at its corners; the two-dimensional running sum is the number of boxes over each pixel.
    """
    steps = torch.zeros(height + 2, width + 2, dtype=torch.long)
    size = torch.tensor([width, height])
    for layer in layers:
        points = torch.cat([layer.color.new_zeros(0, 2), *layer.contours]).detach().cpu()
        if not len(points):
            continue
        margin = 0.0 if layer.radius is None else layer.radius.item()
        left, top = (points.amin(0) - margin).floor().clamp(torch.zeros(2), size).long().tolist()
        right, bottom = (points.amax(0) + margin).ceil().clamp(torch.zeros(2), size).long().tolist()
        for row, column, step in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            steps[row, column] += step
    return int(steps.cumsum(0).cumsum(1).max())

"""A stand-in for pydiffvg, to test its adapter without the package."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import torch
from dreamsampler.svg.document import Contour, Document, Fill, Point, Shape, Stroke, ViewBox
from dreamsampler.svg.raster.rasterizer import rasterize
from dreamsampler.svg.raster.scene import scene
from torch import Tensor

from support.drawings import RED


def stand_in() -> Any:
    """A pydiffvg that follows its conventions but renders with the built-in rasterizer."""

    def render(width: int, height: int, _x: int, _y: int, _seed: int, canvas: Tensor, *arguments: Any) -> Tensor:
        assert canvas.shape == (height, width, 4) and canvas.dtype == torch.float32 and canvas.is_contiguous()
        assert (canvas[..., 3] == 1).all() and (canvas == canvas[0, 0]).all()
        shapes, groups = arguments
        nodes, points, colors, widths = [], [], [], []
        for group in groups:
            paths = [shapes[n] for n in group.shape_ids.tolist()]
            contours = tuple(Contour(tuple(Point(*p) for p in path.points.tolist()), path.is_closed) for path in paths)
            points += [path.points for path in paths]
            if group.fill_color is not None:
                assert all(contour.closed for contour in contours)
                colors.append(group.fill_color)
                nodes.append(Shape(contours, Fill(RED, rule="evenodd" if group.use_even_odd_rule else "nonzero")))
            if group.stroke_color is not None:
                colors.append(group.stroke_color)
                widths.append(2 * paths[0].stroke_width)
                nodes.append(Shape(contours, None, Stroke(RED, cap="round", join="round")))
        drawn = scene(Document(ViewBox(0, 0, width, height), tuple(nodes)), height, width)
        drawn = dataclasses.replace(
            drawn,
            points=torch.cat(points),
            colors=torch.stack(colors),
            widths=torch.stack(widths) if widths else drawn.widths,
        )
        return rasterize([drawn], canvas[:1, 0, :3])[0].movedim(0, -1)

    def path(num_control_points: Tensor, points: Tensor, is_closed: bool, stroke_width: Tensor) -> Any:
        assert num_control_points.tolist() == [2] * (len(points) // 3)
        return SimpleNamespace(points=points, is_closed=is_closed, stroke_width=stroke_width)

    def shape_group(
        shape_ids: Tensor, fill_color: Any, use_even_odd_rule: bool = True, stroke_color: Any = None
    ) -> Any:
        return SimpleNamespace(
            shape_ids=shape_ids,
            fill_color=fill_color,
            use_even_odd_rule=use_even_odd_rule,
            stroke_color=stroke_color,
        )

    def serialize_scene(width: int, height: int, shapes: list[Any], groups: list[Any]) -> list[Any]:
        return [shapes, groups]

    return SimpleNamespace(
        set_use_gpu=lambda use_gpu: None,
        Path=path,
        ShapeGroup=shape_group,
        RenderFunction=SimpleNamespace(serialize_scene=serialize_scene, apply=render),
    )

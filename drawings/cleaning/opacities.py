"""Opacity: what is opaque to the eye becomes opaque.

A layer with the color c and the opacity o over the backdrop b shows o c + (1 - o) b. Painted opaquely in the color
o c + (1 - o) b' it changes the image by T (1 - o) k (b' - b), where k is its coverage and T what the layers above let
through. With b' the mean of b, weighted by T k, that is nothing where the backdrop has one color.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ...svg.document import Color, Document, Fill, Group, LinearGradient, Node, Paint, RadialGradient, Stroke
from ...svg.raster.scene import scene
from ...svg.raster.visibility import Seen, sweep
from ..initialization import Canvas
from .changes import Ledger
from .paints import layers, repainted

ALMOST = 0.99
"""Opacities of at least this become 1."""
INVISIBLE = 1 / 255
"""A change of a pixel that no one sees."""


def rounded_up(document: Document) -> Document:
    """The document with opacities that are almost 1 made 1: of fills, strokes, gradient stops and groups."""
    return dataclasses.replace(document, children=tuple(map(_node, document.children)))


def _node(node: Node) -> Node:
    if isinstance(node, Group):
        return dataclasses.replace(node, opacity=_up(node.opacity), children=tuple(map(_node, node.children)))
    fill, stroke = node.fill, node.stroke
    return dataclasses.replace(
        node,
        fill=fill and dataclasses.replace(fill, opacity=_up(fill.opacity), paint=_stops_up(fill.paint)),
        stroke=stroke and dataclasses.replace(stroke, opacity=_up(stroke.opacity), paint=_stops_up(stroke.paint)),
    )


def _stops_up(paint: Paint) -> Paint:
    if not isinstance(paint, LinearGradient | RadialGradient):
        return paint
    stops = tuple(dataclasses.replace(stop, opacity=_up(stop.opacity)) for stop in paint.stops)
    return dataclasses.replace(paint, stops=stops)


def _up(opacity: float) -> float:
    return 1.0 if opacity >= ALMOST else opacity


def composited(document: Document, canvas: Canvas, bound: float) -> Document:
    """The document with translucent colors made opaque where the backdrop has one color over all that is seen of them.

    Args:
        document: The drawing.
        canvas: Height and width in pixels.
        bound: Bound of the mean change of the image.
    """
    ledger = Ledger(canvas, bound, INVISIBLE)
    colors: dict[int, Color] = {}
    paints = layers(document).items()
    translucent = {n for n, (_, paint) in paints if isinstance(paint.paint, Color) and 0 < paint.opacity < 1}
    if not translucent:
        return document

    def decide(seen: Seen) -> float:
        opacity, weight = seen.opacity, seen.weight
        if seen.layer not in translucent or isinstance(opacity, Tensor) or seen.in_group:
            return 1.0
        if not weight.numel() or float(weight.max()) < INVISIBLE:
            return 1.0
        backdrop = (seen.below * weight).sum((1, 2)) / weight.sum()
        backdrop[3] = 1  # where it is not, the image would change
        change = seen.shown((backdrop[:, None, None] - seen.below) * (seen.coverage * (1 - opacity)))
        if not ledger.takes(seen.box, change):
            return 1.0
        mixed = torch.lerp(backdrop[:3], seen.source[:3, 0, 0], opacity)
        colors[seen.layer] = Color(*mixed.clamp(0, 1).tolist())
        return 1 / opacity

    sweep(scene(document, *canvas), decide)

    def opaque(layer: int, paint: Fill | Stroke) -> Fill | Stroke:
        color = colors.get(layer)
        return dataclasses.replace(paint, paint=color, opacity=1.0) if color else paint

    return repainted(document, opaque) if colors else document

"""Resizing: the same drawing in a view box of another size."""

from __future__ import annotations

import dataclasses

from .cubics import Box
from .document import Color, Document, Group, Matrix, Node, Paint, ViewBox
from .markup.normal_form import placed
from .transforms import apply_to
from .viewports import fitted


def resized(document: Document, width: float, height: float) -> Document:
    """A document at another size: fitted into a view box of this size from 0, 0, with the same width and height."""
    placement = fitted(document.view_box, Box(0.0, 0.0, width, height), "")
    children = tuple(_placed(child, placement) for child in document.children)
    size = {"width": f"{width:g}", "height": f"{height:g}"}
    return dataclasses.replace(document, view_box=ViewBox(0.0, 0.0, width, height), children=children, **size)


def _placed(node: Node, placement: Matrix) -> Node:
    """A node mapped by a uniform scale and a translation."""
    if isinstance(node, Group):
        children, clip = (tuple(_placed(each, placement) for each in nodes) for nodes in (node.children, node.clip))
        return dataclasses.replace(node, children=children, clip=clip)
    fill, stroke = node.fill, node.stroke
    if fill:
        fill = dataclasses.replace(fill, paint=_placed_paint(fill.paint, placement))
    if stroke:
        paint = _placed_paint(stroke.paint, placement)
        stroke = dataclasses.replace(stroke, paint=paint, width=stroke.width * placement.a)
    return dataclasses.replace(node, contours=apply_to(placement, node.contours), fill=fill, stroke=stroke)


def _placed_paint(paint: Paint, placement: Matrix) -> Paint:
    if isinstance(paint, Color):
        return paint
    gradient = placed(paint, placement)
    assert gradient  # a scale and a translation keep its transform invertible
    return gradient

"""Alpha compositing of layers in order, with a backward pass that stores only the pixels each layer touches.

With c the canvas (premultiplied RGBA), s = (color, 1) a layer's source and alpha = coverage x opacity, alpha-over is

    c' = c + alpha (s - c),

one multiply-add on the layer's tile. Given the gradient G of c', the chain rule per pixel is

    dL/dalpha = G . (s - c),      dL/ds = alpha G,      dL/dc = (1 - alpha) G.

So the backward pass walks the layers from top to bottom with one canvas of gradients, which it updates in place by
G <- (1 - alpha) G on each tile, and needs of the forward pass only the change s - c of each tile. The ordinary autograd
graph would keep a copy of the whole canvas per layer: about a hundred times slower for typical drawings.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .coverage import TileLayout

log = logging.getLogger("dreamsampler")
TOLERANCE = 1e-4
"""A Triton kernel that deviates further from `Blend` is not used: far above rounding, far below visible."""


def over(
    canvas: Tensor,
    layers: Sequence[int],
    coverage: Tensor,
    tiles: TileLayout,
    colors: Tensor,
    paints: Sequence[Tensor | None],
) -> Tensor:
    """Composite layers over a canvas, the first one lowest.

    Args:
        canvas: Premultiplied RGBA (4, H, W).
        layers: Indices of the layers to draw.
        coverage: Coverage of all tiles (cells,), in [0, 1].
        tiles: The layout of the tiles.
        colors: Straight color and opacity (L, 4) of every layer.
        paints: For each layer, None or straight RGBA (4, height, width) for its tile: its color then replaces the
            layer's, and its alpha multiplies the layer's opacity.

    Returns:
        A new canvas (4, H, W); the same one if no layer is visible.
    """
    drawn = tuple(n for n in layers if tiles.boxes[n][2])
    if not drawn:
        return canvas
    given = [paint for n in drawn if (paint := paints[n]) is not None]
    has_paint = tuple(paints[n] is not None for n in drawn)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (canvas, coverage, colors, *given))
    blend = _triton_blend(canvas.device, canvas.dtype) if canvas.is_cuda else None
    return (blend or Blend).apply(keep, canvas, drawn, has_paint, coverage, tiles, colors, *given)  # type: ignore[no-any-return]


class Blend(torch.autograd.Function):
    """Blends one layer after the other, on any device."""

    @staticmethod
    def forward(
        ctx: Any,
        keep: bool,
        canvas: Tensor,
        layers: tuple[int, ...],
        has_paint: tuple[bool, ...],
        coverage: Tensor,
        tiles: TileLayout,
        colors: Tensor,
        *paints: Tensor,
    ) -> Tensor:
        result, remaining = canvas.clone(), iter(paints)
        changes = []
        solid = torch.cat((colors[:, :3], torch.ones_like(colors[:, 3:])), 1)[:, :, None, None]
        opacities = colors[:, 3].tolist()
        for layer, painted in zip(layers, has_paint, strict=True):
            part, alpha = _tile_of(result, tiles, layer), tiles.view(coverage, layer) * opacities[layer]
            source = solid[layer]
            if painted:
                paint = next(remaining)
                alpha = alpha * paint[3]
                source = torch.cat((paint[:3], torch.ones_like(paint[3:])))
            change = source - part
            part.addcmul_(change, alpha)
            if keep:
                changes.append(change)
        ctx.layers, ctx.has_paint, ctx.tiles, ctx.changes, ctx.opacities = layers, has_paint, tiles, changes, opacities
        ctx.save_for_backward(coverage, colors, *paints)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        coverage, colors, *paints = ctx.saved_tensors
        canvas, tiles = gradients[0].clone(), ctx.tiles
        to_coverage, to_colors = torch.zeros_like(coverage), torch.zeros_like(colors)
        to_paints: list[Tensor] = []
        for layer, painted, change in reversed(list(zip(ctx.layers, ctx.has_paint, ctx.changes, strict=True))):
            part, covered, opacity = _tile_of(canvas, tiles, layer), tiles.view(coverage, layer), ctx.opacities[layer]
            to_alpha = (part * change).sum(0)
            alpha = covered * opacity
            if painted:
                paint = paints.pop()
                to_paints.insert(0, torch.cat((part[:3] * (alpha * paint[3]), (to_alpha * alpha)[None])))
                to_alpha, alpha = to_alpha * paint[3], alpha * paint[3]
            absorbed = part * alpha
            if not painted:
                to_colors[layer, :3] = absorbed[:3].sum((1, 2))
            to_colors[layer, 3] = (to_alpha * covered).sum()
            torch.mul(to_alpha, opacity, out=tiles.view(to_coverage, layer))
            part.sub_(absorbed)
        return None, canvas, None, None, to_coverage, None, to_colors, *to_paints


def blended(canvas: Tensor, group: Tensor, top: int, left: int) -> Tensor:
    """Blend a group, composited on its own, into a canvas in place.

    With g the group and g_a its alpha, c' = c (1 - g_a) + g.

    Args:
        canvas: Premultiplied RGBA (4, H, W), changed in place.
        group: Premultiplied RGBA (4, h, w).
        top: The row of the canvas where the group begins.
        left: The column.
    """
    return _BlendGroup.apply(canvas, group, top, left)  # type: ignore[no-any-return]


class _BlendGroup(torch.autograd.Function):
    """Autograd's own graph would copy and clear whole canvases several times for each group."""

    @staticmethod
    def forward(ctx: Any, canvas: Tensor, group: Tensor, top: int, left: int) -> Tensor:
        ctx.window = slice(None), slice(top, top + group.shape[1]), slice(left, left + group.shape[2])
        part = canvas[ctx.window]
        ctx.save_for_backward(part.clone() if any(ctx.needs_input_grad) else part, group)
        part.mul_(1 - group[3]).add_(group)
        ctx.mark_dirty(canvas)
        return canvas

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        below, group = ctx.saved_tensors
        to_canvas = gradients[0].clone()
        part = to_canvas[ctx.window]
        to_group = part.clone()
        to_group[3] -= (part * below).sum(0)
        part.mul_(1 - group[3])
        return to_canvas, to_group, None, None


def _tile_of(canvas: Tensor, tiles: TileLayout, layer: int) -> Tensor:
    top, left, height, width = tiles.boxes[layer]
    return canvas[:, top : top + height, left : left + width]


@cache
def _triton_blend(device: torch.device, dtype: torch.dtype) -> Any:
    """The Triton version of `Blend`, or None if Triton is missing, fails to compile, or deviates from `Blend`."""
    try:
        from . import blending_kernel
    except ImportError:
        return None
    try:
        deviation = blending_kernel.deviation(Blend, torch.zeros((), device=device, dtype=dtype))
    except Exception as problem:  # noqa: BLE001 - compilers fail in many ways; drawing works without one
        log.warning("SVGs are blended without Triton on %s, which is slower: %s", device, problem)
        return None
    if deviation > TOLERANCE:
        log.warning(
            "SVGs are blended without Triton on %s, which is slower: its result deviates by %g.", device, deviation
        )
        return None
    return blending_kernel.Blend

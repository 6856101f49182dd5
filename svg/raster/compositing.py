"""Layers over one another in order, with a backward pass of its own that keeps only the pixels each layer touches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from .coverage import Tiles

log = logging.getLogger("dreamsampler")
TOLERANCE = 1e-4
"""Further from `Blend`, a kernel is not used: much more than rounding, less than can be seen."""


def over(
    canvas: Tensor,
    layers: Sequence[int],
    coverage: Tensor,
    tiles: Tiles,
    colors: Tensor,
    painted: Sequence[Tensor | None],
) -> Tensor:
    """The canvas (4, H, W), premultiplied, with `layers` painted over it in order.

    `coverage` is the buffer of all tiles, in [0, 1]; `colors` (L, 4) are straight colour and opacity of every layer.
    Where `painted` has colours (4, height, width) for the pixels of a layer, these replace its colour, and multiply its
    opacity.
    """
    drawn = tuple(n for n in layers if tiles.boxes[n][2])
    if not drawn:
        return canvas
    pictures = [picture for n in drawn if (picture := painted[n]) is not None]
    has = tuple(painted[n] is not None for n in drawn)
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (canvas, coverage, colors, *pictures))
    blend = _kernel(canvas.device, canvas.dtype) if canvas.is_cuda else None
    return (blend or Blend).apply(keep, canvas, drawn, has, coverage, tiles, colors, *pictures)  # type: ignore[no-any-return]


class Blend(torch.autograd.Function):
    """One layer after the other, on any device."""

    @staticmethod
    def forward(
        ctx: Any,
        keep: bool,
        canvas: Tensor,
        layers: tuple[int, ...],
        has: tuple[bool, ...],
        coverage: Tensor,
        tiles: Tiles,
        colors: Tensor,
        *pictures: Tensor,
    ) -> Tensor:
        result, remaining = canvas.clone(), iter(pictures)
        kept = []
        solid = torch.cat((colors[:, :3], torch.ones_like(colors[:, 3:])), 1)[:, :, None, None]
        opacities = colors[:, 3].tolist()
        for layer, painted in zip(layers, has):
            part, alpha = _box(result, tiles, layer), tiles.view(coverage, layer) * opacities[layer]
            color = solid[layer]
            if painted:
                picture = next(remaining)
                alpha = alpha * picture[3]
                color = torch.cat((picture[:3], torch.ones_like(picture[3:])))
            change = color - part
            part.addcmul_(change, alpha)
            if keep:
                kept.append(change)
        ctx.layers, ctx.has, ctx.tiles, ctx.kept, ctx.opacities = layers, has, tiles, kept, opacities
        ctx.save_for_backward(coverage, colors, *pictures)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        coverage, colors, *pictures = ctx.saved_tensors
        canvas, tiles = gradients[0].clone(), ctx.tiles
        to_coverage, to_colors = torch.zeros_like(coverage), torch.zeros_like(colors)
        to_pictures: list[Tensor] = []
        for layer, painted, change in reversed(list(zip(ctx.layers, ctx.has, ctx.kept))):
            part, covered, opacity = _box(canvas, tiles, layer), tiles.view(coverage, layer), ctx.opacities[layer]
            to_alpha = (part * change).sum(0)
            alpha = covered * opacity
            if painted:
                picture = pictures.pop()
                to_pictures.insert(0, torch.cat((part[:3] * (alpha * picture[3]), (to_alpha * alpha)[None])))
                to_alpha, alpha = to_alpha * picture[3], alpha * picture[3]
            passed = part * alpha
            if not painted:
                to_colors[layer, :3] = passed[:3].sum((1, 2))
            to_colors[layer, 3] = (to_alpha * covered).sum()
            torch.mul(to_alpha, opacity, out=tiles.view(to_coverage, layer))
            part.sub_(passed)
        return None, canvas, None, None, to_coverage, None, to_colors, *to_pictures


def _box(canvas: Tensor, tiles: Tiles, layer: int) -> Tensor:
    top, left, height, width = tiles.boxes[layer]
    return canvas[:, top : top + height, left : left + width]


@cache
def _kernel(device: torch.device, dtype: torch.dtype) -> Any:
    """The blend in one launch, if Triton is there, compiles for the device, and agrees with `Blend`; otherwise None."""
    try:
        from . import blending_kernel
    except ImportError:
        return None
    try:
        error = blending_kernel.difference(Blend, torch.zeros((), device=device, dtype=dtype))
    except Exception as problem:  # noqa: BLE001 - compilers fail in many ways, and drawing goes on without one
        log.warning("Drawings are blended without Triton on %s, which takes longer: %s", device, problem)
        return None
    if error > TOLERANCE:
        log.warning("Drawings are blended without Triton on %s: its result is off by %g there.", device, error)
        return None
    return blending_kernel.Blend

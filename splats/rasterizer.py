"""Draw splats: every pixel blends the ellipses over it front to back, with a backward pass that stores one pair each.

A pair is an ellipse and a pixel inside its footprint. Pairs are sorted by pixel and depth; then sums and products over
the ellipses of a pixel are running sums over its part of the list. No loop goes over splats or pixels.

With alpha_i = opacity_i exp(-d^T Q d / 2) for the offset d of a pixel's middle from the center, and the light
T_i = prod_{j < i} (1 - alpha_j) that passes what is in front, the pixel is

    C = sum_i c_i alpha_i T_i + T_end background,

in premultiplied color. Given the gradient g of C, with s_i = g . c_i and R_i for all that lies behind,

    R_i = sum_{j > i} alpha_j T_j s_j + T_end g . background,

    dL/dc_i = alpha_i T_i g,    dL/dalpha_i = T_i s_i - R_i / (1 - alpha_i),    dL/dbackground = T_end g.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .camera import Camera
from .projection import Ellipses, project
from .scene import Scene

FAINTEST = 1 / 255
"""A splat ends where its alpha falls below this (3DGS)."""
MOST = 0.999
"""The highest alpha of a pair: so that light passes, and gradients reach what is behind."""


@dataclass(frozen=True)
class Picture:
    """A rendered view: `color` (3, H, W), blended with the background, and `alpha` (1, H, W) in [0, 1]."""

    color: Tensor
    alpha: Tensor


@dataclass(frozen=True)
class Pairs:
    """Ellipses over pixels, sorted by pixel and then front to back: indices (P,) of both."""

    ellipses: Tensor
    pixels: Tensor


def render(scene: Scene, camera: Camera, background: Tensor | None = None) -> Picture:
    """The view of a scene over a `background` (3,), black if there is none. Differentiable in scene and background."""
    like = scene.positions
    background = like.new_zeros(3) if background is None else background.to(like)
    ellipses = project(scene, camera)
    pairs = covered(ellipses, camera.width, camera.height)
    blended = Blend.apply(
        ellipses.centers, ellipses.conics, ellipses.opacities, ellipses.colors, background, pairs, camera.width,
        camera.height,
    )  # fmt: skip
    planes = blended.T.reshape(4, camera.height, camera.width)
    return Picture(planes[:3], planes[3:])


@torch.no_grad()
def covered(ellipses: Ellipses, width: int, height: int) -> Pairs:
    """All pairs with an alpha of at least `FAINTEST`."""
    (x, y), (a, b, c) = ellipses.centers.unbind(-1), ellipses.conics.unbind(-1)
    # a dx^2 + 2 b dx dy + c dy^2 <= reach is where opacity exp(-.../2) is above the faintest alpha.
    reach = 2 * (ellipses.opacities / FAINTEST).log()
    tall = (reach.clamp(min=0) * a / (a * c - b * b)).sqrt()
    first, last = (y - tall - 0.5).ceil().clamp(0, height), (y + tall - 0.5).floor().clamp(-1, height - 1)
    rows = torch.where(reach > 0, last - first + 1, 0).clamp(min=0).long()
    of_row, row = _expanded(first.long(), rows)
    # In each row, the columns between the two roots in dx.
    dy = row + 0.5 - y[of_row]
    a, b = a[of_row], b[of_row]
    root = (b * dy).square() - a * (c[of_row] * dy.square() - reach[of_row])
    wide, middle = root.clamp(min=0).sqrt() / a, x[of_row] - b * dy / a - 0.5
    first, last = (middle - wide).ceil().clamp(0, width), (middle + wide).floor().clamp(-1, width - 1)
    columns = torch.where(root > 0, last - first + 1, 0).clamp(min=0).long()
    of_pair, column = _expanded(first.long(), columns)
    pixels, order = (row[of_pair] * width + column).int().sort(stable=True)
    return Pairs(of_row[of_pair[order]], pixels.long())


def _expanded(first: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """For ranges of integers that start at `first` and have `counts` members: which range each is of, and each."""
    owner = torch.repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=owner.device) - (start - first)[owner]


class Blend(torch.autograd.Function):
    """Blends ellipses into pixels (H * W, 4): premultiplied color over the background, and alpha."""

    @staticmethod
    def forward(
        ctx: Any,
        centers: Tensor,
        conics: Tensor,
        opacities: Tensor,
        colors: Tensor,
        background: Tensor,
        pairs: Pairs,
        width: int,
        height: int,
    ) -> Tensor:
        n, p = pairs.ellipses, pairs.pixels
        dx, dy = p % width + 0.5 - centers[n, 0], p // width + 0.5 - centers[n, 1]
        a, b, c = conics[n].unbind(-1)
        falloff = (-0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy).exp()
        alpha = (opacities[n] * falloff).clamp(max=MOST)
        light, end = _light(alpha, p, width * height)
        seen = torch.cat([colors, torch.ones_like(colors[:, :1])], dim=1)
        blended = alpha.new_zeros(width * height, 4).index_add_(0, p, (alpha * light)[:, None] * seen[n])
        blended[:, :3] += end[:, None] * background
        ctx.save_for_backward(centers, conics, opacities, seen, background, alpha, light, end)
        ctx.pairs, ctx.width = pairs, width
        return blended

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        centers, conics, opacities, seen, background, alpha, light, end = ctx.saved_tensors
        (g,), n, p = gradients, ctx.pairs.ellipses, ctx.pairs.pixels
        g_pair = g[p]
        weight = alpha * light
        shade = (g_pair * seen[n]).sum(1)
        behind = end * (g[:, :3] @ background)
        d_alpha = light * shade - _behind(weight * shade, behind, p) / (1 - alpha)
        d_alpha = torch.where(alpha < MOST, d_alpha, 0)
        # alpha = opacity exp(-q / 2), so dalpha/dopacity = alpha / opacity and dalpha/dq = -alpha / 2.
        d_q = -0.5 * alpha * d_alpha
        dx, dy = p % ctx.width + 0.5 - centers[n, 0], p // ctx.width + 0.5 - centers[n, 1]
        a, b, c = conics[n].unbind(-1)
        each = torch.stack(
            [
                -2 * d_q * (a * dx + b * dy),
                -2 * d_q * (b * dx + c * dy),
                d_q * dx * dx,
                2 * d_q * dx * dy,
                d_q * dy * dy,
                d_alpha * alpha / opacities[n],
                *(weight[:, None] * g_pair[:, :3]).unbind(1),
            ],
            dim=1,
        )
        total = each.new_zeros(len(centers), 9).index_add_(0, n, each)
        return total[:, :2], total[:, 2:5], total[:, 5], total[:, 6:], end @ g[:, :3], None, None, None


def _light(alpha: Tensor, pixels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The light (P,) that reaches each pair, and the light (count,) that passes all pairs of each pixel."""
    # Logarithms turn products into sums. Running sums over the whole list need float64.
    logs = torch.log1p(-alpha.double())
    total = logs.cumsum(0)
    sums = logs.new_zeros(count).index_add_(0, pixels, logs)
    before = sums.cumsum(0) - sums  # of all pixels in front in the list
    return (total - logs - before[pixels]).exp().to(alpha), sums.exp().to(alpha)


def _behind(values: Tensor, last: Tensor, pixels: Tensor) -> Tensor:
    """The sum of `values` (P,) over the pairs behind each pair in its pixel, plus `last` (count,) of the pixel."""
    values = values.double()
    sums = values.new_zeros(len(last)).index_add_(0, pixels, values)
    until = sums.cumsum(0)  # of all pairs up to the end of each pixel
    return (until[pixels] - values.cumsum(0) + last[pixels]).to(last)

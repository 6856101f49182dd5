"""Draw splats: every pixel blends the ellipses over it front to back, with a backward pass that stores one pair each.

A pair is an ellipse and a pixel inside its footprint. Pairs are sorted by pixel and depth; then sums and products over
the ellipses of a pixel are running sums over its part of the list. No loop goes over splats or pixels, only over bands
of rows that keep the lists short. Without gradients, memory is that of one band; with them that of all pairs, or, where
these are many, that of one band again, whose lists the backward pass then makes a second time.

With alpha_i = opacity_i exp(-q_i(d) / 2) for the offset d of a pixel's middle from the center, and the light
T_i = prod_{j < i} (1 - alpha_j) that passes what is in front, the pixel is

    C = sum_i c_i alpha_i T_i + T_end background,

in premultiplied color. Given the gradient g of C, with s_i = g . c_i and R_i for all that lies behind,

    R_i = sum_{j > i} alpha_j T_j s_j + T_end g . background,

    dL/dc_i = alpha_i T_i g,    dL/dalpha_i = T_i s_i - R_i / (1 - alpha_i),    dL/dbackground = T_end g.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .camera import Camera
from .projection import Ellipses, project
from .scene import Scene

FAINTEST = 1 / 255
"""A splat ends where its alpha falls below this (3DGS)."""
MOST = 0.999
"""The highest alpha of a pair, so that some light passes."""
WITHOUT_FLOAT64 = frozenset(("mps",))
"""Types of devices that cannot compute in float64."""
BAND, BAND_ON_GPU = 300_000, 8_000_000
"""Pairs handled at a time. Memory of short lists is used again: three times as fast on a CPU as 6 million at once."""

KEPT = 50_000_000
"""Pairs up to which a view to be differentiated keeps them for its backward pass: about 1.1 GB."""
MOST_PAIRS = 10**10
"""Pairs of a view, some ten minutes without gradients on one core."""
MOST_SPANS = 10**8
"""Spans of a view: about 8 GB while they are found."""


class OversizedView(ValueError):
    """A view would take too long or too much memory; the message says what to change."""


@dataclass(frozen=True)
class View:
    """A rendered view: `color` (3, H, W), blended with the background, and `alpha` (1, H, W) in [0, 1]."""

    color: Tensor
    alpha: Tensor


class Footprints(NamedTuple):
    """Where ellipses lie in rows of pixels, nearest ellipse first.

    Each of R spans has an ellipse, a row, and `count` pixels from the column `first`; all are (R,) int32.
    """

    ellipse: Tensor
    row: Tensor
    first: Tensor
    count: Tensor


class Pairs(NamedTuple):
    """Ellipses over pixels in a band of the image, sorted by pixel and then front to back.

    `ellipses` and `pixels` are (P,) int32; pixels are counted from `start`, and `counts` says how many pairs each has.
    """

    start: int
    ellipses: Tensor
    pixels: Tensor
    counts: Tensor


def render(scene: Scene, camera: Camera, background: Tensor | None = None) -> View:
    """The view of a scene over a `background` (3,), black if there is none. Differentiable in scene and background.

    Raises:
        OversizedView: The splats cover too many pixels, all of them added up. It is a ValueError.
    """
    like = scene.positions
    background = like.new_zeros(3) if background is None else background.to(like)
    ellipses = project(scene, camera)
    spans = footprints(ellipses, camera.width, camera.height)
    if (total := int(spans.count.sum())) > MOST_PAIRS:
        raise _oversized("pixels", total, MOST_PAIRS, camera.width, camera.height)
    columns = torch.cat(
        [ellipses.centers, ellipses.forms, ellipses.opacities[:, None], ellipses.colors], dim=1
    ).T.contiguous()
    size = camera.width, camera.height
    if torch.is_grad_enabled() and (columns.requires_grad or background.requires_grad):
        planes = Blend.apply(columns, background, spans, size)
    else:
        planes = torch.cat([_blended(columns, background, band, camera.width)[0] for band in pairs(spans, *size)], 1)
    planes = planes.reshape(4, camera.height, camera.width)
    return View(planes[:3], planes[3:])


def _oversized(what: str, found: int, most: int, width: int, height: int) -> OversizedView:
    return OversizedView(
        f"The splats cover {found:,} {what} of an image of {width}x{height}, all splats added up; the limit is "
        f"{most:,}. Use fewer or smaller splats, a camera farther away or a smaller image."
    )


@torch.no_grad()
def footprints(ellipses: Ellipses, width: int, height: int) -> Footprints:
    """The spans of all pixels where an ellipse has an alpha of at least `FAINTEST`. Raises OversizedView."""
    (x, y), (a, s, e) = ellipses.centers.unbind(-1), ellipses.forms.unbind(-1)
    # a (dx + s dy)^2 + e dy^2 <= reach is where opacity exp(-.../2) is above the faintest alpha.
    reach = 2 * (ellipses.opacities / FAINTEST).log()
    tall = (reach.clamp(min=0) / e).sqrt()
    first, last = (y - tall - 0.5).ceil().clamp(0, height), (y + tall - 0.5).floor().clamp(-1, height - 1)
    rows = torch.where(reach > 0, last - first + 1, 0).clamp(min=0).int()
    if (total := int(rows.sum())) > MOST_SPANS:
        raise _oversized("rows", total, MOST_SPANS, width, height)
    ellipse, row = _expanded(first.int(), rows)
    # In each row, the columns between the two roots in dx.
    x, y, a, s, e, reach = (each.index_select(0, ellipse) for each in (x, y, a, s, e, reach))
    dy = row + 0.5 - y
    rest = reach - e * dy.square()
    wide, middle = (rest.clamp(min=0) / a).sqrt(), x - s * dy - 0.5
    first, last = (middle - wide).ceil().clamp(0, width), (middle + wide).floor().clamp(-1, width - 1)
    count = torch.where(rest > 0, last - first + 1, 0).clamp(min=0).int()
    return Footprints(ellipse, row, first.int(), count)


@torch.no_grad()
def pairs(spans: Footprints, width: int, height: int) -> Iterator[Pairs]:
    """The pairs of all spans, in bands of rows."""
    per_row = torch.zeros(height, dtype=torch.long, device=spans.row.device)
    per_row.index_add_(0, spans.row, spans.count.long())
    most = BAND if per_row.device.type == "cpu" else BAND_ON_GPU
    for top, bottom in _bands(per_row.tolist(), most):
        inside = torch.nonzero((spans.row >= top) & (spans.row < bottom))[:, 0]
        ellipse, row, first, count = (each.index_select(0, inside) for each in spans)
        of_span, column = _expanded(first, count)
        pixels, order = ((row - top) * width).index_select(0, of_span).add_(column).sort(stable=True)
        counts = torch.bincount(pixels, minlength=(bottom - top) * width)
        yield Pairs(top * width, ellipse.index_select(0, of_span.index_select(0, order)), pixels, counts)


def _bands(per_row: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Rows from top to bottom, in groups with at most `most` pairs unless a single row has more."""
    top, total = 0, 0
    for row, count in enumerate(per_row):
        if total and total + count > most:
            yield top, row
            top, total = row, 0
        total += count
    yield top, len(per_row)


def _expanded(first: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Which range each member is of, and the members, of ranges of integers from `first` with `counts` members."""
    owner = torch.repeat_interleave(counts.long()).int()
    shift = counts.cumsum(0, dtype=torch.int32) - counts - first
    return owner, torch.arange(len(owner), dtype=torch.int32, device=owner.device).sub_(shift.index_select(0, owner))


class Blend(torch.autograd.Function):
    """Blends ellipses into planes (4, H * W): premultiplied color over the background, and alpha.

    `columns` (9, M) are the center, form, opacity and color of the ellipses, a row each.
    """

    @staticmethod
    def forward(ctx: Any, columns: Tensor, background: Tensor, spans: Footprints, size: tuple[int, int]) -> Tensor:
        is_kept = int(spans.count.sum()) <= KEPT
        planes, kept, bands = [], [], []
        for band in pairs(spans, *size):
            drawn, lights = _blended(columns, background, band, size[0])
            planes.append(drawn)
            if is_kept:
                bands.append(band)
                kept += lights
        ctx.save_for_backward(columns, background, *kept)
        ctx.spans, ctx.size, ctx.bands = spans, size, bands
        return torch.cat(planes, dim=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        columns, background, *kept = ctx.saved_tensors
        width = ctx.size[0]
        total, lit = torch.zeros_like(columns), torch.zeros_like(background)
        for i, band in enumerate(ctx.bands or pairs(ctx.spans, *ctx.size)):
            alpha, light, end = kept[3 * i : 3 * i + 3] or _blended(columns, background, band, width)[1]
            n, p = band.ellipses, band.pixels
            *g, g_alpha = gradients[0][:, band.start : band.start + len(end)]
            g_pair = [each.index_select(0, p) for each in g]
            weight = alpha * light
            shade = sum((each * color.index_select(0, n) for each, color in zip(g_pair, columns[6:])), 0.0)
            # Alpha is 1 - end: as if white light behind all made the image darker.
            behind = end * (sum((each * b for each, b in zip(g, background)), 0.0) - g_alpha)
            d_alpha = light * shade - _behind(weight * shade, behind, band) / (1 - alpha)
            d_alpha = torch.where(alpha < MOST, d_alpha, 0)
            # alpha = opacity exp(-q / 2), so dalpha/dopacity = alpha / opacity and dalpha/dq = -alpha / 2.
            falloff, across, dy, (a, s, e) = _alpha(columns, band, width)[1]
            d_q = d_alpha * alpha * -0.5
            d_across = 2 * d_q * a * across
            each = (
                -d_across, -s * d_across - 2 * d_q * e * dy, d_q * across.square(), d_across * dy, d_q * dy.square(),
                d_alpha * falloff,
                *(weight * each for each in g_pair),
            )  # fmt: skip
            for row, values in zip(total, each, strict=True):
                row.index_add_(0, n, values)
            lit += torch.stack([(end * each).sum() for each in g])
        return total, lit, None, None


def _blended(columns: Tensor, background: Tensor, band: Pairs, width: int) -> tuple[Tensor, Sequence[Tensor]]:
    """The planes (4, P) of the pixels of a band; and the alpha and light of its pairs, and the light behind them."""
    n, p = band.ellipses, band.pixels
    alpha = _alpha(columns, band, width)[0]
    light, end = _light(alpha, band)
    weight = alpha * light
    sums = [end.new_zeros(len(end)).index_add_(0, p, weight * each.index_select(0, n)) for each in columns[6:]]
    return torch.stack([*(c + end * shade for c, shade in zip(sums, background)), 1 - end]), (alpha, light, end)


def _alpha(columns: Tensor, band: Pairs, width: int) -> tuple[Tensor, tuple[Any, ...]]:
    """The alpha (P,) of each pair; and its falloff, dx + s dy and dy of its offset from the center, and its form."""
    x, y, a, s, e, opacity = (each.index_select(0, band.ellipses) for each in columns[:6])
    row = torch.div(band.pixels, width, rounding_mode="floor")
    dy = row + (band.start // width + 0.5) - y
    across = (band.pixels - row * width) + 0.5 - x + s * dy
    falloff = ((a * across * across + e * dy * dy) * -0.5).exp()
    return (opacity * falloff).clamp(max=MOST), (falloff, across, dy, (a, s, e))


def _light(alpha: Tensor, band: Pairs) -> tuple[Tensor, Tensor]:
    """The light (P,) that reaches each pair, and the light that passes all pairs of each pixel."""
    # Logarithms turn products into sums. Running sums over the whole list need float64.
    logs = torch.log1p(-_in_float64(alpha))
    total, until = _running(logs, band)
    counts = band.counts.to(logs.device)
    before = until[:-1].repeat_interleave(counts)  # what pixels in front in the list have added
    return (total - logs - before).exp().to(alpha), until.diff().exp().to(alpha)


def _behind(values: Tensor, last: Tensor, band: Pairs) -> Tensor:
    """The sum of `values` (P,) over the pairs behind each pair in its pixel, plus `last` of the pixel."""
    total, until = _running(_in_float64(values), band)
    return ((until[1:] + last.to(total)).repeat_interleave(band.counts.to(total.device)) - total).to(last)


def _in_float64(values: Tensor) -> Tensor:
    """On the CPU where the device has no float64."""
    return (values.cpu() if values.device.type in WITHOUT_FLOAT64 else values).double()


def _running(values: Tensor, band: Pairs) -> tuple[Tensor, Tensor]:
    """Running sums of `values` (P,): after each pair, and at the borders of the pixels."""
    total = values.cumsum(0)
    counts = band.counts.to(total.device)
    borders = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return total, torch.cat([total.new_zeros(1), total]).index_select(0, borders)

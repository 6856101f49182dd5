"""A manifold corrective in closed form: how much of each spatial frequency a denoiser keeps, as a function of time.

If an image's frequencies are independent Gaussians, this is exactly b(z, t) of LMC-SDS, and least squares finds it. For
other images it is the best linear filter: a baseline for the network, and a corrective that needs no training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class SpectralForm:
    """The size of a spectral corrective: `bands` of frequencies besides the mean, at `knots` times, linear in between.

    Raises:
        ValueError: fewer than 2 knots, or times that do not rise within [0, 1].
    """

    channels: int
    bands: int = 12
    knots: int = 16
    t_min: float = 0.02
    t_max: float = 0.98

    def __post_init__(self):
        if self.knots < 2 or not 0 <= self.t_min < self.t_max <= 1:
            raise ValueError(
                f"A spectral corrective cannot have {self.knots} knots from {self.t_min} to {self.t_max}: give at "
                "least 2 knots, at times that rise within [0, 1]."
            )

    @property
    def times(self) -> Tensor:
        """The times of the knots: (knots,)."""
        return torch.linspace(self.t_min, self.t_max, self.knots)


class SpectralCorrective(nn.Module):
    """b_hat(z, t) = offset + gain (z - center), with one gain for each channel and band of frequencies.

    Frequencies are those of the cosine transform, which continues an image by its mirror image: opposite borders do not
    mix. Maps (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W), for any height and width.
    """

    centre: Tensor  # spelled as in the files of correctives
    offset: Tensor
    gain: Tensor

    def __init__(self, form: SpectralForm):
        super().__init__()
        self.form = form
        self.register_buffer("centre", torch.zeros(form.knots, form.channels))
        self.register_buffer("offset", torch.zeros(form.knots, form.channels))
        self.register_buffer("gain", torch.ones(form.knots, form.channels, form.bands + 1))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        center, offset, gain = (self._at(table, t).to(z) for table in (self.centre, self.offset, self.gain))
        gains = gain[:, :, band_of(z.shape[-2], z.shape[-1], self.form.bands, z.device)]
        return offset[..., None, None] + inverse_dct(gains * dct(z - center[..., None, None]))

    def _at(self, table: Tensor, t: Tensor) -> Tensor:
        """The rows of a table (knots, ...) at times (B,), linear between knots and constant outside."""
        form = self.form
        place = ((t - form.t_min) / (form.t_max - form.t_min) * (form.knots - 1)).clamp(0, form.knots - 1)
        below = place.floor().long().clamp(max=form.knots - 2)
        share = (place - below).reshape(-1, *(1,) * (table.ndim - 1)).to(table)
        return torch.lerp(table[below], table[below + 1], share)

    @torch.no_grad()
    def fit(self, knot: int, z: Tensor, z0_hat: Tensor) -> None:
        """Fit one knot by least squares to latents `z` (N, C, H, W) and their clean estimates `z0_hat`."""
        # For each channel, minimize sum |z0_hat - offset - gain (z - center)|^2 over all latents. With both means
        # removed (center = mean z, offset = mean z0_hat) only the gains are left. The transform Z, Y of z - center and
        # z0_hat - offset is orthonormal, so the sum is that of |Y_k - gain_band(k) Z_k|^2 over the frequencies k, and
        # separates into bands. In each of them the derivative with respect to the gain vanishes at
        #     gain = sum Y_k Z_k / sum Z_k^2
        # For an independent Gaussian frequency of variance S, the posterior mean is the Wiener filter of z_t, and over
        # its noise it averages to gain Z with gain = alpha_bar S / (alpha_bar S + 1 - alpha_bar) = E[Y Z] / E[Z^2].
        center, offset = z.mean((0, 2, 3)), z0_hat.mean((0, 2, 3))
        z_waves, z0_waves = (dct(x - mean[:, None, None]) for x, mean in ((z, center), (z0_hat, offset)))
        band = band_of(z.shape[-2], z.shape[-1], self.form.bands, z.device).flatten()
        products, squares = (x.sum(0).flatten(1) for x in (z_waves * z0_waves, z_waves * z_waves))
        empty = products.new_zeros(len(center), self.form.bands + 1)
        products, squares = (empty.index_add(1, band, x) for x in (products, squares))
        # If all latents have one mean, what is left of it is rounding, which has no gain.
        nothing = squares <= torch.finfo(z.dtype).eps * squares.sum(1, keepdim=True)
        gain = (products / squares).masked_fill(nothing, math.nan)
        self.centre[knot], self.offset[knot], self.gain[knot] = center, offset, _fill_empty_bands(gain)


def dct(x: Tensor) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of the last two dimensions."""
    rows, columns = (_dct_matrix(side, x) for side in x.shape[-2:])
    return rows @ x @ columns.T


def inverse_dct(x: Tensor) -> Tensor:
    """The inverse of `dct`, which is also its adjoint."""
    rows, columns = (_dct_matrix(side, x) for side in x.shape[-2:])
    return rows.T @ x @ columns


def _dct_matrix(side: int, like: Tensor) -> Tensor:
    """The orthonormal matrix (side, side) whose row k is the wave of k half periods."""
    n = torch.arange(side, dtype=torch.float64)
    waves = (2 / side) ** 0.5 * torch.cos(math.pi / side * n[:, None] * (n + 0.5))
    waves[0] /= 2**0.5
    return waves.to(like)


def band_of(height: int, width: int, bands: int, device: torch.device | None = None) -> Tensor:
    """The band of each frequency (height, width): 0 is the mean; 1 to `bands` divide the rest evenly by radius."""
    rows, columns = (torch.arange(side, device=device) / side for side in (height, width))
    radius = (rows[:, None].square() + columns.square()).sqrt() / 2**0.5
    which = 1 + (radius * bands).long().clamp(max=bands - 1)
    which[0, 0] = 0
    return which


def _fill_empty_bands(gain: Tensor) -> Tensor:
    """Gains (C, bands + 1) in which empty bands, which are NaN, take that of the nearest band below, or else above."""
    columns = list(gain.unbind(1))
    for order in (range(1, len(columns)), range(len(columns) - 2, -1, -1)):
        step = order.step
        for band in order:
            columns[band] = torch.where(columns[band].isnan(), columns[band - step], columns[band])
    return torch.stack(columns, 1).nan_to_num(1.0)

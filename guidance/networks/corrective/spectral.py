"""A manifold corrective in closed form: how much of each spatial frequency a denoiser keeps, by time.

For pictures whose frequencies are independent Gaussians this is what LMC-SDS's b(z, t) is, and least squares finds it.
For others it is the best of this form: a baseline for the network, and a corrective where there is no time to train.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Bands:
    """The form of a spectral corrective: `bands` of frequencies besides the mean, at `knots` times, linear between.

    Raises ValueError for fewer than two knots, and for times that do not rise within [0, 1].
    """

    channels: int
    bands: int = 12
    knots: int = 16
    t_min: float = 0.02
    t_max: float = 0.98

    def __post_init__(self):
        if self.knots < 2 or not 0 <= self.t_min < self.t_max <= 1:
            raise ValueError(f"{self.knots} knots from {self.t_min} to {self.t_max}: give 2 or more, rising in [0, 1].")

    @property
    def times(self) -> Tensor:
        """The times (knots,) at which it is fitted."""
        return torch.linspace(self.t_min, self.t_max, self.knots)


class SpectralCorrective(nn.Module):
    """b_hat(z, t) = offset + gain (z - centre), the gain being one for each channel and band of frequencies.

    Frequencies are those of the cosine transform, which sees a picture continued by its mirror image, so that opposite
    borders do not mix. (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W), of any size.
    """

    centre: Tensor
    offset: Tensor
    gain: Tensor

    def __init__(self, form: Bands):
        super().__init__()
        self.form = form
        self.register_buffer("centre", torch.zeros(form.knots, form.channels))
        self.register_buffer("offset", torch.zeros(form.knots, form.channels))
        self.register_buffer("gain", torch.ones(form.knots, form.channels, form.bands + 1))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        centre, offset, gain = (self._at(table, t).to(z) for table in (self.centre, self.offset, self.gain))
        gains = gain[:, :, band_of(z.shape[-2], z.shape[-1], self.form.bands, z.device)]
        return offset[..., None, None] + inverse_cosine(gains * cosine(z - centre[..., None, None]))

    def _at(self, table: Tensor, t: Tensor) -> Tensor:
        """The rows of a table (knots, ...) at times (B,), linear between knots and constant beyond."""
        form = self.form
        place = ((t - form.t_min) / (form.t_max - form.t_min) * (form.knots - 1)).clamp(0, form.knots - 1)
        below = place.floor().long().clamp(max=form.knots - 2)
        share = (place - below).reshape(-1, *(1,) * (table.ndim - 1)).to(table)
        return torch.lerp(table[below], table[below + 1], share)

    @torch.no_grad()
    def fit(self, knot: int, z: Tensor, z0_hat: Tensor) -> None:
        """Fit the gains at one knot to pictures (N, C, H, W) and what the denoiser made of them, by least squares."""
        centre, offset = z.mean((0, 2, 3)), z0_hat.mean((0, 2, 3))
        seen, made = (cosine(x - mean[:, None, None]) for x, mean in ((z, centre), (z0_hat, offset)))
        band = band_of(z.shape[-2], z.shape[-1], self.form.bands, z.device).flatten()
        both, alone = (x.sum(0).flatten(1) for x in (seen * made, seen * seen))
        empty = both.new_zeros(len(centre), self.form.bands + 1)
        gain = empty.index_add(1, band, both) / empty.index_add(1, band, alone)
        self.centre[knot], self.offset[knot], self.gain[knot] = centre, offset, _without_gaps(gain)


def cosine(x: Tensor) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of the last two dimensions."""
    rows, columns = (_cosines(side, x) for side in x.shape[-2:])
    return rows @ x @ columns.T


def inverse_cosine(x: Tensor) -> Tensor:
    """The inverse of `cosine`, which is also its adjoint."""
    rows, columns = (_cosines(side, x) for side in x.shape[-2:])
    return rows.T @ x @ columns


def _cosines(side: int, like: Tensor) -> Tensor:
    """Row k holds the wave of k half periods: (side, side), orthonormal."""
    n = torch.arange(side, dtype=torch.float64)
    waves = (2 / side) ** 0.5 * torch.cos(math.pi / side * n[:, None] * (n + 0.5))
    waves[0] /= 2**0.5
    return waves.to(like)


def band_of(height: int, width: int, bands: int, device: torch.device | None = None) -> Tensor:
    """Which band a wave is in: (height, width) of 0, the mean, and 1 to `bands`, evenly up to the highest frequency."""
    rows, columns = (torch.arange(side, device=device) / side for side in (height, width))
    radius = (rows[:, None].square() + columns.square()).sqrt() / 2**0.5
    which = 1 + (radius * bands).long().clamp(max=bands - 1)
    which[0, 0] = 0
    return which


def _without_gaps(gain: Tensor) -> Tensor:
    """Gains (C, bands + 1) where a band that holds nothing, and so is NaN, has what the one below it has."""
    filled = [gain[:, 0].nan_to_num(1.0)]
    for column in gain[:, 1:].unbind(1):
        filled.append(torch.where(column.isnan(), filled[-1], column))
    return torch.stack(filled, 1)

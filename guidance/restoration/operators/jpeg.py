"""JPEG compression: frequencies of 8 x 8 blocks rounded to multiples of a step (ITU-T T.81, JFIF)."""

from __future__ import annotations

import math
from typing import get_args

import torch
from torch import Tensor

from ...core.noise import SeededNoise
from .base import Constant, Operator
from .colorization import LUMA
from .registry import OperatorKind, OperatorSettings, Subsampling, register

SIDE = 8
"""Side of a block in pixels."""
LEVELS = 127.5
"""JPEG counts in 1/255 of the range from black to white, images in [-1, 1] in halves of it."""
MIDDLE = 0.5 / LEVELS
"""JPEG subtracts 128 of 0 to 255 from luma, and images have their 0 at 127.5."""

_LUMA_STEPS = """
    16  11  10  16  24  40  51  61
    12  12  14  19  26  58  60  55
    14  13  16  24  40  57  69  56
    14  17  22  29  51  87  80  62
    18  22  37  56  68 109 103  77
    24  35  55  64  81 104 113  92
    49  64  78  87 103 121 120 101
    72  92  95  98 112 100 103  99
"""
"""Quantization steps of luma at quality 50 by vertical and horizontal frequency (T.81, table K.1)."""
_CHROMA_STEPS = """
    17  18  24  47  99  99  99  99
    18  21  26  66  99  99  99  99
    24  26  56  99  99  99  99  99
    47  66  99  99  99  99  99  99
    99  99  99  99  99  99  99  99
    99  99  99  99  99  99  99  99
    99  99  99  99  99  99  99  99
    99  99  99  99  99  99  99  99
"""
"""Quantization steps of both color differences at quality 50 (T.81, table K.2)."""


class JPEG(Operator):
    """JPEG compression at a `quality` of 1 to 100, as the Independent JPEG Group's library and Pillow compress.

    A(x) are the frequencies (B, 1, blocks, 64) that the file stores, blocks of luma before those of both color
    differences. Each is a multiple of its step, in the scale of the images. An image agrees with a measurement if all
    of its frequencies lie within half a step of it.

    Nearest is meant in luma and color differences (YCbCr) and not in red, green and blue: in YCbCr the transform of the
    blocks is orthonormal, so the nearest image has each frequency clamped to its bin. Where a block reaches beyond the
    image, encoders repeat the pixels at the border, and both clamping and `read` are approximate there.

    Raises ValueError for another quality or subsampling.
    """

    def __init__(self, height: int, width: int, quality: int, subsampling: Subsampling = "4:2:0"):
        if not 1 <= quality <= 100:
            raise ValueError(f"The input 'quality' is {quality}: choose a whole number from 1 to 100.")
        if subsampling not in get_args(Subsampling):
            raise ValueError(f"The input 'subsampling' is '{subsampling}': choose 4:2:0 or 4:4:4.")
        factor = 2 if subsampling == "4:2:0" else 1
        luma, chroma = _Plane(height, width, 1), _Plane(height, width, factor)
        self._planes = (luma, chroma, chroma)
        super().__init__((3, height, width), (1, sum(plane.blocks for plane in self._planes), SIDE**2))
        steps = [quantization_steps(table, quality).flatten() for table in (_LUMA_STEPS, *[_CHROMA_STEPS] * 2)]
        pairs = list(zip(self._planes, steps, strict=True))
        self._steps = Constant(torch.cat([step.expand(plane.blocks, -1) for plane, step in pairs]) / LEVELS)
        # How many pixels of the image a value of a plane is the mean of: 1, or 4 of subsampled chroma.
        counts = [torch.full((plane.blocks, 1), float(plane.factor**2)) for plane in self._planes]
        self._pixels_per_value = Constant(torch.cat(counts))
        to_ycc = _to_ycc()
        self._to_ycc, self._to_rgb = Constant(to_ycc), Constant(torch.linalg.inv(to_ycc))

    def forward(self, x: Tensor) -> Tensor:
        return self._rounded(self._frequencies(x))

    def degraded(self, x: Tensor, noise_std: float, noise: SeededNoise) -> Tensor:
        """The noise is in the image that is compressed."""
        return self.forward(x + noise_std * noise.like(x))

    def read(self, images: Tensor) -> Tensor:
        """The frequencies that a decoder made these images of.

        They are exact if the image was not changed since, up to the rounding of its pixels, which only a high quality
        resolves. Colors at half the resolution are those of which a decoder's interpolation makes the image's.
        """
        y, cb, cr = self._ycc(images).unbind(1)
        luma, chroma, _ = self._planes
        halves = [chroma.undone_interpolation(chroma.reduced(c)) for c in (cb, cr)]
        return self._rounded(self._transformed([luma.reduced(y), *halves]))

    def residual(self, y: Tensor, x: Tensor) -> Tensor:
        """How far each frequency lies outside its bin."""
        frequencies, reach = self._frequencies(x), self._steps.like(x) / 2
        return frequencies - torch.clamp(frequencies, y - reach, y + reach)

    def prox(self, y: Tensor, x0: Tensor, weight: float) -> Tensor:
        """`x0` with each frequency moved toward its bin, and with a `weight` of 0 to its edge."""
        # A color difference at half the resolution is the mean of four pixels. Changing it by d at the least change of
        # the image changes each of the four by d, which costs 4 d^2.
        pull = self.residual(y, x0) / (1 + weight * self._pixels_per_value.like(x0))
        planes = self._restored(pull)
        change = torch.stack([p.repeated(v) for p, v in zip(self._planes, planes, strict=True)], 1)
        return x0 - self._mixed(self._to_rgb, change)

    def back_projected(self, y: Tensor) -> Tensor:
        """The decoded image."""
        planes = self._restored(y)
        ycc = torch.stack([p.interpolated(v) for p, v in zip(self._planes, planes, strict=True)], 1)
        return self._mixed(self._to_rgb, ycc + self._offset(ycc))

    def _frequencies(self, x: Tensor) -> Tensor:
        """The frequencies (B, 1, blocks, 64) of images (B, 3, H, W)."""
        parts = zip(self._planes, self._ycc(x).unbind(1), strict=True)
        return self._transformed([plane.reduced(values) for plane, values in parts])

    def _transformed(self, planes: list[Tensor]) -> Tensor:
        """The frequencies (B, 1, blocks, 64) of luma and color differences (B, h, w) as they are stored."""
        return torch.cat([p.transformed(v) for p, v in zip(self._planes, planes, strict=True)], 1)[:, None]

    def _restored(self, frequencies: Tensor) -> list[Tensor]:
        """The inverse of `_transformed`."""
        parts = frequencies[:, 0].split([plane.blocks for plane in self._planes], 1)
        return [plane.restored(part) for plane, part in zip(self._planes, parts, strict=True)]

    def _rounded(self, frequencies: Tensor) -> Tensor:
        steps = self._steps.like(frequencies)
        return (frequencies / steps).round() * steps

    def _ycc(self, x: Tensor) -> Tensor:
        """Luma and color differences (B, 3, H, W), each 0 at 128 of 255 as in JPEG."""
        ycc = self._mixed(self._to_ycc, x)
        return ycc - self._offset(ycc)

    @staticmethod
    def _offset(ycc: Tensor) -> Tensor:
        return ycc.new_tensor([MIDDLE, 0.0, 0.0]).reshape(3, 1, 1)

    @staticmethod
    def _mixed(matrix: Constant, x: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", matrix.like(x), x)


def quantization_steps(table: str, quality: int) -> Tensor:
    """The steps (8, 8) of a table at a quality of 1 to 100, as the Independent JPEG Group's library scales it."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = torch.tensor([int(number) for number in table.split()]).reshape(SIDE, SIDE)
    return ((base * percent + 50) // 100).clamp(1, 255).double()


class _Plane:
    """Luma or a color difference as it is stored: `factor` times smaller per side, in blocks of 8 x 8."""

    def __init__(self, height: int, width: int, factor: int):
        self.factor, self._size = factor, (height, width)
        self._stored = math.ceil(height / factor), math.ceil(width / factor)
        self._grid = tuple(math.ceil(side / SIDE) for side in self._stored)
        self.blocks = math.prod(self._grid)
        self._basis = Constant(_dct())
        up = [_interpolation(side, factor) for side in self._size]
        down = [_means(side, factor) for side in self._size]
        self._up = [Constant(matrix) for matrix in up]
        self._down = [Constant(matrix) for matrix in down]
        self._undo = [Constant(torch.linalg.inv(d @ u)) for d, u in zip(down, up, strict=True)]

    def reduced(self, values: Tensor) -> Tensor:
        """Values (B, H, W) at the stored resolution (B, h, w): means of each `factor` x `factor`."""
        return values if self.factor == 1 else _along_sides(self._down, values)

    def interpolated(self, values: Tensor) -> Tensor:
        """Stored values (B, h, w) enlarged to the image's size as decoders do, linearly."""
        return values if self.factor == 1 else _along_sides(self._up, values)

    def undone_interpolation(self, values: Tensor) -> Tensor:
        """Stored values from the means of what `interpolated` makes of them."""
        return values if self.factor == 1 else _along_sides(self._undo, values)

    def repeated(self, values: Tensor) -> Tensor:
        """Stored values (B, h, w) enlarged by repeating: the smallest values that `reduced` makes them of."""
        for dim, side in zip((-2, -1), self._size, strict=True):
            values = values.repeat_interleave(self.factor, dim).narrow(dim, 0, side)
        return values

    def transformed(self, values: Tensor) -> Tensor:
        """The frequencies (B, blocks, 64) of stored values (B, h, w), continued to whole blocks by their border."""
        for dim, side, count in zip((-2, -1), self._stored, self._grid, strict=True):
            missing = count * SIDE - side
            if missing:
                values = torch.cat([values, *[values.narrow(dim, side - 1, 1)] * missing], dim)
        rows, columns = self._grid
        blocks = values.reshape(-1, rows, SIDE, columns, SIDE).transpose(2, 3)
        basis = self._basis.like(values)
        return (basis @ blocks @ basis.mT).reshape(-1, self.blocks, SIDE**2)

    def restored(self, frequencies: Tensor) -> Tensor:
        """The stored values (B, h, w) of frequencies (B, blocks, 64)."""
        (rows, columns), (height, width) = self._grid, self._stored
        basis = self._basis.like(frequencies)
        blocks = basis.mT @ frequencies.reshape(-1, rows, columns, SIDE, SIDE) @ basis
        return blocks.transpose(2, 3).reshape(-1, rows * SIDE, columns * SIDE)[:, :height, :width]


def _along_sides(matrices: list[Constant], values: Tensor) -> Tensor:
    rows, columns = (matrix.like(values) for matrix in matrices)
    return rows @ values @ columns.mT


def _to_ycc() -> Tensor:
    """The matrix (3, 3) from red, green and blue to luma and the differences of blue and red from it (JFIF)."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    blue, red = (torch.eye(3, dtype=torch.float64)[i] for i in (2, 0))
    return torch.stack([luma, (blue - luma) / (2 - 2 * LUMA[2]), (red - luma) / (2 - 2 * LUMA[0])])


def _dct() -> Tensor:
    """The orthonormal cosine transform (8, 8) by frequency and position (T.81, A.3.3)."""
    places = torch.arange(SIDE, dtype=torch.float64)
    waves = torch.cos((2 * places + 1) * places[:, None] * math.pi / (2 * SIDE))
    return waves * torch.where(places == 0, 1.0, 2.0).double().div(SIDE).sqrt()[:, None]


def _means(side: int, factor: int) -> Tensor:
    """The matrix (ceil(side / factor), side) of means of `factor` pixels, the last one repeated if one is missing."""
    stored = math.ceil(side / factor)
    sources = torch.arange(stored * factor).clamp(max=side - 1).reshape(stored, factor)
    weights = torch.full((stored, factor), 1 / factor, dtype=torch.float64)
    return torch.zeros(stored, side, dtype=torch.float64).scatter_add_(1, sources, weights)


def _interpolation(side: int, factor: int) -> Tensor:
    """The matrix (side, ceil(side / factor)) of linear interpolation between the centers of stored pixels."""
    stored = math.ceil(side / factor)
    places = ((torch.arange(side, dtype=torch.float64) + 0.5) / factor - 0.5).clamp(0, stored - 1)
    return (1 - (places[:, None] - torch.arange(stored, dtype=torch.float64)).abs()).clamp(min=0)


def _jpeg(height: int, width: int, settings: OperatorSettings) -> JPEG:
    return JPEG(height, width, settings.quality, settings.subsampling)


register(
    OperatorKind(
        name="jpeg",
        order=7,
        tooltip="JPEG artifacts",
        reads=("quality", "subsampling"),
        build=_jpeg,
    )
)

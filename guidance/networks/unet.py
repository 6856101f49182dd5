"""The U-Net of LMC-SDS's networks (appendix A): a picture, with one number said to each of its cells, to another."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CODE = 10
"""Numbers that say one number."""


class UNet(nn.Module):
    """(B, C, H, W) and numbers (B,) in [0, 1] to (B, C, H, W), of any size.

    `width` filters first, doubled at each of `levels` poolings. The last layer is linear.
    """

    def __init__(self, channels: int, width: int, levels: int):
        super().__init__()
        self._multiple = 2**levels
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip([channels + CODE, *widths], widths))
        self.up = nn.ModuleList(_pair(low + high, high) for high, low in zip(widths, widths[1:]))
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor, number: Tensor) -> Tensor:
        height, width = z.shape[-2:]
        x = _padded(torch.cat([z, _over_cells(frequency_code(number), z)], dim=1), self._multiple)
        kept = []
        for layer in self.down[:-1]:
            kept.append(layer(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.down[-1](x)
        for layer, skip in zip(reversed(self.up), reversed(kept)):
            x = layer(torch.cat([skip, F.interpolate(x, scale_factor=2)], dim=1))
        return self.last(x)[..., :height, :width]


def frequency_code(number: Tensor) -> Tensor:
    """Sines and cosines of pi x, 2 pi x, 4 pi x, ...: numbers (B,) to (B, CODE)."""
    phases = math.pi * number[:, None] * 2 ** torch.arange(CODE // 2, device=number.device)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


def fitting_levels(side: int, most: int = 4) -> int:
    """How many poolings leave at least 2 of `side` cells, 1 to `most`."""
    return max(1, min(most, int(math.log2(max(side, 2))) - 1))


@torch.no_grad()
def randomise(network: UNet, generator: torch.Generator, *, last: float) -> None:
    """Random weights, none from PyTorch's global random numbers.

    He's normal distribution keeps the variance from layer to layer; the last layer, which no ReLU follows, has the
    variance `last` instead, and 0 makes it say nothing.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            gain = last if layer is network.last else 2.0
            layer.weight.normal_(0, (gain / layer.weight[0].numel()) ** 0.5, generator=generator)
            layer.bias.zero_()


def _over_cells(code: Tensor, z: Tensor) -> Tensor:
    return code.to(z)[:, :, None, None].expand(-1, -1, *z.shape[-2:])


def _padded(x: Tensor, multiple: int) -> Tensor:
    """Continued to the right and below by its last cells."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _pair(channels: int, filters: int) -> nn.Sequential:
    """Two convolutions with ReLU."""
    first, second = nn.Conv2d(channels, filters, 3, padding=1), nn.Conv2d(filters, filters, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

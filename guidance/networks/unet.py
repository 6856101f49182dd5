"""The U-Net of LMC-SDS (appendix A): maps an image and one number to an image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CODE_SIZE = 10
"""Channels that encode the number."""


class UNet(nn.Module):
    """Maps (B, C, H, W) and numbers (B,) in [0, 1] to (B, C, H, W), for any height and width.

    `width` filters at full resolution, doubled at each of `levels` poolings. The last layer is linear.
    """

    def __init__(self, channels: int, width: int, levels: int):
        super().__init__()
        self._multiple = 2**levels
        widths = [width * 2**level for level in range(levels + 1)]
        inputs = [channels + CODE_SIZE, *widths[:-1]]
        self.down = nn.ModuleList(_two_convolutions(i, o) for i, o in zip(inputs, widths, strict=True))
        self.up = nn.ModuleList(
            _two_convolutions(low + high, high) for high, low in zip(widths[:-1], widths[1:], strict=True)
        )
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor, number: Tensor) -> Tensor:
        height, width = z.shape[-2:]
        x = _pad_to_multiple(torch.cat([z, _over_cells(frequency_code(number), z)], dim=1), self._multiple)
        skips = []
        for layer in self.down[:-1]:
            skips.append(layer(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.down[-1](x)
        for layer, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = layer(torch.cat([skip, F.interpolate(x, scale_factor=2)], dim=1))
        return self.last(x)[..., :height, :width]


def frequency_code(number: Tensor) -> Tensor:
    """Sines and cosines of pi x, 2 pi x, 4 pi x, ...: numbers (B,) to (B, CODE_SIZE)."""
    phases = math.pi * number[:, None] * 2 ** torch.arange(CODE_SIZE // 2, device=number.device)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


def fitting_levels(side: int, most: int = 4) -> int:
    """The number of poolings, from 1 to `most`, that leave at least 2 of `side` cells."""
    return max(1, min(most, int(math.log2(max(side, 2))) - 1))


@torch.no_grad()
def randomize(network: UNet, generator: torch.Generator, *, last: float) -> None:
    """Set random weights from `generator`, not from PyTorch's global random state.

    He initialization (normal), which keeps the variance from layer to layer. The last layer, which no ReLU follows, has
    the gain `last` instead of 2; with 0 the network returns 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            gain = last if layer is network.last else 2.0
            layer.weight.normal_(0, (gain / layer.weight[0].numel()) ** 0.5, generator=generator)
            layer.bias.zero_()


def _over_cells(code: Tensor, z: Tensor) -> Tensor:
    """A code (B, N) repeated over the cells of z (B, C, H, W): (B, N, H, W)."""
    return code.to(z)[:, :, None, None].expand(-1, -1, *z.shape[-2:])


def _pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad on the right and at the bottom by repeating the last cells."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _two_convolutions(channels: int, filters: int) -> nn.Sequential:
    """Two 3 x 3 convolutions with ReLU."""
    first, second = nn.Conv2d(channels, filters, 3, padding=1), nn.Conv2d(filters, filters, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())

"""The U-Net of the manifold corrective (LMC-SDS, section 4 and appendix A)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .spectral import Bands, SpectralCorrective

TIME_CODE = 10
"""Numbers that say the time."""
Head = Literal["linear", "tanh", "residual"]
HEADS: tuple[Head, ...] = get_args(Head)


@dataclass(frozen=True)
class Architecture:
    """A U-Net for pictures of some `channels`, with `width` filters first, doubled at each of `levels` poolings.

    The defaults are published. The head is "linear" for latents and "tanh" for pixels in [-1, 1]; what a network with a
    "residual" one says is added to what a spectral corrective does.
    """

    channels: int
    width: int = 32
    levels: int = 4
    head: Head = "linear"


def fitting_levels(side: int, most: int = 4) -> int:
    """How many poolings leave at least 2 of `side` cells, 1 to `most`."""
    return max(1, min(most, int(math.log2(max(side, 2))) - 1))


class CorrectiveNetwork(nn.Module):
    """b_hat(z, t) before its normalisation: (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W)."""

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = a = architecture
        widths = [a.width * 2**level for level in range(a.levels + 1)]
        self.down = nn.ModuleList(_pair(i, o) for i, o in zip([a.channels + TIME_CODE, *widths], widths))
        self.up = nn.ModuleList(_pair(low + high, high) for high, low in zip(widths, widths[1:]))
        self.last = nn.Conv2d(a.width, a.channels, 3, padding=1)
        self.base = SpectralCorrective(Bands(a.channels)) if a.head == "residual" else None

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        height, width = z.shape[-2:]
        x = _padded(torch.cat([z, _over_cells(time_code(t), z)], dim=1), 2**self.architecture.levels)
        kept = []
        for layer in self.down[:-1]:
            kept.append(layer(x))
            x = F.max_pool2d(kept[-1], 2)
        x = self.down[-1](x)
        for layer, skip in zip(reversed(self.up), reversed(kept)):
            x = layer(torch.cat([skip, F.interpolate(x, scale_factor=2)], dim=1))
        said = self.last(x)[..., :height, :width]
        if self.base is not None:
            return self.base(z, t) + said
        return said.tanh() if self.architecture.head == "tanh" else said


def time_code(t: Tensor) -> Tensor:
    """Sines and cosines of pi t, 2 pi t, 4 pi t, ...: times (B,) to (B, TIME_CODE)."""
    phases = math.pi * t[:, None] * 2 ** torch.arange(TIME_CODE // 2, device=t.device)
    return torch.cat([phases.sin(), phases.cos()], dim=1)


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


@torch.no_grad()
def initialised(
    architecture: Architecture, generator: torch.Generator, base: SpectralCorrective | None = None
) -> CorrectiveNetwork:
    """A network with random weights, none from PyTorch's global random numbers.

    He's normal distribution keeps the variance from layer to layer; the last layer is not followed by a ReLU, and is 0
    with a residual head, which so begins at its `base`.
    """
    with torch.device("meta"):
        network = CorrectiveNetwork(architecture)
    network.to_empty(device="cpu")
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.bias is not None
            last = 0.0 if architecture.head == "residual" else 1.0
            gain = last if layer is network.last else 2.0
            layer.weight.normal_(0, (gain / layer.weight[0].numel()) ** 0.5, generator=generator)
            layer.bias.zero_()
    if network.base is not None:
        network.base.load_state_dict((base or SpectralCorrective(network.base.form)).state_dict())
    return network

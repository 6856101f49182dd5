"""The network of a translator (LMC-SDS, section 5.2 and appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..unet import UNet, randomise


@dataclass(frozen=True)
class Architecture:
    """A U-Net for latents of some `channels`; width and levels are published."""

    channels: int
    width: int = 32
    levels: int = 4


class TranslatorNetwork(UNet):
    """Latents (B, C, H, W) in the host's scale and the places (B,) of their targets to latents (B, C, H, W)."""

    centre: Tensor
    spread: Tensor

    def __init__(self, architecture: Architecture):
        super().__init__(architecture.channels, architecture.width, architecture.levels)
        self.architecture = architecture
        self.register_buffer("centre", torch.zeros(architecture.channels, 1, 1))
        self.register_buffer("spread", torch.ones(architecture.channels, 1, 1))

    def forward(self, z: Tensor, place: Tensor) -> Tensor:
        return z + self.spread * super().forward((z - self.centre) / self.spread, place)


def places(targets: int, items: int) -> Tensor:
    """What says to each of the `items` of a batch its target, item i having target i mod `targets`: (items,)."""
    return torch.arange(items, dtype=torch.float64) % targets / targets


def place(target: int, targets: int) -> float:
    """The number that says one target of several."""
    return target / targets


def initialised(
    architecture: Architecture, pictures: Sequence[Tensor], generator: torch.Generator
) -> TranslatorNetwork:
    """A network for pictures like these (C, [1,] H, W), which returns what it is given."""
    with torch.device("meta"):
        network = TranslatorNetwork(architecture)
    network.to_empty(device="cpu")
    randomise(network, generator, last=0.0)
    cells = torch.cat([picture.flatten(1) for picture in pictures], dim=1)
    network.centre.copy_(cells.mean(1)[:, None, None])
    network.spread.copy_(cells.std(1)[:, None, None].clamp(min=1e-6))
    return network

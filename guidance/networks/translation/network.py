"""The network of a translator (LMC-SDS, section 5.2 and appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..unet import UNet, randomize


@dataclass(frozen=True)
class Architecture:
    """A U-Net for latents of `channels` channels; the defaults of width and levels are the paper's."""

    channels: int
    width: int = 32
    levels: int = 4


class TranslatorNetwork(UNet):
    """Maps latents (B, C, H, W) in the host's scale and target codes (B,) to latents (B, C, H, W)."""

    centre: Tensor  # spelled as in the files of translators
    spread: Tensor

    def __init__(self, architecture: Architecture):
        super().__init__(architecture.channels, architecture.width, architecture.levels)
        self.architecture = architecture
        self.register_buffer("centre", torch.zeros(architecture.channels, 1, 1))
        self.register_buffer("spread", torch.ones(architecture.channels, 1, 1))

    def forward(self, z: Tensor, code: Tensor) -> Tensor:
        return z + self.spread * super().forward((z - self.centre) / self.spread, code)


def target_code(target: int, targets: int) -> float:
    """The number in [0, 1) that tells the network which of `targets` targets to make; `target` counts from 0."""
    return target / targets


def target_codes(targets: int, items: int) -> Tensor:
    """The codes (items,) of a batch in which item i has target i mod `targets`."""
    return torch.arange(items, dtype=torch.float64) % targets / targets


def initial_network(
    architecture: Architecture, latents: Sequence[Tensor], generator: torch.Generator
) -> TranslatorNetwork:
    """An untrained network, on the CPU, that returns its input; normalized for `latents` (C, [1,] H, W)."""
    with torch.device("meta"):
        network = TranslatorNetwork(architecture)
    network.to_empty(device="cpu")
    randomize(network, generator, last=0.0)
    cells = torch.cat([latent.flatten(1) for latent in latents], dim=1)
    network.centre.copy_(cells.mean(1)[:, None, None])
    network.spread.copy_(cells.std(1)[:, None, None].clamp(min=1e-6))
    return network

"""The network of the manifold corrective (LMC-SDS, section 4 and appendix A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..unet import UNet, randomize
from .spectral import SpectralCorrective, SpectralForm

Head = Literal["linear", "tanh", "residual"]
HEADS: tuple[Head, ...] = get_args(Head)


@dataclass(frozen=True)
class Architecture:
    """A U-Net for latents of `channels` channels: `width` filters first, doubled at each of `levels` poolings.

    The defaults are the paper's. Head "linear" is for latents and "tanh" for pixels in [-1, 1]; "residual" adds the
    network's output to a spectral corrective.
    """

    channels: int
    width: int = 32
    levels: int = 4
    head: Head = "linear"


class CorrectiveNetwork(UNet):
    """b_hat(z, t) before normalization: maps (B, C, H, W) and times (B,) in [0, 1] to (B, C, H, W)."""

    def __init__(self, architecture: Architecture):
        super().__init__(architecture.channels, architecture.width, architecture.levels)
        self.architecture = architecture
        self.base = SpectralCorrective(SpectralForm(architecture.channels)) if architecture.head == "residual" else None

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        output = super().forward(z, t)
        if self.base is not None:
            return self.base(z, t) + output
        return output.tanh() if self.architecture.head == "tanh" else output


def initial_network(
    architecture: Architecture, generator: torch.Generator, base: SpectralCorrective | None = None
) -> CorrectiveNetwork:
    """An untrained network, on the CPU, with random weights; one with a residual head equals `base`."""
    with torch.device("meta"):
        network = CorrectiveNetwork(architecture)
    network.to_empty(device="cpu")
    randomize(network, generator, last=0.0 if architecture.head == "residual" else 1.0)
    if network.base is not None:
        network.base.load_state_dict((base or SpectralCorrective(network.base.form)).state_dict())
    return network

"""The reference autoencoder: TAESD's architecture with narrower layers, padded with zeros when shipped."""

from __future__ import annotations

from random import Random

import numpy as np
import torch
from torch import Tensor, nn

from . import world
from .training import Stage, device_of

LATENT_CHANNELS = 4
WIDTHS = (16, 32, 64, 64)
"""Channels at 1, 1/2, 1/4 and 1/8 of the image size. TAESD has 64 at every size."""
BLOCKS = (1, 2, 2, 3)
"""Residual blocks at each size. Blocks that TAESD has in addition are shipped as zeros: an identity after ReLU."""
TAESD_BLOCKS = (1, 3, 3, 3)
BATCH = 12
LATENT_NOISE = 0.06


class Clamp(nn.Module):
    """TAESD's soft clamp of latents to (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """TAESD's residual block."""

    def __init__(self, width: int):
        super().__init__()
        convs = [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x) + x)


def _blocks(level: int) -> list[nn.Module]:
    real: list[nn.Module] = [Block(WIDTHS[level]) for _ in range(BLOCKS[level])]
    return real + [nn.Identity() for _ in range(TAESD_BLOCKS[level] - BLOCKS[level])]


def encoder() -> nn.Sequential:
    """RGB in [0, 1], (B, 3, 8H, 8W), to latents (B, 4, H, W)."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 3, padding=1), *_blocks(0)]
    for level in (1, 2, 3):
        layers += [nn.Conv2d(WIDTHS[level - 1], WIDTHS[level], 3, stride=2, padding=1, bias=False), *_blocks(level)]
    return nn.Sequential(*layers, nn.Conv2d(WIDTHS[3], LATENT_CHANNELS, 3, padding=1))


def decoder() -> nn.Sequential:
    """Latents (B, 4, H, W) to RGB (B, 3, 8H, 8W), approximately in [0, 1]."""
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(LATENT_CHANNELS, WIDTHS[3], 3, padding=1), nn.ReLU()]
    for level in (3, 2, 1):
        up = nn.Conv2d(WIDTHS[level], WIDTHS[level - 1], 3, padding=1, bias=False)
        layers += [*_blocks(level), nn.Upsample(scale_factor=2), up]
    return nn.Sequential(*layers, *_blocks(0), nn.Conv2d(WIDTHS[0], 3, 3, padding=1))


def _channels_last(module: nn.Sequential) -> nn.Sequential:
    """The memory layout that is fastest for convolutions on a CPU."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class Autoencoder(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to latents of about unit variance, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.taesd_encoder = _channels_last(encoder())
        self.taesd_decoder = _channels_last(decoder())


def random_images(rng: Random, count: int) -> Tensor:
    """Random images of the world: (count, 3, SIZE, SIZE) in [0, 1]."""
    return torch.stack([to_tensor(world.render(world.sample_scene(rng))) for _ in range(count)])


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) array to (3, H, W) tensor."""
    return torch.from_numpy(image).movedim(-1, 0).contiguous()


def _loss(model: Autoencoder, rank: int):
    rng = Random(torch.initial_seed() + rank)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        x = random_images(rng, BATCH).to(device_of(model)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            z = model.taesd_encoder(x).float()
            y = model.taesd_decoder(z + LATENT_NOISE * torch.randn_like(z)).float()
        squared = (y - x).square().mean()
        mean, variance = z.mean((0, 2, 3)), z.var((0, 2, 3))
        spread = (mean.square() + variance - variance.log() - 1).mean()
        psnr = -10 * (y.clamp(0, 1) - x).square().mean().log10().item()
        total = 10 * squared + 0.3 * (y - x).abs().mean() + 0.002 * spread
        return total, {"psnr": psnr, "std": variance.sqrt().mean().item()}

    return loss


STAGE = Stage(
    "autoencoder",
    Autoencoder,
    _loss,
    adamw=lambda name: name in ("taesd_encoder.0.weight", f"taesd_decoder.{len(decoder()) - 1}.weight"),
    muon_lr=0.02,
    ema=0.98,
)


def shipped(weights: dict[str, Tensor], layout: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function at the width and depth of `layout`, the weights of a TAESD. Missing weights are zero."""
    padded = {name: torch.zeros_like(value) for name, value in layout.items() if name.startswith("taesd_")}
    for name, value in weights.items():
        padded[name][tuple(slice(n) for n in value.shape)] = value
    return padded

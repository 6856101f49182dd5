"""The reference U-Net: a small noise-predicting model, the host's own class in Stable Diffusion 1.5's layout.

It is trained on latents of the frozen autoencoder and captions encoded by the frozen text encoder. Both come from a
rolling pool of images; each image is used a few times, with fresh noise.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

from . import host_access, world
from .autoencoder import LATENT_CHANNELS, Autoencoder, to_tensor
from .text_encoder import CONFIG, TextEncoder, initialize, tokenize
from .training import Stage, averaged_weights, device_of

UNET_CONFIG = {
    "image_size": 32,
    "in_channels": LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "model_channels": 64,
    "num_res_blocks": [1, 1, 1],
    "channel_mult": (1, 2, 3),
    "num_heads": 4,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "transformer_depth": [0, 1, 1],
    "transformer_depth_output": [0, 0, 1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": CONFIG["hidden_size"],
    "legacy": False,
}
BATCH, POOL, REFRESH = 48, 3072, 6
"""Latents per step and worker, pool size per worker, and images replaced per step."""


def build_unet() -> nn.Module:
    """The host's U-Net with newly initialized weights; the last layer of every branch starts at zero."""
    host_access.import_comfy()
    import comfy.ops
    from comfy.ldm.modules.attention import SpatialTransformer
    from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel

    unet = UNetModel(**UNET_CONFIG, dtype=torch.float32, operations=comfy.ops.disable_weight_init)
    unet.requires_grad_(True)
    initialize(unet)
    last: list[Any] = [unet.out[-1]]
    last += [m.out_layers[-1] for m in unet.modules() if isinstance(m, ResBlock)]
    last += [m.proj_out for m in unet.modules() if isinstance(m, SpatialTransformer)]
    for layer in last:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return unet


def alpha_bars() -> Tensor:
    """The 1000 noise levels of Stable Diffusion: alpha_bar (1000,), decreasing."""
    return (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()).cumprod(0).float()


class LatentPool:
    """Encoded images with encoded captions, a few of which are replaced at every step."""

    def __init__(self, folder: Path, rng: Random, size: int, device: torch.device):
        self.rng, self.device = rng, device
        self.autoencoder, self.text_encoder = Autoencoder(), TextEncoder()
        self.autoencoder.load_state_dict(averaged_weights(folder / "autoencoder.pt"))
        self.text_encoder.load_state_dict(averaged_weights(folder / "text_encoder.pt"))
        for network in (self.autoencoder, self.text_encoder):
            network.to(device)
        parts = [self._fresh(min(64, size - start)) for start in range(0, size, 64)]
        self.latents = torch.cat([z for z, _ in parts])
        self.contexts = torch.cat([c for _, c in parts])
        self.oldest = 0

    @torch.no_grad()
    def _fresh(self, count: int) -> tuple[Tensor, Tensor]:
        scenes = [world.sample_scene(self.rng) for _ in range(count)]
        x = torch.stack([to_tensor(world.render(s)) for s in scenes]).to(self.device)
        tokens = tokenize([world.sample_caption(self.rng, s) for s in scenes]).to(self.device)
        with torch.autocast(x.device.type, torch.bfloat16):
            latents = self.autoencoder.taesd_encoder(x.contiguous(memory_format=torch.channels_last))
        return latents.float().contiguous(), self.text_encoder(tokens)

    def batch(self, count: int, refresh: int) -> tuple[Tensor, Tensor]:
        """(count, 4, h, w) latents and (count, 77, width) contexts, after replacing the `refresh` oldest items."""
        where = torch.arange(self.oldest, self.oldest + refresh) % len(self.latents)
        self.latents[where], self.contexts[where] = self._fresh(refresh)
        self.oldest += refresh
        chosen = torch.randint(len(self.latents), (count,))
        return self.latents[chosen], self.contexts[chosen]


def _loss(model: nn.Module, rank: int):
    device = device_of(model)
    folder = Path(os.environ["DREAMSAMPLER_TRAINING"])
    pool = LatentPool(folder, Random(torch.initial_seed() + rank), POOL, device)
    levels = alpha_bars().to(device)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        z, context = pool.batch(BATCH, REFRESH)
        t = torch.randint(0, 1000, (BATCH,), device=device)
        noise = torch.randn_like(z)
        a = levels[t].sqrt()[:, None, None, None]
        b = (1 - levels[t]).sqrt()[:, None, None, None]
        with torch.autocast(z.device.type, torch.bfloat16):
            predicted = model(a * z + b * noise, t, context=context).float()
        squared = (predicted - noise).square().mean((1, 2, 3))
        late = squared[t < 300].mean().item() if (t < 300).any() else float("nan")
        return squared.mean(), {"late": late, "early": squared[t > 600].mean().item()}

    return loss


STAGE = Stage(
    "unet",
    build_unet,
    _loss,
    adamw=lambda n: n.startswith(("input_blocks.0.", "out.", "time_embed")),
    muon_lr=0.02,
    adamw_lr=1e-3,
    ema=0.999,
)

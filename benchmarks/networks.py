"""Networks like those of Stable Diffusion 1.5 with random weights: for time and memory, which weights do not change."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

TEXT_WIDTH, TOKENS = 768, 77
"""Shape of an encoded prompt."""
SMALL, WHOLE = 128, 320
"""Channels of the denoiser: enough for 142 M weights, and those of Stable Diffusion 1.5."""
AUTOENCODER = {
    "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
    "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
}  # fmt: skip
"""The autoencoder of Stable Diffusion 1.5."""


def stable_diffusion(channels: int, dtype: torch.dtype) -> Any:
    """ComfyUI's configuration of a model like Stable Diffusion 1.5."""
    import comfy.supported_models

    config = comfy.supported_models.SD15(
        {
            **comfy.supported_models.SD15.unet_config,
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": channels,
            "num_res_blocks": [2, 2, 2, 2],
            "channel_mult": (1, 2, 4, 4),
            "use_spatial_transformer": True,
            "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
            "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
            "transformer_depth_middle": 1,
            "legacy": False,
        }
    )
    config.set_inference_dtype(dtype, None)
    return config


def autoencoder() -> Any:
    """ComfyUI's network of the autoencoder of Stable Diffusion 1.5, as large as the original."""
    import comfy.ldm.models.autoencoder

    return comfy.ldm.models.autoencoder.AutoencoderKL(ddconfig=AUTOENCODER, embed_dim=4)


def random_model() -> Any:
    """A MODEL like Stable Diffusion 1.5 with over 100 M weights."""
    import comfy.model_patcher

    model = stable_diffusion(SMALL, torch.float32).get_model({}, "", device="cpu")
    generator = torch.Generator().manual_seed(0)
    for p in model.diffusion_model.parameters():
        p.data.copy_(torch.randn(p.shape, generator=generator) * 0.02)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def random_vae() -> Any:
    """A VAE with the autoencoder of Stable Diffusion 1.5."""
    import comfy.sd

    generator = torch.Generator().manual_seed(0)
    weights = {
        name: torch.ones_like(weight) if "norm" in name and name.endswith("weight")
        else 0.02 * torch.randn(weight.shape, generator=generator)
        for name, weight in autoencoder().state_dict().items()
    }  # fmt: skip
    return comfy.sd.VAE(sd=weights)


def random_prompts(count: int) -> Tensor:
    """Encoded prompts (count, 1, TOKENS, TEXT_WIDTH)."""
    return torch.randn(count, 1, TOKENS, TEXT_WIDTH, generator=torch.Generator().manual_seed(1))


def parameters(model: Any) -> int:
    """Number of weights of a MODEL's denoiser."""
    return sum(p.numel() for p in model.model.diffusion_model.parameters())

"""Assembles the trained networks into one fp16 checkpoint in Stable Diffusion 1.5's layout."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from . import autoencoder, host_access
from .training import averaged_weights

CHECKPOINT = Path(__file__).with_name("dreamsampler_reference.safetensors")
SCORER = Path(__file__).with_name("dreamsampler_scorer.safetensors")
LATENT_SCALE = 0.18215
"""The host multiplies SD1.5 latents by this before the U-Net; the scale stored with the autoencoder undoes it."""


def checkpoint(folder: Path) -> dict[str, Tensor]:
    """The whole model as one state dict in half precision."""
    host_access.import_comfy()
    from comfy.taesd.taesd import TAESD

    unet = averaged_weights(folder / "unet.pt")
    taesd = autoencoder.shipped(averaged_weights(folder / "autoencoder.pt"), TAESD().state_dict())
    text = averaged_weights(folder / "text_encoder.pt")
    prefix = "transformer.text_model."
    parts = {
        **{f"model.diffusion_model.{k}": v for k, v in unet.items()},
        **{f"first_stage_model.{k}": v for k, v in taesd.items()},
        **{f"cond_stage_model.{k}": v for k, v in text.items() if k.startswith(prefix)},
        "first_stage_model.vae_scale": torch.tensor(LATENT_SCALE),
        "first_stage_model.vae_shift": torch.tensor(0.0),
    }
    return {k: v.half().contiguous() for k, v in parts.items()}


def export(folder: Path) -> None:
    """Write the checkpoint and the scorer next to this file."""
    save_file(
        checkpoint(folder), CHECKPOINT, metadata={"title": "DreamSampler reference model", "license": "Apache-2.0"}
    )
    scorer = {k: v.half().contiguous() for k, v in averaged_weights(folder / "scorer.pt").items()}
    save_file(scorer, SCORER)
    for path in (CHECKPOINT, SCORER):
        path.chmod(0o644)

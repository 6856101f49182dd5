"""The host's VAE, with gradients where they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from .gradients import ordinary_weights

PictureEncoder = Callable[[Tensor], Tensor]
"""Pictures (B, 3, H, W) in [0, 1] to latents in model scale, differentiably."""


def decoded(vae: Any, samples: Tensor) -> Tensor:
    """A LATENT's tensor (B, C, [1,] h, w) as pictures (B, 3, H, W) in [0, 1], without gradients."""
    with torch.inference_mode():
        pictures = vae.decode(samples)
    return pictures.reshape(-1, *pictures.shape[-3:]).movedim(-1, 1)


@contextmanager
def picture_encoder(vae: Any, patcher: Any, to_model_scale: Callable[[Tensor], Tensor]) -> Iterator[PictureEncoder]:
    """The VAE's encoder with gradients, in float32, beside the MODEL `patcher` that is being sampled."""
    comfy.model_management.load_models_gpu([patcher, vae.patcher])
    network = vae.first_stage_model

    def encode(pictures: Tensor) -> Tensor:
        x = vae.process_input(pictures.to(vae.device, torch.float32))
        latents = network.encode(x.unsqueeze(2) if vae.latent_dim == 3 else x)
        return to_model_scale(latents)

    with ordinary_weights(network, torch.float32):
        yield encode

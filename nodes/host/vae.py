"""The host's VAE, differentiable where needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from .gradients import differentiable, ordinary_attributes
from .sampling import Run


def decoded(vae: Any, samples: Tensor) -> Tensor:
    """The images (B, 3, H, W) in [0, 1] of a LATENT's tensor (B, C, [1,] h, w), without gradients."""
    with torch.inference_mode():
        images = vae.decode(samples)
    return images.reshape(-1, *images.shape[-3:]).movedim(-1, 1)


@dataclass(frozen=True)
class HostAutoencoder:
    """A VAE between images (B, 3, H, W) in [-1, 1] and latents in model scale, differentiable, in float32."""

    vae: Any
    run: Run

    @property
    def network(self) -> Any:
        """The VAE's own network."""
        return self.vae.first_stage_model

    def encode(self, images: Tensor) -> Tensor:
        x = self.vae.process_input((images.to(self.vae.device, torch.float32) + 1) / 2)
        latents = self.network.encode(x.unsqueeze(2) if self.vae.latent_dim == 3 else x)
        return self.run.to_model_scale(latents)

    def decode(self, latents: Tensor) -> Tensor:
        samples = self.run.to_host_scale(latents.to(self.vae.device, torch.float32))
        images = self.vae.process_output(self.network.decode(samples))
        return 2 * images.reshape(len(latents), -1, *images.shape[-2:]) - 1


@contextmanager
def autoencoder(vae: Any, patcher: Any, run: Run) -> Iterator[HostAutoencoder]:
    """The VAE with gradients, loaded beside the MODEL `patcher` that a run is sampling."""
    comfy.model_management.load_models_gpu([patcher, vae.patcher])
    run = replace(run, latent_format=ordinary_attributes(run.latent_format))
    with differentiable(vae.first_stage_model, torch.float32):
        yield HostAutoencoder(vae, run)

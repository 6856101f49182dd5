"""The host's VAE, differentiable where needed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from .gradients import differentiable, ordinary_attributes, plain_attention
from .oom_fallback import is_oom
from .sampling import Run

log = logging.getLogger("dreamsampler")


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
        with plain_attention():
            latents = self.network.encode(x.unsqueeze(2) if self.vae.latent_dim == 3 else x)
        return self.run.to_model_scale(latents)

    def decode(self, latents: Tensor) -> Tensor:
        samples = self.run.to_host_scale(latents.to(self.vae.device, torch.float32))
        with plain_attention():
            images = self.vae.process_output(self.network.decode(samples))
        return 2 * images.reshape(len(latents), -1, *images.shape[-2:]) - 1


@contextmanager
def autoencoder(vae: Any, patcher: Any, run: Run) -> Iterator[HostAutoencoder]:
    """The VAE with gradients, loaded beside the MODEL `patcher` that a run is sampling."""
    comfy.model_management.load_models_gpu([patcher, vae.patcher])
    run = replace(run, latent_format=ordinary_attributes(run.latent_format))
    with differentiable(vae.first_stage_model, torch.float32):
        yield HostAutoencoder(vae, run)


class FrugalEncoder:
    """Encodes images (B, 3, H, W) differentiably: all at once, or after memory ran out one at a time.

    Latents and gradients stay the same. The change appends a sentence for the user to `notes`.
    """

    def __init__(self, encode: Callable[[Tensor], Tensor], notes: list[str]):
        self._encode, self._notes, self._apart = encode, notes, False

    def __call__(self, images: Tensor) -> Tensor:
        return _Encoding.apply(images, self)

    def latents(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The latents, and the ends of the graph from images to latents; none if the graph does not fit."""
        if not self._apart:
            try:
                with torch.enable_grad():
                    leaf = images.detach().requires_grad_()
                    latents = self._encode(leaf)
                return latents.detach(), [leaf, latents]
            except Exception as error:
                self._one_at_a_time(error, images)
            comfy.model_management.soft_empty_cache()
        with torch.no_grad():
            return torch.cat([self._encode(image) for image in images.split(1)]), []

    def pull_back(self, images: Tensor, gradient: Tensor, graph: list[Tensor]) -> Tensor:
        """The gradient on the images that a gradient on their latents makes. Takes the tensors out of `graph`."""
        if graph:
            try:
                return self._through(graph, gradient)
            except Exception as error:
                self._one_at_a_time(error, images)
            # Not before: the error holds what the failed pass held.
            comfy.model_management.soft_empty_cache()
        return torch.cat([self._pulled_back(*pair) for pair in zip(images.split(1), gradient.split(1), strict=True)])

    def _through(self, graph: list[Tensor], gradient: Tensor) -> Tensor:
        """The gradient through a graph of which nobody else holds a part, so that a failure frees it."""
        latents, leaf = graph.pop(), graph.pop()
        return torch.autograd.grad(latents, leaf, gradient)[0]

    def _pulled_back(self, image: Tensor, gradient: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = image.detach().requires_grad_()
            return torch.autograd.grad(self._encode(leaf), leaf, gradient)[0]

    def _one_at_a_time(self, error: Exception, images: Tensor) -> None:
        """From now on. Raises the error if it is not about memory, or a single image does not fit."""
        if not is_oom(error) or len(images) == 1:
            raise error
        note = "Out of memory: the VAE now encodes one view at a time, which is slower and gives the same result."
        log.warning(note)
        self._notes.append(note)
        self._apart = True


class _Encoding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, encoder: FrugalEncoder) -> Tensor:
        latents, ctx.graph = encoder.latents(images)
        ctx.save_for_backward(images)
        ctx.encoder = encoder
        return latents

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (images,), (gradient,) = ctx.saved_tensors, gradients
        return ctx.encoder.pull_back(images, gradient, ctx.graph), None

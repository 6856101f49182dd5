"""Latents, and the autoencoder they belong to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...guidance.translation.storage import Translator
from .. import host
from ..sockets import ObjectiveSocket


def latent(model: Any, value: dict, *, needs_content: bool, name: str = "latent_image") -> Tensor:
    """The float32 tensor of the image LATENT on input `name`: it fits the MODEL, and holds a picture where it must."""
    samples = host.fitted_latent(model, _one_tensor(name, value))
    _still_pictures(name, samples)
    if samples.ndim == 5 and not host.latent_has_frames(model):
        raise ValueError(
            f"{name} has a frame dimension but the model works on plain pictures: encode the picture with the VAE "
            "that belongs to the model."
        )
    _channels(name, samples, host.latent_channels(model), "model works")
    if needs_content and not samples.any():
        raise ValueError(
            f"{name} is empty, so there is no picture to start from: connect a VAE Encode node, or set "
            "start_from to noise."
        )
    return samples.float()


def translatable(translator: Translator, value: dict) -> Tensor:
    """The float32 tensor of the LATENT on input latent_image, which holds pictures that the translator can take."""
    samples = _one_tensor("latent_image", value)
    _still_pictures("latent_image", samples)
    _channels("latent_image", samples, translator.about.channels, "translator works")
    return samples.float()


def _one_tensor(name: str, value: dict) -> Tensor:
    samples = value["samples"]
    if samples.is_nested:
        raise ValueError(f"{name} holds several latents (video with sound); connect the latent of one picture instead.")
    return samples


def _still_pictures(name: str, samples: Tensor) -> None:
    """Latents of single pictures."""
    if samples.ndim not in (4, 5):
        raise ValueError(f"{name} has {samples.ndim} dimensions; an image latent has 4, or 5 with one frame.")
    if samples.ndim == 5 and samples.shape[2] != 1:
        raise ValueError(
            f"{name} is a video of {samples.shape[2]} frames, and this node edits single pictures. Cut it to one "
            "frame, or put the frames in a batch of pictures."
        )


def _channels(name: str, samples: Tensor, channels: int, works: str) -> None:
    """As many channels as something `works` on, with finite values."""
    if samples.shape[1] != channels:
        raise ValueError(
            f"{name} has {samples.shape[1]} channels but the {works} on {channels}: encode the picture with "
            "the VAE that belongs to the model."
        )
    if not torch.isfinite(samples).all():
        raise ValueError(f"{name} holds NaN or infinite values: the node before it failed, often a VAE run in fp16.")


def seeds(seed: int, value: dict, samples: Tensor) -> list[int]:
    """One seed for each item: `seed` plus its place in the batch, or in the LATENT's `batch_index` where it has one."""
    places = list(value.get("batch_index", range(len(samples))))
    if len(places) != len(samples):
        raise ValueError(
            f"latent_image holds {len(samples)} pictures but its batch_index names {len(places)}: check the node "
            "that made the batch."
        )
    return [seed + place for place in places]


def reference(model: Any, chosen: ObjectiveSocket, samples: Tensor) -> Tensor | None:
    """The float32 tensor that a method compares `samples` with, of their size and one or as many, if it does."""
    if "reference" not in chosen.method.needs:
        return None
    name = chosen.reference_input
    compared = None if chosen.reference is None else latent(model, chosen.reference, needs_content=False, name=name)
    if compared is None or not compared.any():
        raise ValueError(
            f"The method '{chosen.name}' compares with a source picture, and {name} is empty: connect the encoded "
            "picture to latent_image or to reference_latent."
        )
    if compared.shape[1:] != samples.shape[1:] or len(compared) not in (1, len(samples)):
        raise ValueError(
            f"{name} is {_size(compared)} but latent_image is {_size(samples)}: encode both from pictures of the same "
            "size, and give one reference or as many as there are pictures."
        )
    return compared


def _size(samples: Tensor) -> str:
    return f"{len(samples)} of {samples.shape[-1]}x{samples.shape[-2]} cells"


def autoencoder(model: Any, vae: Any) -> None:
    """A VAE whose latents are the model's, or none."""
    if vae is None:
        return
    if vae.latent_channels != host.latent_channels(model):
        raise ValueError(
            f"The VAE makes latents of {vae.latent_channels} channels but the model works on "
            f"{host.latent_channels(model)}: connect the VAE that belongs to the model."
        )
    if (vae.latent_dim == 3) != host.latent_has_frames(model):
        raise ValueError(
            "One of VAE and model has a frame dimension in its latents and the other has none: connect the VAE that "
            "belongs to the model."
        )

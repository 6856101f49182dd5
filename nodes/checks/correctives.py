"""Manifold correctives and what they are trained with."""

from __future__ import annotations

import logging
import math
from typing import Any

from torch import Tensor

from ...guidance.networks.corrective.network import Architecture
from ...guidance.networks.corrective.storage import ManifoldCorrective
from .. import host
from ..sockets import ObjectiveSocket
from .inputs import check_autoencoder, check_prompts

log = logging.getLogger("dreamsampler")


def check_objective_corrective(model: Any, chosen: ObjectiveSocket, guidance_scale: float) -> None:
    """Check that a method that needs a corrective has one for this MODEL, and a guidance scale above 0."""
    method = chosen.method.name
    if chosen.corrective is None:
        raise ValueError(
            f"The method '{method}' needs a manifold corrective of this model: connect Load Manifold Corrective, "
            "or Train Manifold Corrective if there is none yet, to input 'corrective'."
        )
    if guidance_scale <= 0:
        raise ValueError(
            f"guidance_scale is {guidance_scale:g}, and '{method}' divides by it: set it above 0 (the paper uses "
            "15 for edits, 8 for images from scratch)."
        )
    check_corrective(model, chosen.corrective)


def check_corrective(model: Any, corrective: ManifoldCorrective) -> None:
    """Check that a corrective fits the MODEL's latents and family; warn of another checkpoint or other noise levels."""
    about, channels, family = corrective.about, host.latent_channels(model), host.family(model)
    if about.channels != channels:
        raise ValueError(
            f"The corrective is for '{about.family}' with {about.channels} latent channels, but the model has "
            f"{channels}: load or train one for this model."
        )
    path, levels = host.noise_schedule(model)
    if (about.family, about.path) != (family, path):
        raise ValueError(
            f"The corrective was trained for '{about.family}' with the noise path '{about.path}', but this model is "
            f"'{family}' with '{path}': load or train one for this model."
        )
    if about.base != host.weights_digest(model):
        log.warning(
            "The corrective was trained on another checkpoint of '%s' than this one: it may work, but a corrective "
            "trained on this checkpoint works better.",
            family,
        )
    if any(not math.isclose(own, other, rel_tol=0.05) for own, other in zip(levels, about.levels, strict=True)):
        log.warning(
            "The corrective was trained with other noise levels than this model has: remove the node that changes "
            "them, or train a corrective with that node in place."
        )


def check_corrective_training(model: Any, negative: Any, vae: Any, images: list[Tensor], patch_size: int) -> int:
    """Check the inputs of Train Manifold Corrective; returns the side of a patch in latent cells."""
    host.model_path(model)
    check_prompts(model, {"negative": negative})
    check_autoencoder(model, vae)
    factor = vae.spacial_compression_encode()
    if patch_size % factor:
        raise ValueError(
            f"patch_size is {patch_size}, which is not a multiple of the {factor} pixels of a latent cell: set it to "
            f"{max(1, patch_size // factor) * factor}."
        )
    for image in images:
        height, width = image.shape[1:3]
        if min(height, width) < patch_size:
            possible = min(height, width) // factor * factor
            raise ValueError(
                f"An image on input 'images' is {width}x{height} pixels, which is smaller than patch_size, "
                f"{patch_size}: leave it out" + (f", or lower patch_size to {possible}." if possible else ".")
            )
    return patch_size // factor


def check_trained_further(model: Any, corrective: ManifoldCorrective, *, fit: bool) -> Architecture:
    """The architecture of a network to train further. Raises ValueError for a spectral one or another MODEL."""
    check_corrective(model, corrective)
    form = getattr(corrective.network, "architecture", None)
    if form is None or fit:
        raise ValueError(
            "Only a network can be trained further, not a spectral corrective: set kind to network and connect a "
            "network to input 'corrective', or disconnect it."
        )
    return form

"""Manifold correctives and what they are trained with."""

from __future__ import annotations

import logging
import math
from typing import Any

from torch import Tensor

from ...guidance.corrective.network import Architecture
from ...guidance.corrective.storage import ManifoldCorrective
from .. import host
from .latents import autoencoder
from .pictures import finite, some_pixels
from .texts import conditioning, true_negative

log = logging.getLogger("dreamsampler")


def corrective_of(model: Any, corrective: ManifoldCorrective) -> None:
    """A corrective for the latents and the family of the MODEL; another checkpoint or schedule is warned about."""
    about, channels, family = corrective.about, host.latent_channels(model), host.family(model)
    if about.channels != channels:
        raise ValueError(
            f"The corrective is for latents of {about.channels} channels, of '{about.family}', but the model works on "
            f"{channels}: load or train one for this model."
        )
    path, levels = host.noise_schedule(model)
    if (about.family, about.path) != (family, path):
        raise ValueError(
            f"The corrective was trained on a model of the family '{about.family}', but this model is of '{family}': "
            "load or train one for this model."
        )
    if about.base != host.base_of(model):
        log.warning(
            "The corrective was trained on another checkpoint of '%s' than this one: it may do, but one of its own is "
            "better.",
            family,
        )
    if any(not math.isclose(here, there, rel_tol=0.05) for here, there in zip(levels, about.levels)):
        log.warning(
            "The corrective was trained with other noise levels than the model has now: take off the node that changes "
            "them, or train one with it."
        )


def corrective_training(model: Any, negative: Any, vae: Any, images: list[Tensor], patch_size: int) -> int:
    """What Train Manifold Corrective needs is connected and fits; returns the patch's side in latent cells."""
    host.model_path(model)
    conditioning("negative", negative)
    true_negative(model, "negative", negative)
    autoencoder(model, vae)
    factor = vae.spacial_compression_encode()
    if patch_size % factor:
        raise ValueError(
            f"patch_size is {patch_size}, which the {factor} pixels of a latent cell do not divide: set it to "
            f"{max(1, patch_size // factor) * factor}."
        )
    for image in images:
        some_pixels(image)
        finite("The image", image)
        height, width = image.shape[1:3]
        if min(height, width) < patch_size:
            possible = min(height, width) // factor * factor
            raise ValueError(
                f"A picture on input 'images' is {width}x{height} pixels, which is smaller than patch_size, "
                f"{patch_size}: leave it out" + (f", or lower patch_size to {possible}." if possible else ".")
            )
    return patch_size // factor


def trained_further(model: Any, corrective: ManifoldCorrective, *, fit: bool) -> Architecture:
    """The form of a network of this MODEL that is to be trained on, and not fitted."""
    corrective_of(model, corrective)
    form = getattr(corrective.network, "architecture", None)
    if form is None or fit:
        raise ValueError(
            "Only a network can be trained further, and a spectral corrective is fitted at once: set kind to network "
            "and connect a network to input 'corrective', or nothing."
        )
    return form

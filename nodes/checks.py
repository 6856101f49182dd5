"""Checks of what users connect, made before any work starts.

Each raises ValueError with a sentence that says what to do.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..guidance.corrective.network import Architecture
from ..guidance.corrective.storage import ManifoldCorrective
from ..guidance.measurement import Measurement
from ..guidance.methods import FLOW_TIME, Settings
from ..guidance.translation.storage import Translator
from . import host
from .sockets import ObjectiveSocket

log = logging.getLogger("dreamsampler")

DEFAULT_DISTILLED_GUIDANCE = 3.5
"""What the host feeds a guidance-distilled model when the conditioning does not say."""
FEW_PICTURES = 16
"""A corrective learned from fewer pictures is warned about."""


def steps(value: int) -> None:
    """At least one step."""
    if value < 1:
        raise ValueError(f"steps is {value}: set it to 1 or more (50 is a good start, the paper uses 200).")


def left_after(skip: float, sigmas: Tensor) -> Tensor:
    """The schedule (n + 1,) without the share `skip` of its steps at the noisy end; at least one step is left."""
    skipped = round(skip * (len(sigmas) - 1))
    if skipped >= len(sigmas) - 1:
        raise ValueError(f"skip is {skip:g}, which leaves out all {len(sigmas) - 1} steps: lower it.")
    return sigmas[skipped:]


def conditioning(name: str, value: Any) -> None:
    """A CONDITIONING with at least one entry."""
    if not value:
        raise ValueError(f"The conditioning on input '{name}' is empty: connect a CLIP Text Encode node to it.")


def same_text(one: Any, other: Any) -> bool:
    """Whether two CONDITIONINGs say the same."""
    return len(one) == len(other) and all(
        a[0].shape == b[0].shape and torch.equal(a[0], b[0]) for a, b in zip(one, other)
    )


def true_negative(model: Any, name: str, value: Any) -> None:
    """A guidance-distilled MODEL must be asked for its plain prediction: at guidance 1, or with guidance disabled."""
    if not host.distilled_guidance(model):
        return
    guidances = (entry[1].get("guidance", DEFAULT_DISTILLED_GUIDANCE) for entry in value)
    for guidance in (g for g in guidances if g not in (None, 1.0)):
        raise ValueError(
            f"This model has guidance distilled into it (guidance {guidance:g} on input '{name}'), so it has no true "
            "negative prediction to edit against. Put a FluxGuidance node with guidance 1.0 behind both text encoders, "
            "or use a model that was not guidance-distilled."
        )


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


def mask(value: Tensor | None, samples: Tensor) -> Tensor | None:
    """A MASK as (B or 1, 1, [1,] H, W) in [0, 1], any resolution but the proportions of `samples` (B, C, [1,] h, w)."""
    if value is None:
        return None
    return _fitted_mask(value, samples, "latent_image", "cells")


def hole(value: Tensor | None, pictures: Tensor) -> Tensor | None:
    """A MASK as a hole (B or 1, 1, H, W) in [0, 1] in `pictures` (B, 3, H, W), with something to fill in it."""
    if value is None:
        return None
    something_to_change(value)
    masks = _fitted_mask(value, pictures, "image", "pixels")
    return F.interpolate(masks, pictures.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)


def something_to_change(value: Tensor) -> None:
    """A MASK with pixels above 0 for each picture; what is NaN is told elsewhere."""
    if (value.reshape(-1, value.shape[-2] * value.shape[-1]) <= 0).all(dim=1).any():
        raise ValueError(
            "The mask has no pixels to change: paint what to change in it, or invert it if you painted what to keep."
        )


def _fitted_mask(value: Tensor, samples: Tensor, name: str, unit: str) -> Tensor:
    """A MASK as (B or 1, 1, [1,] H, W) in [0, 1], checked to fit the tensor (B, C, [1,] h, w) of input `name`."""
    masks = value.reshape(-1, 1, *(1,) * (samples.ndim - 4), *value.shape[-2:])
    if len(masks) not in (1, len(samples)):
        raise ValueError(
            f"The mask holds {len(masks)} masks but {name} holds {len(samples)} pictures: connect one mask, or one "
            "each."
        )
    (height, width), (rows, columns) = masks.shape[-2:], samples.shape[-2:]
    if not math.isclose(height / rows, width / columns, rel_tol=max(1 / rows, 1 / columns)):
        raise ValueError(
            f"The mask is {width}x{height} pixels, but {name} is {columns}x{rows} {unit}, which is another shape "
            "of picture. Crop or resize the mask like the picture."
        )
    finite("The mask", masks)
    return masks.clamp(0, 1).float()


def finite(name: str, value: Tensor) -> None:
    """A tensor without NaN and infinity."""
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinite values: check the node that makes it.")


def some_pixels(image: Tensor) -> None:
    """An IMAGE with something in it."""
    if not image.numel():
        count, height, width = image.shape[:3]
        raise ValueError(
            f"The image is empty ({count} pictures of {width}x{height} pixels): connect a node that makes pictures to "
            "input 'image'."
        )


def picture(value: Tensor) -> Tensor:
    """An IMAGE's three colours (B, H, W, 3), finite, in float32."""
    finite("The image", value)
    colours = value[..., : 3 if value.shape[-1] >= 3 else 1].float()  # one or two channels are grey, and its alpha
    return colours.expand(*colours.shape[:-1], 3)


def restoration(start_from: str, data_every: int) -> None:
    """Settings that make sense with a measurement."""
    if start_from == "stochastic inversion":
        raise ValueError(
            "start_from 'stochastic inversion' replays the source, and a measurement has its own way down: set "
            "start_from to inversion, or to noise."
        )
    if data_every < 1:
        raise ValueError(f"data_every is {data_every}: set it to 1 or more (3 is published).")


def measurement(value: Measurement, vae: Any, samples: Tensor) -> None:
    """A measurement of pictures of the size that the latent `samples` decodes to, one or as many, and a VAE for it."""
    if vae is None:
        raise ValueError(
            "A measurement is compared with decoded pictures: connect the VAE that belongs to the model to input 'vae'."
        )
    factor = vae.spacial_compression_decode()
    height, width = (side * factor for side in samples.shape[-2:])
    _, rows, columns = value.operator.picture_shape
    if (rows, columns) != (height, width):
        raise ValueError(
            f"The measurement is of pictures of {columns}x{rows} pixels, but latent_image decodes to {width}x{height}: "
            "encode the observed picture of Measurement for latent_image, and crop or resize the picture before "
            f"Measurement to sides that {factor} divides."
        )
    if len(value.y) not in (1, len(samples)):
        raise ValueError(
            f"The measurement holds {len(value.y)} pictures but latent_image holds {len(samples)}: connect one "
            "measurement, or one each."
        )


def something_to_trace(image: Tensor | None, measurement: Measurement | None) -> None:
    """A picture or a measurement for SVG Optimizer when it does nothing but trace."""
    if image is None and measurement is None:
        raise ValueError(
            "steps is 0, which only traces a picture, and no picture is connected: connect one to input 'image', or a "
            "measurement, or set steps to 1 or more (1000 is published)."
        )


def needed_for_steps(name: str, value: Any) -> None:
    """An input that SVG Optimizer can only do without when it does nothing but trace."""
    if value is None:
        raise ValueError(
            f"Input '{name}' is not connected, and distillation needs it: connect it, or set steps to 0 to trace a "
            "picture without a model."
        )


def distillation(model: Any, chosen: ObjectiveSocket, settings: Settings, vae: Any) -> None:
    """What a distillation needs is connected and its settings make sense."""
    host.model_path(model)
    _conditionings(model, chosen)
    autoencoder(model, vae)
    _times(chosen, settings)
    _not_negative(settings)
    if "corrective" in chosen.method.needs:
        _corrective(model, chosen, settings)
    steps(settings.steps)
    for name in ("ode_steps", "lora_rank"):
        if getattr(settings, name) < 1:
            raise ValueError(
                f"{name} is {getattr(settings, name)}: set it to 1 or more, or to -1 for the method's own."
            )


def _not_negative(settings: Settings) -> None:
    """-1 alone is no number; a value between it and 0 would climb instead of descend."""
    rates, scales = ("learning_rate", "lora_learning_rate"), ("guidance_scale", "source_guidance_scale")
    for name in (*rates, *scales, "eta", "first_stage"):
        value = getattr(settings, name)
        if value is not None and value < 0:
            raise ValueError(f"{name} is {value:g}: set it to 0 or more, or to -1 for the method's own.")


def _conditionings(model: Any, chosen: ObjectiveSocket) -> None:
    if "source" in chosen.method.needs and "source" not in chosen.conditionings:
        raise ValueError(
            f"The method '{chosen.name}' needs a text of what the picture is now: connect a conditioning to input "
            "'source', for example from Text-Source Descriptor."
        )
    for name, value in chosen.conditionings.items():
        conditioning(name, value)
        true_negative(model, name, value)


def _corrective(model: Any, chosen: ObjectiveSocket, settings: Settings) -> None:
    if chosen.corrective is None:
        raise ValueError(
            f"The method '{chosen.name}' needs a manifold corrective of this model: connect Load Manifold Corrective, "
            "or Train Manifold Corrective where there is none yet, to input 'corrective'."
        )
    if settings.guidance_scale <= 0:
        raise ValueError(
            f"guidance_scale is {settings.guidance_scale:g}, and '{chosen.name}' divides by it: set it above 0 (15 is "
            "published for edits, 8 for pictures from nothing)."
        )
    corrective_of(model, chosen.corrective)


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


def _size(samples: Tensor) -> str:
    return f"{len(samples)} of {samples.shape[-1]}x{samples.shape[-2]} cells"


def _times(chosen: ObjectiveSocket, settings: Settings) -> None:
    if not 0 <= settings.t_min < settings.t_max <= 1:
        raise ValueError(
            f"t_min is {settings.t_min:g} and t_max {settings.t_max:g}: t_min must be below t_max, both "
            "between 0 and 1."
        )
    if settings.t_min < chosen.method.lowest_time:
        raise ValueError(
            f"t_min is {settings.t_min:g}, and '{chosen.name}' also looks at noise levels below it: set it to "
            f"{chosen.method.lowest_time:g} or more."
        )
    if settings.learning_rate_schedule == FLOW_TIME and settings.time_schedule != "descending":
        raise ValueError(
            f"learning_rate_schedule '{FLOW_TIME}' follows falling noise levels: set time_schedule to descending, or "
            "choose another learning_rate_schedule."
        )

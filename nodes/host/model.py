"""Facts about a MODEL: its noising path, its schedules and clock, the latents it works on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import comfy.model_sampling
import comfy.sample
import comfy.samplers
import torch
from torch import Tensor

from ...guidance.core.path import FLOW, SCALED, Path
from ...guidance.networks.corrective.storage import LEVELS_AT

SCHEDULERS: list[str] = list(comfy.samplers.SCHEDULER_NAMES)
"""The host's noise schedules, for a combo."""


def path_of(model_sampling: Any) -> Path:
    """The noising path of a model. Raises ValueError for a family whose path is not known."""
    if isinstance(model_sampling, comfy.model_sampling.CONST):
        return FLOW
    known = isinstance(model_sampling, comfy.model_sampling.EPS)
    if known and not isinstance(model_sampling, comfy.model_sampling.IMG_TO_IMG):
        return SCALED
    kind = " / ".join(c.__name__ for c in type(model_sampling).__mro__[1:3])
    raise ValueError(
        f"The model's noise parametrisation ({kind}) is not supported. Use a noise-, velocity- or flow-predicting "
        "image model such as SD1.5, SDXL, SD3 or Flux."
    )


def model_path(model: Any) -> Path:
    """The noising path of a MODEL, patches such as ModelSamplingSD3 included."""
    return path_of(model.get_model_object("model_sampling"))


def schedule(model: Any, scheduler: str, steps: int) -> Tensor:
    """The host's noise levels for a MODEL: (n + 1,) falling to 0, n about `steps` as the scheduler sees fit.

    A level that the scheduler repeats is left out. Raises ValueError where it gives no falling levels, as some do for a
    single step.
    """
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
    sigmas = sigmas.unique_consecutive()
    if len(sigmas) < 2 or not (sigmas.diff() < 0).all() or sigmas[-1] != 0:
        raise ValueError(
            f"The scheduler '{scheduler}' has no falling noise levels for steps = {steps} with this model: choose more "
            "steps, or another scheduler."
        )
    return sigmas


def clock_of(model_sampling: Any) -> Callable[[Tensor], Tensor]:
    """Maps times t in [0, 1] (any shape), 0 clean and 1 pure noise, to noise levels: the model's training times."""
    top = float(model_sampling.sigma_max)

    def sigma_at(t: Tensor) -> Tensor:
        levels = [min(float(model_sampling.percent_to_sigma(1 - time)), top) for time in t.flatten().tolist()]
        return t.new_tensor(levels).reshape(t.shape)

    return sigma_at


def whole_range(model: Any) -> Tensor:
    """The highest noise level of a MODEL and 0, for a method that has no schedule of the host's."""
    return torch.tensor([float(model.get_model_object("model_sampling").sigma_max), 0.0])


def fitted_latent(model: Any, samples: Tensor) -> Tensor:
    """A LATENT's tensor with the MODEL's channels, where it is empty, and frame dimension, where it has one."""
    return comfy.sample.fix_empty_latent_channels(model, samples)


def empty_latent(model: Any, count: int, height: int, width: int) -> Tensor:
    """A LATENT's tensor of `count` empty pictures of some cells for the MODEL."""
    return fitted_latent(model, torch.zeros(count, 4, height, width))


def latent_channels(model: Any) -> int:
    """How many latent channels the MODEL works on."""
    return model.get_model_object("latent_format").latent_channels


def latent_has_frames(model: Any) -> bool:
    """Whether the MODEL works on 5-D latents, (B, C, frames, H, W)."""
    return model.get_model_object("latent_format").latent_dimensions == 3


def distilled_guidance(model: Any) -> bool:
    """Whether the MODEL was distilled to take its guidance scale as an input, as Flux dev was."""
    return bool(model.model.model_config.unet_config.get("guidance_embed", False))


def family(model: Any) -> str:
    """The kind of a MODEL, by the host's name for it."""
    return type(model.model.model_config).__name__


def base_of(model: Any) -> str:
    """What identifies the weights of a MODEL, though not the type it has them in nor the LoRAs on them.

    LoRAs are on matrices; what is looked at are the vectors, as bfloat16.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.model.diffusion_model.named_parameters()):
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        if weight.ndim == 1:
            few = weight.detach()[:8].to("cpu", torch.bfloat16)
            digest.update(str(few.tolist()).encode())
    return digest.hexdigest()[:32]


def noise_schedule(model: Any) -> tuple[str, tuple[float, ...]]:
    """The name of a MODEL's noising path, and its noise levels at the times `LEVELS_AT`."""
    sampling = model.get_model_object("model_sampling")
    levels = clock_of(sampling)(torch.tensor(LEVELS_AT, dtype=torch.float64))
    return path_of(sampling).name, tuple(levels.tolist())

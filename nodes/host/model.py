"""Facts about a MODEL: its noise path, schedules, clock and latents."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.supported_models
import torch
from torch import Tensor

from ...guidance.core.path import SCALED, NoisePath, flow_path
from ...guidance.networks.corrective.storage import LEVELS_AT
from .patches import title


def schedulers() -> list[str]:
    """The noise schedules that KSampler offers now, for a combo: packs that load later may add some."""
    return list(comfy.samplers.KSampler.SCHEDULERS)


_WITHOUT_NOISE = tuple(
    getattr(comfy.model_sampling, name)
    for name in ("IMG_TO_IMG", "IMG_TO_IMG_FLOW")
    if hasattr(comfy.model_sampling, name)
)
"""Parametrizations that start from an image instead of noise."""


def path_of(model_sampling: Any) -> NoisePath | None:
    """The noise path of a model's sampling, or None for an unsupported parametrization."""
    if isinstance(model_sampling, _WITHOUT_NOISE):
        return None
    if isinstance(model_sampling, comfy.model_sampling.CONST):
        return flow_path(getattr(model_sampling, "noise_scale", 1.0))
    if isinstance(model_sampling, (comfy.model_sampling.EPS, comfy.model_sampling.COSMOS_RFLOW)):
        return SCALED
    return None


def model_path(model: Any) -> NoisePath:
    """The noise path of a MODEL, including patches such as ModelSamplingSD3. Raises ValueError if unsupported."""
    path = path_of(model.get_model_object("model_sampling"))
    if path is None and path_of(model.model.model_sampling) is not None:
        raise ValueError(
            "A node between the checkpoint and this node sets a kind of sampling that is not supported: remove it, or, "
            "if it is ModelSamplingDiscrete, set its 'sampling' to eps or v_prediction, as the model needs."
        )
    if path is None:
        raise ValueError(
            f"The model family '{family(model)}' is not supported, because it does not turn noise into an image the "
            "way other models do. Use an image model with eps- or v-prediction or flow matching, such as SD1.5, SDXL, "
            "SD3 or Flux."
        )
    return path


def schedule(model: Any, scheduler: str, steps: int) -> Tensor:
    """The host's noise levels for a MODEL: (n + 1,), falling to 0, with n about `steps`, depending on the scheduler.

    Repeated levels are dropped. Raises ValueError where the levels do not fall, as with some schedulers for one step.
    """
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), scheduler, steps)
    sigmas = sigmas.unique_consecutive()
    if len(sigmas) < 2 or not (sigmas.diff() < 0).all() or sigmas[-1] != 0:
        raise ValueError(
            f"With this model, the scheduler '{scheduler}' gives no falling noise levels for {steps} steps: raise "
            "steps, or choose another scheduler."
        )
    return sigmas


def clock_of(model_sampling: Any) -> Callable[[Tensor], Tensor]:
    """Maps times t in [0, 1] (any shape), 0 clean and 1 pure noise, uniform in training time, to noise levels."""
    top = float(model_sampling.sigma_max)

    def sigma_at(t: Tensor) -> Tensor:
        levels = [min(float(model_sampling.percent_to_sigma(1 - time)), top) for time in t.flatten().tolist()]
        return t.new_tensor(levels).reshape(t.shape)

    return sigma_at


def signal_at(model: Any, t: float) -> float:
    """The share a of the image in what a MODEL sees at a time in [0, 1]: on flow models 0 at 1."""
    sigma = clock_of(model.get_model_object("model_sampling"))(torch.tensor(t, dtype=torch.float64))
    return float(model_path(model).a(sigma))


def full_range(model: Any) -> Tensor:
    """The highest noise level of a MODEL and 0, (2,), for algorithms that do not use a schedule of the host."""
    return torch.tensor([float(model.get_model_object("model_sampling").sigma_max), 0.0])


_RATIOS = ("downscale_ratio_spacial", "downscale_ratio_temporal")
"""Keys that newer hosts give an empty LATENT: the pixels and frames per latent cell that its size was computed for."""


def fitted_latent(model: Any, value: dict[str, Any]) -> Tensor:
    """A LATENT's tensor as KSampler samples it.

    If it is empty, it has the MODEL's channels and size; in any case a frame dimension if the MODEL has one.
    """
    fit = comfy.sample.fix_empty_latent_channels
    known = inspect.signature(fit).parameters
    return fit(model, value["samples"], **{name: value[name] for name in _RATIOS if name in value and name in known})


def sampled_latent(value: dict[str, Any], samples: Tensor) -> dict[str, Any]:
    """The LATENT `value` with new `samples`, whose size no longer depends on the model."""
    return {name: each for name, each in value.items() if name not in _RATIOS} | {"samples": samples}


def empty_latent(model: Any, count: int, height: int, width: int) -> Tensor:
    """A LATENT's tensor for `count` empty images of `height` x `width` latent cells."""
    return fitted_latent(model, {"samples": torch.zeros(count, 4, height, width)})


PIXELS_PER_CELL = {
    "ChromaRadiance": 1, "SC_B": 4, "Flux2": 16, "HunyuanVideo15": 16, "Wan22": 16, "HunyuanImage21": 32, "LTXV": 32,
    "SC_Prior": 42,
}  # fmt: skip
"""Side of a latent cell in pixels by latent format, for hosts that do not know it. Others have 8."""


def image_size(model: Any, samples: Tensor) -> tuple[int, int]:
    """Height and width in pixels of the images of a LATENT's tensor."""
    latents = model.get_model_object("latent_format")
    ratio = getattr(latents, "spacial_downscale_ratio", PIXELS_PER_CELL.get(type(latents).__name__, 8))
    height, width = samples.shape[-2:]
    return height * ratio, width * ratio


def latent_channels(model: Any) -> int:
    """The MODEL's number of latent channels."""
    return model.get_model_object("latent_format").latent_channels


def latent_has_frames(model: Any) -> bool:
    """Whether the MODEL's latents are 5-D, (B, C, frames, H, W)."""
    return model.get_model_object("latent_format").latent_dimensions == 3


def keeps_latent_shape(model: Any) -> bool:
    """Whether the MODEL works on latents of the shape that its VAE makes. HunyuanImage's refiner stacks frames."""
    latent_format = model.get_model_object("latent_format")
    sides = (1, 2, 2) if latent_has_frames(model) else (2, 2)
    samples = torch.zeros(1, latent_format.latent_channels, *sides)
    return latent_format.process_in(samples).shape == samples.shape


def distilled_guidance(model: Any) -> bool:
    """Whether the MODEL is guidance-distilled and takes a guidance scale as input, like Flux dev."""
    return bool(model.model.model_config.unet_config.get("guidance_embed", False))


def is_distilled(model: Any) -> bool:
    """Whether the MODEL is known to be distilled to few steps without guidance: Flux schnell, or one sampled as LCM.

    The weights of others (turbo, lightning) cannot be told from those that they were distilled from.
    """
    sampling = model.get_model_object("model_sampling")
    return family(model) == "FluxSchnell" or hasattr(sampling, "original_timesteps")


_OWN_SIZES: dict[Any, tuple[int, float, float]] = {
    comfy.supported_models.SD15: (512, 0, 3),  # no lower bound: small models of this family exist
    comfy.supported_models.SDXL: (1024, 1 / 3, 3),
}
"""By family: side of the images that it was trained on, and the range of areas, as shares of theirs, that go well."""


def size_far_from(model: Any, samples: Tensor) -> int | None:
    """The MODEL's own image size, if that of a LATENT's tensor is far from it. None as well where it is not known."""
    height, width = image_size(model, samples)
    for kind, (side, least, most) in _OWN_SIZES.items():
        if isinstance(model.model.model_config, kind):
            return None if least <= height * width / side**2 <= most else side
    return None


def family(model: Any) -> str:
    """The host's name for the MODEL's family, such as "SDXL"."""
    return type(model.model.model_config).__name__


def weights_digest(model: Any) -> str:
    """Identifies the checkpoint of a MODEL, whatever its weight dtype and LoRAs.

    Reads only vectors, which LoRAs leave alone, as bfloat16.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.model.diffusion_model.named_parameters()):
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        if weight.ndim == 1:
            few = weight.detach()[:8].to("cpu", torch.bfloat16)
            digest.update(str(few.tolist()).encode())
    return digest.hexdigest()[:32]


def noise_schedule(model: Any) -> tuple[str, tuple[float, ...]]:
    """The name of a MODEL's noise path, and its noise levels at the times `LEVELS_AT`."""
    sampling = model.get_model_object("model_sampling")
    levels = clock_of(sampling)(torch.tensor(LEVELS_AT, dtype=torch.float64))
    return model_path(model).name, tuple(levels.tolist())


def without_caches(model: Any) -> tuple[Any, list[str]]:
    """A MODEL without step caches (EasyCache and its like), and a sentence for the user if there were any.

    They replace model calls by earlier ones, as long as a sampler walks straight down.
    """
    found = [
        (kind, key)
        for kind, wrappers in model.wrappers.items()
        for key, functions in wrappers.items()
        if "cache" in key.lower() or any(_is_cache(function) for function in functions)
    ]
    call = model.model_options.get("model_function_wrapper")
    cached_calls = call is not None and _is_cache(call)
    if not found and not cached_calls:
        return model, []
    model = model.clone()
    for kind, key in found:
        model.remove_wrappers_with_key(kind, key)
    if cached_calls:
        del model.model_options["model_function_wrapper"]
    names = sorted({key for _, key in found} | ({title(call)} if cached_calls else set()))
    return model, [
        f"Ran without the step cache on the model ({', '.join(names)}): it reuses earlier model calls, which only "
        "works while a sampler walks straight down."
    ]


def _is_cache(function: Any) -> bool:
    return "cache" in f"{getattr(function, '__module__', '')}.{title(function)}".lower()

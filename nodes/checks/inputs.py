"""Checks of what schemas declare, and of images, masks, latents, prompts and VAEs, made before any work starts.

`check_...` only checks, `checked_...` also returns the value in the form that the work needs. Each raises ValueError
with a sentence that says what to do.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core import noise
from ...guidance.distillation.method import Config, Method
from ...guidance.distillation.objective import MIN_SIGNAL
from ...guidance.networks.translation.storage import Translator
from ...guidance.restoration.measurement import Measurement
from .. import host
from ..sockets import ObjectiveSocket
from ..widgets import OWN, UNSET

DEFAULT_DISTILLED_GUIDANCE = 3.5
"""The guidance that the host gives a guidance-distilled model if the conditioning sets none."""

NOTHING_FOUND = "Nodes that detect or filter give an empty batch when they find nothing."

# What a schema declares


def check_inputs_of(node: type[io.ComfyNode]) -> None:
    """Make a node's `execute` check its inputs against the schema before it does anything, and raise ValueError.

    Choices may also be linked to text. Those that the node's own `validate_inputs` names, such as files, are left to
    the node.
    """
    define, execute = (vars(node)[name].__func__ for name in ("define_schema", "execute"))
    latest = [define(node)]  # the host defines it again for every prompt, with the files and schedulers of that time
    own = [name for name in inspect.getfullargspec(node.validate_inputs).args if name != "cls"]
    names = list(inspect.signature(execute).parameters)[1:]

    @wraps(define)
    def define_schema(cls: type[io.ComfyNode]) -> io.Schema:
        latest[0] = define(cls)
        return latest[0]

    @wraps(execute)
    def checked_execute(cls: type[io.ComfyNode], *args: Any, **kwargs: Any) -> Any:
        _check_all(latest[0], own, {**dict(zip(names, args, strict=False)), **kwargs})
        return execute(cls, *args, **kwargs)

    checked: dict[str, Any] = {
        "define_schema": define_schema,
        "execute": checked_execute,
        "validate_inputs": _with_links(node.validate_inputs.__func__, own),
    }
    for name, method in checked.items():
        setattr(node, name, classmethod(method))


def _with_links(validate: Callable[..., bool | str], own: Sequence[str]) -> Callable[..., bool | str]:
    """`validate_inputs` that also checks the types of links, in place of the host."""

    def validate_all(cls: type[io.ComfyNode], *args: Any, input_types: Any = None, **values: Any) -> bool | str:
        schema = cls.define_schema()
        # With is_input_list, the host wraps these in a list as it does every value.
        types = input_types[0] if schema.is_input_list and input_types else input_types or {}
        return _misfit(schema, types) or (validate(cls, *args, **values) if own else True)

    # The host takes from the names of the parameters what to pass, and which of its own checks to leave out.
    names = ("cls", *own, "input_types")
    validate_all.__signature__ = inspect.Signature(  # pyright: ignore[reportFunctionMemberAccess]
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    return validate_all


def _misfit(schema: io.Schema, types: dict[str, Any]) -> str | None:
    """A sentence on the first link of a wrong type, if there is one."""
    declared = {each.id: str(each.get_io_type()) for each in schema.inputs}
    for name, received in types.items():
        if not host.link_fits(received, declared[name]):
            return _misfit_sentence(name, declared[name], received)
    return None


_CONVERSIONS = {
    ("IMAGE", "MASK"): "Convert Image to Mask",
    ("MASK", "IMAGE"): "Convert Mask to Image",
    ("IMAGE", "LATENT"): "VAE Encode",
    ("LATENT", "IMAGE"): "VAE Decode",
    ("STRING", "CONDITIONING"): "CLIP Text Encode",
    ("SVG", "IMAGE"): "SVG to Image",
    ("IMAGE", "SVG"): "Image to SVG",
}
"""The node that makes the second type of the first."""
_MAKERS = {
    "DS_MEASUREMENT": "Measurement",
    "DS_OBJECTIVE": "Posterior Latent Match",
    "DS_CORRECTIVE": "Load Manifold Corrective",
    "DS_CAMERAS": "Orbit Cameras",
    "SPLAT": "Load Splat",
}
"""A node that outputs a type that only this pack has, or old hosts do not have."""


def _misfit_sentence(name: str, needed: str, received: Any) -> str:
    given = received if isinstance(received, str) else "COMBO"  # older nodes have a list of choices as the type
    if needed == "COMBO":
        return f"Input '{name}' is a list, but {_with_article(given)} is connected: disconnect it and choose an option."
    between = _CONVERSIONS.get((given, needed))
    way = f"put the node {between} between them" if between else f"connect an output of type {needed}"
    if needed in _MAKERS:
        way += f", for example that of {_MAKERS[needed]}"
    return f"Input '{name}' needs {_with_article(needed)}, but {_with_article(given)} is connected: {way}."


def _with_article(name: str) -> str:
    return f"{'an' if name.startswith(('A', 'E', 'I', 'O', 'UP', 'SVG')) else 'a'} {name}"


def _check_all(schema: io.Schema, own: Sequence[str], values: dict[str, Any]) -> None:
    for each in schema.inputs:
        given = [] if each.id not in values else values[each.id] if schema.is_input_list else [values[each.id]]
        for value in given or []:
            if isinstance(each, io.Combo.Input):
                if each.id not in own:
                    check_choice(each.id, value, [str(option) for option in each.options or ()])
            elif value is not None:
                _check_one(each, value)


def _check_one(declared: io.Input, value: Any) -> None:
    name = declared.id
    if isinstance(declared, (io.Float.Input, io.Int.Input)):
        _check_number(name, value, declared)
    elif isinstance(declared, io.Image.Input):
        check_images(name, value)
    elif isinstance(declared, io.Mask.Input):
        check_masks(f"Input '{name}'", value)
    elif isinstance(declared, io.Latent.Input):
        _check_latents(name, value["samples"])
    elif isinstance(declared, io.Conditioning.Input):
        for embedding in (entry[0] for entry in value if isinstance(entry[0], Tensor)):
            check_finite(f"Input '{name}'", embedding)


def check_choice(name: str, value: Any, options: Sequence[str]) -> None:
    """Check that a value is one of the options of input `name`."""
    if value in options:
        return
    *others, last = (f"'{each}'" for each in options)
    choices = f"The options are {', '.join(others)} and {last}." if others else f"The only option is {last}."
    found = host.nearest(value, options)
    meant = "" if found is None else f"Did you mean '{found}'? "
    raise ValueError(f"'{value}' is not an option of '{name}'. {meant}{choices}")


def _check_number(name: str, value: Any, declared: io.Float.Input | io.Int.Input) -> None:
    """Check a number against the limits of its widget, which the host does not do for linked values."""
    low = -math.inf if declared.min is None else declared.min
    high = math.inf if declared.max is None else declared.max
    may_be_unset = low == declared.default == UNSET
    low = 0 if may_be_unset else low
    if low <= value <= high or (may_be_unset and value == UNSET):
        return
    shown = {math.inf: "infinite", -math.inf: "infinite"}.get(value, f"{value:g}")
    limits = f" of at least {low:g}" if high == math.inf else f" from {low:g} to {high:g}"
    unset = f" (or to {UNSET} for the default)" if may_be_unset else ""
    raise ValueError(
        f"Input '{name}' is {'NaN, which is not a number' if math.isnan(value) else shown}: set it to a number"
        f"{limits}{unset}, or check the node connected to it."
    )


def check_finite(name: str, value: Tensor) -> None:
    """Check that a tensor has no NaN or infinite values."""
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} contains NaN or infinite values: check the node connected to it.")


def check_images(name: str, value: Tensor) -> None:
    """Check that the IMAGE on input `name` has images with pixels, and finite values."""
    if value.ndim != 4:
        raise ValueError(
            f"Input '{name}' has {value.ndim} dimensions; images have 4 (batch, height, width, channels): check the "
            "node connected to it."
        )
    if not value.numel():
        count, height, width = value.shape[:3]
        raise ValueError(
            f"Input '{name}' is empty ({count} images of {width}x{height} pixels): connect an image, for example from "
            f"Load Image. {NOTHING_FOUND}"
        )
    check_finite(f"Input '{name}'", value)


def check_masks(name: str, value: Tensor, otherwise: str = "disconnect the input") -> None:
    """Check that a MASK, called `name` in messages, is (H, W), (B, H, W) or (B, 1, H, W), not empty, and finite.

    `otherwise` says how to do without one.
    """
    if value.ndim < 2 or any(side != 1 for side in value.shape[1:-2]):
        shape = "x".join(map(str, value.shape))
        raise ValueError(
            f"{name} has the shape {shape}, which is that of an image, not of masks (batch x height x width): put "
            "Convert Image to Mask before it, or check the node connected to it."
        )
    if not value.numel():
        height, width = value.shape[-2:]
        raise ValueError(
            f"{name} is empty ({len(value)} masks of {width}x{height} pixels): connect a mask, or {otherwise}. "
            f"{NOTHING_FOUND}"
        )
    check_finite(name, value)


def _check_latents(name: str, samples: Any) -> None:
    if samples is not None and samples.is_nested:  # refused by the nodes
        return
    if samples is None or not samples.numel():  # None is what VAE Encode makes of no images
        raise ValueError(
            f"Input '{name}' is an empty batch (0 latents): connect the latent of at least one image. {NOTHING_FOUND}"
        )
    if not torch.isfinite(samples).all():
        raise ValueError(
            f"Input '{name}' contains NaN or infinite values, often from a VAE in fp16: check the node connected to it."
        )


# Images


def color_channels(value: Tensor) -> Tensor:
    """An IMAGE's three color channels (B, H, W, 3) in float32."""
    colors = value[..., : 3 if value.shape[-1] >= 3 else 1].float()  # one or two channels: gray, with alpha
    return colors.expand(*colors.shape[:-1], 3)


# Masks


def checked_mask(value: Tensor | None, samples: Tensor) -> Tensor | None:
    """A MASK as (B or 1, 1, [1,] H, W) in [0, 1], any resolution but the proportions of `samples` (B, C, [1,] h, w)."""
    if value is None:
        return None
    return _fitted_mask(value, samples, "latent_image", None)


def checked_noise_mask(value: dict, samples: Tensor) -> Tensor | None:
    """The noise mask of the LATENT on input latent_image, like `checked_mask`, with something to change in it."""
    mask = value.get("noise_mask")
    if mask is None:
        return None
    check_masks("The noise mask of 'latent_image'", mask, "remove the node that sets it")
    if not (mask > 0).any():
        raise ValueError(
            "The noise mask of 'latent_image' is empty, so nothing may change: paint what to change in the Mask "
            "Editor, or remove the node that sets the mask."
        )
    return checked_mask(mask, samples)


def checked_hole(value: Tensor | None, images: Tensor) -> Tensor | None:
    """A MASK as a hole (B or 1, 1, H, W) in [0, 1] in `images` (B, 3, H, W), with something to fill in it."""
    if value is None:
        return None
    check_mask_not_empty(value)
    masks = _fitted_mask(value, images, "image", "pixels")
    return F.interpolate(masks, images.shape[-2:], mode="bilinear", antialias=True).clamp(0, 1)


def check_mask_not_empty(value: Tensor) -> None:
    """Check that a MASK has pixels above 0 for each image."""
    if (value.reshape(-1, value.shape[-2] * value.shape[-1]) <= 0).all(dim=1).any():
        raise ValueError(
            "The mask is empty: paint what to change in the Mask Editor, or invert the mask if you painted what to "
            "keep."
        )


def _fitted_mask(value: Tensor, samples: Tensor, name: str, unit: str | None) -> Tensor:
    """A MASK as (B or 1, 1, [1,] H, W) in [0, 1], checked to fit the tensor (B, C, [1,] h, w) of input `name`.

    `unit` is that of the tensor's sides. Without one, messages compare proportions alone.
    """
    masks = value.reshape(-1, 1, *(1,) * (samples.ndim - 4), *value.shape[-2:])
    if len(masks) not in (1, len(samples)):
        raise ValueError(
            f"The mask holds {len(masks)} masks but {name} holds {len(samples)} images: connect one mask, or one for "
            "each image."
        )
    (height, width), (rows, columns) = masks.shape[-2:], samples.shape[-2:]
    if not math.isclose(height / rows, width / columns, rel_tol=max(1 / rows, 1 / columns)):
        of_mask, of_image = _proportions((width, height), (columns, rows))
        size_of_image = "" if unit is None else f"{columns}x{rows} {unit}, "
        raise ValueError(
            f"The mask is {width}x{height} pixels, {of_mask}, but {name} is {size_of_image}{of_image}: crop or resize "
            "the mask like the image."
        )
    return masks.clamp(0, 1).float()


def _proportions(*sizes: tuple[int, int]) -> list[str]:
    """Aspect ratios (width, height) in numbers that one can compare, such as 1.5:1, with digits enough to differ."""
    for digits in (2, 3, 4, 5):
        ratios = [f"{max(size) / min(size):.{digits}f}".rstrip("0").rstrip(".") for size in sizes]
        named = [f"{each}:1" if w >= h else f"1:{each}" for each, (w, h) in zip(ratios, sizes, strict=True)]
        if len(set(named)) == len(named):
            break
    return named


# Latents


def checked_latent(
    model: Any, value: dict, *, needs_content: bool, name: str = "latent_image", otherwise: str = ""
) -> Tensor:
    """The float32 tensor of the image LATENT on input `name`: it fits the MODEL, and holds an image where it must.

    `otherwise` says how to do without an image, such as "set region to off".
    """
    if not host.keeps_latent_shape(model):
        raise ValueError(
            f"The model family '{host.family(model)}' is not supported, because its latents have another shape inside "
            "the model than outside. Use the model that makes images, not its refiner."
        )
    samples = host.fitted_latent(model, {**value, "samples": _single_tensor(name, value)})
    _check_single_frame(name, samples)
    if samples.ndim == 5 and not host.latent_has_frames(model):
        raise ValueError(
            f"{name} has a frame dimension but the model works on plain images: encode the image with the VAE that "
            "belongs to the model."
        )
    _check_channels(name, samples, host.latent_channels(model), "model works")
    if needs_content and not samples.any():
        raise ValueError(
            f"{name} is empty, so there is no image to start from: connect a VAE Encode node"
            f"{otherwise and f', or {otherwise}'}."
        )
    return samples.float()


def checked_translatable(translator: Translator, value: dict) -> Tensor:
    """The float32 tensor of the LATENT on input latent_image, which the translator can take."""
    samples = _single_tensor("latent_image", value)
    _check_single_frame("latent_image", samples)
    _check_channels("latent_image", samples, translator.about.channels, "translator works")
    return samples.float()


def _single_tensor(name: str, value: dict) -> Tensor:
    samples = value["samples"]
    if samples.is_nested:
        raise ValueError(
            f"{name} holds several latents in one, such as video with audio: connect the latent of one image instead."
        )
    return samples


def _check_single_frame(name: str, samples: Tensor) -> None:
    if samples.ndim not in (4, 5):
        raise ValueError(f"{name} has {samples.ndim} dimensions; an image latent has 4, or 5 with one frame.")
    if samples.ndim == 5 and samples.shape[2] != 1:
        raise ValueError(
            f"{name} has {samples.shape[2]} frames or layers, but this node works on single images: use one of them, "
            "or pass them as a batch of images."
        )


def _check_channels(name: str, samples: Tensor, channels: int, works: str) -> None:
    """As many channels as something `works` on."""
    if samples.shape[1] != channels:
        raise ValueError(
            f"{name} has {samples.shape[1]} channels but the {works} on {channels}: encode the image with the VAE that "
            "belongs to the model."
        )


def item_seeds(seed: int, value: dict, samples: Tensor) -> list[int]:
    """One seed for each item, by its place in the batch, or in the LATENT's `batch_index` where it has one."""
    places = list(value.get("batch_index", range(len(samples))))
    if len(places) != len(samples):
        raise ValueError(
            f"latent_image holds {len(samples)} images but its batch_index names {len(places)}: check the node that "
            "made the batch."
        )
    return noise.item_seeds(seed, places)


def checked_reference(model: Any, chosen: ObjectiveSocket, samples: Tensor) -> Tensor | None:
    """The float32 tensor that a method compares `samples` with, one or one for each, if it does."""
    if "reference" not in chosen.method.needs:
        return None
    name, value = chosen.reference_input, chosen.reference
    compared = None if value is None else checked_latent(model, value, needs_content=False, name=name)
    if compared is None or not compared.any():
        inputs = "latent_image or to reference_latent" if name == "latent_image" else name
        raise ValueError(
            f"The method '{chosen.method.name}' compares with a source image, and {name} is empty: connect the encoded "
            f"image to {inputs}."
        )
    if compared.shape[1:] != samples.shape[1:] or len(compared) not in (1, len(samples)):
        raise ValueError(
            f"{name} is {_size(compared)} but latent_image is {_size(samples)}: encode both from images of the same "
            "size, and give one reference or one for each image."
        )
    return compared


def _size(samples: Tensor) -> str:
    return f"{len(samples)} of {samples.shape[-1]}x{samples.shape[-2]} cells"


def check_autoencoder(model: Any, vae: Any) -> None:
    """Check that a VAE, if there is one, has the MODEL's latents."""
    if vae is None:
        return
    if vae.latent_channels != host.latent_channels(model):
        raise ValueError(
            f"The VAE makes latents of {vae.latent_channels} channels but the model works on "
            f"{host.latent_channels(model)}: connect the VAE that belongs to the model."
        )
    if (vae.latent_dim == 3) != host.latent_has_frames(model):
        raise ValueError(
            "Only one of VAE and model has latents with a frame dimension: connect the VAE that belongs to the model."
        )


def check_known(value: Measurement, node: str) -> None:
    """Check that nothing of the measurement's operator is left to fit, which only Proximal DreamSampler does."""
    if not value.operator.known:
        raise ValueError(
            f"The measurement is of an unknown blur, which {node} does not fit: restore the image with Proximal "
            "DreamSampler, which reports sigma, or set operator of Measurement to gaussian blur and sigma to a number "
            "that you know."
        )


# Prompts


def check_connected(name: str, value: Any, otherwise: str) -> None:
    """Check an input that is optional only with steps 0, which serves `otherwise`, such as "trace an image"."""
    if value is None:
        raise ValueError(
            f"Input '{name}' is not connected, and distillation needs it: connect it, or set steps to 0 to "
            f"{otherwise} without a model."
        )


def check_conditioning(name: str, value: Any) -> None:
    """Check that a CONDITIONING has at least one entry."""
    if not value:
        raise ValueError(f"The conditioning on input '{name}' is empty: connect a CLIP Text Encode node to it.")


def check_true_negative(model: Any, name: str, value: Any, otherwise: str = "") -> None:
    """Check that a guidance-distilled MODEL is used at guidance 1, or with guidance disabled.

    `otherwise` is a sentence on how to do without an unconditional prediction.
    """
    if not host.distilled_guidance(model):
        return
    guidances = (entry[1].get("guidance", DEFAULT_DISTILLED_GUIDANCE) for entry in value)
    for guidance in (g for g in guidances if g not in (None, 1.0)):
        raise ValueError(
            f"This model is guidance-distilled and input '{name}' has guidance {guidance:g}, so there is no "
            "unconditional prediction: add a FluxGuidance node with guidance 1.0 after every text encoder, or use a "
            f"model that is not guidance-distilled.{otherwise and f' {otherwise}'}"
        )


def check_prompts(model: Any, prompts: dict[str, Any]) -> None:
    """Check CONDITIONINGs, by input name: none is empty, and all suit the MODEL."""
    for name, value in prompts.items():
        check_conditioning(name, value)
        check_true_negative(model, name, value)


def prompts_by_input(chosen: ObjectiveSocket) -> dict[str, tuple[str, Any]]:
    """The input and the CONDITIONING of each kind of prompt, for messages."""
    return {kind: (chosen.prompt_inputs.get(kind, kind), prompt) for kind, prompt in chosen.conditionings.items()}


def check_objective(model: Any, chosen: ObjectiveSocket, config: Config) -> None:
    """Check that all prompts the method needs are connected, and suit the MODEL and its settings."""
    if "source" in chosen.method.needs and "source" not in chosen.conditionings:
        raise ValueError(_source_wanted(chosen.method))
    for name, value in prompts_by_input(chosen).values():
        check_conditioning(name, value)
        if chosen.method.needs_null(config):
            check_true_negative(model, name, value, _without_null(chosen.method, config))


def _source_wanted(method: Method) -> str:
    if method.source_preset is None:
        return (
            f"The method '{method.name}' needs a source prompt that describes the image as it is now: connect a "
            "conditioning to input 'source', for example from Text-Source Descriptor."
        )
    return (
        f"The method '{method.name}' needs a source prompt, the same for every image: connect the output source of "
        f"Text-Source Descriptor, with preset {method.source_preset}, to input 'source'."
    )


def _without_null(method: Method, config: Config) -> str:
    """A sentence on how a method does without the unconditional prompt, if its guidance scales decide that."""
    scales = [name for name in method.without_null or () if name.endswith("guidance_scale")]
    if method.needs_null(config.updated(dict.fromkeys(scales, 1.0))):
        return ""
    prompts = "after each prompt, such as 1.5 for the source prompt and 5.5 for the target prompt"
    return (
        f"Or set {' and '.join(scales)} to 1: then the method '{method.name}' needs no unconditional prediction, and "
        f"FluxGuidance nodes set the guidance {prompts if 'source' in method.needs else 'after the prompt'}."
    )


# Numbers


COUNTS = {"steps", "ode_steps", "lora_rank", "n_avg"}
"""Settings that must be at least 1."""
SIGNED = {"inversion_guidance_scale"}
"""Settings that may be negative. -1 is a value like any other for them, and their widget's default is the paper's."""


FIELDS = {
    "source_guidance_scale": ("source_guidance_scale", "source_prompt_weight"),
    "first_stage": ("sds_stage", "whole_image_stage"),
    "ode_steps": ("ode_steps", "inversion_steps"),
}
"""The settings that a widget of another name sets. Every other widget sets the setting of its own name."""


def with_settings(config: Config, values: dict[str, Any]) -> Config:
    """The settings with the values of widgets that are set, where the method has them. Raises ValueError."""
    fields = {field: value for name, value in checked_settings(values).items() for field in fields_of(name)}
    return config.updated({field: value for field, value in fields.items() if config.has(field)})


def fields_of(name: str) -> tuple[str, ...]:
    """The settings, of one method or another, that the widget `name` sets."""
    return FIELDS.get(name, (name,))


def checked_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that replace the paper's. -1 means unset."""
    given = {name: value for name, value in values.items() if name in SIGNED or value not in (UNSET, OWN)}
    for name in COUNTS & given.keys():
        if given[name] < 1:
            raise ValueError(f"{name} is {given[name]}: set it to 1 or more, or to -1 for the paper's value.")
    return given


def check_weighting(model: Any, config: Config) -> None:
    """Check that the weighting has a value at every noise level that the MODEL is asked at."""
    t_max = config.loop.t_max
    if config.loop.weighting == "snr" and host.signal_at(model, t_max) < MIN_SIGNAL:
        raise ValueError(
            f"The weighting snr is b / a, and infinite at t_max {t_max:g} of this model, where nothing of the "
            "image is left: set t_max to 0.98, or choose another weighting."
        )


def after_skip(skip: float, sigmas: Tensor) -> Tensor:
    """The schedule (n + 1,) without the share `skip` of its steps at the noisy end; at least one step is left."""
    skipped = round(skip * (len(sigmas) - 1))
    if skipped >= len(sigmas) - 1:
        raise ValueError(f"skip is {skip:g}, so none of the {len(sigmas) - 1} steps is left: lower it.")
    return sigmas[skipped:]

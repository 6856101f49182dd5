"""Small random models built from ComfyUI's own classes, and helpers that run the pack's nodes on them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ldm.flux.model
import comfy.ldm.models.autoencoder
import comfy.ldm.wan.vae
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.patcher_extension
import comfy.sd
import comfy.supported_models
import comfy.taesd.taesd
import pytest
import torch
from comfy.model_base import ModelType
from dreamsampler.guidance.editing.proximal import GammaSchedule, Renoise
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.nodes.distillation_sampler import DistillationSampler
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.edit import StartFrom
from torch import Tensor
from torch.nn import functional

Conditioning = list[list[Any]]
Latent = dict[str, Any]

TEXT_WIDTH, POOLED_WIDTH = 16, 8

_UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,
    "channel_mult": (1, 2),
    "num_res_blocks": [1, 1],
    "transformer_depth": [1, 0],
    "transformer_depth_output": [1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "use_temporal_attention": False,
    "context_dim": TEXT_WIDTH,
    "adm_in_channels": None,
    "legacy": False,
}
_MMDIT = {
    "in_channels": 16,
    "pos_embed_scaling_factor": None,
    "pos_embed_max_size": 8,
    "num_patches": 64,
    "input_size": None,
    "depth": 1,
    "num_blocks": 2,
    "adm_in_channels": POOLED_WIDTH,
    "context_embedder_config": {
        "target": "torch.nn.Linear",
        "params": {"in_features": TEXT_WIDTH, "out_features": 64},
    },
}
_FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "vec_in_dim": POOLED_WIDTH,
    "context_in_dim": TEXT_WIDTH,
    "hidden_size": 32,
    "mlp_ratio": 2.0,
    "num_heads": 2,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [4, 6, 6],
    "theta": 10000,
    "qkv_bias": True,
    "guidance_embed": False,
}
if "txt_ids_dims" in comfy.ldm.flux.model.FluxParams.__annotations__:  # which newer versions of ComfyUI require
    _FLUX["txt_ids_dims"] = []
_QWEN = {
    "image_model": "qwen_image",
    "in_channels": 64,
    "out_channels": 16,
    "num_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": TEXT_WIDTH,
    "axes_dims_rope": (4, 6, 6),
}


@dataclass(frozen=True, eq=False)
class Family:
    """A model family: its ComfyUI configuration and the shape (C, [1,] H, W) of one latent."""

    name: str
    config: type
    unet: dict[str, Any]
    shape: tuple[int, ...]
    flow: bool
    build: Callable[[Any], comfy.model_base.BaseModel] = field(default=lambda config: config.get_model({}))

    def __str__(self) -> str:
        return self.name


EPS = Family("eps", comfy.supported_models.SD15, _UNET, (4, 8, 8), False)
V = Family(
    "v",
    comfy.supported_models.SD15,
    _UNET,
    (4, 8, 8),
    False,
    lambda config: comfy.model_base.BaseModel(config, ModelType.V_PREDICTION),
)
SD3 = Family("sd3", comfy.supported_models.SD3, _MMDIT, (16, 8, 8), True)
FLUX = Family("flux", comfy.supported_models.FluxSchnell, _FLUX, (16, 8, 8), True)
FLUX_DISTILLED = Family(
    "flux-distilled", comfy.supported_models.Flux, {**_FLUX, "guidance_embed": True}, (16, 8, 8), True
)
QWEN = Family("qwen", comfy.supported_models.QwenImage, _QWEN, (16, 1, 8, 8), True)
"""The family whose latents have a frame dimension."""

FAMILIES = (EPS, V, SD3, FLUX, QWEN)


@cache
def tiny(family: Family, dtype: torch.dtype = torch.float32, gain: float = 1.0) -> comfy.model_patcher.ModelPatcher:
    """A MODEL with seeded random weights stored as `dtype`; `gain` multiplies the output of its last layer."""
    device = comfy.model_management.get_torch_device()
    config = family.config(family.unet)
    config.set_inference_dtype(dtype, comfy.model_management.unet_manual_cast(dtype, device))
    model = family.build(config)
    randomize(model.diffusion_model, seed=1)
    with torch.no_grad():
        for name, parameter in model.diffusion_model.named_parameters():
            if name.startswith(("out.2.", "final_layer.linear.", "proj_out.")):
                parameter.mul_(gain)
    offload = comfy.model_management.unet_offload_device()
    return comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=offload)


def randomize(module: torch.nn.Module, seed: int) -> None:
    """Fill all weights, which ComfyUI leaves uninitialized. Matrices preserve variance, scales are near 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim > 1:
                noise /= tensor.shape[1:].numel() ** 0.5
            else:
                noise = 0.1 * noise + (0.0 if name.endswith("bias") else 1.0)
            tensor.copy_(noise)


def copied(model: comfy.model_base.BaseModel) -> comfy.model_base.BaseModel:
    """A deep copy of a model that shares its configuration, which newer versions of ComfyUI cannot copy."""
    return copy.deepcopy(model, {id(model.model_config): model.model_config})


def cond(seed: int, **values: Any) -> Conditioning:
    """A CONDITIONING of four random tokens; `values` are added to its dictionary, as ComfyUI's nodes do."""
    generator = torch.Generator().manual_seed(1000 + seed)
    tokens = torch.randn(1, 4, TEXT_WIDTH, generator=generator)
    return [[tokens, {"pooled_output": torch.randn(1, POOLED_WIDTH, generator=generator), **values}]]


POSITIVE, NEGATIVE, SOURCE = cond(1), cond(2), cond(3)


def encoded(family: Family, count: int = 1, seed: int = 0, **keys: Any) -> Latent:
    """A LATENT of random images, about as large as encoded ones. Image i depends only on `seed` + i."""
    rows = [torch.randn(family.shape, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)]
    scale = getattr(family.config.latent_format(), "scale_factor", 1.0)
    return {"samples": torch.stack(rows) / scale, **keys}


def edit(
    model: comfy.model_patcher.ModelPatcher,
    latent: Latent,
    *,
    gamma_schedule: GammaSchedule = "constant",
    eta: float = 0.0,
    **settings: Any,
) -> tuple[Latent, Latent]:
    """Run Proximal DreamSampler like ComfyUI, in inference mode. Returns the edited and the inverted LATENT."""
    edited = restore(model, None, latent, None, gamma_schedule=gamma_schedule, eta=eta, **settings)
    return edited.latent, edited.start


def photo(count: int = 1, seed: int = 0, size: int = 64) -> Tensor:
    """An IMAGE of random smooth images in [0, 1]. Image i depends only on `seed` + i."""
    rows = [torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(seed + i)) for i in range(count)]
    return functional.interpolate(torch.stack(rows), (size, size), mode="bilinear").movedim(1, -1)


def square_hole(low: int = 16, high: int = 40, size: int = 64) -> Tensor:
    """A MASK (1, size, size) of a square hole, slightly off center."""
    mask = torch.zeros(1, size, size)
    mask[:, low:high, low + 8 : high + 8] = 1
    return mask


def measure(
    image: Tensor,
    operator: str = "inpaint",
    *,
    scale: int = 2,
    kernel_size: int = 9,
    sigma: float = 1.5,
    noise_std: float = 0.0,
    simulate: bool = True,
    seed: int = 0,
    **connected: Any,
) -> tuple[Measurement, Tensor]:
    """Run Measurement like ComfyUI, in inference mode. Returns its measurement and the observed IMAGE."""
    with torch.inference_mode():
        output = MeasurementNode.execute(
            image=image,
            operator=operator,
            scale=scale,
            kernel_size=kernel_size,
            sigma=sigma,
            noise_std=noise_std,
            simulate=simulate,
            seed=seed,
            **connected,
        )
    measurement, observed = output.args
    return measurement, observed


def hole(count: int = 1, seed: int = 0) -> Measurement:
    """Images with the hole of `square_hole`."""
    return measure(photo(count, seed), mask=square_hole())[0]


def hole_cells(family: Family) -> Tensor:
    """The hole of `hole` at latent resolution: the share of each cell."""
    return functional.avg_pool2d(square_hole()[:, None], 8).reshape(1, 1, *(1,) * (len(family.shape) - 3), 8, 8)


@dataclass(frozen=True)
class Restored:
    """The result of Proximal DreamSampler: two LATENTs, an IMAGE or its placeholder, and its notes."""

    latent: Latent
    start: Latent
    image: Any
    notes: list[str]

    @property
    def samples(self) -> Tensor:
        return self.latent["samples"]


def restore(
    model: comfy.model_patcher.ModelPatcher,
    vae: comfy.sd.VAE | None,
    latent: Latent,
    measurement: Measurement | None,
    *,
    positive: Conditioning = POSITIVE,
    negative: Conditioning = NEGATIVE,
    steps: int = 3,
    gamma: float = 1.0,
    gamma_schedule: GammaSchedule = "alpha_bar",
    eta: float = 0.5,
    renoise: Renoise = "unconditional",
    start_from: StartFrom = "inversion",
    scheduler: str = "normal",
    seed: int = 0,
    **optional: Any,
) -> Restored:
    """Run Proximal DreamSampler like ComfyUI, in inference mode, with a VAE and a measurement."""
    connected = {"vae": vae, "measurement": measurement, **optional}
    with torch.inference_mode():
        output = ProximalDreamSampler.execute(
            model=model,
            positive=positive,
            negative=negative,
            latent_image=latent,
            steps=steps,
            gamma=gamma,
            gamma_schedule=gamma_schedule,
            eta=eta,
            renoise=renoise,
            start_from=start_from,
            scheduler=scheduler,
            seed=seed,
            **{name: value for name, value in connected.items() if value is not None},
        )
    (restored, start, image), ui = output.args, output.ui
    assert isinstance(ui, dict)
    return Restored(restored, start, image, ui["text"])


OWN, UNSET = "method's own", -1
"""The values that select the method's own setting in Distillation Sampler: in a list, and as a number."""


def distill(
    model: comfy.model_patcher.ModelPatcher,
    latent: Latent,
    *,
    positive: Conditioning = POSITIVE,
    negative: Conditioning = NEGATIVE,
    source: Conditioning | None = SOURCE,
    method: str = "sds",
    steps: int = 3,
    learning_rate: float = UNSET,
    guidance_scale: float = UNSET,
    time_schedule: str = OWN,
    noise_policy: str = OWN,
    t_min: float = UNSET,
    t_max: float = UNSET,
    seed: int = 100,
    reference: Latent | None = None,
    objective: Any = None,
    vae: comfy.sd.VAE | None = None,
    ode_steps: int = 2,
    notes: list[str] | None = None,
    **fine: Any,
) -> tuple[Latent, dict[str, list[Any]]]:
    """Run Distillation Sampler like ComfyUI, in inference mode. Returns its LATENT and the values of each step.

    `fine` are its fine settings by name. None leaves an input unconnected. `notes` collects what the node tells.
    """
    connected = {"source": source, "reference_latent": reference, "objective": objective, "vae": vae}
    with torch.inference_mode():
        output = DistillationSampler.execute(
            model=model,
            positive=positive,
            negative=negative,
            latent_image=latent,
            method=method,
            steps=steps,
            learning_rate=learning_rate,
            guidance_scale=guidance_scale,
            time_schedule=time_schedule,
            noise_policy=noise_policy,
            t_min=t_min,
            t_max=t_max,
            seed=seed,
            ode_steps=ode_steps,
            **{name: value for name, value in connected.items() if value is not None},
            **fine,
        )
    (distilled,), ui = output.args, output.ui
    assert isinstance(ui, dict)
    (curve,) = ui["distillation"]
    if notes is not None:
        notes += ui["text"]
    return distilled, curve


def distilled(model: comfy.model_patcher.ModelPatcher, latent: Latent, **options: Any) -> Tensor:
    """The samples of the LATENT that Distillation Sampler returns."""
    return distill(model, latent, **options)[0]["samples"]


class Calls:
    """Counts the calls of a MODEL: `runs` is the number of sampling runs, `batches` the batch size of each call."""

    def __init__(self) -> None:
        self.runs = 0
        self.batches: list[int] = []

    def watch(self, model: comfy.model_patcher.ModelPatcher) -> comfy.model_patcher.ModelPatcher:
        """A clone of the MODEL whose calls are counted.

        They are counted as Torch Compile wraps them, because other wrappers may look at the noise level, and then items
        at different levels are predicted one by one.
        """

        def call(executor: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            self.batches.append(len(x))
            return executor(x, *args, **kwargs)

        def begin(_: comfy.model_patcher.ModelPatcher) -> None:
            self.runs += 1

        watched = model.clone()
        watched.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "torch.compile", call)
        watched.add_callback(comfy.patcher_extension.CallbacksMP.ON_PRE_RUN, begin)
        return watched


def refused(run: Callable[..., Any], family: Family, options: dict[str, Any], words: str, good: dict[str, Any]) -> str:
    """The error message of a node that refuses these options before it calls the model. It contains `words`.

    With the options `good` the node runs. The option "patch" changes the MODEL.
    """
    calls, options = Calls(), {"latent": encoded(family), **options}
    model = calls.watch(tiny(family))
    if "patch" in options:
        model = options.pop("patch")(model)
    with pytest.raises(ValueError, match=f"(?s){words}") as refusal:
        run(model, **options)
    assert (calls.runs, calls.batches) == (0, [])
    output = run(calls.watch(tiny(family)), encoded(family), **good)[0]
    assert output["samples"].isfinite().all()
    assert calls.runs == 1 and calls.batches
    return str(refusal.value)


def create_in_inference_mode(build: Callable[..., Any], *args: Any) -> Any:
    """A new model in inference mode, as ComfyUI's loaders create it. `build` is one of the cached functions here."""
    with torch.inference_mode():
        return build.__wrapped__(*args)  # type: ignore[attr-defined]


ApplyModel = Callable[..., Tensor]


def wrapped(
    model: comfy.model_patcher.ModelPatcher, wrap: Callable[[ApplyModel, dict[str, Any]], Tensor]
) -> comfy.model_patcher.ModelPatcher:
    """A clone of the MODEL that calls `wrap` in place of the model."""

    def call(apply_model: ApplyModel, arguments: Any) -> Tensor:  # clones would copy a method
        return wrap(apply_model, arguments)

    clone = model.clone()
    clone.set_model_unet_function_wrapper(call)
    return clone


def ask(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
    """Call the model with the arguments of a wrapper."""
    return apply_model(arguments["input"], arguments["timestep"], **arguments["c"])


@contextmanager
def untouched(*modules: torch.nn.Module) -> Iterator[None]:
    """Assert that the block leaves parameters and buffers unchanged, without gradients or hooks."""

    def tensors() -> dict[str, Tensor]:
        return {
            f"{i}.{name}": tensor
            for i, module in enumerate(modules)
            for named in (module.named_parameters(), module.named_buffers())
            for name, tensor in named
        }

    def forwards() -> list[Any]:
        return [part.__dict__.get("forward") for module in modules for part in module.modules()]

    before, own_forwards = tensors(), forwards()
    copies = {name: tensor.detach().clone() for name, tensor in before.items()}
    trained = {name: tensor.requires_grad for name, tensor in before.items()}
    yield
    after = tensors()
    assert forwards() == own_forwards
    assert after.keys() == before.keys()
    for name, tensor in after.items():
        assert tensor is before[name], f"{name} was replaced"
        assert torch.equal(tensor, copies[name]), f"{name} has changed"
        assert tensor.requires_grad == trained[name] and tensor.grad is None, f"{name} was trained"
    for module in modules:
        for part in module.modules():
            assert not (part._forward_hooks or part._forward_pre_hooks or part._backward_hooks)


_KL = {
    "embed_dim": 4,
    "ddconfig": {
        "double_z": True,
        "z_channels": 4,
        "resolution": 64,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}
_WAN = {
    "dim": 4,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
}
_AUTOENCODERS: dict[str, Callable[[], torch.nn.Module]] = {
    "taesd": comfy.taesd.taesd.TAESD,
    "taesd-16": lambda: comfy.taesd.taesd.TAESD(latent_channels=16),
    "kl": lambda: comfy.ldm.models.autoencoder.AutoencoderKL(**_KL),
    "wan": lambda: comfy.ldm.wan.vae.WanVAE(**_WAN),
}


@cache
def tiny_vae(kind: str, dtype: torch.dtype = torch.float32) -> comfy.sd.VAE:
    """A VAE with seeded random weights stored as `dtype`: "kl" and "taesd" have 4 channels, "wan" 16 and frames."""
    network = _AUTOENCODERS[kind]()
    randomize(network, seed=3)
    return comfy.sd.VAE(sd=network.state_dict(), config={"params": _KL} if kind == "kl" else None, dtype=dtype)


def autoencoder(vae: comfy.sd.VAE) -> Any:
    """The network of a VAE."""
    return vae.first_stage_model


@cache
def tiny_controlnet(hint_channels: int = 3) -> comfy.controlnet.ControlNet:
    """A CONTROL_NET for the eps-predicting family. 4 hint channels are an image and a mask."""
    device = comfy.model_management.get_torch_device()
    sizes = {k: v for k, v in _UNET.items() if k not in ("out_channels", "transformer_depth_output")}
    operations = comfy.ops.disable_weight_init
    model = comfy.cldm.cldm.ControlNet(
        hint_channels=hint_channels, num_heads=8, device=device, operations=operations, **sizes
    )
    randomize(model, seed=2)
    return comfy.controlnet.ControlNet(model, load_device=device)

"""ComfyUI as an oracle: its own predictions, and its nodes and hooks that affect sampling."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.hooks
import comfy.model_base
import comfy.model_management
import comfy.samplers
import comfy.utils
import pytest
import torch
from comfy.controlnet import ControlNet
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from dreamsampler.guidance.core.noise import item_seeds
from torch import Tensor

from support.tiny_models import NEGATIVE, Conditioning, Family, tiny_controlnet

HOST_NODES = importlib.import_module("nodes").NODE_CLASS_MAPPINGS


def assert_same(actual: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    """Equal up to the order of float32 operations over a trajectory."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance * expected.std().item())


def assert_differs(actual: Tensor, other: Tensor, fraction: float = 0.01) -> None:
    """Further apart than a fraction of the latent's standard deviation, which rounding cannot explain."""
    assert ((actual - other).std() / other.std()).item() > fraction


def assert_kept(actual: Tensor, source: Tensor) -> None:
    """Equal up to rounding by the latent's scale factor."""
    torch.testing.assert_close(actual, source, rtol=2e-6, atol=1e-6)


def halves(latent: Tensor) -> tuple[Tensor, Tensor]:
    """The left and the right half."""
    left, right = latent.chunk(2, dim=-1)
    return left, right


def same(first: Any, second: Any) -> bool:
    """Deep equality of socket values; tensors are compared by value."""
    if isinstance(first, Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second


class Draws:
    """Normal noise for a batch, a generator for each item."""

    def __init__(self, shape: torch.Size, seed: int):
        self.shape = shape
        self.generators = [torch.Generator().manual_seed(each) for each in item_seeds(seed, range(shape[0]))]

    def __call__(self, *levels: Tensor) -> Tensor:
        return torch.stack([torch.randn(self.shape[1:], generator=generator) for generator in self.generators])


@contextmanager
def no_fused_kernels() -> Iterator[None]:
    """Tells newer hosts that they train, so that they leave out fused kernels, which have no backward pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.model_management, "in_training", True, raising=False)
        yield


# ComfyUI's conditioning nodes


def left_half(width: int = 64) -> Tensor:
    """A MASK of the left half."""
    mask = torch.zeros(1, width, width)
    mask[..., : width // 2] = 1
    return mask


def set_mask(conditioning: Conditioning, mask: Tensor) -> Conditioning:
    """A prompt for a part of the image."""
    return HOST_NODES["ConditioningSetMask"]().append(conditioning, mask, "default", 1.0)[0]


def set_area(conditioning: Conditioning, top: int = 0) -> Conditioning:
    """A prompt for half of an image of 64 pixels: the rows from `top` on."""
    return HOST_NODES["ConditioningSetArea"]().append(conditioning, 64, 32, 0, top, 1.0)[0]


def set_range(conditioning: Conditioning, start: float, end: float) -> Conditioning:
    """A prompt for a part of sampling, from noise (0) to the image (1)."""
    return HOST_NODES["ConditioningSetTimestepRange"]().set_range(conditioning, start, end)[0]


def controlled(
    *prompts: Conditioning,
    hints: int = 1,
    seed: int = 4,
    end: float = 1.0,
    net: ControlNet | None = None,
    masks: Tensor | None = None,
) -> tuple[Conditioning, ...]:
    """Prompts that share one ControlNet, with one hint per image or one for all.

    With `masks` (B, 1, H, W) it is an inpainting ControlNet, which takes them together with its hints.
    """
    hint = torch.rand(hints, 64, 64, 3, generator=torch.Generator().manual_seed(seed))
    together = [entry for one in prompts for entry in one]
    apply = HOST_NODES["ControlNetApplyAdvanced"]().apply_controlnet
    net, extra = net or tiny_controlnet(3 if masks is None else 4), [] if masks is None else [masks]
    entries, _ = apply(together, [], net, hint, 0.8, 0.0, end, extra_concat=extra)
    rest = iter(entries)
    return tuple([next(rest) for _ in one] for one in prompts)


def one_each(*prompts: Conditioning) -> Conditioning:
    """One CONDITIONING with one prompt per batch item."""
    tokens, pooled = zip(*((entry[0], entry[1]["pooled_output"]) for (entry,) in prompts), strict=True)
    return [[torch.cat(tokens), {**prompts[0][0][1], "pooled_output": torch.cat(pooled)}]]


Prompts = dict[str, Conditioning]


def of_items(prompts: Prompts, count: int) -> list[Prompts]:
    """Each batch item's part of the CONDITIONINGs."""
    return [{name: _of_item(prompt, i) for name, prompt in prompts.items()} for i in range(count)]


def _of_item(conditioning: Conditioning, index: int) -> Conditioning:

    def row(value: Tensor) -> Tensor:
        return value[index % len(value)][None]

    def own(values: dict[str, Any]) -> dict[str, Any]:
        rows = {k: row(v) for k, v in values.items() if k in ("pooled_output", "mask")}
        if "control" in values:
            rows["control"] = controlled_by(values["control"])
        return {**values, **rows}

    def controlled_by(control: Any) -> Any:
        own = control.copy()
        own.cond_hint_original = row(control.cond_hint_original)
        own.extra_concat_orig = [row(each) for each in control.extra_concat_orig]
        before = control.previous_controlnet
        return own.set_previous_controlnet(None if before is None else controlled_by(before))

    return [[row(tokens), own(values)] for tokens, values in conditioning]


# ComfyUI's predictions

Predict = Callable[[Tensor, float, str], Tensor]
"""The clean estimate for the noisy latent (1, ...) of one image, at a noise level and with a named prompt."""

Formula = Callable[[int, Predict, Tensor], Tensor]
"""The result for image `i`, from ComfyUI's predictions and its clean latent (1, ...) in model scale."""


class _ByFormula(comfy.samplers.Sampler):
    def __init__(self, formula: Formula, index: int):
        self.formula, self.index = formula, index

    def sample(
        self,
        model_wrap,
        sigmas,
        extra_args,
        callback,
        noise,
        latent_image: Any = None,
        denoise_mask=None,
        disable_pbar=False,
    ):
        def predict(x: Tensor, sigma: float, name: str) -> Tensor:
            cond, level = model_wrap.conds[name], x.new_full((1,), sigma)
            options = extra_args["model_options"]
            (z0_hat,) = comfy.samplers.calc_cond_batch(model_wrap.inner_model, [cond], x, level, options)
            return z0_hat

        return self.formula(self.index, predict, latent_image)


def by_formula(model: ModelPatcher, samples: Tensor, prompts: list[Prompts], formula: Formula) -> Tensor:
    """The latents that a formula computes from ComfyUI's predictions, one image and prompt at a time."""
    rows = []
    for i, own in enumerate(prompts):
        guider = comfy.samplers.CFGGuider(model)
        guider.inner_set_conds(own)
        row = samples[i : i + 1]
        with torch.inference_mode():
            rows.append(
                guider.sample(torch.zeros_like(row), row, _ByFormula(formula, i), torch.tensor([1.0, 0.0]), seed=0)
            )
    return torch.cat(rows)


def level_at(model: ModelPatcher, t: float) -> float:
    """The noise level at a time in [0, 1], from ComfyUI's percentages, limited to the highest level."""
    sampling: Any = model.get_model_object("model_sampling")
    return min(float(sampling.percent_to_sigma(1 - t)), float(sampling.sigma_max))


def mix(family: Family, sigma: float) -> tuple[float, float]:
    """The shares a and b of image and noise at a noise level of ComfyUI."""
    return (1 - sigma if family.flow else 1.0), sigma


class Seen:
    """The model at one noise level: noisy latents `a z + b eps`, clean estimates and noise predictions."""

    def __init__(self, family: Family, predict: Predict, sigma: float):
        self.predict, self.sigma = predict, sigma
        self.a, self.b = mix(family, sigma)

    def noised(self, z: Tensor, eps: Tensor) -> Tensor:
        return self.a * z + self.b * eps

    def clean(self, x: Tensor, name: str) -> Tensor:
        return self.predict(x, self.sigma, name)

    def eps(self, x: Tensor, name: str) -> Tensor:
        return (x - self.a * self.clean(x, name)) / self.b

    def guided(self, x: Tensor, name: str, scale: float) -> Tensor:
        null = self.eps(x, "negative")
        return null + scale * (self.eps(x, name) - null)


# ComfyUI's patches and hooks

LORA_LAYER = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_v"


def tiny_lora() -> dict[str, Tensor]:
    """A LoRA for one layer of the eps-predicting family."""
    generator = torch.Generator().manual_seed(6)
    return {
        f"{LORA_LAYER}.lora_up.weight": torch.randn(32, 2, generator=generator),
        f"{LORA_LAYER}.lora_down.weight": torch.randn(2, 16, generator=generator),
    }


def negative_with_lora() -> dict[str, Conditioning]:
    """The negative prompt with a LoRA hook."""
    hooks = comfy.hooks.create_hook_lora(tiny_lora(), 0.5, 0.0)
    return {"negative": comfy.hooks.set_hooks_for_conditioning(NEGATIVE, hooks)}


def negative_with_masked_lora() -> dict[str, Conditioning]:
    """The negative prompt with a LoRA hook in the left half only."""
    lora = negative_with_lora()["negative"]
    return {"negative": set_mask(lora, left_half()) + set_mask(NEGATIVE, 1 - left_half())}


def with_model_type(model_type: ModelType) -> Callable[[ModelPatcher], ModelPatcher]:
    """A patch that replaces a MODEL's parametrization."""

    def patch(model: ModelPatcher) -> ModelPatcher:
        patched = model.clone()
        sampling = comfy.model_base.model_sampling(model.model.model_config, model_type)
        patched.add_object_patch("model_sampling", sampling)
        return patched

    return patch


@contextmanager
def progress_hook(hook: Callable[..., None]) -> Iterator[None]:
    """Receive progress events like the host's server, and all of them: newer hosts skip some that come too fast."""
    before = comfy.utils.PROGRESS_BAR_HOOK
    comfy.utils.set_progress_bar_global_hook(hook)
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("INTERVAL", "PERCENT"):
            patch.setattr(comfy.utils, f"PROGRESS_THROTTLE_MIN_{limit}", 0.0, raising=False)
        try:
            yield
        finally:
            comfy.utils.set_progress_bar_global_hook(before)

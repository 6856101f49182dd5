"""What users put between loader and sampler acts as in the host's samplers, or the node says that it does not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.hooks
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_differential_diffusion import DifferentialDiffusion
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode
from comfy_extras.nodes_model_advanced import RescaleCFG
from dreamsampler.guidance.distillation.objectives import LISTED
from support.corrective_nodes import spectral
from support.host_oracle import (
    assert_differs,
    assert_same,
    controlled,
    left_half,
    set_area,
    set_mask,
    set_range,
    tiny_lora,
)
from support.svg_nodes import vectorize
from support.tiny_models import (
    EPS,
    NEGATIVE,
    POSITIVE,
    SOURCE,
    Conditioning,
    ask,
    cond,
    distill,
    encoded,
    measure,
    photo,
    restore,
    square_hole,
    tiny,
    tiny_vae,
    wrapped,
)
from torch import Tensor

EDITS = {
    "inversion": {"start_from": "inversion"},
    "noise": {"start_from": "noise", "gamma": 2.5},
    "stochastic inversion": {"start_from": "stochastic inversion"},
}


def run(name: str, model: ModelPatcher, *, count: int = 1, notes: Any = None, **inputs: Any) -> Tensor:
    """The latent that an edit (by its start) or a distillation (by its method) makes. `notes` collects sentences."""
    latent = encoded(EPS, count)
    if name in EDITS:
        made = restore(model, None, latent, None, **{**EDITS[name], "gamma_schedule": "constant", **inputs})
        if notes is not None:
            notes += made.notes
        return made.samples
    corrective = {"corrective": spectral(EPS)} if name == "lmc" else {}
    return distill(model, latent, method=name, notes=notes, **{**corrective, **inputs})[0]["samples"]


@cache
def plain(name: str, **inputs: Any) -> Tensor:
    """What `run` makes of the model with nothing attached, computed once for all tests that compare with it."""
    return run(name, tiny(EPS), **inputs)


every_run = pytest.mark.parametrize("name", [*EDITS, *LISTED])


# Image-prompt adapters: 0 is the positive branch, 1 the negative


def adapted(model: ModelPatcher, tokens: Tensor) -> ModelPatcher:
    """A MODEL with a patch like IP-Adapter's: positive rows attend to `tokens`, negative rows to their own prompt."""

    def attend(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        branches = options["cond_or_uncond"]
        assert set(branches) <= {0, 1} and len(k) % len(branches) == 0
        chunks = zip(branches, k.chunk(len(branches)), strict=True)
        k = torch.cat([tokens.to(chunk).expand_as(chunk) if branch == 0 else chunk for branch, chunk in chunks])
        return q, k, k

    patched = model.clone()
    patched.set_model_attn2_patch(attend)
    return patched


@pytest.mark.parametrize("count", [1, 2])
@every_run
def test_an_adapter_acts_as_if_its_image_were_the_target_prompt(name: str, count: int):
    wanted = cond(9)
    adapter = adapted(tiny(EPS), wanted[0][0])
    expected = run(name, tiny(EPS), count=count, positive=wanted)
    assert_same(run(name, adapter, count=count), expected)
    assert_differs(plain(name, count=count), expected, 1e-3)


def test_an_adapter_acts_in_a_restoration():
    wanted, hole = cond(9), measure(photo(), "inpaint", mask=square_hole())[0]
    made = [
        restore(model, tiny_vae("kl"), encoded(EPS), hole, positive=positive).samples
        for model, positive in ((adapted(tiny(EPS), wanted[0][0]), POSITIVE), (tiny(EPS), wanted))
    ]
    assert_same(made[0], made[1])


@every_run
def test_wrappers_see_positive_prompts_as_0_and_all_others_as_1(name: str):
    seen: set[tuple[bool, int]] = set()

    def watch(apply_model: Callable[..., Tensor], arguments: dict[str, Any]) -> Tensor:
        told = arguments["c"]["transformer_options"]
        branches = arguments["cond_or_uncond"]
        assert told["cond_or_uncond"] == branches and len(told["uuids"]) == len(branches)
        for branch, prompts in zip(branches, arguments["c"]["c_crossattn"].chunk(len(branches)), strict=True):
            seen.update((bool((prompt == POSITIVE[0][0][0]).all()), branch) for prompt in prompts)
        return ask(apply_model, arguments)

    run(name, wrapped(tiny(EPS), watch), count=2)
    assert seen == ({(True, 0), (False, 1)})


@pytest.mark.parametrize("name", ["dds", "csd", "nfsd", "sds", "inversion"])
def test_a_controlnet_is_told_the_same(name: str):
    prompts: Any = dict(zip(("positive", "negative", "source"), controlled(POSITIVE, NEGATIVE, SOURCE), strict=True))
    net = prompts["positive"][0][1]["control"]
    told: list[tuple[int, list[int]]] = []
    asked = type(net).get_control

    class Watched(type(net)):
        def get_control(self, x: Tensor, t: Tensor, cond: Any, count: int, options: dict[str, Any]) -> Any:
            shown = cond["c_crossattn"].chunk(count)
            told.extend(
                (int((tokens == POSITIVE[0][0]).all()), options["cond_or_uncond"][i]) for i, tokens in enumerate(shown)
            )
            return asked(self, x, t, cond, count, options)

        def copy(self) -> Any:
            made = super().copy()
            made.__class__ = Watched
            return made

    for conditioning in prompts.values():
        for entry in conditioning:
            entry[1]["control"].__class__ = Watched
    run(
        name,
        tiny(EPS),
        count=2,
        **({} if name == "inversion" else {"source": prompts.pop("source")}),
        **{key: prompts[key] for key in ("positive", "negative")},
    )
    assert set(told) == {(1, 0), (0, 1)}


# Strengths over time


SPLIT = 0.4


def keyframed(conditioning: Conditioning, *strengths: float) -> Conditioning:
    """A CONDITIONING with a LoRA hook whose strength changes at equal parts of sampling."""
    keyframes = comfy.hooks.HookKeyframeGroup()
    for part, strength in enumerate(strengths):
        keyframes.add(comfy.hooks.HookKeyframe(strength, start_percent=part / len(strengths)))
    hooks = comfy.hooks.create_hook_lora(tiny_lora(), 0.5, 0.0)
    hooks.set_keyframes_on_hooks(keyframes)
    return comfy.hooks.set_hooks_for_conditioning(conditioning, hooks)


def by_ranges(conditioning: Conditioning, *strengths: float) -> Conditioning:
    """The same, as one CONDITIONING for each part, with hooks that do not change."""
    parts = []
    for part, strength in enumerate(strengths):
        hooks = comfy.hooks.create_hook_lora(tiny_lora(), 0.5 * strength, 0.0)
        made = comfy.hooks.set_hooks_for_conditioning(conditioning, hooks) if strength else conditioning
        parts += set_range(made, part / len(strengths), (part + 1) / len(strengths))
    return parts


@cache  # the strengths of the tests have parts in common
def hooked(name: str, change: Callable[..., Conditioning], *strengths: float) -> Tensor:
    """What `run` makes with hooks of these strengths on all prompts."""
    prompts: Any = {"positive": change(POSITIVE, *strengths), "negative": change(NEGATIVE, *strengths)}
    if name in EDITS:
        return run(name, tiny(EPS), **prompts, steps=4)
    source = change(SOURCE, *strengths)
    return run(name, tiny(EPS), count=2, **prompts, source=source, time_schedule="uniform")


@pytest.mark.parametrize("strengths", [(1.0, 0.0), (0.0, 1.0), (0.3, 1.0, 0.0, 0.6)], ids=str)
@pytest.mark.parametrize("name", ["inversion", "noise", "sds", "dds", "full bridge"])
def test_the_noise_level_alone_chooses_the_strength_of_a_hook(name: str, strengths: tuple[float, ...]):
    found = hooked(name, keyframed, *strengths)
    assert_same(found, hooked(name, by_ranges, *strengths))
    for strength in strengths:
        assert_differs(found, hooked(name, by_ranges, strength), 1e-4)


def test_keyframes_start_over_in_the_next_run():
    prompts: Any = {"positive": keyframed(POSITIVE, 1.0, 0.0), "negative": keyframed(NEGATIVE, 1.0, 0.0)}
    first, second = (run("inversion", tiny(EPS), **prompts) for _ in range(2))
    assert torch.equal(first, second)


# Patches that look at the noise level of the first item


def timed(model: ModelPatcher) -> ModelPatcher:
    """A MODEL with a patch that acts by the noise level, which the host tells of the first item."""

    def scale(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        return q, k, v * (1 + options["sigmas"][0].clamp(max=10) / 10)

    patched = model.clone()
    patched.set_model_attn2_patch(scale)
    return patched


@pytest.mark.parametrize("name", ["sds", "dds", "csd", "full bridge", "ism", "sdi"])
def test_each_item_of_a_batch_has_the_level_of_its_own_time(name: str):
    inputs: dict[str, Any] = {"time_schedule": "uniform", "seed": 7}
    together = run(name, timed(tiny(EPS)), count=3, **inputs)
    for item in range(3):
        latent = {"samples": encoded(EPS, 3)["samples"][item : item + 1], "batch_index": [item]}
        alone = distill(timed(tiny(EPS)), latent, method=name, **inputs)[0]["samples"]
        assert_same(together[item : item + 1], alone)


# Step caches


@pytest.mark.parametrize("node", [EasyCacheNode, LazyCacheNode])
@every_run
def test_step_caches_are_switched_off_and_named(node: Any, name: str, caplog: pytest.LogCaptureFixture):
    with torch.inference_mode():
        (model,) = node.execute(tiny(EPS), 0.9, 0.0, 1.0, False).args
    notes: list[str] = []
    assert torch.equal(run(name, model, notes=notes), plain(name))
    (note,) = notes
    assert note.startswith("Ran without the step cache on the model (") and "cache)" in note
    assert caplog.messages.count(note) == 1
    assert any("cache" in key for by_key in model.wrappers.values() for key in by_key)  # the user's MODEL keeps it


def test_svg_optimizer_tells_of_a_cache_too():
    with torch.inference_mode():
        (model,) = EasyCacheNode.execute(tiny(EPS), 0.9, 0.0, 1.0, False).args
    made = vectorize(model=model, steps=2)
    assert made.page_data["text"][0].startswith("Ran without the step cache on the model (easycache)")


def test_a_cache_around_the_models_calls_is_switched_off():
    def cached_forward(apply_model: Callable[..., Tensor], arguments: dict[str, Any]) -> Tensor:
        return torch.zeros_like(arguments["input"])

    model, notes = tiny(EPS).clone(), list[str]()
    model.set_model_unet_function_wrapper(cached_forward)  # pyright: ignore[reportArgumentType]
    cached_forward.__module__ = "ComfyUI-TeaCache.nodes"
    assert torch.equal(run("sds", model, notes=notes), plain("sds"))
    assert len(notes) == 1 and model.model_options["model_function_wrapper"] is cached_forward


# Patches of classifier-free guidance


def halved(model: ModelPatcher, kind: str) -> ModelPatcher:
    """A MODEL whose guidance is half as strong as asked for, by each of the host's ways."""
    patched = model.clone()
    if kind == "cfg":
        patched.set_model_sampler_cfg_function(
            lambda args: args["uncond"] + args["cond_scale"] / 2 * (args["cond"] - args["uncond"])
        )
    elif kind == "old cfg":
        patched.set_model_sampler_cfg_function(lambda cond, uncond, scale: uncond + scale / 2 * (cond - uncond))
    elif kind == "post":
        patched.set_model_sampler_post_cfg_function(lambda args: (args["denoised"] + args["uncond_denoised"]) / 2)
    else:

        def closer(args: dict[str, Any]) -> list[Tensor]:
            cond, uncond = args["conds_out"]
            return [(cond + uncond) / 2, uncond]

        patched.set_model_sampler_pre_cfg_function(closer)
    return patched


GUIDED: dict[str, dict[str, Any]] = {
    "inversion": {"gamma": 2.0},
    "noise": {"gamma": 2.0},
    "stochastic inversion": {"gamma": 2.0},
    "sds": {"guidance_scale": 10.0},
    "dreamsampler": {"guidance_scale": 7.5},
    "vsd": {"guidance_scale": 7.5},
    "ism": {"guidance_scale": 7.5},
    "sdi": {"guidance_scale": 7.5, "inversion_guidance_scale": -7.5},
    "full bridge": {"guidance_scale": 7.5},
    "dds": {"guidance_scale": 7.5, "source_guidance_scale": 5.0},
    "flowedit": {"guidance_scale": 7.5, "source_guidance_scale": 3.5},
    "dvrf": {"guidance_scale": 7.5, "source_guidance_scale": 3.5},
}
"""The runs whose equation is classifier-free guidance, with its strength."""


@pytest.mark.parametrize("kind", ["cfg", "old cfg", "post", "pre"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", GUIDED)
def test_patches_of_the_guidance_act_where_a_method_uses_it(name: str, kind: str, count: int):
    notes: list[str] = []
    more: Any = (
        {} if name in EDITS else {"time_schedule": "uniform", "optimizer": "sgd", "learning_rate_schedule": "constant"}
    )
    inputs: Any = {**GUIDED[name], **more}
    weaker: Any = {**{key: value / 2 for key, value in GUIDED[name].items()}, **more}
    found = run(name, halved(tiny(EPS), kind), count=count, notes=notes, **inputs)
    assert_same(found, plain(name, count=count, **weaker))
    assert_differs(found, plain(name, count=count, **inputs), 1e-4)
    assert notes == []


@pytest.mark.parametrize("name", [name for name in LISTED if name not in GUIDED])
def test_a_method_without_plain_guidance_says_that_the_patch_has_no_effect(name: str):
    notes: list[str] = []
    model = RescaleCFG().patch(tiny(EPS), 0.7)[0]
    assert torch.equal(run(name, model, notes=notes), plain(name))
    (note,) = notes
    assert note.startswith("No effect here: RescaleCFG.")


def test_the_first_stage_of_bridge_uses_the_patched_guidance():
    stage: Any = {"sds_stage": 1.0, "sds_guidance_scale": 20.0}
    notes: list[str] = []
    found = run("bridge", halved(tiny(EPS), "post"), notes=notes, **stage)
    assert_same(found, run("bridge", tiny(EPS), **{**stage, "sds_guidance_scale": 10.0}))
    assert notes == []


def test_a_restoration_says_that_the_patch_has_no_effect():
    blurred = measure(photo(), "gaussian blur")[0]
    model = RescaleCFG().patch(tiny(EPS), 0.7)[0]
    found, usual = (restore(each, tiny_vae("kl"), encoded(EPS), blurred) for each in (model, tiny(EPS)))
    assert torch.equal(found.samples, usual.samples)
    assert usual.notes == [] and found.notes[0].startswith("No effect here: RescaleCFG.")


def test_differential_diffusion_is_named():
    with torch.inference_mode():
        (model,) = DifferentialDiffusion.execute(tiny(EPS)).args
    notes: list[str] = []
    run("inversion", model, notes=notes, mask=square_hole())
    assert len(notes) == 1 and notes[0].startswith("No effect here: DifferentialDiffusion. It changes masks")


# Prompts for a part


def left(prompt: Conditioning) -> Conditioning:
    return set_mask(prompt, left_half())


def right(prompt: Conditioning) -> Conditioning:
    return set_mask(prompt, 1 - left_half())


def early(prompt: Conditioning) -> Conditioning:
    return set_range(prompt, 0.0, SPLIT)


def late(prompt: Conditioning) -> Conditioning:
    return set_range(prompt, SPLIT, 1.0)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("part, rest", [(left, right), (early, late)], ids=["mask", "range"])
@pytest.mark.parametrize("name", ["inversion", "noise", "sds", "dds", "csd", "vsd", "full bridge"])
def test_the_negative_stands_in_where_a_prompt_does_not_act(name: str, part: Any, rest: Any, count: int):
    more: Any = {} if name in EDITS else {"time_schedule": "uniform", "optimizer": "sgd"}
    found = run(name, tiny(EPS), count=count, positive=part(POSITIVE), **more)
    assert_same(found, run(name, tiny(EPS), count=count, positive=part(POSITIVE) + rest(NEGATIVE), **more))
    assert_differs(found, plain(name, count=count, **more), 1e-4)


@pytest.mark.parametrize("name", ["inversion", "sds", "dds"])
def test_the_positive_stands_in_where_the_negative_does_not_act(name: str):
    expected = run(name, tiny(EPS), negative=left(NEGATIVE) + right(POSITIVE))
    assert_same(run(name, tiny(EPS), negative=left(NEGATIVE)), expected)


def test_outside_the_area_of_a_prompt_only_the_negative_acts():
    inputs: Any = {"steps": 1, "optimizer": "sgd"}
    found = run("sds", tiny(EPS), positive=set_area(POSITIVE), **inputs)  # the upper half
    negative = run("sds", tiny(EPS), positive=NEGATIVE, **inputs)
    assert_same(found[..., 4:, :], negative[..., 4:, :])
    assert_differs(found[..., :4, :], negative[..., :4, :], 1e-4)


def test_a_restoration_has_gradients_where_its_prompt_does_not_act():
    blurred, vae = measure(photo(), "gaussian blur")[0], tiny_vae("kl")
    options: Any = {"consistency": "dps only", "dps_weight": 3.0}
    made = [
        restore(tiny(EPS), vae, encoded(EPS), blurred, negative=negative, **options).samples
        for negative in (left(NEGATIVE), left(NEGATIVE) + right(POSITIVE))
    ]
    assert_same(made[0], made[1])

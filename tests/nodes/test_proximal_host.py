"""Proximal DreamSampler compared with ComfyUI's own samplers, and with ComfyUI's conditioning, patches and hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.sd
import latent_preview
import numpy as np
import pytest
import torch
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from comfy_extras import nodes_model_advanced
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3
from dreamsampler.nodes.host.model import path_of
from support.host_oracle import (
    HOST_NODES,
    LORA_LAYER,
    Draws,
    assert_differs,
    assert_same,
    left_half,
    progress_hook,
    set_mask,
    tiny_lora,
    with_model_type,
)
from support.tiny_models import (
    EPS,
    FAMILIES,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    Calls,
    Conditioning,
    Family,
    V,
    cond,
    distill,
    edit,
    encoded,
    tiny,
    tiny_controlnet,
)
from torch import Tensor

STEPS = 4


def host_sampled(
    model: ModelPatcher,
    state: Tensor,
    sampler: str,
    *,
    sigmas: Tensor | None = None,
    cfg: float = 1.0,
    positive: Conditioning = POSITIVE,
    negative: Conditioning = NEGATIVE,
    callback: Callable[..., None] | None = None,
    **sampler_options: Any,
) -> Tensor:
    """Sample a noisy latent with one of ComfyUI's samplers, by default at the levels of the "normal" schedule."""
    path = model.get_model_object("model_sampling")
    if sigmas is None:
        sigmas = comfy.samplers.calculate_sigmas(path, "normal", STEPS)
    if isinstance(path, comfy.model_sampling.CONST):  # the state at the top is the noise alone
        state = model.model.process_latent_in(state)
        noise, latent = state / getattr(path, "noise_scale", 1.0), torch.zeros_like(state)
    else:
        noise, latent = torch.zeros_like(state), state
    with torch.inference_mode():
        return comfy.sample.sample_custom(
            model,
            noise,
            cfg,
            comfy.samplers.ksampler(sampler, sampler_options),
            sigmas,
            positive,
            negative,
            latent,
            callback=callback,
            disable_pbar=True,
        )


# The host's samplers


SAMPLERS = [
    ("guided", 0.0, "euler", FAMILIES),
    ("unconditional", 0.0, "euler_cfg_pp", FAMILIES),
    # For flow models, ComfyUI's sampler of this name adds noise in another way than DDIM.
    ("guided", 0.6, "euler_ancestral", (EPS, V)),
    ("guided", 1.0, "euler_ancestral", (EPS, V)),
    # ComfyUI's sampler ignores eta in the first step from pure noise and uses 1.
    ("unconditional", 0.6, "euler_ancestral_cfg_pp", (EPS, V)),
    ("unconditional", 1.0, "euler_ancestral_cfg_pp", FAMILIES),
]
"""The node's settings and the equivalent ComfyUI sampler, with the families for which they agree."""


def same_noise(shape: torch.Size, eta: float, seed: int) -> dict[str, Any]:
    """Options that make ComfyUI's ancestral samplers draw the same noise as the node."""
    if eta == 0:
        return {}
    draws = Draws(shape, seed)
    draws()
    return {"eta": eta, "noise_sampler": draws}


@pytest.mark.parametrize(
    ("family", "renoise", "eta", "sampler"),
    [(family, *names) for *names, families in SAMPLERS for family in families],
    ids=str,
)
def test_matches_comfyui_samplers(family: Family, renoise: str, eta: float, sampler: str):
    model, latent, seed = tiny(family), encoded(family, 2), 7
    edited, start = edit(model, latent, steps=STEPS, gamma=2.5, renoise=renoise, eta=eta, start_from="noise", seed=seed)
    noise = same_noise(latent["samples"].shape, eta, seed)
    assert_same(edited["samples"], host_sampled(model, start["samples"], sampler, cfg=2.5, **noise))


@pytest.mark.parametrize(
    ("family", "patch", "tolerance"),
    [
        # Its highest noise level is 4518, where float32 is coarse.
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", True)[0], 1e-3),
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "lcm", False)[0], 1e-4),
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "x0", False)[0], 1e-4),
        (SD3, lambda model: ModelSamplingSD3().patch(model, 9.0)[0], 1e-4),
        (EPS, with_model_type(ModelType.FLOW_COSMOS), 1e-4),
        pytest.param(
            SD3,
            lambda model: getattr(nodes_model_advanced, "ModelNoiseScale")().patch(model, 8.0)[0],  # noqa: B009
            1e-4,
            marks=pytest.mark.skipif(
                not hasattr(nodes_model_advanced, "ModelNoiseScale"), reason="This host has no noise scale."
            ),
        ),
    ],
    ids=["zero terminal SNR", "lcm", "x0", "shift", "cosmos", "noise scale"],
)
def test_respects_model_sampling_nodes(family: Family, patch: Callable[[ModelPatcher], ModelPatcher], tolerance: float):
    model, latent = patch(tiny(family)), encoded(family)
    edited, start = edit(model, latent, steps=STEPS, gamma=2.5, renoise="guided", start_from="noise")
    assert_same(edited["samples"], host_sampled(model, start["samples"], "euler", cfg=2.5), tolerance)
    plain, _ = edit(tiny(family), latent, steps=STEPS, gamma=2.5, renoise="guided", start_from="noise")
    assert_differs(edited["samples"], plain["samples"], 10 * tolerance)


UNSUPPORTED = {"IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM"}
"""The host's parametrizations that start from an image, and CogVideoX's."""


@pytest.mark.parametrize("model_type", list(ModelType), ids=lambda each: each.name)
@pytest.mark.parametrize("noise_scale", [1.0, 8.0])
def test_noise_paths_are_the_hosts(model_type: ModelType, noise_scale: float):
    sampling = comfy.model_base.model_sampling(tiny(SD3).model.model_config, model_type)
    if hasattr(sampling, "set_noise_scale"):
        sampling.set_noise_scale(noise_scale)
    path = path_of(sampling)
    if model_type.name in UNSUPPORTED:
        assert path is None
        return
    assert path is not None
    z0, eps = (encoded(SD3, seed=seed)["samples"].double() for seed in (0, 1))
    for level in (0.9, 0.2):
        sigma = torch.tensor([level], dtype=torch.float64)
        torch.testing.assert_close(path.noised(z0, eps, sigma), sampling.noise_scaling(sigma, eps.clone(), z0))


@pytest.mark.parametrize("value", [{}, {"spacial": 16}, {"spacial": 4}, {"temporal": 1}], ids=str)
@pytest.mark.parametrize("family", [EPS, QWEN], ids=str)
def test_an_empty_latent_gets_the_size_that_the_hosts_sampler_gives_it(family: Family, value: dict[str, int]):
    ratios = {f"downscale_ratio_{name}": each for name, each in value.items()}
    model, latent = tiny(family), {"samples": torch.zeros(2, 4, 8, 6), **ratios}
    with torch.inference_mode():
        (sampled,) = HOST_NODES["KSampler"]().sample(model, 0, 1, 1.0, "euler", "normal", POSITIVE, NEGATIVE, latent)
    edited, start = edit(model, latent, steps=1, start_from="noise")
    distilled, _ = distill(model, latent, steps=1)
    for each in (edited, start, distilled):
        assert each["samples"].shape == sampled["samples"].shape
        assert each.keys() == {"samples"}


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_start_from_noise_noises_the_source_with_the_seed(family: Family):
    model, latent = tiny(family), encoded(family, 2)
    _, start = edit(model, latent, steps=STEPS, start_from="noise", seed=7)
    sampling: Any = model.get_model_object("model_sampling")
    top = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)[0]
    z0, eps = model.model.process_latent_in(latent["samples"]), Draws(latent["samples"].shape, 7)()
    expected = sampling.noise_scaling(top, eps.clone(), z0)
    assert_same(start["samples"], model.model.process_latent_out(expected))


@pytest.mark.parametrize("family", [EPS, V], ids=str)
def test_inversion_matches_euler_run_upwards(family: Family):
    model, latent = tiny(family), encoded(family)
    _, inverted = edit(model, latent, steps=STEPS)
    sampling, scale = model.get_model_object("model_sampling"), model.model.latent_format.scale_factor
    rising = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS).flip(0)[1:]
    # The noise prediction at level 0 is that of the clean latent at the lowest level: one Euler step down shows it.
    down = torch.stack([rising[0], torch.zeros(())])
    z0 = latent["samples"]
    seen = (z0 - host_sampled(model, z0, "euler", sigmas=down, positive=NEGATIVE)) * scale
    first = z0 + seen / scale
    assert_same(inverted["samples"], host_sampled(model, first, "euler", sigmas=rising, positive=NEGATIVE))


# The host's conditioning


def left_only() -> tuple[Conditioning, Conditioning]:
    return set_mask(POSITIVE, left_half()) + set_mask(NEGATIVE, 1 - left_half()), NEGATIVE


def area() -> tuple[Conditioning, Conditioning]:
    (part,) = HOST_NODES["ConditioningSetArea"]().append(POSITIVE, 32, 64, 32, 0, 1.0)
    return part + cond(3), NEGATIVE


def early_then_late() -> tuple[Conditioning, Conditioning]:
    timed = HOST_NODES["ConditioningSetTimestepRange"]()
    return timed.set_range(POSITIVE, 0.0, 0.4)[0] + timed.set_range(cond(3), 0.4, 1.0)[0], NEGATIVE


def controlnet() -> tuple[Conditioning, Conditioning]:
    hint = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(4))
    apply = HOST_NODES["ControlNetApplyAdvanced"]().apply_controlnet
    return apply(POSITIVE, NEGATIVE, tiny_controlnet(), hint, 0.8, 0.0, 1.0)


@pytest.mark.parametrize("make", [left_only, area, early_then_late, controlnet])
@pytest.mark.parametrize(("renoise", "sampler"), [("guided", "euler"), ("unconditional", "euler_cfg_pp")])
def test_conditioning_options_act_as_in_comfyui_samplers(make: Callable, renoise: str, sampler: str):
    positive, negative = make()
    model, latent = tiny(V), encoded(V, 2)
    options = {"steps": STEPS, "gamma": 2.5, "renoise": renoise, "start_from": "noise"}
    edited, start = edit(model, latent, positive=positive, negative=negative, **options)
    expected = host_sampled(model, start["samples"], sampler, cfg=2.5, positive=positive, negative=negative)
    assert_same(edited["samples"], expected)
    plain, _ = edit(model, latent, **options)
    assert_differs(edited["samples"], plain["samples"])


def test_controlnet_on_the_negative_acts_in_the_inversion():
    _, negative = controlnet()
    model, latent = tiny(EPS), encoded(EPS)
    (_, with_control), (_, without) = edit(model, latent, negative=negative), edit(model, latent)
    assert_differs(with_control["samples"], without["samples"])


@pytest.mark.parametrize("family", [V, QWEN], ids=str)
def test_masked_prompt_edits_its_part_of_the_image(family: Family):
    model, latent = tiny(family), encoded(family)
    positive, _ = left_only()
    unedited, edited = (edit(model, latent, positive=positive, gamma=g)[0]["samples"] for g in (0.0, 1.0))
    left, right = (edited - unedited).abs().chunk(2, dim=-1)
    assert left.mean() > 0.02 * latent["samples"].std()
    assert right.mean() < 0.5 * left.mean()


# The host's patches


def test_lora_acts_like_merged_weights_and_is_removed_after():
    model, latent, lora = tiny(EPS), encoded(EPS), tiny_lora()
    before, _ = edit(model, latent)
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 0.5, 0.0)
    assert patched is not None
    with_lora, _ = edit(patched, latent)
    after, _ = edit(model, latent)
    assert torch.equal(before["samples"], after["samples"])
    assert_differs(with_lora["samples"], before["samples"])

    baked = tiny.__wrapped__(EPS)  # a second model with the same weights
    with torch.no_grad():
        up, down = lora.values()
        baked.model.get_parameter(f"{LORA_LAYER}.weight").add_(0.5 * up @ down)
    assert_same(with_lora["samples"], edit(baked, latent)[0]["samples"])


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
@pytest.mark.parametrize("start_from", ["inversion", "noise"])
def test_each_step_makes_one_batched_call(family: Family, start_from: str):
    calls = Calls()
    edit(calls.watch(tiny(family)), encoded(family, 3), steps=STEPS, eta=0.5, start_from=start_from)
    up = [3] * STEPS if start_from == "inversion" else []
    assert calls.batches == up + [6] * STEPS


def test_calc_cond_batch_patch_is_used():
    seen = []

    def halved(arguments: dict[str, Any]) -> list[Tensor]:
        seen.append(len(arguments["conds"]))
        options = {k: v for k, v in arguments["model_options"].items() if k != "sampler_calc_cond_batch_function"}
        model, conds, x, sigma = (arguments[name] for name in ("model", "conds", "input", "sigma"))
        return [0.5 * z0_hat for z0_hat in comfy.samplers.calc_cond_batch(model, conds, x, sigma, options)]

    model, latent = tiny(EPS), encoded(EPS)
    patched = model.clone()
    patched.set_model_sampler_calc_cond_batch_function(halved)
    edited, start = edit(patched, latent, steps=STEPS, gamma=2.5, renoise="guided", start_from="noise")
    assert seen == [2] * STEPS
    assert_same(edited["samples"], host_sampled(patched, start["samples"], "euler", cfg=2.5))


# The host's progress bar


@pytest.mark.parametrize(("start_from", "total"), [("inversion", 2 * STEPS), ("noise", STEPS)])
def test_progress_counts_every_step(start_from: str, total: int):
    seen = []
    with progress_hook(lambda value, total, preview, **_: seen.append((value, total, preview))):
        edit(tiny(EPS), encoded(EPS), steps=STEPS, start_from=start_from)
    assert seen == [(i + 1, total, None) for i in range(total)]


@pytest.mark.parametrize("family", [V, QWEN], ids=str)
def test_previews_match_comfyui_samplers(family: Family, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.Latent2RGB)
    ours, theirs = [], []
    model, options = tiny(family), {"steps": STEPS, "gamma": 2.5, "renoise": "guided"}
    with progress_hook(lambda value, total, preview, **_: ours.append(preview)):
        _, start = edit(model, encoded(family), start_from="noise", **options)
        edit(model, encoded(family), **options)
    with progress_hook(lambda value, total, preview, **_: theirs.append(preview)):
        callback = latent_preview.prepare_callback(model, STEPS)
        host_sampled(model, start["samples"], "euler", cfg=2.5, callback=callback)
    assert len(ours) == 3 * STEPS and {kind for kind, *_ in ours} == {"JPEG"}
    pixels = [np.asarray(image, dtype=int) for _, image, _ in ours]
    for mine, (_, image, _) in zip(pixels[:STEPS], theirs, strict=True):
        assert abs(mine - np.asarray(image, dtype=int)).max() <= 1
    assert all(image.shape == (8, 8, 3) and image.std() > 0 for image in pixels)


@pytest.mark.parametrize("stop_at", [2, STEPS + 2], ids=["inverting", "editing"])
def test_canceled_run_stops_and_does_not_affect_the_next(stop_at: int):
    calls = Calls()
    model, latent = calls.watch(tiny(EPS)), encoded(EPS)
    undisturbed, _ = edit(model, latent, steps=STEPS, eta=0.5)
    calls.batches.clear()

    def cancel(value: int, *_: Any, **__: Any) -> None:
        if value == stop_at:
            comfy.model_management.interrupt_current_processing(True)
        comfy.model_management.throw_exception_if_processing_interrupted()

    with progress_hook(cancel), pytest.raises(comfy.model_management.InterruptProcessingException):
        edit(model, latent, steps=STEPS, eta=0.5)
    assert len(calls.batches) == stop_at
    again, _ = edit(model, latent, steps=STEPS, eta=0.5)
    assert torch.equal(undisturbed["samples"], again["samples"])

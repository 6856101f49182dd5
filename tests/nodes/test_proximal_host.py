"""Proximal DreamSampler against the host's own samplers, which are its oracle, and through the host's own hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import comfy.model_management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.sd
import latent_preview
import numpy as np
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3
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
    edit,
    encoded,
    text,
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
    """What one of the host's samplers makes of a noisy latent, at the levels of the "normal" schedule."""
    path = model.get_model_object("model_sampling")
    if sigmas is None:
        sigmas = comfy.samplers.calculate_sigmas(path, "normal", STEPS)
    if isinstance(path, comfy.model_sampling.CONST):  # the state at the top is the noise alone
        noise, latent = model.model.process_latent_in(state), torch.zeros_like(state)
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
    # The host's flow sampler of this name mixes its noise in another way than DDIM.
    ("guided", 0.6, "euler_ancestral", (EPS, V)),
    ("guided", 1.0, "euler_ancestral", (EPS, V)),
    # The host's sampler takes any eta for 1 in the first step from pure noise.
    ("unconditional", 0.6, "euler_ancestral_cfg_pp", (EPS, V)),
    ("unconditional", 1.0, "euler_ancestral_cfg_pp", FAMILIES),
]
"""What the node's settings are called among the host's samplers, and for which families."""


def same_noise(shape: torch.Size, eta: float, seed: int) -> dict[str, Any]:
    """Options that make a host's ancestral sampler draw what the node draws after its start."""
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
def test_samples_as_the_hosts_samplers_do(family: Family, renoise: str, eta: float, sampler: str):
    model, latent, seed = tiny(family), encoded(family, 2), 7
    edited, start = edit(model, latent, steps=STEPS, gamma=2.5, renoise=renoise, eta=eta, start_from="noise", seed=seed)
    noise = same_noise(latent["samples"].shape, eta, seed)
    assert_same(edited["samples"], host_sampled(model, start["samples"], sampler, cfg=2.5, **noise))


@pytest.mark.parametrize(
    ("family", "patch", "tolerance"),
    [
        # The noise starts at level 4518 there, and a float32 of that size is a coarse one.
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", True)[0], 1e-3),
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "lcm", False)[0], 1e-4),
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "x0", False)[0], 1e-4),
        (SD3, lambda model: ModelSamplingSD3().patch(model, 9.0)[0], 1e-4),
    ],
    ids=["zero terminal SNR", "lcm", "x0", "shift"],
)
def test_follows_the_hosts_model_sampling_nodes(
    family: Family, patch: Callable[[ModelPatcher], ModelPatcher], tolerance: float
):
    model, latent = patch(tiny(family)), encoded(family)
    edited, start = edit(model, latent, steps=STEPS, gamma=2.5, renoise="guided", start_from="noise")
    assert_same(edited["samples"], host_sampled(model, start["samples"], "euler", cfg=2.5), tolerance)
    plain, _ = edit(tiny(family), latent, steps=STEPS, gamma=2.5, renoise="guided", start_from="noise")
    assert_differs(edited["samples"], plain["samples"], 10 * tolerance)


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_noise_start_is_the_source_noised_from_the_seed(family: Family):
    model, latent = tiny(family), encoded(family, 2)
    _, start = edit(model, latent, steps=STEPS, start_from="noise", seed=7)
    sampling: Any = model.get_model_object("model_sampling")
    top = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS)[0]
    z0, eps = model.model.process_latent_in(latent["samples"]), Draws(latent["samples"].shape, 7)()
    expected = sampling.noise_scaling(top, eps.clone(), z0)
    assert_same(start["samples"], model.model.process_latent_out(expected))


@pytest.mark.parametrize("family", [EPS, V], ids=str)
def test_inverts_as_the_hosts_euler_does_upwards(family: Family):
    model, latent = tiny(family), encoded(family)
    _, inverted = edit(model, latent, steps=STEPS)
    sampling, scale = model.get_model_object("model_sampling"), model.model.latent_format.scale_factor
    rising = comfy.samplers.calculate_sigmas(sampling, "normal", STEPS).flip(0)[1:]
    # The noise at level 0 is what the model sees in the clean latent at the lowest level: one Euler step down shows it.
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
    return part + text(3), NEGATIVE


def early_then_late() -> tuple[Conditioning, Conditioning]:
    timed = HOST_NODES["ConditioningSetTimestepRange"]()
    return timed.set_range(POSITIVE, 0.0, 0.4)[0] + timed.set_range(text(3), 0.4, 1.0)[0], NEGATIVE


def controlnet() -> tuple[Conditioning, Conditioning]:
    hint = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(4))
    apply = HOST_NODES["ControlNetApplyAdvanced"]().apply_controlnet
    return apply(POSITIVE, NEGATIVE, tiny_controlnet(), hint, 0.8, 0.0, 1.0)


@pytest.mark.parametrize("make", [left_only, area, early_then_late, controlnet])
@pytest.mark.parametrize(("renoise", "sampler"), [("guided", "euler"), ("unconditional", "euler_cfg_pp")])
def test_what_the_host_puts_on_conditioning_acts_as_in_its_samplers(make: Callable, renoise: str, sampler: str):
    positive, negative = make()
    model, latent = tiny(V), encoded(V, 2)
    options = {"steps": STEPS, "gamma": 2.5, "renoise": renoise, "start_from": "noise"}
    edited, start = edit(model, latent, positive=positive, negative=negative, **options)
    expected = host_sampled(model, start["samples"], sampler, cfg=2.5, positive=positive, negative=negative)
    assert_same(edited["samples"], expected)
    plain, _ = edit(model, latent, **options)
    assert_differs(edited["samples"], plain["samples"])


def test_a_controlnet_on_the_negative_acts_in_the_inversion():
    _, negative = controlnet()
    model, latent = tiny(EPS), encoded(EPS)
    (_, with_control), (_, without) = edit(model, latent, negative=negative), edit(model, latent)
    assert_differs(with_control["samples"], without["samples"])


@pytest.mark.parametrize("family", [V, QWEN], ids=str)
def test_a_masked_text_moves_its_part_of_the_picture(family: Family):
    model, latent = tiny(family), encoded(family)
    positive, _ = left_only()
    unedited, edited = (edit(model, latent, positive=positive, gamma=g)[0]["samples"] for g in (0.0, 1.0))
    left, right = (edited - unedited).abs().chunk(2, dim=-1)
    assert left.mean() > 0.02 * latent["samples"].std()
    assert right.mean() < 0.5 * left.mean()


# The host's patches


def test_a_lora_acts_as_if_in_the_weights_and_leaves_without_a_trace():
    model, latent, lora = tiny(EPS), encoded(EPS), tiny_lora()
    before, _ = edit(model, latent)
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 0.5, 0.0)
    assert patched is not None
    with_lora, _ = edit(patched, latent)
    after, _ = edit(model, latent)
    assert torch.equal(before["samples"], after["samples"])
    assert_differs(with_lora["samples"], before["samples"])

    baked = tiny.__wrapped__(EPS)  # a second model of the same weights
    with torch.no_grad():
        up, down = lora.values()
        baked.model.get_parameter(f"{LORA_LAYER}.weight").add_(0.5 * up @ down)
    assert_same(with_lora["samples"], edit(baked, latent)[0]["samples"])


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
@pytest.mark.parametrize("start_from", ["inversion", "noise"])
def test_one_batched_call_a_step(family: Family, start_from: str):
    calls = Calls()
    edit(calls.watch(tiny(family)), encoded(family, 3), steps=STEPS, eta=0.5, start_from=start_from)
    up = [3] * STEPS if start_from == "inversion" else []
    assert calls.batches == up + [6] * STEPS


def test_a_patch_of_the_batched_call_is_asked_and_heard():
    seen = []

    def halved(asked: dict[str, Any]) -> list[Tensor]:
        seen.append(len(asked["conds"]))
        options = {k: v for k, v in asked["model_options"].items() if k != "sampler_calc_cond_batch_function"}
        whole = comfy.samplers.calc_cond_batch(asked["model"], asked["conds"], asked["input"], asked["sigma"], options)
        return [0.5 * z0_hat for z0_hat in whole]

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
def test_previews_are_those_of_the_hosts_sampler(family: Family, monkeypatch: pytest.MonkeyPatch):
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
    assert all(shown.shape == (8, 8, 3) and shown.std() > 0 for shown in pixels)


@pytest.mark.parametrize("stop_at", [2, STEPS + 2], ids=["inverting", "editing"])
def test_a_cancelled_run_stops_there_and_the_next_is_undisturbed(stop_at: int):
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

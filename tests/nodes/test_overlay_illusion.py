"""Overlay Illusion on tiny models and VAEs: what it returns, prompts of views, memory, and what it refuses."""

from __future__ import annotations

import copy
import weakref
from functools import partial
from typing import Any

import comfy.model_management
import numpy as np
import pytest
import torch
from comfy_extras.nodes_model_advanced import RescaleCFG
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.distillation.compositions import ARRANGEMENTS, FINE_SHARES, Look
from dreamsampler.nodes.overlay_illusion import FROM_SCRATCH
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from dreamsampler.nodes.widgets import UNSET
from support.host_oracle import Seen, assert_differs, assert_same, by_formula, level_at, progress_hook, same, set_range
from support.illusions import PROMPTS, SIZE, VAES, illusion
from support.tiny_models import (
    EPS,
    NEGATIVE,
    QWEN,
    SD3,
    Calls,
    Family,
    V,
    autoencoder,
    cond,
    encoded,
    photo,
    tiny,
    tiny_vae,
    untouched,
    wrapped,
)
from torch import Tensor


def sheets(*args: Any, **options: Any) -> Tensor:
    return illusion(*args, **options).args[0]


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_it_returns_the_sheets_and_all_their_views(name: str):
    arrangement = ARRANGEMENTS[name]
    made, views = illusion(arrangement=name, steps=1).args
    assert made.shape == (arrangement.sheets, SIZE, SIZE, 3) and views.shape == (len(arrangement.views), SIZE, SIZE, 3)
    assert made.min() >= 0 and made.max() <= 1 and all((sheet - 0.5).abs().max() > 0.01 for sheet in made)
    planes, look = made.movedim(-1, 1), Look(3, arrangement.light)
    torch.testing.assert_close(views, torch.stack([view(planes, look).movedim(0, -1) for view in arrangement.views]))


LIGHTS = {"rotation overlay": 2.0, "hidden overlay of 2": 2.0, "hidden overlay": 3.0}


@pytest.mark.parametrize("name", LIGHTS)
def test_light_multiplies_the_stack_up_to_white(name: str):
    """A light of 1 shows the product of the sheets; the own light is that of the help page."""
    results = {light: illusion(arrangement=name, steps=1, light=light) for light in (1.0, LIGHTS[name], UNSET)}
    stack = 0 if name == "rotation overlay" else -1
    for light in (1.0, LIGHTS[name]):
        made, views = results[light].args
        torch.testing.assert_close(views[stack], (light * made.prod(0)).clamp(max=1))
    assert all(torch.equal(a, b) for a, b in zip(results[UNSET].args, results[LIGHTS[name]].args, strict=True))
    assert not torch.equal(results[UNSET].args[0], results[1.0].args[0])


def test_sheets_learn_at_0_02_which_falls_to_0_03_of_it():
    """Adam's first step is the learning rate; at most all four scales of changes add up."""
    start = torch.full((1, SIZE, SIZE, 3), 0.5)
    made = illusion(steps=1, start_sheets=start)
    moved = (made.args[0] - start).abs().max().item()
    assert moved == pytest.approx((sum(FINE_SHARES) + 2) * 0.02, rel=1e-3)
    assert "optimizer adam, learning rate schedule cosine to 0.03" in made.ui["distillation"][0]["used"]


@pytest.mark.parametrize("family", [V, SD3, QWEN], ids=str)
def test_every_family_changes_the_sheets_but_not_its_inputs(family: Family):
    inputs = copy.deepcopy(PROMPTS)
    with untouched(tiny(family).model, autoencoder(tiny_vae(VAES[family]))):
        made = illusion(family, "rotation overlay", steps=1)
    assert same(inputs, PROMPTS)
    assert all(norm > 0 for norm in made.ui["distillation"][0]["gradient_norm"][0])


@pytest.mark.parametrize("method", FROM_SCRATCH)
def test_every_method_works_with_source_prompts_of_views(method: str):
    own = sheets(method=method, source_1=cond(21), source_2=cond(22))
    assert own.isfinite().all() and (own - 0.5).abs().max() > 0.01
    if method in ("nfsd", "csd"):
        assert not torch.equal(own, sheets(method=method, source_1=cond(22), source_2=cond(21)))


def test_gradients_are_those_of_comfyuis_predictions_under_the_prompt_of_each_view():
    model, vae = tiny(EPS), tiny_vae("kl")
    start = torch.tensor([0.2, 0.5, 0.7]).expand(1, SIZE, SIZE, 3)  # the same wherever the view is moved
    curve = illusion(arrangement="rotate 90", steps=1, guidance_scale=3.0, start_sheets=start).ui["distillation"][0]
    images = start.expand(2, -1, -1, -1).movedim(-1, 1)
    encoder: Any = copy.deepcopy(autoencoder(vae)).float()
    latents = EPS.config.latent_format().process_in(encoder.encode(2 * images - 1)).detach()
    norms = []

    def formula(i: int, predict: Any, z: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(item_seeds(3, range(2))[i])
        t = 0.02 + 0.96 * torch.rand(1, generator=generator).item()
        assert curve["t"][0][i] == pytest.approx(t, abs=1e-6)
        seen = Seen(EPS, predict, level_at(model, t))
        eps = torch.randn(latents.shape[1:], generator=generator)[None]
        gradient = seen.guided(seen.noised(latents[i : i + 1], eps), "positive", 3.0) - eps
        norms.append((gradient.norm() * seen.sigma**2 / (1 + seen.sigma**2)).item())
        return z

    prompts = [{"positive": PROMPTS[f"conditioning_{i}"], "negative": NEGATIVE} for i in (1, 2)]
    by_formula(model, encoded(EPS, 2)["samples"], prompts, formula)
    assert curve["gradient_norm"][0] == pytest.approx(norms, rel=1e-3)


@pytest.mark.parametrize("method", ["sds", "vsd", "csd"])
def test_prompts_that_cannot_be_batched_give_the_same_result(method: str):
    """A prompt for the whole range of noise levels is the same prompt, but has a range, which the others lack."""
    apart = {"conditioning_2": set_range(PROMPTS["conditioning_2"], 0.0, 1.0)}
    assert_same(sheets(method=method, **apart), sheets(method=method), 1e-3)


@pytest.mark.parametrize("views_per_step", ["all", "in turn", "random"])
def test_a_step_takes_all_views_or_one(views_per_step: str):
    calls = Calls()
    illusion(arrangement="hidden overlay of 2", model=calls.watch(tiny(EPS)), views_per_step=views_per_step, steps=3)
    assert calls.batches == ([6] * 3 if views_per_step == "all" else [2] * 3)


def test_the_seed_decides_every_bit():
    first = sheets(arrangement="jigsaw", views_per_step="random")
    assert torch.equal(first, sheets(arrangement="jigsaw", views_per_step="random"))
    assert_differs(first, sheets(arrangement="jigsaw", views_per_step="random", seed=4))


def test_patches_of_the_models_guidance_act():
    patched = RescaleCFG().patch(tiny(EPS), 0.9)[0]
    made = illusion(model=patched)
    assert made.ui["text"] == []
    assert_differs(made.args[0], sheets())


def test_posterior_matching_starts_from_sheets_and_uses_the_prompts_of_views():
    with torch.inference_mode():
        (objective,) = PosteriorLatentMatch.execute(
            {"samples": torch.zeros(1, *EPS.shape)}, cond(1), cond(2), NEGATIVE, 7.5, "official", 2.0
        ).args
    for views_per_step in ("all", "in turn"):
        options = {"objective": objective, "start_sheets": photo(1, size=SIZE), "views_per_step": views_per_step}
        made = sheets(source_1=cond(21), source_2=cond(22), **options)
        assert_differs(made, photo(1, size=SIZE), 0.001)
        assert_differs(made, sheets(source_1=cond(21), source_2=cond(23), **options), 0.001)


def test_dreamsampler_adds_fresh_noise():
    """Each view moves, so that the noise that the model found in the step before is not that of the same pixels."""
    made = illusion(method="dreamsampler", guidance_scale=7.5)
    assert "noise policy fresh" in made.ui["distillation"][0]["used"]


def test_a_run_continues_from_its_own_sheets():
    made = sheets(arrangement="hidden overlay of 2", steps=1)
    on = sheets(arrangement="hidden overlay of 2", steps=1, start_sheets=made, learning_rate=1e-4)
    assert_same(on, made, 0.01)


# Memory, errors, canceling


@pytest.mark.parametrize("part", ["encode", "backward"])
def test_low_memory_encodes_one_view_at_a_time_with_the_same_result(part: str, monkeypatch: pytest.MonkeyPatch):
    free = sheets(arrangement="rotation overlay")
    network = autoencoder(tiny_vae("kl"))
    encode, sizes, graphs = network.encode, [], list[weakref.ref]()

    def full(gradient: Tensor | None = None) -> None:
        raise comfy.model_management.OOM_EXCEPTION("Allocation on device")

    def short(x: Tensor) -> Tensor:
        sizes.append(len(x))
        assert not any(graph() for graph in graphs)  # what did not fit is gone
        if len(x) > 1 and part == "encode":
            full()
        latents = encode(x)
        if len(x) > 1 and latents.requires_grad:
            hook = partial(full)
            latents.register_hook(hook)
            graphs.append(weakref.ref(hook))
        return latents

    monkeypatch.setattr(network, "encode", short)
    made = illusion(arrangement="rotation overlay")
    assert_same(made.args[0], free, 1e-3)
    assert [note for note in made.ui["text"] if "one view at a time" in note] == made.ui["text"] != []
    assert sizes.count(4) == 1


def test_a_canceled_run_shows_its_views_and_leaves_nothing_behind():
    undisturbed, shown = sheets(arrangement="rotation overlay", steps=3), []

    def cancel(value: int, total: int, preview: Any, **_: Any) -> None:
        shown.append((value, total, None if preview is None else np.asarray(preview[1]).shape))
        if len(shown) == 1:
            comfy.model_management.interrupt_current_processing(True)

    with untouched(tiny(EPS).model, autoencoder(tiny_vae("kl"))), progress_hook(cancel):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            illusion(arrangement="rotation overlay", steps=3)
    assert shown == [(1, 3, (2 * SIZE, 2 * SIZE, 3))] * 2  # two rows of two, and again at the end
    assert torch.equal(undisturbed, sheets(arrangement="rotation overlay", steps=3))


def test_a_prediction_that_is_no_number_stops_the_run():
    model = wrapped(tiny(EPS), lambda apply, arguments: torch.full_like(arguments["input"], float("nan")))
    with pytest.raises(ValueError, match="NaN or infinite at step 1 of 2"):
        illusion(model=model)


def test_prompts_that_no_view_uses_are_named():
    (note,) = illusion(conditioning_3=cond(1), conditioning_4=cond(2)).ui["text"]
    assert "'conditioning_3' and 'conditioning_4'" in note


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arrangement": "rotation overlay", "conditioning_3": None}, "4 views.*'conditioning_3'"),
        ({"source_1": cond(1)}, "'source_2'.*none of"),
        ({"conditioning_2": []}, "'conditioning_2' is empty"),
        ({"size": 44}, "multiples of 8 pixels: set it to 40, or to 48"),
        ({"arrangement": "hidden overlay", "start_sheets": photo(3, size=SIZE)}, "3 images.*4 sheets"),
        ({"arrangement": "spiral"}, "spiral"),
        ({"guidance_scale": -0.5}, "guidance_scale"),
        ({"vae": tiny_vae("taesd-16")}, "VAE"),
    ],
)
def test_it_refuses_in_a_sentence_before_any_model_call(options: dict[str, Any], words: str):
    calls = Calls()
    with pytest.raises(ValueError, match=f"(?s){words}"):
        illusion(**{"arrangement": "flip", "model": calls.watch(tiny(EPS)), **options})
    assert calls.runs == 0

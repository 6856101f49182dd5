"""Stochastic inversion and the skip input of Proximal DreamSampler, on tiny models of every family."""

from __future__ import annotations

import comfy.samplers
import pytest
import torch
from support.host_oracle import assert_differs, assert_same
from support.tiny_models import EPS, FAMILIES, NEGATIVE, SD3, Calls, Family, edit, encoded, tiny

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)
STOCHASTIC = {"start_from": "stochastic inversion", "steps": 6}


@every_family
@pytest.mark.parametrize("skip", [0.0, 0.5])
def test_gamma_zero_returns_the_source(family: Family, skip: float):
    latent = encoded(family, 2)
    returned, _ = edit(tiny(family), latent, gamma=0.0, skip=skip, **STOCHASTIC)
    error = (returned["samples"] - latent["samples"]).abs().max() / latent["samples"].std()
    print(f"{family}, skip {skip}: {error:.1e}")
    assert error < 2e-4


@every_family
def test_identical_prompts_return_the_source_at_any_gamma(family: Family):
    latent = encoded(family)
    returned, _ = edit(tiny(family), latent, gamma=7.5, positive=NEGATIVE, **STOCHASTIC)
    assert_same(returned["samples"], latent["samples"], 1e-3)


@every_family
def test_edit_differs_from_the_source_and_depends_on_the_seed(family: Family):
    latent, model = encoded(family), tiny(family)
    edited, again, other = (edit(model, latent, gamma=7.5, seed=seed, **STOCHASTIC)[0]["samples"] for seed in (1, 1, 2))
    assert torch.equal(edited, again)
    assert_differs(edited, latent["samples"])
    assert_differs(edited, other)


def test_batch_matches_single_images():
    latent, model = encoded(SD3, 3), tiny(SD3)
    together, _ = edit(model, latent, gamma=5.0, seed=4, skip=0.3, **STOCHASTIC)
    for i in range(3):
        single = {"samples": latent["samples"][i : i + 1], "batch_index": [i]}
        alone, _ = edit(model, single, gamma=5.0, seed=4, skip=0.3, **STOCHASTIC)
        assert_same(together["samples"][i : i + 1], alone["samples"])


def test_mask_keeps_the_source_outside():
    latent, mask = encoded(EPS), torch.zeros(1, 8, 8)
    mask[..., 4:] = 1
    edited, _ = edit(tiny(EPS), latent, gamma=7.5, mask=mask, **STOCHASTIC)
    assert_same(edited["samples"][..., :4], latent["samples"][..., :4], 1e-6)
    assert_differs(edited["samples"][..., 4:], latent["samples"][..., 4:])


@pytest.mark.parametrize("start_from, calls", [("noise", [2]), ("inversion", [1, 2]), ("stochastic inversion", [1, 2])])
def test_skip_omits_the_noisiest_steps(start_from: str, calls: list[int]):
    counted = Calls()
    model = counted.watch(tiny(EPS))
    _, start = edit(model, encoded(EPS), steps=10, skip=0.36, start_from=start_from)
    assert counted.batches == [size for size in calls for _ in range(6)]
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 10)
    if start_from != "inversion":
        noise = model.model.process_latent_in(start["samples"]) - model.model.process_latent_in(encoded(EPS)["samples"])
        assert noise.std().item() == pytest.approx(sigmas[4].item(), rel=0.2)


def test_skipping_every_step_is_rejected():
    counted = Calls()
    with pytest.raises(ValueError, match="skip is 1, so none of the 5 steps is left: lower it."):
        edit(counted.watch(tiny(EPS)), encoded(EPS), steps=5, skip=1.0)
    assert not counted.batches

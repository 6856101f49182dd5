"""Find Edit Region on small random models of every family, compared with FlowEdit on ComfyUI's own predictions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.editing.region import relative, soft_mask
from dreamsampler.nodes.find_edit_region import FindEditRegion
from support.host_oracle import Predict, Seen, assert_differs, assert_same, by_formula, level_at, same
from support.tiny_models import (
    EPS,
    FAMILIES,
    FLUX_DISTILLED,
    POSITIVE,
    SD3,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    Latent,
    encoded,
    tiny,
)
from torch import Tensor
from torch.nn import functional

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)
STEPS = 5


def find(
    model: ModelPatcher,
    latent: Latent,
    *,
    positive: Conditioning = POSITIVE,
    source: Conditioning = SOURCE,
    steps: int = STEPS,
    threshold: float = 0.55,
    softness: float = 0.3,
    seed: int = 3,
) -> tuple[Tensor, Tensor]:
    """The mask and the heat map, run like ComfyUI in inference mode."""
    with torch.inference_mode():
        output = FindEditRegion.execute(model, positive, source, latent, steps, threshold, softness, seed)
    return output.args[0], output.args[1]


@every_family
def test_mask_follows_flowedit_without_guidance(family: Family):
    model, latent, count = tiny(family), encoded(family, 2), 2
    energies = []

    def formula(i: int, predict: Predict, z: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(item_seeds(3, [i])[0])
        times = [0.66 * (1 - step / STEPS) for step in range(STEPS)]
        levels = [Seen(family, predict, level_at(model, t)) for t in times]
        source, differences = z, []
        flow_times = [*(each.b / (each.a + each.b) for each in levels), 0.0]
        for seen, now, after in zip(levels, flow_times, flow_times[1:]):
            eps = torch.randn(family.shape, generator=generator)[None]
            q = seen.noised(source, eps)
            p = q + (seen.a + seen.b) * (z - source)
            one, other = (seen.eps(x, name) - seen.clean(x, name) for x, name in ((p, "positive"), (q, "source")))
            differences.append(one - other)
            z = z + (after - now) * (one - other)
        energies.append(sum(differences[1:4]).norm(dim=1).reshape(1, 8, 8))  # type: ignore[union-attr]
        return z

    by_formula(model, latent["samples"], [{"positive": POSITIVE, "source": SOURCE}] * count, formula)
    expected = soft_mask(relative(torch.cat(energies)), 0.55, 0.3)
    mask, heat = find(model, latent)
    assert mask.shape == (2, 64, 64) and heat.shape == (2, 64, 64, 3)
    assert_same(mask, functional.interpolate(expected[:, None], (64, 64), mode="bilinear")[:, 0], 5e-3)
    assert expected.std() > 0.1


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
def test_batch_matches_single_images_and_seed_decides(family: Family):
    model = tiny(family)
    together, heat = find(model, encoded(family, 3))
    for i in range(3):
        alone, own = find(model, encoded(family, seed=i, batch_index=[i]))
        assert_same(together[i : i + 1], alone, 5e-3)
        assert_same(heat[i : i + 1], own, 5e-3)
    assert torch.equal(together, find(model, encoded(family, 3))[0])
    assert_differs(together, find(model, encoded(family, 3), seed=4)[0], 0.01)


def test_a_step_is_one_call_of_two_predictions():
    calls = Calls()
    find(calls.watch(tiny(EPS)), encoded(EPS, 2), steps=7)
    assert calls.batches == [4] * 7


def test_guidance_that_is_distilled_is_no_obstacle():
    mask, _ = find(tiny(FLUX_DISTILLED), encoded(FLUX_DISTILLED))
    assert mask.isfinite().all() and mask.std() > 0.1


def test_inputs_are_unchanged():
    latent = encoded(SD3, 2)
    before = {"samples": latent["samples"].clone()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    find(tiny(SD3), latent)
    assert same(latent, before) and torch.equal(torch.get_rng_state(), state)


def test_equal_prompts_give_an_empty_mask_and_a_note():
    with torch.inference_mode():
        output = FindEditRegion.execute(tiny(EPS), SOURCE, SOURCE, encoded(EPS), 3, 0.55, 0.08, 0)
    assert output.args[0].max() < 0.002
    assert output.ui == {
        "text": ["No edit region was found: the model predicts the same with source and target prompt."]
    }


def test_heat_map_brightens_with_the_difference():
    mask, heat = find(tiny(EPS), encoded(EPS))
    light = heat.sum(-1)
    assert 0 <= heat.min() and heat.max() <= 1
    assert torch.corrcoef(torch.stack([mask.flatten(), light.flatten()]))[0, 1] > 0.9
    assert light[mask > mask.quantile(0.9)].min() > light[mask < mask.quantile(0.1)].max() + 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no source": ({"source": []}, "input 'source' is empty"),
    "no target": ({"positive": []}, "input 'positive' is empty"),
    "empty latent": (
        {"latent": {"samples": torch.zeros(1, 4, 8, 8)}},
        "latent_image is empty.*connect a VAE Encode node\\.$",
    ),
    "channels": ({"latent": {"samples": torch.ones(1, 16, 8, 8)}}, "latent_image has 16 channels"),
    "NaN": ({"latent": {"samples": torch.full((1, 4, 8, 8), float("nan"))}}, "'latent_image' contains NaN"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_input_raises_before_the_model_is_asked(name: str):
    options, words = REFUSED[name]
    latent, calls = options.pop("latent", encoded(EPS)) if "latent" in options else encoded(EPS), Calls()
    with pytest.raises(ValueError, match=words):
        find(calls.watch(tiny(EPS)), latent, **{key: value for key, value in options.items() if key != "latent"})
    assert not calls.batches

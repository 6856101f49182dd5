"""Posterior Latent Match in Distillation Sampler, on tiny models of every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from dreamsampler.guidance.core.path import FLOW, SCALED
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.objectives.pds import PosteriorForm, coefficients
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from support.host_oracle import assert_differs, assert_same
from support.tiny_models import (
    EPS,
    FAMILIES,
    FLUX_DISTILLED,
    NEGATIVE,
    POSITIVE,
    SD3,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    Latent,
    V,
    cond,
    distill,
    encoded,
    tiny,
)
from torch import Tensor

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def matched(
    latent: Latent,
    *,
    source: Conditioning = SOURCE,
    target: Conditioning = POSITIVE,
    negative: Conditioning = NEGATIVE,
    guidance_scale: float = 7.5,
    posterior: PosteriorForm = "official",
    identity_weight: float = 1.0,
) -> Any:
    """The objective that the node outputs."""
    prompts = source, target, negative
    return PosteriorLatentMatch.execute(latent, *prompts, guidance_scale, posterior, identity_weight).args[0]


def edited(family: Family, latent: Latent, objective: Any, **inputs: Any) -> Tensor:
    """Run Distillation Sampler with an objective. Its own prompts and method must not matter."""
    return distill(tiny(family), latent, objective=objective, positive=cond(8), source=None, **inputs)[0]["samples"]


@every_family
@pytest.mark.parametrize("posterior", ["official", "as printed", "exact"])
def test_edits_and_batch_matches_single_images(family: Family, posterior: PosteriorForm):
    latent = encoded(family, 3)
    together = edited(family, latent, matched(latent, posterior=posterior), seed=5)
    assert_differs(together, latent["samples"])
    for i in range(3):
        alone = {"samples": latent["samples"][i : i + 1], "batch_index": [i]}
        assert_same(together[i : i + 1], edited(family, alone, matched(alone, posterior=posterior), seed=5))


@pytest.mark.parametrize("family", [EPS, V, SD3], ids=str)
def test_one_step_is_chi_times_dds_plus_psi_times_the_distance(family: Family):
    latent, start = encoded(family), encoded(family, seed=9)
    step = {"steps": 1, "optimizer": "sgd", "learning_rate": 1.0, "weighting": "uniform", "seed": 3, "t_min": 0.4}
    step |= {"t_max": 0.4 + 1e-6}
    whole, none = (edited(family, start, matched(latent, identity_weight=w), **step) for w in (1.0, 0.0))
    model = tiny(family)
    dds = distill(model, start, method="dds", reference=latent, guidance_scale=7.5, **step)[0]["samples"]
    sampling: Any = model.get_model_object("model_sampling")

    def sigma_at(t: Tensor) -> Tensor:
        return t.new_tensor([float(sampling.percent_to_sigma(1 - time)) for time in t.tolist()])

    prior = Prior(None, FLOW if family.flow else SCALED, sigma_at)  # type: ignore[arg-type]
    c = coefficients(prior, torch.tensor([0.4]), "official")
    assert_same(none - start["samples"], c.chi * (dds - start["samples"]), 1e-3)
    assert_same(whole - none, -c.psi * (start["samples"] - latent["samples"]), 1e-3)


def test_one_source_for_a_batch_needs_one_call_per_step():
    latent, source, counted = encoded(EPS, 3), encoded(EPS), Calls()
    model = counted.watch(tiny(EPS))
    with_one = distill(model, latent, objective=matched(source))[0]["samples"]
    assert counted.batches == [12] * 3
    repeated = {"samples": source["samples"].repeat(3, 1, 1, 1)}
    assert torch.equal(with_one, distill(tiny(EPS), latent, objective=matched(repeated))[0]["samples"])


def test_sampler_guidance_overrides_that_of_the_objective():
    latent, sgd = encoded(EPS), {"optimizer": "sgd", "learning_rate": 0.5}
    weak, strong = matched(latent, guidance_scale=2.0), matched(latent, guidance_scale=50.0)
    assert_differs(edited(EPS, latent, weak, **sgd), edited(EPS, latent, strong, **sgd))
    assert torch.equal(edited(EPS, latent, weak, guidance_scale=50.0, **sgd), edited(EPS, latent, strong, **sgd))


def test_identical_prompts_change_nothing_and_are_noted():
    latent, notes = encoded(EPS), []
    objective = matched(latent, target=SOURCE)
    distill(tiny(EPS), latent, objective=objective, source=None, notes=notes)
    assert any(note.startswith("The prompts on target and source are the same") for note in notes), notes
    assert torch.equal(edited(EPS, latent, objective, t_min=0.2), edited(EPS, latent, objective, t_min=0.2))
    assert_same(edited(EPS, latent, objective, optimizer="sgd"), latent["samples"], 1e-5)


@pytest.mark.parametrize("times", [{"t_min": 0.95, "t_max": 1.0}, {"t_max": 0.001}], ids=["above", "below"])
def test_noise_levels_without_weight_are_noted(times: dict[str, float]):
    latent, notes = encoded(SD3), []
    options = {"optimizer": "sgd", "t_min": 0.0, "source": None, "notes": notes, **times}
    made = distill(tiny(SD3), latent, objective=matched(latent), **options)[0]
    assert_same(made["samples"], latent["samples"], 1e-6)
    (note,) = notes
    assert note.startswith("The gradient of 'pds' was 0 in every step, so nothing changed.")
    notes.clear()
    distill(tiny(SD3), latent, objective=matched(latent), source=None, notes=notes)
    assert not notes


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no source prompt": ({"source": []}, "input 'source' is empty"),
    "no target": ({"target": []}, "input 'target' is empty"),
    "no negative": ({"negative": []}, "input 'negative' is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_input_raises_before_sampling(name: str):
    node_inputs, words = REFUSED[name]
    latent, counted = encoded(EPS), Calls()
    with pytest.raises(ValueError, match=words):
        distill(counted.watch(tiny(EPS)), latent, objective=matched(latent, **node_inputs))
    assert not counted.batches


@pytest.mark.parametrize(
    "source, words",
    [
        (encoded(EPS, 2), "source_latent is 2 of 8x8 cells but latent_image is 1 of 8x8"),
        ({"samples": torch.ones(1, 4, 4, 8)}, "source_latent is 1 of 8x4 cells but latent_image is 1 of 8x8"),
        (
            {"samples": torch.zeros(1, 4, 8, 8)},
            "source_latent is empty: connect the encoded image to source_latent\\.$",
        ),
        ({"samples": torch.full((1, 4, 8, 8), float("nan"))}, "'source_latent' contains NaN"),
    ],
    ids=["batch", "size", "empty", "NaN"],
)
def test_mismatched_source_latent_is_rejected(source: Latent, words: str):
    with pytest.raises(ValueError, match=words):
        distill(tiny(EPS), encoded(EPS), objective=matched(source))


def test_messages_name_the_inputs_of_the_node():
    """The target prompt is on input target here, not on positive."""
    latent = encoded(FLUX_DISTILLED)
    with pytest.raises(ValueError, match="input 'target' has guidance 3.5"):
        distill(tiny(FLUX_DISTILLED), latent, objective=matched(latent))
    notes: list[str] = []
    distill(tiny(EPS), encoded(EPS), objective=matched(encoded(EPS), source=POSITIVE), notes=notes, steps=1)
    assert any(note.startswith("The prompts on target and source are the same") for note in notes)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "dds", "reference": encoded(EPS)}, []),
        ({"method": "sds", "source": None, "data_weight": 2.0}, ["data_weight. No measurement is connected."]),
        ({"method": "sds", "source": None, "reference": encoded(EPS)}, ["reference_latent. The method 'sds' does"]),
        ({"method": "sds"}, []),
        ({"method": "sds", "region": "find"}, []),
        (
            {"method": "sds", "reference": encoded(EPS), "objective": matched(encoded(EPS))},
            ["source, reference_latent. The objective brings its own method and prompts."],
        ),
    ],
)
def test_notes_name_the_inputs_without_effect(options: dict[str, Any], expected: list[str]):
    notes: list[str] = []
    distill(tiny(EPS), encoded(EPS), steps=1, notes=notes, **options)
    found = [note for note in notes if note.startswith("No effect here")]
    assert len(found) == len(expected) and all(
        f"No effect here: {words}" in note for note, words in zip(found, expected)
    )

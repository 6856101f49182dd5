"""The input `region` of the samplers that edit: the same as a mask from Find Edit Region with its defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dreamsampler.nodes.find_edit_region import FindEditRegion
from support.host_oracle import assert_differs
from support.tiny_models import (
    EPS,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    Latent,
    V,
    distill,
    edit,
    encoded,
    measure,
    photo,
    restore,
    tiny,
    tiny_vae,
)
from torch import Tensor

families = pytest.mark.parametrize("family", [EPS, V, SD3, QWEN], ids=str)
SEED = 5


def region(family: Family, latent: Latent, source: Conditioning) -> Tensor:
    """The mask of Find Edit Region with the defaults of its widgets."""
    defaults = {each.id: getattr(each, "default", None) for each in FindEditRegion.define_schema().inputs}
    values: dict[str, Any] = {name: defaults[name] for name in ("steps", "threshold", "softness")}
    with torch.inference_mode():
        return FindEditRegion.execute(tiny(family), POSITIVE, source, latent, seed=SEED, **values).args[0]


def proximal(family: Family, latent: Latent, notes: list[str] | None = None, **options: Any) -> Tensor:
    if (mask := latent.get("noise_mask")) is not None:
        options["mask"] = mask[:, 0]
    made = restore(tiny(family), None, latent, None, gamma_schedule="constant", eta=0.0, seed=SEED, **options)
    if notes is not None:
        notes += made.notes
    return made.samples


def dds(family: Family, latent: Latent, **options: Any) -> Tensor:
    return distill(tiny(family), latent, method="dds", seed=SEED, **options)[0]["samples"]


def sds(family: Family, latent: Latent, **options: Any) -> Tensor:
    return distill(tiny(family), latent, method="sds", seed=SEED, **options)[0]["samples"]


SAMPLERS: dict[str, tuple[Callable[..., Tensor], Conditioning]] = {
    "proximal": (proximal, NEGATIVE),
    "dds": (dds, SOURCE),
}
samplers = pytest.mark.parametrize("name", SAMPLERS)


@families
@samplers
def test_edits_where_find_edit_region_says(name: str, family: Family):
    run, source = SAMPLERS[name]
    latent = encoded(family, 2)
    found = region(family, latent, source)
    assert found.min() < 0.1 and found.max() > 0.9
    made = run(family, latent, region="find")
    assert torch.equal(made, run(family, {**latent, "noise_mask": found[:, None]}))
    assert_differs(made, run(family, latent))


@samplers
def test_a_mask_narrows_the_region(name: str):
    run, source = SAMPLERS[name]
    latent, mask = encoded(SD3, 2), torch.zeros(1, 1, 64, 64)
    mask[..., :40] = 1
    both = region(SD3, latent, source)[:, None] * mask
    made = run(SD3, {**latent, "noise_mask": mask}, region="find")
    assert torch.equal(made, run(SD3, {**latent, "noise_mask": both}))


def test_a_mask_beside_the_region_is_noted():
    latent, notes = encoded(SD3), []
    found = region(SD3, latent, NEGATIVE)
    outside = {**latent, "noise_mask": (found < 0.4).float()[:, None]}
    proximal(SD3, outside, region="find", notes=notes)
    assert notes == ["The region that was found lies outside the mask, so little can change."]
    proximal(SD3, latent, region="find", notes=(alone := []))
    assert not alone


def test_equal_prompts_are_noted():
    notes: list[str] = []
    distill(tiny(EPS), encoded(EPS), method="sds", source=None, negative=POSITIVE, region="find", notes=notes)
    assert notes[0].startswith("The prompts on positive and negative are the same")
    assert notes[1].startswith("No edit region was found: the model predicts the same with source and target prompt.")


def test_distillation_without_a_source_prompt_compares_with_the_negative_one():
    latent = encoded(EPS)
    found = region(EPS, latent, NEGATIVE)
    options: dict[str, Any] = {"method": "sds", "source": None, "seed": SEED}
    made = distill(tiny(EPS), latent, region="find", **options)[0]["samples"]
    masked = distill(tiny(EPS), {**latent, "noise_mask": found[:, None]}, **options)[0]["samples"]
    assert torch.equal(made, masked)


def test_output_image_keeps_the_source_outside_the_region():
    model, vae, latent, source = tiny(V), tiny_vae("kl"), encoded(V), photo()
    made = restore(model, vae, latent, None, region="find", source_image=source, seed=SEED)
    mask = region(V, latent, NEGATIVE)
    same = restore(model, vae, latent, None, mask=mask, source_image=source, seed=SEED)
    assert torch.equal(made.image, same.image)


def test_cost_is_what_the_tooltip_says():
    calls = Calls()
    edit(calls.watch(tiny(SD3)), encoded(SD3), steps=1)
    alone = sum(calls.batches)
    edit(calls.watch(tiny(SD3)), encoded(SD3), steps=1, region="find")
    assert sum(calls.batches) - 2 * alone == 24


REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "with a measurement": (
        restore,
        {"vae": tiny_vae("kl"), "measurement": measure(photo(), "gaussian blur")[0]},
        "set region to off, or disconnect the measurement",
    ),
    "no image for proximal": (
        edit,
        {"latent": {"samples": torch.zeros(1, 4, 8, 8)}, "start_from": "noise"},
        "latent_image is empty",
    ),
    "no image for sds": (distill, {"latent": {"samples": torch.zeros(1, 4, 8, 8)}}, "latent_image is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_come_before_any_work(name: str):
    run, options, words = REFUSED[name]
    calls, options = Calls(), {"latent": encoded(V), **options}
    with pytest.raises(ValueError, match=words):
        run(calls.watch(tiny(V)), region="find", **options)
    assert not calls.batches


@pytest.mark.parametrize(
    ("run", "wrong", "advice", "right"),
    [
        (proximal, {"start_from": "noise", "region": "find"}, "set region to off", {"start_from": "noise"}),
        (proximal, {}, "set start_from to noise", {"start_from": "noise"}),
        (proximal, {"region": "find"}, "set start_from to noise and region to off", {"start_from": "noise"}),
        (sds, {"start_from": "noise", "region": "find"}, "set region to off", {"start_from": "noise"}),
    ],
)
def test_the_advice_on_an_empty_latent_helps(
    run: Callable[..., Tensor], wrong: dict[str, str], advice: str, right: dict[str, str]
):
    latent = {"samples": torch.zeros(1, *EPS.shape)}
    with pytest.raises(ValueError, match=f"latent_image is empty.*VAE Encode node, or {advice}\\.$"):
        run(EPS, latent, **wrong)
    assert run(EPS, latent, **right).isfinite().all()

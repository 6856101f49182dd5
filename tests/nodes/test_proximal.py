"""Proximal DreamSampler on tiny models of every family: properties that hold for any model."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import comfy.model_base
import comfy.samplers
import dreamsampler
import pytest
import torch
from comfy.model_base import ModelType
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.edit import INVERSIONS, Inversion
from support.host_oracle import same
from support.tiny_models import EPS, FAMILIES, QWEN, SD3, Calls, Family, V, cond, edit, encoded, tiny
from torch import Tensor

SCHEDULERS = list(comfy.samplers.SCHEDULER_NAMES)

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def spread(difference: Tensor, latent: Tensor) -> float:
    """The size of a difference relative to that of the latent."""
    return (difference.std() / latent.std()).item()


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("start_from", ["inversion", "noise"])
def test_edits_without_changing_its_inputs(family: Family, dtype: torch.dtype, start_from: str):
    latent = encoded(family, 2, batch_index=[0, 1], comment="kept")
    inputs = [latent, cond(1), cond(2)]
    before = copy.deepcopy(inputs)
    model = tiny(family, dtype)
    edited, inverted = edit(model, latent, positive=inputs[1], negative=inputs[2], start_from=start_from, eta=0.5)
    unedited, _ = edit(model, latent, gamma=0.0, start_from=start_from, eta=0.5)
    assert same(inputs, before)
    for output in (edited, inverted):
        assert output.keys() == latent.keys() and output["batch_index"] == [0, 1] and output["comment"] == "kept"
        assert output["samples"].shape == latent["samples"].shape
        assert output["samples"].dtype == torch.float32
        assert output["samples"].isfinite().all()
    assert spread(edited["samples"] - unedited["samples"], latent["samples"]) > 0.05
    assert spread(edited["samples"] - inverted["samples"], latent["samples"]) > 0.05


@every_family
def test_gamma_zero_error_falls_with_the_number_of_steps(family: Family):
    # A random noise-predicting network is no denoiser. At a tenth of its output, a few steps can follow the ODE.
    model, latent = tiny(family, gain=0.1 if family is EPS else 1.0), encoded(family)
    errors = []
    for steps in (10, 40):
        edited, _ = edit(model, latent, gamma=0.0, steps=steps)
        errors.append(spread(edited["samples"] - latent["samples"], latent["samples"]))
    print(f"error of gamma 0 at 10 and 40 steps, {family}: {errors}")
    assert errors[1] < 0.1 and errors[1] < 0.35 * errors[0]


@every_family
def test_fixed_point_inversion_returns_the_source_more_exactly(family: Family):
    # Half the steps need predictions that change smoothly with the noise level, as a random network's do not.
    model, latent, errors = tiny(family, gain=0.1 if family is EPS else 1.0), encoded(family, 2), []
    for inversion in ("ddim", "fixed point"):
        edited, _ = edit(model, latent, gamma=0.0, steps=40, inversion=inversion)
        errors.append(spread(edited["samples"] - latent["samples"], latent["samples"]))
    print(f"error of gamma 0 at 40 steps by DDIM and by fixed points, {family}: {errors}")
    assert errors[1] < 0.25 * errors[0]


@pytest.mark.parametrize("inversion", INVERSIONS)
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_inversion_costs_what_its_name_says(inversion: Inversion, steps: int):
    calls = Calls()
    edit(calls.watch(tiny(SD3)), encoded(SD3), steps=steps, inversion=inversion)
    stops = {"ddim": steps, "fixed point": steps + 1, "fixed point, half the steps": steps // 2 + 2}
    assert sum(calls.batches) == stops[inversion] + 2 * steps


@pytest.mark.parametrize("inversion", list(INVERSIONS)[1:])
@pytest.mark.parametrize("family", [EPS, V, SD3, QWEN], ids=str)
def test_batch_matches_single_images_by_fixed_point(family: Family, inversion: Inversion):
    mask = torch.zeros(1, 8, 8)
    mask[..., :4] = 1
    model, options = tiny(family), {"inversion": inversion, "mask": mask, "steps": 5}
    together, _ = edit(model, encoded(family, 2), **options)
    for i in range(2):
        alone, _ = edit(model, encoded(family, seed=i), **options)
        scale = alone["samples"].std().item()
        torch.testing.assert_close(together["samples"][i : i + 1], alone["samples"], rtol=0, atol=2e-4 * scale)
        torch.testing.assert_close(alone["samples"][..., 4:], encoded(family, seed=i)["samples"][..., 4:])
        assert spread((alone["samples"] - encoded(family, seed=i)["samples"])[..., :4], alone["samples"]) > 0.05


@every_family
@pytest.mark.parametrize("start_from", ["inversion", "noise"])
@pytest.mark.parametrize("indices", [None, [4, 9, 2]], ids=["range", "batch_index"])
def test_batch_matches_single_images(family: Family, start_from: str, indices: list[int] | None):
    model, seed = tiny(family), 5
    batch = encoded(family, 3) | ({} if indices is None else {"batch_index": indices})
    together = edit(model, batch, eta=0.7, start_from=start_from, seed=seed)
    for i, index in enumerate(indices or range(3)):
        alone = edit(model, encoded(family, seed=i, batch_index=[index]), eta=0.7, start_from=start_from, seed=seed)
        for joint, single in zip(together, alone):
            scale = single["samples"].std().item()
            torch.testing.assert_close(joint["samples"][i : i + 1], single["samples"], rtol=0, atol=2e-4 * scale)


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
def test_seed_only_affects_the_noise(family: Family):
    model, latent = tiny(family), encoded(family)

    def edited(seed: int, **options: Any) -> Tensor:
        return edit(model, latent, seed=seed, **options)[0]["samples"]

    for options in ({"eta": 0.5}, {"start_from": "noise"}):
        first = edited(1, **options)
        assert torch.equal(first, edited(1, **options))
        assert spread(first - edited(2, **options), latent["samples"]) > 0.05
    assert torch.equal(edited(1), edited(2)), "inversion without fresh noise does not use the seed"
    assert edited(2**64 - 1, eta=0.5).isfinite().all()


def test_run_does_not_change_the_global_rng():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    edit(tiny(EPS), encoded(EPS), eta=1.0, start_from="noise")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_alpha_bar_schedule_edits_less_than_constant(family: Family):
    model, latent = tiny(family), encoded(family)
    unedited = edit(model, latent, gamma=0.0)[0]["samples"]
    moved = [
        spread(edit(model, latent, gamma_schedule=schedule)[0]["samples"] - unedited, latent["samples"])
        for schedule in ("alpha_bar", "constant")
    ]
    assert 0.01 < moved[0] < moved[1]


def test_start_from_noise_accepts_an_empty_latent():
    # ComfyUI's Empty Latent Image always has four channels.
    edited, _ = edit(tiny(SD3), {"samples": torch.zeros(2, 4, 8, 8)}, start_from="noise")
    assert edited["samples"].shape == (2, 16, 8, 8)
    assert spread(edited["samples"][0] - edited["samples"][1], edited["samples"]) > 0.1


def test_missing_frame_dimension_is_added():
    model, latent = tiny(QWEN), encoded(QWEN)
    flat = {"samples": latent["samples"][:, :, 0]}
    for given, expected in zip(edit(model, flat), edit(model, latent)):
        assert torch.equal(given["samples"], expected["samples"])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_gives_finite_results(scheduler: str):
    for output in edit(tiny(SD3), encoded(SD3), steps=2, scheduler=scheduler):
        assert output["samples"].isfinite().all()


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_does_one_step_or_raises_a_clear_error(scheduler: str):
    try:
        outputs = edit(tiny(SD3), encoded(SD3), steps=1, scheduler=scheduler)
    except ValueError as refusal:
        assert scheduler in str(refusal) and "steps" in str(refusal)
    else:
        assert all(output["samples"].isfinite().all() for output in outputs)


def test_more_steps_than_noise_levels_give_finite_results():
    # Some schedulers then repeat a level. A real model has 1,000 levels; ten are enough here.
    model = tiny(SD3).clone()
    sampling = comfy.model_base.model_sampling(model.model.model_config, ModelType.FLOW)
    sampling.set_parameters(shift=3.0, timesteps=10)
    model.add_object_patch("model_sampling", sampling)
    for eta in (0.0, 0.5):
        edited, _ = edit(model, encoded(SD3), steps=11, scheduler="simple", eta=eta)
        assert edited["samples"].isfinite().all(), f"eta {eta}"


def test_node_schema():
    extension = asyncio.run(dreamsampler.comfy_entrypoint())
    assert ProximalDreamSampler in asyncio.run(extension.get_node_list())
    schema = ProximalDreamSampler.GET_SCHEMA()
    assert (schema.node_id, schema.display_name) == ("DSProximalDreamSampler", "Proximal DreamSampler")
    assert [i.id for i in schema.inputs].index("mask") == [i.optional for i in schema.inputs].index(True)

"""Distillation Sampler on tiny models of every family: properties that hold for any model."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import replace
from typing import Any

import dreamsampler
import pytest
import torch
from comfy_api.latest import io
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.method import LoopSettings, Method, Resources
from dreamsampler.guidance.distillation.objective import Direction, Objective, Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.sds import SDSSettings
from dreamsampler.nodes.distillation_sampler import DistillationSampler
from dreamsampler.nodes.sockets import ObjectiveSocket
from support.host_oracle import (
    Draws,
    assert_differs,
    assert_kept,
    assert_same,
    halves,
    left_half,
    level_at,
    progress_hook,
    same,
)
from support.tiny_models import (
    EPS,
    FAMILIES,
    FLUX,
    NEGATIVE,
    OWN,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    UNSET,
    Family,
    V,
    cond,
    distill,
    distilled,
    encoded,
    tiny,
    tiny_vae,
)

LISTED = [
    "sds",
    "dds",
    "nfsd",
    "csd",
    "vsd",
    "bridge",
    "full bridge",
    "flowedit",
    "dvrf",
    "lmc",
    "ism",
    "flowalign",
    "chord",
    "dreamsampler",
    "sdi",
]
"""The methods in the order of the node's list, which must not change."""
NAMES = [name for name in LISTED if name != "lmc"]
"""The methods tested here. lmc is tested in test_distillation_lmc.py."""

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)
every_method = pytest.mark.parametrize("method", NAMES)
some_families = pytest.mark.parametrize("family", [EPS, SD3, QWEN], ids=str)


def empty(family: Family, count: int = 1) -> dict[str, Any]:
    return {"samples": torch.zeros(count, *family.shape)}


@every_family
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@every_method
def test_changes_the_image_but_not_its_inputs(method: str, family: Family, dtype: torch.dtype):
    latent = encoded(family, 2, batch_index=[0, 1], comment="kept")
    inputs = [latent, cond(1), cond(2), cond(3), encoded(family, 2, seed=7)]
    before = copy.deepcopy(inputs)
    output, curve = distill(
        tiny(family, dtype),
        latent,
        method=method,
        positive=inputs[1],
        negative=inputs[2],
        source=inputs[3],
        reference=inputs[4],
    )
    assert same(inputs, before)
    assert output.keys() == latent.keys() and output["batch_index"] == [0, 1] and output["comment"] == "kept"
    samples = output["samples"]
    assert samples.shape == latent["samples"].shape and samples.dtype == torch.float32 and samples.isfinite().all()
    assert_differs(samples, latent["samples"])
    assert all(norm > 0 for step in curve["gradient_norm"] for norm in step)


@every_family
@pytest.mark.parametrize("method", [name for name in NAMES if name != "vsd"])
def test_batch_matches_single_images(method: str, family: Family):
    model, seed, indices = tiny(family), 5, [4, 9, 2]
    options = {"method": method, "steps": 2, "source_weight": 0.1}
    reference = encoded(family, 3, seed=20)
    together, curve = distill(model, encoded(family, 3, batch_index=indices), reference=reference, seed=seed, **options)
    for i, index in enumerate(indices):
        alone, own_curve = distill(
            model,
            encoded(family, seed=i, batch_index=[index]),
            reference=encoded(family, seed=20 + i),
            seed=seed,
            **options,
        )
        assert_same(together["samples"][i : i + 1], alone["samples"], 2e-4)
        for step, own in zip(curve["t"], own_curve["t"]):
            assert step[i] == own[0]
        for step, own in zip(curve["gradient_norm"], own_curve["gradient_norm"]):
            assert step[i] == pytest.approx(own[0], rel=1e-3)


@pytest.mark.parametrize("noise_policy", ["fresh", "fixed", "estimated", "inverted"])
@pytest.mark.parametrize("time_schedule", ["uniform", "annealed", "descending"])
def test_batch_index_repeats_an_item_with_all_its_random_numbers(noise_policy: str, time_schedule: str):
    model = tiny(SD3)
    options = {"noise_policy": noise_policy, "time_schedule": time_schedule, "eta": 0.5, "start_from": "noise"}
    together = distilled(model, encoded(SD3, 3), seed=5, **options)
    for i in range(3):
        assert_same(
            together[i : i + 1], distilled(model, encoded(SD3, seed=i, batch_index=[i]), seed=5, **options), 2e-4
        )


@pytest.mark.parametrize("family", [EPS, FLUX], ids=str)
@every_method
def test_result_depends_only_on_the_seed(method: str, family: Family):
    model, latent = tiny(family), encoded(family, 2)
    first = distilled(model, latent, method=method, seed=1)
    assert torch.equal(first, distilled(model, latent, method=method, seed=1))
    assert_differs(first, distilled(model, latent, method=method, seed=2), 0.001)


@pytest.mark.parametrize("options", [{}, {"batch_index": [1, 2, 3]}], ids=["whole batch", "part"])
def test_neighboring_seeds_have_no_item_in_common(options: dict[str, Any]):
    same = {"samples": encoded(SD3)["samples"].repeat(3, 1, 1, 1), **options}
    items = [item for seed in (0, 1, 2**64 - 1) for item in distilled(tiny(SD3), same, seed=seed)]
    for i, one in enumerate(items):
        for other in items[:i]:
            assert_differs(one, other, 1e-3)


@every_method
def test_run_does_not_change_the_global_rng(method: str):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    distilled(tiny(EPS), encoded(EPS), method=method, start_from="noise", noise_policy="estimated", eta=1.0)
    assert torch.equal(torch.get_rng_state(), before)


# Settings

TWO_DIMENSIONAL = {
    "learning_rate": 0.01,
    "learning_rate_schedule": "constant",
    "optimizer": "adamw",
    "weighting": "1-alpha_bar",
    "time_schedule": "uniform",
    "noise_policy": "fresh",
    "t_min": 0.02,
    "t_max": 0.98,
}
PAPER_SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "sds": (1000, {"guidance_scale": 100.0, **TWO_DIMENSIONAL}),
    "nfsd": (1000, {"guidance_scale": 7.5, **TWO_DIMENSIONAL}),
    "csd": (1000, {"guidance_scale": 40.0, "source_guidance_scale": 40.0, **TWO_DIMENSIONAL}),
    "vsd": (1000, {"guidance_scale": 7.5, "lora_rank": 4, "lora_learning_rate": 1e-4, **TWO_DIMENSIONAL}),
    "bridge": (1000, {"guidance_scale": 25.0, "first_stage": 0.0, **TWO_DIMENSIONAL}),
    "full bridge": (1000, {"guidance_scale": 7.5, "first_stage": 0.0, "ode_steps": 10, **TWO_DIMENSIONAL}),
    "dds": (
        200,
        {
            "guidance_scale": 7.5,
            "source_guidance_scale": 7.5,
            **TWO_DIMENSIONAL,
            "learning_rate": 0.05,
            "optimizer": "sgd",
            "weighting": "uniform",
            "t_min": 0.05,
            "t_max": 0.95,
        },
    ),
    "flowedit": (
        33,
        {
            "guidance_scale": 13.5,
            "source_guidance_scale": 3.5,
            "learning_rate": 1.0,
            "learning_rate_schedule": "flow time",
            "optimizer": "sgd",
            "weighting": "uniform",
            "time_schedule": "descending",
            "noise_policy": "fresh",
            "t_min": 0.0,
            "t_max": 0.66,
        },
    ),
    "dvrf": (
        50,
        {
            "guidance_scale": 16.5,
            "source_guidance_scale": 6.0,
            "learning_rate": 0.84,
            "learning_rate_schedule": "hump",
            "optimizer": "sgd",
            "weighting": "uniform",
            "time_schedule": "descending",
            "noise_policy": "fresh",
            "t_min": 0.0,
            "t_max": 1.0,
        },
    ),
    "ism": (1000, {"guidance_scale": 7.5, "ode_steps": 5, **TWO_DIMENSIONAL, "weighting": "snr"}),
    "flowalign": (
        33,
        {
            "guidance_scale": 7.5,
            "source_consistency_weight": 0.01,
            "learning_rate": 1.0,
            "learning_rate_schedule": "flow time",
            "optimizer": "sgd",
            "weighting": "uniform",
            "time_schedule": "descending",
            "noise_policy": "fixed",
            "t_min": 0.0,
            "t_max": 1.0,
        },
    ),
    "chord": (
        1,
        {
            "guidance_scale": 1.0,
            "learning_rate": 1.0,
            "learning_rate_schedule": "constant",
            "optimizer": "sgd",
            "weighting": "uniform",
            "time_schedule": "descending",
            "noise_policy": "fixed",
            "t_min": 0.0,
            "t_max": 0.9,
        },
    ),
    "dreamsampler": (
        200,
        {
            "guidance_scale": 7.5,
            "renoise": "unconditional",
            **TWO_DIMENSIONAL,
            "learning_rate": 0.05,
            "optimizer": "adam",
            "weighting": "uniform",
            "time_schedule": "descending",
            "noise_policy": "estimated",
            "eta": 1.0,
        },
    ),
    "sdi": (
        50,
        {
            "guidance_scale": 7.5,
            **TWO_DIMENSIONAL,
            "learning_rate": 0.05,
            "optimizer": "adam",
            "weighting": "uniform",
            "time_schedule": "descending",
            "noise_policy": "inverted",
            "eta": 0.3,
            "inversion_guidance_scale": -7.5,
            "ode_steps": 5,
        },
    ),
}
"""Each method's documented steps and settings, for a latent that is not empty."""


class FirstStep(Exception):
    """Raised to end the run after one step."""


@every_method
def test_default_settings_are_the_papers(method: str):
    model, latent, (steps, settings) = tiny(SD3), encoded(SD3), PAPER_SETTINGS[method]
    own = distilled(model, latent, method=method, ode_steps=UNSET, start_from=OWN)
    assert torch.equal(
        own, distilled(model, latent, method=method, start_from="latent", **{"ode_steps": 10, **settings})
    )
    for name in ("guidance_scale", "learning_rate"):
        other = distilled(model, latent, method=method, ode_steps=UNSET, **{name: 0.7 * settings[name]})
        assert not torch.equal(own, other), f"{name} does nothing"

    def stop(value: int, total: int, *_: Any, **__: Any) -> None:
        assert (value, total) == (1, steps)
        raise FirstStep

    with progress_hook(stop), pytest.raises(FirstStep):
        distill(model, latent, method=method, steps=UNSET)


def test_optional_inputs_can_be_omitted():
    required = {"model": tiny(EPS), "positive": POSITIVE, "negative": NEGATIVE, "latent_image": encoded(EPS)}
    with torch.inference_mode():
        output = DistillationSampler.execute(**required, method="sds", steps=3, seed=8)
    assert torch.equal(output.args[0]["samples"], distilled(tiny(EPS), encoded(EPS), source=None, seed=8))


OPTIONS = {
    "optimizer": ["adam", "adamw", "sgd"],
    "learning_rate_schedule": ["constant", "cosine", "warm-up", "cosine to 0.03", "cosine to 0.8", "flow time", "hump"],
    "weighting": ["1-alpha_bar", "uniform", "snr", "normalized"],
    "time_schedule": ["uniform", "annealed", "descending"],
    "noise_policy": ["fresh", "fixed", "estimated", "inverted"],
    "start_from": ["latent", "noise"],
}
"""The options of each list after "method's own"."""


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_of_a_list_gives_another_result(name: str):
    # AdamW differs from Adam only by weight decay: 1% of the learning rate per step.
    options = {"time_schedule": "descending", "t_min": 0.1, "eta": 0.5, "learning_rate": 0.1, "optimizer": "sgd"}
    made = [distilled(tiny(SD3), encoded(SD3), **{**options, name: choice}) for choice in OPTIONS[name]]
    assert all(samples.isfinite().all() for samples in made)
    for i, one in enumerate(made):
        for other in made[:i]:
            assert_differs(one, other, 1e-4)


@pytest.mark.parametrize(
    ("name", "values", "options"),
    [
        ("eta", (0.0, 0.5, 1.0), {"time_schedule": "descending", "noise_policy": "estimated"}),
        ("pixel_weight", (0.0, 1.0, 2.0), {"vae": tiny_vae("kl")}),
        ("source_guidance_scale", (0.0, 3.0), {"method": "dds"}),
        ("source_guidance_scale", (0.0, 3.0), {"method": "csd"}),
        ("source_consistency_weight", (0.0, 0.01, 0.1), {"method": "flowalign"}),
        ("shift", (UNSET, 0.0, 0.5, 1.0), {"method": "dvrf"}),
        ("n_avg", (1, 2, 3), {}),
        ("n_min", (0, 1, 2), {"method": "flowedit"}),
        ("source_weight", (0.0, 10.0), {"start_from": "noise"}),
        ("first_stage", (0.0, 0.5, 1.0), {"method": "bridge"}),
        ("ode_steps", (1, 2, 3), {"method": "full bridge"}),
        ("ode_steps", (1, 2, 3), {"method": "ism"}),
        ("ode_steps", (1, 2, 3), {"method": "sdi"}),
        ("ode_steps", (1, 2, 3), {"noise_policy": "inverted"}),
        ("inversion_guidance_scale", (-7.5, -1.0, -0.5, 0.0, 7.5), {"noise_policy": "inverted"}),
        ("inversion_guidance_scale", (-7.5, -1.0, -0.5, 0.0, 7.5), {"method": "sdi"}),
        ("lora_rank", (1, 2), {"method": "vsd", "lora_learning_rate": 0.1}),
        ("lora_learning_rate", (0.0, 0.1), {"method": "vsd"}),
        ("t_max", (0.5, 0.7), {}),
        ("t_min", (0.2, 0.4), {}),
    ],
)
def test_each_number_changes_the_result(name: str, values: tuple[float, ...], options: dict[str, Any]):
    made = [distilled(tiny(V), encoded(V), optimizer="sgd", **options, **{name: value}) for value in values]
    for one, other in zip(made, made[1:]):
        assert_differs(one, other, 1e-5)


def test_times_stay_in_range_and_descend_evenly():
    for schedule, steps in (("uniform", 12), ("annealed", 12), ("descending", 4)):
        _, curve = distill(tiny(SD3), encoded(SD3, 2), steps=steps, time_schedule=schedule, t_min=0.3, t_max=0.7)
        times = torch.tensor(curve["t"])
        assert times.shape == (steps, 2) and 0.3 <= times.min() and times.max() <= 0.7001
        if schedule == "descending":
            torch.testing.assert_close(times, torch.tensor([0.7, 0.6, 0.5, 0.4])[:, None].expand(4, 2))
        else:
            assert times[:, 0].unique().numel() == steps and (times[:, 0] != times[:, 1]).all()


# The start


@some_families
def test_empty_latent_starts_from_noise(family: Family):
    model, options = tiny(family), {"method": "csd", "seed": 30, "learning_rate": 1e-6}
    own, given, zeros = (
        distilled(model, latent, **options, **start)
        for latent, start in (
            (empty(family, 2), {}),
            (encoded(family, 2), {"start_from": "noise"}),
            (empty(family, 2), {"start_from": "latent"}),
        )
    )
    noise = Draws(own.shape, 30)()
    assert_same(own, model.model.process_latent_out(noise), 1e-4)
    assert torch.equal(own, given)
    torch.testing.assert_close(zeros, model.model.process_latent_out(torch.zeros_like(noise)), rtol=0, atol=1e-4)


def test_empty_latent_image_fits_any_model():
    # ComfyUI's Empty Latent Image always has four channels.
    assert distilled(tiny(SD3), {"samples": torch.zeros(2, 4, 8, 8)}).shape == (2, 16, 8, 8)


def test_missing_frame_dimension_is_added():
    model, latent = tiny(QWEN), encoded(QWEN)
    flat = {"samples": latent["samples"][:, :, 0]}
    for method in ("sds", "dds"):
        given = distilled(model, flat, method=method, reference=flat)
        assert torch.equal(given, distilled(model, latent, method=method, reference=latent))


@pytest.mark.parametrize("method", ["bridge", "full bridge"])
def test_bridges_start_with_sds_only_from_an_empty_latent(method: str):
    model, options = tiny(V), {"method": method, "steps": 4, "seed": 3}
    for latent, own in ((empty(V), 0.5), (encoded(V), 0.0)):
        made = distilled(model, latent, **options)
        assert torch.equal(made, distilled(model, latent, first_stage=own, **options))
        for other in {0.0, 0.5, 1.0} - {own}:
            assert not torch.equal(made, distilled(model, latent, first_stage=other, **options))


@pytest.mark.parametrize("method", ["bridge", "full bridge"])
def test_first_stage_of_bridges_is_sds_at_guidance_40(method: str):
    model = tiny(V)
    assert torch.equal(
        distilled(model, empty(V), method=method, first_stage=1.0),
        distilled(model, empty(V), method="sds", guidance_scale=40.0),
    )


@pytest.mark.parametrize("method", ["dds", "flowedit", "dvrf", "flowalign", "chord"])
def test_edits_compare_with_latent_image_by_default(method: str):
    model, latent = tiny(SD3), encoded(SD3, 2)
    own = distilled(model, latent, method=method)
    assert torch.equal(own, distilled(model, latent, method=method, reference=encoded(SD3, 2)))
    assert_differs(own, distilled(model, latent, method=method, reference=encoded(SD3, 2, seed=5)))
    one = distilled(model, latent, method=method, reference=encoded(SD3, seed=5))
    twice = {"samples": encoded(SD3, seed=5)["samples"].repeat(2, 1, 1, 1)}
    assert torch.equal(one, distilled(model, latent, method=method, reference=twice))


def test_edit_with_a_reference_accepts_an_empty_latent():
    own, latent, noise = (
        distilled(tiny(SD3), empty(SD3), method="dds", reference=encoded(SD3), **start)
        for start in ({}, {"start_from": "latent"}, {"start_from": "noise"})
    )
    assert torch.equal(own, latent) and own.isfinite().all() and own.any()
    assert_differs(noise, own)


# Objectives from other nodes


def unused_prompts() -> dict[str, Any]:
    return {"positive": cond(8), "negative": cond(9), "source": None}


def test_objective_replaces_method_prompts_and_reference():
    model, latent, reference = tiny(SD3), encoded(SD3, 2), encoded(SD3, 2, seed=5)
    prompts = {"positive": POSITIVE, "negative": NEGATIVE, "source": SOURCE}
    socket = ObjectiveSocket(replace(METHODS["dds"], name="mine"), prompts, reference, settings={"guidance_scale": 3.0})
    made, curve = distill(model, latent, method="vsd", objective=socket, **unused_prompts())
    assert torch.equal(made["samples"], distilled(model, latent, method="dds", reference=reference, guidance_scale=3.0))
    assert curve["method"] == "mine"
    own = distilled(model, latent, method="vsd", objective=socket, guidance_scale=5.0, **unused_prompts())
    assert torch.equal(own, distilled(model, latent, method="dds", reference=reference, guidance_scale=5.0))


@some_families
def test_custom_objective_is_optimized_in_model_scale(family: Family):
    def towards_one(settings: SDSSettings, _: Resources) -> Objective:
        def objective(prior: Prior, sample: Sample) -> Direction:
            return Direction(settings.guidance_scale * (sample.z - 1), sample.eps)

        return objective

    method = Method("mine", towards_one, SDSSettings(1.0), LoopSettings(optimizer="sgd", weighting="uniform"))
    socket = ObjectiveSocket(method, {"positive": POSITIVE})
    model, latent = tiny(family), encoded(family, 2)
    made, curve = distill(model, latent, objective=socket, learning_rate=0.25, guidance_scale=2.0, **unused_prompts())
    z = model.model.process_latent_in(latent["samples"])
    assert_same(made["samples"], model.model.process_latent_out(1 + 0.5**3 * (z - 1)), 1e-5)
    for step, norms in enumerate(curve["gradient_norm"]):
        expected = (2 * 0.5**step * (z - 1)).flatten(1).norm(dim=1)
        torch.testing.assert_close(torch.tensor(norms), expected)


# The curve


@every_method
def test_curve_has_every_step_of_every_image(method: str):
    _, curve = distill(tiny(SD3), encoded(SD3, 2), method=method, steps=4)
    read = json.loads(json.dumps(curve, allow_nan=False))
    assert read == curve and curve.keys() == {"method", "step", "t", "gradient_norm", "loss", "used"}
    assert curve["method"] == method and curve["step"] == [0, 1, 2, 3]
    for name in ("t", "gradient_norm", "loss"):
        assert [len(row) for row in curve[name]] == [2] * 4
    for norms, losses in zip(curve["gradient_norm"], curve["loss"]):
        assert losses == pytest.approx([norm**2 / 2 for norm in norms])


def test_each_run_has_its_own_curve():
    first, second = (distill(tiny(SD3), encoded(SD3), steps=steps)[1] for steps in (2, 3))
    assert len(first["step"]) == 2 and len(second["step"]) == 3


# The noise mask

maskable = pytest.mark.parametrize("family", [EPS, SD3, FLUX, QWEN], ids=str)


@maskable
@pytest.mark.parametrize("start_from", ["latent", "noise"])
@pytest.mark.parametrize("method", ["sds", "dds", "vsd"])
def test_noise_mask_keeps_the_image_outside(family: Family, method: str, start_from: str):
    model, source = tiny(family), encoded(family, 2)
    masked = {**source, "noise_mask": left_half()[:, None]}  # the shape from Set Latent Noise Mask
    output, _ = distill(model, masked, method=method, start_from=start_from, source_weight=0.01)
    assert output["noise_mask"] is masked["noise_mask"]
    (inside, outside), (before, kept) = halves(output["samples"]), halves(source["samples"])
    assert_kept(outside, kept)
    assert_differs(inside, before)


@maskable
def test_full_mask_matches_no_mask(family: Family):
    model, source = tiny(family), encoded(family)
    for start_from in ("latent", "noise"):
        masked = distilled(model, {**source, "noise_mask": torch.ones(1, 1, 64, 64)}, start_from=start_from)
        assert_same(masked, distilled(model, source, start_from=start_from), 1e-5)


@maskable
@pytest.mark.parametrize("start_from", ["latent", "noise"])
def test_soft_masks_blend_source_and_result(family: Family, start_from: str):
    model, source = tiny(family), encoded(family, 2)
    moved = []
    for value in (0.0, 0.25, 0.5, 1.0):
        mask = torch.stack([torch.full((1, 8, 8), value), torch.ones(1, 8, 8)])  # a mask may not be empty throughout
        made = distilled(model, {**source, "noise_mask": mask}, start_from=start_from)
        moved.append((made - source["samples"])[0].std().item())
    assert moved[0] < 1e-5 and all(less < 0.9 * more for less, more in zip(moved, moved[1:]))


@maskable
def test_each_image_uses_its_own_mask(family: Family):
    model, source, mask = tiny(family), encoded(family, 2), left_half()[:, None]
    together = distilled(model, {**source, "noise_mask": torch.cat([mask, 1 - mask])}, seed=5)
    for i, own in enumerate((mask, 1 - mask)):
        alone = distilled(model, {**encoded(family, seed=i, batch_index=[i]), "noise_mask": own}, seed=5)
        assert_same(together[i : i + 1], alone, 2e-4)
    assert_kept(halves(together)[1][0], halves(source["samples"])[1][0])
    assert_kept(halves(together)[0][1], halves(source["samples"])[0][1])


# The node


def test_progress_counts_every_step():
    seen = []
    with progress_hook(lambda value, total, preview, **_: seen.append((value, total, preview))):
        distill(tiny(EPS), encoded(EPS), steps=4)
    assert seen == [(i + 1, 4, None) for i in range(4)]


def test_node_schema():
    extension = asyncio.run(dreamsampler.comfy_entrypoint())
    assert DistillationSampler in asyncio.run(extension.get_node_list())
    schema = DistillationSampler.GET_SCHEMA()
    assert (schema.node_id, schema.display_name) == ("DSDistillationSampler", "Distillation Sampler")
    assert schema.category == "DreamSampler"
    optional = [
        "source",
        "reference_latent",
        "objective",
        "vae",
        "start_from",
        "optimizer",
        "learning_rate_schedule",
        "weighting",
        "eta",
        "source_guidance_scale",
        "source_weight",
        "first_stage",
        "ode_steps",
        "lora_rank",
        "lora_learning_rate",
        "corrective",
        "diversity",
        "source_consistency_weight",
        "shift",
        "region",
        "n_avg",
        "n_min",
        "renoise",
        "data_weight",
        "pixel_weight",
        "measurement",
        "inversion_guidance_scale",
    ]
    assert [i.id for i in schema.inputs if i.optional] == optional
    lists = {i.id: (i.options, i.default) for i in schema.inputs if isinstance(i, io.Combo.Input)}
    assert lists.pop("method") == (LISTED, "bridge")
    assert lists.pop("region") == (["off", "find"], "off")
    assert lists.pop("renoise") == ([OWN, "unconditional", "guided"], OWN)
    assert lists == {name: ([OWN, *choices], OWN) for name, choices in OPTIONS.items()}
    left_to_the_method = {
        i.id for i in schema.inputs if isinstance(i, (io.Float.Input, io.Int.Input)) and i.default == i.min == UNSET
    }
    assert {i.id for i in schema.inputs if isinstance(i, (io.Float.Input, io.Int.Input))} - left_to_the_method == {
        "seed",
        "source_weight",
        "pixel_weight",
        "inversion_guidance_scale",
    }


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
@pytest.mark.parametrize("method", ["chord", "full bridge", "flowedit", "flowalign"])
def test_snr_moves_to_the_clean_estimate_of_gradients_that_are_no_noises(method: str, family: Family):
    """Gradients of images stay as they are; those of velocities are multiplied by the flow time, b / (a + b)."""
    model, latent = tiny(family), encoded(family)
    options = {"time_schedule": "descending", "optimizer": "sgd", "t_max": 0.9, "guidance_scale": 1.5}
    options |= {"learning_rate_schedule": "constant", "learning_rate": 0.5, "steps": 1, "method": method}
    start = distilled(model, latent, **{**options, "learning_rate": 0.0})
    plain, snr = (distilled(model, latent, **options, weighting=kind) - start for kind in ("uniform", "snr"))
    level = level_at(model, 0.9)
    flow_time = level if family.flow else level / (1 + level)
    assert_same(snr, plain * (flow_time if method.startswith("flow") else 1.0), 1e-4)
    assert plain.abs().max() > 1e-3

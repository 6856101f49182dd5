"""Distillation Sampler compared with formulas on ComfyUI's own predictions, conditioning and hooks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.hooks
import comfy.model_management
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete, ModelSamplingSD3
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.distillation.objectives import LISTED
from support.host_oracle import (
    Draws,
    Predict,
    Seen,
    assert_differs,
    assert_same,
    by_formula,
    controlled,
    left_half,
    level_at,
    of_items,
    one_each,
    set_area,
    set_mask,
    set_range,
    tiny_lora,
)
from support.tiny_models import (
    EPS,
    FAMILIES,
    FLUX,
    NEGATIVE,
    POSITIVE,
    SD3,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    V,
    cond,
    distill,
    encoded,
    tiny,
)
from torch import Tensor

PROMPTS = {"positive": POSITIVE, "negative": NEGATIVE, "source": SOURCE}

# The papers' gradients, computed from ComfyUI's own predictions

SCALE, SECOND, CONSISTENCY = 5.0, 3.0, 0.02
INVERSION, ETA = -4.0, 0.3
"""Guidance of the inversion, and the share of fresh noise, of sdi."""
SEED = 21

See = Callable[[float], Seen]
"""The model at a time in [0, 1]."""


def sds(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)
    return seen.guided(seen.noised(z, eps), "positive", SCALE) - eps


def nfsd(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)
    x = seen.noised(z, eps)
    null = seen.eps(x, "negative")
    domain = null if t < 0.2 else null - seen.eps(x, "source")
    return domain + SCALE * (seen.eps(x, "positive") - null)


def csd(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)
    x = seen.noised(z, eps)
    null = seen.eps(x, "negative")
    return SCALE * (seen.eps(x, "positive") - null) + SECOND * (null - seen.eps(x, "source"))


def vsd(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)  # the LoRA has learned nothing yet
    x = seen.noised(z, eps)
    return seen.guided(x, "positive", SCALE) - seen.eps(x, "positive")


def bridge(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)
    x = seen.noised(z, eps)
    return SCALE * (seen.eps(x, "positive") - seen.eps(x, "source"))


def full_bridge(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    low, top = see(t / 2), see(t)
    x = low.a * z
    x = low.noised(z, low.eps(x, "source"))
    x = top.noised(low.clean(x, "source"), low.eps(x, "source"))
    for here, below in ((top, low), (low, None)):
        clean = here.clean(x, "negative")
        clean = clean + SCALE * (here.clean(x, "positive") - clean)
        x = clean if below is None else below.noised(clean, (x - here.a * clean) / here.b)
    return z - x


def ism(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    s = max(t - 0.05, t / 2)
    low, middle, top = see(s / 2), see(s), see(t)
    x = low.noised(z, low.eps(low.a * z, "negative"))
    x = middle.noised(low.clean(x, "negative"), low.eps(x, "negative"))
    eps_s = middle.eps(x, "negative")
    return top.guided(top.noised(middle.clean(x, "negative"), eps_s), "positive", SCALE) - eps_s


def inverted(see: See, t: float, z: Tensor, fresh: Tensor) -> Tensor:
    """The noise that leads to time t in two steps of inversion, mixed with the share of fresh noise of sdi."""
    low, top = see(t / 2), see(t)
    clean = low.a * z
    x = low.noised(z, low.guided(clean, "positive", INVERSION))
    eps = low.guided(x, "positive", INVERSION)
    x = top.noised((x - low.b * eps) / low.a, eps)
    return math.sqrt(1 - ETA**2) * (x - top.a * z) / top.b + ETA * fresh


def sdi(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    return sds(see, t, z, inverted(see, t, z, eps), reference)


def dds(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)
    target = seen.guided(seen.noised(z, eps), "positive", SCALE)
    return target - seen.guided(seen.noised(reference, eps), "source", SECOND)


def flow(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor, shift: float) -> Tensor:
    seen = see(t)

    def velocity(x: Tensor, name: str, scale: float) -> Tensor:
        null, prompted = (seen.eps(x, prompt) - seen.clean(x, prompt) for prompt in ("negative", name))
        return null + scale * (prompted - null)

    x = seen.noised(z, eps) + shift * seen.b * (z - reference)
    difference = velocity(x, "positive", SCALE) - velocity(seen.noised(reference, eps), "source", SECOND)
    return difference + (1 - shift) * (z - reference)


def flowedit(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    return flow(see, t, z, eps, reference, 1.0)


def dvrf(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    return flow(see, t, z, eps, reference, 0.0)


def flowalign(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    seen = see(t)
    q = seen.noised(reference, eps)
    p = q + (seen.a + seen.b) * (z - reference)
    source, target = (seen.clean(p, name) for name in ("source", "positive"))
    clean_p, clean_q = source + SCALE * (target - source), seen.clean(q, "source")
    eps_p, eps_q = ((x - seen.a * clean) / seen.b for x, clean in ((p, clean_p), (q, clean_q)))
    return (eps_p - clean_p) - (eps_q - clean_q) + 33 * CONSISTENCY * (clean_p - clean_q)


def chord(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    def difference(seen: Seen) -> Tensor:
        x = seen.noised(reference, eps)
        return seen.clean(x, "positive") - seen.clean(x, "source")

    lower = max(t - 0.15, t / 2)
    way = (t * difference(see(lower)) + (t - lower) * difference(see(t))) / (t + (t - lower))
    return z - (reference + SCALE * way)


def dreamsampler(see: See, t: float, z: Tensor, eps: Tensor, reference: Tensor) -> Tensor:
    return sds(see, t, z, eps, reference)  # the first step's noise is a fresh draw


GRADIENTS: dict[str, Callable[[See, float, Tensor, Tensor, Tensor], Tensor]] = {
    "sds": sds,
    "nfsd": nfsd,
    "csd": csd,
    "vsd": vsd,
    "bridge": bridge,
    "full bridge": full_bridge,
    "dds": dds,
    "flowedit": flowedit,
    "dvrf": dvrf,
    "ism": ism,
    "flowalign": flowalign,
    "chord": chord,
    "dreamsampler": dreamsampler,
    "sdi": sdi,
}

ONE_STEP = {
    "steps": 1,
    "guidance_scale": SCALE,
    "source_guidance_scale": SECOND,
    "source_consistency_weight": CONSISTENCY,
    "inversion_guidance_scale": INVERSION,
    "eta": ETA,
    "learning_rate": 1.0,
    "learning_rate_schedule": "constant",
    "optimizer": "sgd",
    "weighting": "uniform",
    "ode_steps": 2,
    "t_min": 0.01,
    "t_max": 0.6,
}


def assert_one_step_follows(
    method: str,
    family: Family,
    *,
    model: ModelPatcher | None = None,
    prompts: dict[str, Any] = PROMPTS,
    times: str = "descending",
    t_max: float = 0.6,
    count: int = 2,
) -> Tensor:
    """One step of plain gradient descent moves each image by the formula, computed for that image alone.

    Returns the gradient in model scale.
    """
    model = model or tiny(family)
    latent, reference, alone = (
        encoded(family, count),
        encoded(family, count, seed=50),
        of_items(prompts, count),
    )
    options = {**ONE_STEP, "method": method, "seed": SEED, "time_schedule": times, "t_max": t_max}
    made, curve = distill(model, latent, reference=reference, **prompts, **options)
    scaled, clean_reference = model.model.process_latent_in, model.model.process_latent_in(reference["samples"])

    def gradient(i: int, predict: Predict, z: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(item_seeds(SEED, [i])[0])
        if times == "uniform":
            torch.rand(1, generator=generator)
        eps = torch.randn(family.shape, generator=generator)[None]

        def see(t: float) -> Seen:
            return Seen(family, predict, level_at(model, t))

        return GRADIENTS[method](see, curve["t"][0][i], z, eps, clean_reference[i : i + 1])

    expected = scaled(by_formula(model, latent["samples"], alone, gradient))
    assert_same(scaled(latent["samples"]) - scaled(made["samples"]), expected, 3e-4)
    norms = expected.flatten(1).norm(dim=1)
    torch.testing.assert_close(torch.tensor(curve["gradient_norm"][0]), norms, rtol=1e-3, atol=0)
    return expected


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("method", [name for name in LISTED if name != "lmc"])  # lmc: test_distillation_lmc.py
def test_one_step_follows_the_papers_gradient(method: str, family: Family):
    assert_one_step_follows(method, family)


@pytest.mark.parametrize("family", [V, SD3], ids=str)
@pytest.mark.parametrize("method", [name for name in LISTED if name != "lmc"])  # lmc: test_distillation_lmc.py
def test_each_image_of_a_batch_has_its_own_time(method: str, family: Family):
    assert_one_step_follows(method, family, times="uniform", count=3)


def test_nfsd_uses_the_source_prompt_only_at_high_noise():
    assert_one_step_follows("nfsd", V, t_max=0.19)


@pytest.mark.parametrize(
    ("family", "patch"),
    [
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", True)[0]),
        (EPS, lambda model: ModelSamplingDiscrete().patch(model, "x0", False)[0]),
        (SD3, lambda model: ModelSamplingSD3().patch(model, 9.0)[0]),
    ],
    ids=["zero terminal SNR", "x0", "shift"],
)
def test_respects_model_sampling_nodes(family: Family, patch: Callable[[ModelPatcher], ModelPatcher]):
    for method in ("sds", "dds"):
        patched = assert_one_step_follows(method, family, model=patch(tiny(family)))
        assert_differs(patched, assert_one_step_follows(method, family))


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_time_1_is_the_highest_noise_level(family: Family):
    assert_one_step_follows("dvrf", family, t_max=1.0)


@pytest.mark.parametrize("family", [EPS, FLUX], ids=str)
@pytest.mark.parametrize("weighting", ["1-alpha_bar", "snr"])
def test_weighting_follows_the_noise_level(weighting: str, family: Family):
    model, latent = tiny(family), encoded(family)
    z, plain, weighted = (
        model.model.process_latent_in(samples)
        for samples in (
            latent["samples"],
            *(
                distill(model, latent, time_schedule="descending", **{**ONE_STEP, "weighting": name})[0]["samples"]
                for name in ("uniform", weighting)
            ),
        )
    )
    b_over_a = level_at(model, 0.6)
    if family.flow:
        b_over_a /= 1 - b_over_a
    expected = {"1-alpha_bar": b_over_a**2 / (1 + b_over_a**2), "snr": b_over_a}[weighting]
    torch.testing.assert_close(z - weighted, expected * (z - plain), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_flow_time_schedule_matches_an_ode_step(family: Family):
    model, latent = tiny(family), encoded(family)
    options = {**ONE_STEP, "method": "flowedit", "time_schedule": "descending"}
    z, plain, solved = (
        model.model.process_latent_in(samples)
        for samples in (
            latent["samples"],
            distill(model, latent, **options)[0]["samples"],
            distill(model, latent, **{**options, "learning_rate_schedule": "flow time"})[0]["samples"],
        )
    )
    top, bottom = (level_at(model, options[name]) for name in ("t_max", "t_min"))
    if not family.flow:
        top, bottom = top / (1 + top), bottom / (1 + bottom)
    torch.testing.assert_close(z - solved, (top - bottom) * (z - plain), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_shift_of_dvrf_reaches_from_dds_to_flowedit(family: Family):
    model, latent, reference = tiny(family), encoded(family, 2), encoded(family, 2, seed=50)
    options = {**ONE_STEP, "time_schedule": "descending", "reference": reference}

    def moved(method: str, **shift: Any) -> Tensor:
        scaled = model.model.process_latent_in
        return scaled(latent["samples"]) - scaled(
            distill(model, latent, method=method, **options, **shift)[0]["samples"]
        )

    assert_same(moved("dvrf", shift=1.0), moved("flowedit"))
    b = level_at(model, 0.6)
    a = 1 - b if family.flow else 1.0
    assert_same(moved("dvrf", shift=0.0), (a + b) / a * moved("dds"))
    assert_differs(moved("dvrf", shift=0.5), moved("dvrf", shift=0.0))


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_source_weight_adds_the_gradient_of_the_squared_distance(family: Family):
    model, latent = tiny(family), encoded(family)
    options = {**ONE_STEP, "start_from": "noise", "seed": 30}
    free, pulled = (
        model.model.process_latent_in(distill(model, latent, source_weight=w, **options)[0]["samples"])
        for w in (0.0, 0.25)
    )
    noise, source = Draws(latent["samples"].shape, 30)(), model.model.process_latent_in(latent["samples"])
    torch.testing.assert_close(free - pulled, 2 * 0.25 * (noise - source), rtol=1e-3, atol=2e-3)


# Model calls

CALLS: list[tuple[str, dict[str, Any], list[int]]] = [
    ("sds", {}, [2, 2]),
    ("bridge", {}, [2, 2]),
    ("bridge", {"start_from": "noise"}, [2, 2]),
    ("nfsd", {}, [3, 3]),
    ("csd", {"steps": 4}, [3, 3, 2, 2]),
    ("csd", {"source_guidance_scale": 0.0}, [2, 2]),
    ("vsd", {}, [2, 1, 1] * 2),
    ("full bridge", {"ode_steps": 3}, [1, 1, 1, 2, 2, 2] * 2),
    ("full bridge", {"first_stage": 1.0}, [2, 2]),
    ("dds", {}, [4, 4]),
    ("flowedit", {}, [4, 4]),
    ("dvrf", {}, [4, 4]),
    ("ism", {"ode_steps": 3}, [1, 1, 1, 1, 2] * 2),
    ("flowalign", {}, [3, 3]),
    ("chord", {}, [4, 1]),
    ("dreamsampler", {}, [2, 2]),
    ("sdi", {"ode_steps": 3}, [2, 2, 2, 2] * 2),
    ("sds", {"noise_policy": "inverted", "ode_steps": 3}, [2, 2, 2, 2] * 2),
    ("dds", {"noise_policy": "estimated"}, [4, 4]),
]


@pytest.mark.parametrize("family", [EPS, FLUX], ids=str)
@pytest.mark.parametrize(("method", "options", "expected"), CALLS)
def test_makes_the_minimum_number_of_model_calls(
    method: str, options: dict[str, Any], expected: list[int], family: Family
):
    calls = Calls()
    distill(calls.watch(tiny(family)), encoded(family, 3), method=method, **{"steps": 2, **options})
    assert calls.batches == [3 * prompts for prompts in expected]
    assert calls.runs == 1


# Conditioning: which prompts of the two images of an edit can share one model call


def long(seed: int, tokens: int) -> Conditioning:
    ((first, values),) = cond(seed)
    return [[first.repeat(1, 2, 1)[:, :tokens], values]]


MASK = left_half(8)
MASKS = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(1))
TWO_MASKS, THREE_MASKS = MASKS[:2], MASKS[:3]


def masked(positive: Tensor, source: Tensor) -> dict[str, Any]:
    return {"positive": set_mask(POSITIVE, positive) + cond(4), "source": set_mask(SOURCE, source) + cond(5)}


def weighted(positive: float, source: float) -> dict[str, Any]:
    return {"positive": cond(1, strength=positive) + cond(4), "source": cond(3, strength=source) + cond(5)}


def with_default() -> dict[str, Any]:
    return {
        name: set_mask(prompt, MASK) + cond(seed, default=True)
        for name, prompt, seed in (("positive", POSITIVE, 4), ("source", SOURCE, 5))
    }


def on(*names: str, **options: Any) -> dict[str, Any]:
    return dict(zip(names, controlled(*(PROMPTS[name] for name in names), **options)))


SPLIT = 0.65
"""When the prompts change, as a fraction of sampling. The images of a test have times before and after it."""


def chained(*names: str) -> dict[str, Conditioning]:
    """Prompts with two chained ControlNets, each with one hint per image. The second acts for part of the time."""
    first = on(*names, hints=3)
    return dict(zip(names, controlled(*first.values(), hints=3, seed=9, end=SPLIT)))


def hooked(*names: str) -> dict[str, Any]:
    """Prompts with a LoRA hook."""
    hooks = comfy.hooks.create_hook_lora(tiny_lora(), 0.5, 0.0)
    return {name: comfy.hooks.set_hooks_for_conditioning(PROMPTS[name], hooks) for name in names}


PAIRS: dict[str, tuple[dict[str, Conditioning], list[int]]] = {
    "equal": ({}, [8]),
    "lengths with a small common multiple": ({"source": long(3, 6)}, [8]),
    "lengths without one": ({"source": long(3, 7)}, [4, 2, 2]),
    "one prompt per image": (
        {"positive": one_each(cond(1), cond(4)), "source": one_each(cond(3), cond(5))},
        [8],
    ),
    "more prompts than images": (
        {"positive": one_each(cond(1), cond(4), cond(6)), "source": one_each(cond(3), cond(5))},
        [8],
    ),
    "one mask": (masked(MASK, MASK), [12]),
    "different masks": (masked(MASK, 1 - MASK), [6, 6]),
    "one mask per image": (masked(TWO_MASKS, TWO_MASKS), [12]),
    "more masks than images": (masked(MASKS, MASKS), [12]),
    "a mask and a default": (with_default(), [12]),
    "equal strengths": (weighted(0.5, 0.5), [12]),
    "different strengths": (weighted(0.5, 0.2), [6, 6]),
    "same area": ({"positive": set_area(POSITIVE) + cond(4), "source": set_area(SOURCE) + cond(5)}, [8, 8]),
    "different areas": (
        {"positive": set_area(POSITIVE) + cond(4), "source": set_area(SOURCE, 32) + cond(5)},
        [8, 4, 4, 8],
    ),
    "an area and no area": ({"positive": set_area(POSITIVE) + cond(4)}, [4, 4, 4, 4]),
    "same time range": ({"positive": set_range(cond(4), 0.0, 0.5), "source": set_range(cond(5), 0.0, 0.5)}, [4, 4]),
    "different time ranges": (
        {"positive": set_range(cond(4), 0.0, 0.5), "source": set_range(cond(5), 0.0, 0.45)},
        [4, 4],
    ),
    "different numbers of prompts": ({"positive": POSITIVE + cond(4)}, [6, 4]),
    "same ControlNet": (on("positive", "source"), [2, 2, 2, 2]),
    "same ControlNet on all prompts": (on("positive", "source", "negative"), [4, 2, 2]),
    "a ControlNet on the source": (on("source"), [4, 2, 2]),
    "two ControlNets": ({**on("positive"), **on("source", seed=9)}, [2, 2, 2, 2]),
    "same ControlNet with one hint per image": (on("positive", "source", hints=2), [2, 2, 2, 2]),
    "same ControlNet with one hint per image on all prompts": (
        on("positive", "source", "negative", hints=2),
        [4, 2, 2],
    ),
    "different LoRA hooks": (hooked("positive"), [2, 2, 4]),
    "same LoRA hook": (hooked("positive", "source"), [4, 4]),
    "more hints than images": (on("positive", "source", "negative", hints=3), [4, 2, 2]),
}
"""Prompts, and the batch sizes of the model calls for two images."""


@cache
def plain(method: str, times: str, count: int) -> Tensor:
    """The gradient with plain prompts."""
    return assert_one_step_follows(method, V, times=times, count=count)


@pytest.mark.parametrize("pair", PAIRS)
def test_shared_calls_give_the_same_as_separate_ones(pair: str):
    prompts, expected = PAIRS[pair]
    calls = Calls()
    found = assert_one_step_follows("dds", V, model=calls.watch(tiny(V)), prompts={**PROMPTS, **prompts})
    alone = calls.batches[len(expected) :]
    assert calls.batches[: len(expected)] == expected and set(alone) <= {1, 2}
    if prompts:
        assert_differs(found, plain("dds", "descending", 2))


@pytest.mark.parametrize("family", FAMILIES, ids=str)
def test_each_image_uses_its_own_prompt(family: Family):
    prompts = {
        "positive": one_each(cond(1), cond(4)),
        "negative": one_each(cond(2), cond(6)),
        "source": one_each(cond(3), cond(5)),
    }
    for method in ("sds", "dds", "full bridge"):
        assert_one_step_follows(method, family, prompts=prompts)


def early_then_late(early: Conditioning, late: Conditioning) -> Conditioning:
    return set_range(early, 0.0, SPLIT) + set_range(late, SPLIT, 1.0)


ACTING: dict[str, dict[str, Conditioning]] = {
    "mask": {"positive": set_mask(POSITIVE, left_half()) + set_mask(NEGATIVE, 1 - left_half())},
    "area": {"positive": set_area(POSITIVE) + cond(4)},
    "early then late": {"positive": early_then_late(cond(4), POSITIVE)},
    "early then late, all": {
        "positive": early_then_late(cond(4), POSITIVE),
        "negative": early_then_late(cond(5), NEGATIVE),
        "source": early_then_late(SOURCE, cond(6)),
    },
    "early then late, per image": {
        "positive": early_then_late(one_each(cond(1), cond(4), cond(5)), one_each(cond(6), cond(7), cond(8)))
    },
    "early mask per image": {
        "positive": set_range(set_mask(POSITIVE, THREE_MASKS), 0.0, SPLIT) + cond(4),
    },
    "ControlNet": on("positive", "negative", "source"),
    "ControlNet with one hint per image": on("positive", "negative", "source", hints=3),
    "chained ControlNets": chained("positive", "source"),
    "early ControlNet with one hint and mask per image": on(
        "positive", "source", end=SPLIT, hints=3, masks=THREE_MASKS[:, None]
    ),
    "LoRA hook": hooked("positive", "source"),
    "early ControlNet": on("positive", "source", end=SPLIT),
    "early ControlNet with one hint per image": on("positive", "source", end=SPLIT, hints=3),
}


AT_TIMES = [
    *((acting, "uniform", method) for acting in ACTING for method in ("sds", "dds", "flowalign", "chord")),
    *((acting, "descending", "dds") for acting in ACTING),
    ("early then late, all", "uniform", "full bridge"),
    ("early ControlNet with one hint per image", "uniform", "full bridge"),
]


@pytest.mark.parametrize(("acting", "times", "method"), AT_TIMES)
def test_conditioning_options_act_on_each_image_at_its_time(acting: str, times: str, method: str):
    found = assert_one_step_follows(method, V, prompts={**PROMPTS, **ACTING[acting]}, times=times, count=3)
    assert_differs(found, plain(method, times, 3))


@pytest.mark.parametrize("acting", ACTING)
def test_conditioning_options_act_at_each_noise_level_of_a_call(acting: str):
    # The prompts change at 1 - SPLIT = 0.35, between chord's times 0.4 and 0.25.
    assert_one_step_follows("chord", V, prompts={**PROMPTS, **ACTING[acting]}, t_max=0.4, count=3)


@pytest.mark.parametrize("method", ["dds", "flowalign", "chord"])
def test_negative_prompt_stands_in_for_a_part_of_the_source_prompt(method: str):
    left, right = set_mask(SOURCE, left_half()), set_mask(NEGATIVE, 1 - left_half())
    model, latent = tiny(V), encoded(V, 2)
    options = {**ONE_STEP, "method": method, "time_schedule": "descending", "reference": encoded(V, 2, seed=50)}
    alone, filled = (distill(model, latent, source=source, **options)[0] for source in (left, left + right))
    assert_same(alone["samples"], filled["samples"])
    assert_differs(alone["samples"], distill(model, latent, **options)[0]["samples"])


def test_times_lie_before_and_after_the_split():
    _, curve = distill(tiny(V), encoded(V, 3), **{**ONE_STEP, "seed": SEED, "time_schedule": "uniform"})
    assert min(curve["t"][0]) < 1 - SPLIT < max(curve["t"][0])

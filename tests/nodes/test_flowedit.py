"""FlowEdit and its relatives in Distillation Sampler: the paper's run, its end by sampling, and embedded guidance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comfy_extras.nodes_flux import FluxGuidance
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.nodes.posterior_latent_match import PosteriorLatentMatch
from support.host_oracle import (
    Predict,
    Seen,
    assert_differs,
    assert_kept,
    assert_same,
    by_formula,
    halves,
    left_half,
    level_at,
    of_items,
)
from support.tiny_models import (
    EPS,
    FLUX,
    FLUX_DISTILLED,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    distill,
    distilled,
    encoded,
    tiny,
    tiny_vae,
)
from torch import Tensor

PROMPTS: dict[str, Any] = {"positive": POSITIVE, "negative": NEGATIVE, "source": SOURCE}
SEED = 21
RELATIVES = ("flowedit", "dvrf", "flowalign")


@pytest.mark.parametrize(("n_avg", "n_min"), [(1, 0), (2, 0), (1, 2), (2, 2)])
@pytest.mark.parametrize("family", [SD3, EPS, QWEN], ids=str)
def test_node_runs_the_papers_algorithm(family: Family, n_avg: int, n_min: int):
    # T = 8 and n_max = 5, at guidance 1.5 and 4. States of models with noise 1 sigma are divided by a + b.
    model, latent, total, n_max, s_src, s_tar = tiny(family), encoded(family, 2), 8, 5, 1.5, 4.0
    made, curve = distill(
        model, latent, method="flowedit", seed=SEED, steps=n_max, t_max=n_max / total, n_avg=n_avg, n_min=n_min,
        guidance_scale=s_tar, source_guidance_scale=s_src, **PROMPTS,
    )  # fmt: skip

    def algorithm_1(i: int, predict: Predict, x_src: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(item_seeds(SEED, [i])[0])
        levels = [Seen(family, predict, level_at(model, index / total)) for index in range(n_max + 1)]
        times = [seen.b / (seen.a + seen.b) for seen in levels]

        def velocity(index: int, x: Tensor, name: str, scale: float) -> Tensor:
            seen = levels[index]
            null, prompted = (
                (x - seen.clean(x * (seen.a + seen.b), prompt)) / times[index] for prompt in ("negative", name)
            )
            return null + scale * (prompted - null)

        def source_at(index: int) -> Tensor:
            eps = torch.randn(family.shape, generator=generator)[None]
            return (1 - times[index]) * x_src + times[index] * eps

        z = x_src
        for index in range(n_max, n_min, -1):
            difference = torch.zeros_like(x_src)
            for z_src in [source_at(index) for _ in range(n_avg)]:
                target = velocity(index, z + z_src - x_src, "positive", s_tar)
                difference = difference + (target - velocity(index, z_src, "source", s_src)) / n_avg
            z = z + (times[index - 1] - times[index]) * difference
        if n_min == 0:
            return z
        z = z + source_at(n_min) - x_src
        for index in range(n_min, 0, -1):
            z = z + (times[index - 1] - times[index]) * velocity(index, z, "positive", s_tar)
        return z

    assert_same(made["samples"], by_formula(model, latent["samples"], of_items(PROMPTS, 2), algorithm_1), 5e-4)
    assert [t[0] for t in curve["t"]] == pytest.approx([i / total for i in range(n_max, 0, -1)])


def test_papers_levels_on_sd3_are_those_of_the_shifted_schedule():
    _, curve = distill(tiny(SD3), encoded(SD3), method="flowedit", steps=-1)
    levels = [level_at(tiny(SD3), t) for (t,) in curve["t"]]
    even = [i / 50 for i in range(33, 0, -1)]
    assert levels == pytest.approx([3 * t / (1 + 2 * t) for t in even], abs=1e-6)


def test_neutral_values_change_nothing():
    for method in ("sds", *RELATIVES):
        own = distilled(tiny(SD3), encoded(SD3), method=method)
        assert torch.equal(own, distilled(tiny(SD3), encoded(SD3), method=method, n_avg=1, n_min=0))
        assert torch.equal(own, distilled(tiny(SD3), encoded(SD3), method=method, n_avg=-1, n_min=-1))


def test_averaging_costs_calls_and_no_memory():
    calls = Calls()
    distill(calls.watch(tiny(SD3)), encoded(SD3), method="flowedit", steps=4, n_avg=3, n_min=1)
    assert calls.batches == [4] * 9 + [2]


@pytest.mark.parametrize("method", ["sds", "dds", "bridge"])
def test_other_methods_average_and_have_no_n_min(method: str):
    model, latent = tiny(SD3), encoded(SD3)
    own = distilled(model, latent, method=method)
    assert torch.equal(own, distilled(model, latent, method=method, n_min=2))
    assert_differs(own, distilled(model, latent, method=method, n_avg=4), 1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_min": 3}, "n_min is 3 and steps 3: n_min counts the last of these steps, so set it lower."),
        ({"n_avg": 0}, "n_avg is 0: set it to 1 or more"),
        ({"n_min": 1, "vae": tiny_vae("taesd-16")}, "n_min is 1.*disconnect 'vae', or set n_min to 0"),
    ],
)
def test_impossible_endings_are_refused(options: dict[str, Any], words: str):
    calls = Calls()
    with pytest.raises(ValueError, match=words):
        distill(calls.watch(tiny(SD3)), encoded(SD3), method="flowedit", **options)
    assert not calls.runs


# Embedded guidance


def guided(prompt: Conditioning, scale: float) -> Conditioning:
    return FluxGuidance.execute(prompt, scale).args[0]


SCALES_1 = {"guidance_scale": 1.0, "source_guidance_scale": 1.0}
EDITS = ("dds", *RELATIVES, "chord")


@pytest.mark.parametrize("method", EDITS)
def test_guidance_of_each_prompt_is_that_of_its_flux_guidance(method: str):
    model, latent = tiny(FLUX_DISTILLED), encoded(FLUX_DISTILLED, 2)

    def edited(target: float, source: float, **options: Any) -> Tensor:
        prompts = {"positive": guided(POSITIVE, target), "source": guided(SOURCE, source)}
        return distilled(model, latent, method=method, **{**SCALES_1, **prompts, **options})

    own = edited(5.5, 1.5)
    assert_differs(edited(5.5, 4.0), own, 1e-4)
    assert_differs(edited(3.0, 1.5), own, 1e-4)
    # The negative prompt, required as an input, is not used.
    assert torch.equal(own, edited(5.5, 1.5, negative=guided(SOURCE, 7.0)))
    # Without FluxGuidance, guidance is the host's.
    bare = distilled(model, latent, method=method, **SCALES_1)
    assert torch.equal(bare, edited(3.5, 3.5))


@pytest.mark.parametrize("method", RELATIVES)
def test_equal_prompts_with_equal_guidance_leave_the_image(method: str):
    model, latent = tiny(FLUX_DISTILLED), encoded(FLUX_DISTILLED)

    def norms(target: float, source: float) -> list[float]:
        prompts: dict[str, Any] = {"positive": guided(SOURCE, target), "source": guided(SOURCE, source)}
        _, curve = distill(model, latent, method=method, **SCALES_1, **prompts)
        return [norm for (norm,) in curve["gradient_norm"]]

    assert max(norms(5.5, 5.5)) < 1e-4 < 1e-2 < min(norms(5.5, 1.5))


def test_guidance_of_the_prompts_is_the_hosts():
    # FlowEdit with guidance 5.5 and 1.5, one step in ComfyUI's own predictions.
    model, latent = tiny(FLUX_DISTILLED), encoded(FLUX_DISTILLED)
    prompts = {"positive": guided(POSITIVE, 5.5), "source": guided(SOURCE, 1.5)}
    made = distilled(model, latent, method="flowedit", seed=SEED, steps=1, t_max=0.5, n_min=0, **SCALES_1, **prompts)

    def one_step(i: int, predict: Predict, x: Tensor) -> Tensor:
        eps = torch.randn(FLUX_DISTILLED.shape, generator=torch.Generator().manual_seed(SEED))[None]
        seen = Seen(FLUX_DISTILLED, predict, level_at(model, 0.5))
        z_src = seen.noised(x, eps)
        target, source = ((z_src - seen.clean(z_src, name)) / seen.b for name in ("positive", "source"))
        return x - seen.b * (target - source)

    assert_same(made, by_formula(model, latent["samples"], [prompts], one_step))


def test_end_by_sampling_needs_no_negative_prompt_either():
    options = {"method": "flowedit", "n_min": 1, **SCALES_1, "positive": guided(POSITIVE, 5.5)}
    calls, latent = Calls(), encoded(FLUX_DISTILLED)
    own = distilled(calls.watch(tiny(FLUX_DISTILLED)), latent, **options)
    assert calls.batches == [2, 2, 1]
    assert torch.equal(own, distilled(tiny(FLUX_DISTILLED), latent, **options, negative=guided(SOURCE, 7.0)))


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        (
            "flowedit",
            {},
            "Or set guidance_scale and source_guidance_scale to 1: then the method 'flowedit' needs no unconditional "
            "prediction, and FluxGuidance nodes set the guidance after each prompt, such as 1.5 for the source prompt "
            "and 5.5 for the target prompt.",
        ),
        ("flowedit", {"guidance_scale": 1.0}, "Or set guidance_scale and source_guidance_scale to 1"),
        ("dvrf", {"source_guidance_scale": 1.0}, "Or set guidance_scale and source_guidance_scale to 1"),
        ("sds", {}, "Or set guidance_scale to 1: then the method 'sds' .* after the prompt."),
        ("csd", SCALES_1, r"a model that is not guidance-distilled\.$"),
        ("ism", SCALES_1, r"a model that is not guidance-distilled\.$"),
        ("sdi", SCALES_1, r"a model that is not guidance-distilled\.$"),
        ("flowedit", {**SCALES_1, "noise_policy": "inverted"}, r"a model that is not guidance-distilled\.$"),
    ],
)
def test_methods_that_need_a_negative_prompt_say_what_to_do(method: str, options: dict[str, Any], words: str):
    calls = Calls()
    with pytest.raises(ValueError, match=r"guidance-distilled and input 'positive' has guidance 3\.5.*" + words):
        distill(calls.watch(tiny(FLUX_DISTILLED)), encoded(FLUX_DISTILLED), method=method, **options)
    assert not calls.runs


# Masks


@pytest.mark.parametrize("family", [EPS, SD3, FLUX, QWEN], ids=str)
@pytest.mark.parametrize("method", ["dds", "pds", *RELATIVES])
def test_mask_keeps_the_source_outside(method: str, family: Family):
    model, source = tiny(family), encoded(family, 2)
    options: dict[str, Any] = {"method": method, "n_min": 1}
    if method == "pds":
        socket = PosteriorLatentMatch.execute(source, SOURCE, POSITIVE, NEGATIVE, 7.5, "official", 1.0).args[0]
        options = {"objective": socket}
    made = distilled(model, {**source, "noise_mask": left_half()[:, None]}, **options)
    (inside, outside), (before, kept) = halves(made), halves(source["samples"])
    assert_kept(outside, kept)
    assert_differs(inside, before, 1e-3)

"""Mask Localized Guidance in ComfyUI's samplers and ours, compared with predictions blended by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import comfy.hooks
import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.nodes.mask_localized_guidance import MaskLocalizedGuidance
from support.host_oracle import (
    HOST_NODES,
    assert_differs,
    assert_same,
    controlled,
    left_half,
    level_at,
    set_area,
    set_mask,
    set_range,
    tiny_lora,
)
from support.tiny_models import (
    EPS,
    FAMILIES,
    NEGATIVE,
    QWEN,
    SD3,
    Calls,
    Conditioning,
    Family,
    Latent,
    V,
    cond,
    distill,
    edit,
    encoded,
    tiny,
)
from torch import Tensor
from torch.nn.functional import interpolate

BASE, CAT, DOG, BIRD = cond(10), cond(11), cond(12), cond(13)
LEFT, EVERYWHERE, NOWHERE = left_half(), torch.ones(1, 64, 64), torch.zeros(1, 64, 64)
MIDDLE = 0.5
"""The time at which most predictions are compared."""

Region = tuple[Tensor, Conditioning]

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


def localized(base: Conditioning, *regions: Region, feather: float = 0.0) -> tuple[Conditioning, Tensor]:
    """Run Mask Localized Guidance like ComfyUI. Returns its CONDITIONING and MASK."""
    numbered = {}
    for number, (mask, conditioning) in enumerate(regions, start=1):
        numbered |= {f"mask_{number}": mask, f"conditioning_{number}": conditioning}
    with torch.inference_mode():
        conditioning, mask = MaskLocalizedGuidance.execute(base=base, feather=feather, **numbered).args
    return conditioning, mask


def composed(base: Conditioning, *regions: Region, feather: float = 0.0) -> Conditioning:
    return localized(base, *regions, feather=feather)[0]


def rectangle(top: int, left: int, height: int, width: int) -> Tensor:
    """A MASK of 64 pixels."""
    mask = torch.zeros(1, 64, 64)
    mask[:, top : top + height, left : left + width] = 1
    return mask


def soft(seed: int, *, count: int = 1, size: int = 8, highest: float = 1.0) -> Tensor:
    """A MASK (count, size, size) of random values. At size 8 it has one value per latent cell."""
    return highest * torch.rand(count, size, size, generator=torch.Generator().manual_seed(seed))


def level(family: Family, time: float) -> Tensor:
    return torch.tensor([level_at(tiny(family), time), 0.0])


def predicted(
    conditioning: Conditioning,
    *,
    family: Family = EPS,
    latent: Latent | None = None,
    time: float = MIDDLE,
    model: ModelPatcher | None = None,
) -> Tensor:
    """ComfyUI's clean estimate at a time: the result of one Euler step down from there."""
    samples = (latent or encoded(family))["samples"]
    sampler, sigmas = comfy.samplers.ksampler("euler"), level(family, time)
    noise = torch.zeros_like(samples)
    arguments = (model or tiny(family), noise, 1.0, sampler, sigmas, conditioning, NEGATIVE, samples)
    with torch.inference_mode():
        return comfy.sample.sample_custom(*arguments, disable_pbar=True)


def cells(mask: Tensor) -> Tensor:
    """A MASK (B, H, W) resized to the latent like ComfyUI does: (B, 8, 8)."""
    return interpolate(mask[:, None], size=(8, 8), mode="bilinear")[:, 0]


def mixed(*shares: Region, family: Family = EPS, **options: Any) -> Tensor:
    """`sum_i M_i z0_hat(c_i)` for masks that sum to 1."""
    frames = (1,) * (len(family.shape) - 2)
    parts = [
        cells(mask).reshape(-1, *frames, 8, 8) * predicted(conditioning, family=family, **options)
        for mask, conditioning in shares
    ]
    return torch.stack(parts).sum(0)


# Full sampling runs


def k_sampled(model: ModelPatcher, latent: Latent, positive: Conditioning) -> Tensor:
    sample = HOST_NODES["KSampler"]().sample
    with torch.inference_mode():
        return sample(model, 5, 3, 4.0, "dpmpp_2m", "normal", positive, NEGATIVE, latent)[0]["samples"]


def edited(model: ModelPatcher, latent: Latent, positive: Conditioning) -> Tensor:
    return edit(model, latent, positive=positive)[0]["samples"]


def distilled(method: str) -> Callable[..., Tensor]:
    def runner(model: ModelPatcher, latent: Latent, positive: Conditioning) -> Tensor:
        return distill(model, latent, positive=positive, method=method, steps=2, learning_rate=0.2)[0]["samples"]

    return runner


RUNNERS = {
    "KSampler": k_sampled,
    "Proximal DreamSampler": edited,
    "Distillation Sampler, sds": distilled("sds"),
    "Distillation Sampler, dds": distilled("dds"),
}
every_runner = pytest.mark.parametrize("runner", RUNNERS.values(), ids=list(RUNNERS))


def mixing(model: ModelPatcher, masks: Sequence[Tensor]) -> ModelPatcher:
    """A MODEL that blends the predictions of several entries by hand, with these masks (1, 8, 8)."""

    def mix(arguments: dict[str, Any]) -> list[Tensor]:
        model, x, sigma = (arguments[key] for key in ("model", "input", "sigma"))

        def alone(entry: dict[str, Any]) -> Tensor:
            return comfy.samplers.calc_cond_batch(model, [[entry]], x, sigma, arguments["model_options"])[0]

        def together(cond: list[dict[str, Any]] | None) -> Tensor:
            if cond is None:
                return torch.zeros_like(x)
            if len(cond) == 1:
                return alone(cond[0])
            return sum((mask * alone(entry) for mask, entry in zip(masks, cond, strict=True)), torch.zeros_like(x))

        return [together(cond) for cond in arguments["conds"]]

    by_hand = model.clone()
    by_hand.set_model_sampler_calc_cond_batch_function(mix)
    return by_hand


@every_runner
@pytest.mark.parametrize("family", [EPS, V, SD3], ids=str)
def test_sampling_matches_predictions_blended_by_hand(runner: Callable[..., Tensor], family: Family):
    model, latent = tiny(family), encoded(family, 2)
    one, other = soft(1, highest=0.5), soft(2, highest=0.5)
    localized_result = runner(model, latent, composed(BASE, (one, CAT), (other, DOG)))
    by_hand = mixing(model, [1 - one - other, one, other])
    assert_same(localized_result, runner(by_hand, latent, BASE + CAT + DOG))
    assert_differs(localized_result, runner(model, latent, BASE))


@every_runner
@pytest.mark.parametrize("feather", [0.0, 8.0])
def test_full_mask_uses_only_its_prompt(runner: Callable[..., Tensor], feather: float):
    latent, conditioning = encoded(V, 2), composed(BASE, (EVERYWHERE, CAT), (NOWHERE, DOG), feather=feather)
    assert torch.equal(runner(tiny(V), latent, conditioning), runner(tiny(V), latent, CAT))


@every_runner
@pytest.mark.parametrize("feather", [0.0, 8.0])
def test_empty_masks_use_only_the_base(runner: Callable[..., Tensor], feather: float):
    latent, conditioning = encoded(V, 2), composed(BASE, (NOWHERE, CAT), (NOWHERE, DOG), feather=feather)
    assert torch.equal(runner(tiny(V), latent, conditioning), runner(tiny(V), latent, BASE))


def test_empty_mask_may_have_any_shape():
    # Load Image returns an empty 64x64 mask for any image without transparency.
    wide = torch.zeros(1, 32, 48)
    wide[..., :20] = 1
    with_empty, without = (composed(BASE, (wide, CAT), *more) for more in ([(NOWHERE, DOG)], []))
    assert len(with_empty) == len(without) == 2
    for (tokens, values), (expected_tokens, expected) in zip(with_empty, without):
        assert torch.equal(tokens, expected_tokens) and torch.equal(values["mask"], expected["mask"])


def test_negative_prompts_can_be_localized():
    model, latent, share = tiny(EPS), encoded(EPS), soft(3)
    sample = HOST_NODES["KSampler"]().sample

    def sampled(model: ModelPatcher, negative: Conditioning) -> Tensor:
        with torch.inference_mode():
            return sample(model, 5, 3, 4.0, "euler", "normal", BASE, negative, latent)[0]["samples"]

    by_hand = sampled(mixing(model, [1 - share, share]), NEGATIVE + DOG)
    assert_same(sampled(model, composed(NEGATIVE, (share, DOG))), by_hand)


# Blending weights


@every_family
def test_regions_and_base_add_up(family: Family):
    cat, dog = rectangle(0, 0, 32, 24), 0.25 * rectangle(32, 0, 32, 64)
    found = predicted(composed(BASE, (cat, CAT), (dog, DOG)), family=family)
    assert_same(found, mixed((1 - cat - dog, BASE), (cat, CAT), (dog, DOG), family=family))


def test_overlapping_regions_share_the_overlap():
    cat, dog = rectangle(0, 0, 64, 40), 0.5 * rectangle(0, 24, 64, 40)
    both, only_dog = rectangle(0, 24, 64, 16), 0.5 * rectangle(0, 40, 64, 24)
    found = predicted(composed(BASE, (cat, CAT), (dog, DOG)))
    shares = [(only_dog, BASE), (rectangle(0, 0, 64, 24) + 2 / 3 * both, CAT), (only_dog + 1 / 3 * both, DOG)]
    assert_same(found, mixed(*shares))
    _, union = localized(BASE, (cat, CAT), (dog, DOG))
    assert torch.equal(union, cat + only_dog)


def test_prompts_without_weight_cost_no_model_calls():
    def cost(*regions: Region) -> int:
        counted = Calls()
        predicted(composed(BASE, *regions, feather=8), model=counted.watch(tiny(EPS)))
        return sum(counted.batches)

    assert cost((NOWHERE, CAT)) == cost((EVERYWHERE, CAT)) == cost((NOWHERE, DOG), (EVERYWHERE, CAT)) == 1
    assert cost((NOWHERE, set_range(CAT, 0.0, 1 - MIDDLE))) == 1
    assert cost((LEFT, CAT)) == cost((LEFT, CAT), (1 - LEFT, DOG)) == cost((EVERYWHERE, CAT), (EVERYWHERE, DOG)) == 2
    assert cost((LEFT, CAT), (LEFT, DOG)) == cost((LEFT, CAT), (EVERYWHERE, DOG), (LEFT, BIRD)) == 3


def test_feather_softens_only_edges_inside_the_image():
    conditioning, mask = localized(BASE, (LEFT, CAT), feather=8)
    row = mask[0, 0]
    assert (row[:24] == 1).all() and not row[40:].any() and torch.equal(mask[0], row.expand(64, 64))
    assert (row[23:41].diff() < 0).all() and row[31] + row[32] == pytest.approx(1)
    assert_same(predicted(conditioning), mixed((1 - mask, BASE), (mask, CAT)))
    assert_differs(predicted(conditioning), predicted(composed(BASE, (LEFT, CAT))))


def test_feather_is_measured_in_pixels_of_the_largest_mask():
    _, fine = localized(BASE, (left_half(256), CAT), feather=64)
    _, coarse = localized(BASE, (left_half(64), CAT), feather=16)
    finer = torch.zeros(1, 256, 256)
    finer[:, -1, -1] = 0.01
    _, beside_a_finer = localized(BASE, (left_half(64), CAT), (finer, DOG), feather=64)
    assert_same(cells(coarse), cells(fine), 0.02)
    assert_same(cells(beside_a_finer), cells(fine), 0.02)
    _, narrower = localized(BASE, (left_half(64), CAT), feather=4)
    assert_differs(cells(narrower), cells(fine), 0.1)


def test_feathered_neighbors_leave_no_gap():
    found = predicted(composed(BASE, (LEFT, CAT), (1 - LEFT, DOG), feather=12))
    _, mask = localized(BASE, (LEFT, CAT), feather=12)
    assert_same(found, mixed((mask, CAT), (1 - mask, DOG)))


@pytest.mark.parametrize("sizes", [(64, 8), (8, 64), (16, 48), (8, 512)], ids=str)
def test_masks_of_different_resolutions(sizes: tuple[int, int]):
    cat, dog = soft(1, size=sizes[0], highest=0.5), soft(2, size=sizes[1], highest=0.5)
    conditioning, union = localized(BASE, (cat, CAT), (dog, DOG))
    cat, dog = (interpolate(mask[None], size=(max(sizes),) * 2, mode="bilinear")[0] for mask in (cat, dog))
    assert_same(union, cat + dog)
    assert_same(predicted(conditioning), mixed((1 - cat - dog, BASE), (cat, CAT), (dog, DOG)))


def test_values_outside_the_range_are_clamped():
    wild = torch.where(LEFT > 0, 7.0, -3.0)
    assert torch.equal(predicted(composed(BASE, (wild, CAT))), predicted(composed(BASE, (LEFT, CAT))))


@pytest.mark.parametrize("shape", [(64, 64), (1, 64, 64), (1, 1, 64, 64)], ids=str)
def test_mask_without_batch_or_with_channel_dimension_is_accepted(shape: tuple[int, ...]):
    conditioning, mask = localized(BASE, (LEFT.reshape(shape), CAT))
    assert mask.shape == (1, 64, 64)
    assert torch.equal(predicted(conditioning), predicted(composed(BASE, (LEFT, CAT))))


@every_runner
def test_each_image_uses_its_own_masks(runner: Callable[..., Tensor]):
    many, one = soft(1, count=3), soft(2)
    conditioning, union = localized(BASE, (many, CAT), (one, DOG))
    together = runner(tiny(V), encoded(V, 3), conditioning)
    assert union.shape == (3, 8, 8)
    for i in range(3):
        alone, mask = localized(BASE, (many[i : i + 1], CAT), (one, DOG))
        assert torch.equal(mask[0], union[i])
        latent = {**encoded(V, seed=i), "batch_index": [i]}
        assert_same(together[i : i + 1], runner(tiny(V), latent, alone), 2e-4)


def test_each_image_uses_its_own_masks_in_one_prediction():
    latent, many = encoded(EPS, 4), soft(1, count=2)
    found = predicted(composed(BASE, (many, CAT)), latent=latent)
    repeated = many.repeat(2, 1, 1)  # like ComfyUI if there are fewer masks than images
    assert_same(found, mixed((1 - repeated, BASE), (repeated, CAT), latent=latent))


@pytest.mark.parametrize("size", [(8, 8), (13, 9), (64, 64), (96, 80)], ids=str)
def test_weights_sum_to_one_for_any_latent_size(size: tuple[int, int]):
    chained = composed(BASE, (soft(1, size=40, count=2), CAT), (soft(2, size=72), DOG), feather=3)
    entries = [dict(values) for _, values in composed(chained, (soft(3, size=50), BIRD), (soft(4), CAT))]
    comfy.samplers.resolve_areas_and_cond_masks_multidim(entries, size, torch.device("cpu"))
    total = torch.stack([entry["mask"].expand(2, *size) * entry["mask_strength"] for entry in entries]).sum(0)
    torch.testing.assert_close(total, torch.ones(2, *size), rtol=0, atol=1e-6)


# Chains


TILES = [rectangle(32 * row, 16 * column, 32, 16) for row in range(2) for column in range(3)]
TILE_PROMPTS = [cond(20 + i) for i in range(6)]


def test_two_chained_nodes_give_six_regions():
    tiles = list(zip(TILES, TILE_PROMPTS))
    chained = composed(composed(BASE, *tiles[:4]), *tiles[4:])
    assert_same(predicted(chained), mixed((1 - torch.stack(TILES).sum(0), BASE), *tiles))


def test_later_regions_cover_earlier_ones():
    first, second = soft(1), soft(2)
    chained = composed(composed(BASE, (first, CAT)), (second, DOG))
    under = 1 - second
    assert_same(predicted(chained), mixed((under * (1 - first), BASE), (under * first, CAT), (second, DOG)))


def test_chained_nodes_may_have_different_resolutions_and_batches():
    first, second = soft(1, size=16), soft(2, size=64, count=2)
    latent = encoded(EPS, 2)
    chained, union = localized(composed(BASE, (first, CAT)), (second, DOG))
    large = interpolate(first[None], size=(64, 64), mode="bilinear")[0]
    under = 1 - second
    shares = [(under * (1 - large), BASE), (under * large, CAT), (second, DOG)]
    assert torch.equal(union, second)
    assert_same(predicted(chained, latent=latent), mixed(*shares, latent=latent))


def test_region_can_be_subdivided():
    outer, inner = soft(1), soft(2)
    divided = composed(CAT, (inner, DOG))
    shares = [(1 - outer, BASE), (outer * (1 - inner), CAT), (outer * inner, DOG)]
    assert_same(predicted(composed(BASE, (outer, divided))), mixed(*shares))


# Options on the conditioning


def test_existing_mask_narrows_the_region():
    own, region = soft(1), soft(2)
    found = predicted(composed(BASE, (region, set_mask(CAT, own))))
    assert_same(found, mixed((1 - own * region, BASE), (own * region, CAT)))
    found = predicted(composed(BASE, (EVERYWHERE, set_mask(CAT, LEFT))))
    assert_same(found, mixed((1 - LEFT, BASE), (LEFT, CAT)))


def test_strength_scales_the_weight_up_to_one():
    weighted = HOST_NODES["ConditioningSetMask"]().append
    for strength, share in ((0.25, 0.25), (3.0, 1.0)):
        (cat,) = weighted(CAT, LEFT, "default", strength)
        assert_same(predicted(composed(BASE, (EVERYWHERE, cat))), mixed((1 - share * LEFT, BASE), (share * LEFT, CAT)))
    (weak,) = HOST_NODES["ConditioningSetAreaStrength"]().append(CAT, 0.25)
    assert_same(predicted(composed(BASE, (LEFT, weak))), mixed((1 - 0.25 * LEFT, BASE), (0.25 * LEFT, CAT)))


def test_base_prompts_are_normalized_to_the_base_weight():
    own, region = soft(1).clamp(min=0.1), soft(2)
    base = set_mask(BASE, 0.5 * own) + set_mask(DOG, 0.5 - 0.5 * own)
    found = predicted(composed(base, (region, CAT)))
    shares = [((1 - region) * own, BASE), ((1 - region) * (1 - own), DOG), (region, CAT)]
    assert_same(found, mixed(*shares))


def test_combined_prompts_share_their_region():
    region = soft(1)
    found = predicted(composed(BASE + BIRD, (region, CAT + DOG)))
    shares = [((1 - region) / 2, BASE), ((1 - region) / 2, BIRD), (region / 2, CAT), (region / 2, DOG)]
    assert_same(found, mixed(*shares))


def test_default_prompt_fills_the_rest_of_its_region():
    own, region = soft(1), soft(2)
    base, dog = ([[tokens, {**values, "default": True}] for tokens, values in prompt] for prompt in (BASE, DOG))
    found = predicted(composed(set_mask(BIRD, own) + base, (region, set_mask(CAT, own) + dog)))
    under = 1 - region
    shares = [(under * own, BIRD), (under * (1 - own), BASE), (region * own, CAT), (region * (1 - own), DOG)]
    assert_same(found, mixed(*shares))


def at(share: float) -> float:
    """The time after a fraction of sampling."""
    return 1 - share


def test_base_replaces_a_prompt_outside_its_time_range():
    region, other = soft(1, highest=0.5), soft(2, highest=0.5)
    conditioning = composed(BASE, (region, set_range(CAT, 0.0, 0.4)), (other, DOG))
    early = mixed((1 - region - other, BASE), (region, CAT), (other, DOG), time=at(0.2))
    assert_same(predicted(conditioning, time=at(0.2)), early)
    late = mixed((1 - other, BASE), (other, DOG), time=at(0.6))
    assert_same(predicted(conditioning, time=at(0.6)), late)
    alone = composed(BASE, (EVERYWHERE, set_range(CAT, 0.0, 0.4)))
    assert torch.equal(predicted(alone, time=at(0.2)), predicted(CAT, time=at(0.2)))
    assert torch.equal(predicted(alone, time=at(0.6)), predicted(BASE, time=at(0.6)))


@pytest.mark.parametrize("share", [0.1, 0.45, 0.8])
def test_consecutive_time_ranges(share: float):
    region = soft(1)
    base = set_range(BASE, 0.0, 0.3) + set_range(BIRD, 0.3, 1.0)
    conditioning = composed(base, (region, set_range(CAT, 0.0, 0.6) + set_range(DOG, 0.6, 1.0)))
    shares = [(1 - region, BASE if share < 0.3 else BIRD), (region, CAT if share < 0.6 else DOG)]
    assert_same(predicted(conditioning, time=at(share)), mixed(*shares, time=at(share)))


def test_prompts_are_averaged_where_their_time_ranges_touch():
    region, moment = soft(1), 0.5
    conditioning = composed(BASE, (region, set_range(CAT, 0.0, moment) + set_range(DOG, moment, 1.0)))
    shares = [(1 - region, BASE), (region / 2, CAT), (region / 2, DOG)]
    assert_same(predicted(conditioning, time=at(moment)), mixed(*shares, time=at(moment)))


def test_clip_schedule_is_a_time_range():
    region = soft(1)
    early = [[tokens, {**values, "clip_start_percent": 0.0, "clip_end_percent": 0.5}] for tokens, values in CAT]
    late = [[tokens, {**values, "clip_start_percent": 0.5, "clip_end_percent": 1.0}] for tokens, values in DOG]
    conditioning = composed(BASE, (region, early + set_range(late, 0.0, 0.8)))
    for share, shares in (
        (0.3, [(1 - region, BASE), (region, CAT)]),
        (0.7, [(1 - region, BASE), (region, DOG)]),
        (0.9, [(EVERYWHERE, BASE)]),
    ):
        assert_same(predicted(conditioning, time=at(share)), mixed(*shares, time=at(share)))


def test_time_ranges_and_masks_work_together_in_a_sampler():
    region, model, latent = soft(1, highest=0.5), tiny(EPS), encoded(EPS)
    timed = composed(BASE, (region, set_range(CAT, 0.0, 0.5)), (LEFT, set_mask(DOG, soft(2, size=64))))
    found = k_sampled(model, latent, timed)
    always = composed(BASE, (region, CAT), (LEFT, set_mask(DOG, soft(2, size=64))))
    assert_differs(found, k_sampled(model, latent, always), 1e-3)
    nearly = composed(BASE, (region, set_range(CAT, 0.0, 1.0)), (LEFT, set_mask(DOG, soft(2, size=64))))
    assert torch.equal(k_sampled(model, latent, nearly), k_sampled(model, latent, always))


def test_prompt_with_an_area_stays_there_and_the_base_fills_the_rest():
    upper = set_area(CAT)
    whole, alone = predicted(composed(BASE, (EVERYWHERE, upper))), predicted(upper)
    assert_same(whole[..., :4, :], alone[..., :4, :])
    assert_same(whole[..., 4:, :], predicted(BASE)[..., 4:, :])
    half = predicted(composed(BASE, (LEFT, upper)))
    assert_same(half[..., :4, :4], alone[..., :4, :4])
    assert_same(half[..., 4:, :], predicted(BASE)[..., 4:, :])
    assert_same(half[..., 4:], predicted(BASE)[..., 4:])


def test_full_mask_keeps_the_soft_edges_of_areas():
    latent = {"samples": torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))}
    areas = set_area(CAT) + DOG
    assert_same(predicted(composed(BASE, (EVERYWHERE, areas)), latent=latent), predicted(areas, latent=latent))


def test_mask_bounds_crop_the_prediction():
    (bounded,) = HOST_NODES["ConditioningSetMask"]().append(CAT, LEFT, "mask bounds", 1.0)
    found = predicted(composed(BASE, (EVERYWHERE, bounded)))
    assert_same(found, predicted(bounded + set_mask(BASE, 1 - LEFT)))


def test_controlnet_stays_with_its_prompt():
    region = soft(1)
    (prompt,) = controlled(CAT)
    found = predicted(composed(BASE, (region, prompt)))
    assert_same(found, mixed((1 - region, BASE), (region, prompt)))
    assert_differs(found, predicted(composed(BASE, (region, CAT))))


def test_hook_stays_with_its_prompt():
    region = soft(1)
    hooks = comfy.hooks.create_hook_lora(tiny_lora(), 1.0, 0.0)
    prompt = [[tokens, {**values, "hooks": hooks}] for tokens, values in CAT]
    found = predicted(composed(BASE, (region, prompt)))
    assert_same(found, mixed((1 - region, BASE), (region, prompt)))
    assert_differs(found, predicted(composed(BASE, (region, CAT))), 1e-3)


@pytest.mark.parametrize("end", [0.5, 1.0])
def test_inputs_are_unchanged(end: float):
    prompts, region = (set_mask(BASE, EVERYWHERE), set_range(set_mask(CAT, soft(1)), 0.0, end)), 3 * soft(2)
    prompts_before, region_before = copy.deepcopy(prompts), region.clone()
    localized(prompts[0], (region, prompts[1]), feather=8)
    assert torch.equal(region, region_before)
    for ((tokens, values),), ((tokens_before, values_before),) in zip(prompts, prompts_before):
        assert values.keys() == values_before.keys() and torch.equal(tokens, tokens_before)
        assert torch.equal(values["mask"], values_before["mask"])


# Invalid inputs

SMALL, NAN = torch.ones(1, 64, 32), torch.full((1, 64, 64), float("nan"))
REFUSED = {
    "no base": ({"base": []}, "input 'base' is empty: connect a CLIP Text Encode node"),
    "no prompt in 1": ({"conditioning_1": []}, "input 'conditioning_1' is empty"),
    "no prompt in 3": ({"mask_3": LEFT, "conditioning_3": []}, "input 'conditioning_3' is empty"),
    "mask without prompt": (
        {"mask_2": LEFT},
        "mask_2 has no prompt: connect .* to input 'conditioning_2', or disconnect mask_2",
    ),
    "prompt without mask": (
        {"conditioning_4": DOG},
        "conditioning_4 has no mask: connect one to input 'mask_4', or disconnect conditioning_4",
    ),
    "mask of other aspect ratio": (
        {"mask_2": SMALL, "conditioning_2": DOG},
        "mask_2 is 32x64 pixels and mask_1 is 64x64, .*: crop or resize both",
    ),
    "existing mask of other aspect ratio": (
        {"conditioning_1": BIRD + set_mask(DOG, SMALL)},
        "conditioning_1's own mask 1 is 32x64 pixels and mask_1 is 64x64",
    ),
    "NaN": ({"mask_1": NAN}, "Input 'mask_1' contains NaN or infinite values: check the node"),
    "NaN in an existing mask": ({"base": set_mask(BASE, NAN)}, "base's own mask 1 contains NaN"),
    "different mask counts": (
        {"mask_1": LEFT.repeat(3, 1, 1), "mask_2": LEFT.repeat(2, 1, 1), "conditioning_2": DOG},
        "mask_2 holds 2 masks and mask_1 holds 3: connect one mask, or one for each image",
    ),
    "different count in an existing mask": (
        {"mask_1": LEFT.repeat(3, 1, 1), "base": set_mask(BASE, LEFT.repeat(2, 1, 1))},
        "base's own mask 1 holds 2 masks and mask_1 holds 3",
    ),
    "area without prompt": ({"base": set_mask(BASE, LEFT)}, "A part of the image .* has no prompt: .* without mask"),
    "time without prompt": ({"base": set_range(BASE, 0.0, 0.5)}, "or of the sampling has no prompt: .* time range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_invalid_input_is_rejected(name: str):
    inputs, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        MaskLocalizedGuidance.execute(**{
            "base": BASE, "mask_1": LEFT, "conditioning_1": CAT, "feather": 0.0, **inputs
        })  # fmt: skip


@pytest.mark.parametrize("runner", [edited, distilled("sds")], ids=["Proximal DreamSampler", "Distillation Sampler"])
def test_one_mask_per_image_is_rejected_for_models_with_frames(runner: Callable[..., Tensor]):
    each, one = (composed(BASE, (soft(1, count=count), CAT)) for count in (2, 1))
    assert runner(tiny(QWEN), encoded(QWEN, 2), one).isfinite().all()
    with pytest.raises(ValueError, match="input 'positive' has one mask per image.* one mask for the whole batch"):
        runner(tiny(QWEN), encoded(QWEN, 2), each)


def test_base_may_leave_out_what_regions_cover():
    found = predicted(composed(set_mask(BASE, LEFT), (1 - LEFT, CAT)))
    assert_same(found, mixed((LEFT, BASE), (1 - LEFT, CAT)))

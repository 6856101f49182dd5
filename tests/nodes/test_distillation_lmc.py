"""LMC-SDS in Distillation Sampler, on tiny models of every family."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingSD3
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.networks.corrective.normalization import normalize
from dreamsampler.guidance.networks.corrective.storage import ManifoldCorrective
from support.corrective_nodes import about, network, spectral, train
from support.host_oracle import (
    Predict,
    Seen,
    assert_differs,
    assert_same,
    by_formula,
    controlled,
    left_half,
    level_at,
    of_items,
    set_area,
    set_mask,
)
from support.tiny_models import (
    EPS,
    FAMILIES,
    FLUX,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    Calls,
    Conditioning,
    Family,
    V,
    ask,
    distill,
    encoded,
    tiny,
    tiny_vae,
    wrapped,
)
from torch import Tensor

every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)
ONE_STEP = {"steps": 1, "optimizer": "sgd", "learning_rate": 1.0, "learning_rate_schedule": "constant"}


def run(family: Family, latent: dict[str, Any], **options: Any) -> Tensor:
    options = {"corrective": spectral(family), "source": None, **options}
    return distill(tiny(family), latent, method="lmc", **options)[0]["samples"]


@every_family
def test_edits_and_batch_matches_single_images(family: Family):
    together = run(family, encoded(family, 3), seed=5)
    assert together.isfinite().all()
    assert_differs(together, encoded(family, 3)["samples"])
    for i in range(3):
        assert_same(together[i : i + 1], run(family, encoded(family, seed=i, batch_index=[i]), seed=5), 2e-4)


@pytest.mark.parametrize("family", [EPS, V, SD3, QWEN], ids=str)
@pytest.mark.parametrize("statistics", ["as printed", "full"])
def test_one_step_follows_the_papers_gradient(family: Family, statistics: str):
    t, guidance, seed, count = 0.5, 6.0, 31, 2
    corrective = spectral(family, statistics=statistics)
    model, latent = tiny(family), encoded(family, count)
    made = run(
        family, latent, corrective=corrective, seed=seed, guidance_scale=guidance, t_min=t, t_max=t + 1e-6, **ONE_STEP
    )
    scaled: Any = model.model.process_latent_in

    def gradient(i: int, predict: Predict, z: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(item_seeds(seed, [i])[0])
        torch.rand(1, generator=generator)
        eps = torch.randn(family.shape, generator=generator)[None]
        see = Seen(family, predict, level_at(model, t))
        x = see.noised(z, eps)
        clean = see.clean(x, "negative")
        b_hat = normalize(corrective(z.reshape(1, -1, 8, 8), torch.tensor([t])).reshape(z.shape), clean, statistics)  # type: ignore[arg-type]
        return (b_hat - clean) / guidance + see.eps(x, "positive") - see.eps(x, "negative")

    texts = of_items({"positive": POSITIVE, "negative": NEGATIVE}, count)
    expected = scaled(by_formula(model, latent["samples"], texts, gradient))
    assert_same(scaled(latent["samples"]) - scaled(made), expected, 5e-4)


@pytest.mark.parametrize("make", [network, spectral], ids=["network", "spectral"])
def test_each_step_makes_one_batched_call(make: Any):
    for diversity, expected in ((False, [4] * 3), (True, [6] * 3)):
        calls = Calls()
        distill(
            calls.watch(tiny(EPS)), encoded(EPS, 2), method="lmc", source=None, corrective=make(EPS),
            diversity=diversity,
        )  # fmt: skip
        assert calls.batches == expected


def test_trained_corrective_can_be_used_directly():
    made, _ = train(EPS, steps=2)
    assert_differs(run(EPS, encoded(EPS), corrective=with_size(made)), encoded(EPS)["samples"])


def with_size(corrective: ManifoldCorrective, side: int = 8) -> ManifoldCorrective:
    """The same corrective, declared for another size."""
    return ManifoldCorrective(corrective.network, replace(corrective.about, size=(side, side)))


def test_seed_decides_and_corrective_is_unchanged():
    corrective = network(FLUX)
    before = {name: tensor.clone() for name, tensor in corrective.network.state_dict().items()}
    first, again, other = (run(FLUX, encoded(FLUX), corrective=corrective, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert all(torch.equal(tensor, before[name]) for name, tensor in corrective.network.state_dict().items())


def test_empty_latent_uses_the_settings_for_images_from_scratch():
    empty = {"samples": torch.zeros(1, *EPS.shape)}
    zero_rate = {**ONE_STEP, "learning_rate": 0.0}
    assert torch.equal(run(EPS, empty, **zero_rate), empty["samples"])
    own = run(EPS, empty, steps=4)
    from_scratch = {"guidance_scale": 8.0, "learning_rate": 0.1, "learning_rate_schedule": "cosine to 0.03"}
    edit = {"guidance_scale": 15.0, "learning_rate": 0.02, "learning_rate_schedule": "cosine to 0.8"}
    assert torch.equal(own, run(EPS, empty, steps=4, **from_scratch, first_stage=0.3))
    assert not torch.equal(own, run(EPS, empty, steps=4, **edit))
    assert torch.equal(run(EPS, encoded(EPS), steps=4), run(EPS, encoded(EPS), steps=4, **edit, first_stage=0.4))
    assert_differs(run(EPS, empty, start_from="noise", **zero_rate), empty["samples"] + 1e-9)


def seen_sizes(side: int, vae: Any = None) -> list[tuple[int, tuple[int, ...]]]:
    """Batch and latent size of each model call for an 8x12 latent, with a corrective trained on side x side cells."""
    seen: list[tuple[int, tuple[int, ...]]] = []

    def look(apply_model: Any, arguments: dict[str, Any]) -> Tensor:
        seen.append((len(arguments["input"]), tuple(arguments["input"].shape[-2:])))
        return ask(apply_model, arguments)

    wide = {"samples": encoded(EPS)["samples"].repeat(1, 1, 1, 2)[..., :12]}
    corrective = with_size(spectral(EPS), side)
    out, _ = distill(wrapped(tiny(EPS), look), wide, method="lmc", source=None, corrective=corrective, steps=5, vae=vae)
    assert_differs(out["samples"], wide["samples"])
    return seen


@pytest.mark.parametrize("through", ["latent", "pixels"])
def test_large_image_is_optimized_downscaled_and_then_in_patches(through: str):
    vae = tiny_vae("taesd") if through == "pixels" else None
    assert seen_sizes(6, vae) == [(2, (4, 6))] * 2 + [(4, (6, 6))] * 3
    assert seen_sizes(12, vae) == [(2, (8, 12))] * 5


def with_left_mask() -> Conditioning:
    return set_mask(POSITIVE, left_half())


def with_hint() -> Conditioning:
    return controlled(POSITIVE)[0]


@pytest.mark.parametrize(
    ("make", "what"),
    [(with_left_mask, "a mask"), (lambda: set_area(POSITIVE), "an area"), (with_hint, "a ControlNet")],
    ids=["mask", "area", "control"],
)
def test_prompts_for_parts_of_an_image_in_patches_are_refused(make: Any, what: str):
    wide, calls = {"samples": encoded(EPS)["samples"].repeat(1, 1, 1, 2)[..., :12]}, Calls()
    options = {"method": "lmc", "source": None, "steps": 2, "positive": make()}
    words = f"The prompt 'positive' has {what} for the whole image, but an image of 12x8 latent cells is optimized in"
    with pytest.raises(ValueError, match=words):
        distill(calls.watch(tiny(EPS)), wide, corrective=with_size(spectral(EPS), 6), **options)
    assert calls.batches == []
    fits, _ = distill(tiny(EPS), wide, corrective=with_size(spectral(EPS), 12), **options)
    assert fits["samples"].isfinite().all()


UNUSED = "load or train one for this model."
REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "nothing connected": (
        EPS,
        {"corrective": None},
        "The method 'lmc' needs a manifold corrective of this model: connect Load Manifold Corrective, or Train "
        "Manifold Corrective if there is none yet, to input 'corrective'.",
    ),
    "other latent channels": (
        EPS,
        {"corrective": spectral(SD3)},
        f"The corrective is for 'SD3' with 16 latent channels, but the model has 4: {UNUSED}",
    ),
    "other family": (
        SD3,
        {"corrective": spectral(FLUX)},
        "The corrective was trained for 'FluxSchnell' with the noise path 'flow', but this model is 'SD3' with 'flow': "
        + UNUSED,
    ),
    "same family with another noise path": (
        EPS,
        {"corrective": spectral(EPS, path="flow")},
        "The corrective was trained for 'SD15' with the noise path 'flow', but this model is 'SD15' with 'scaled': "
        + UNUSED,
    ),
    "no guidance": (
        EPS,
        {"guidance_scale": 0.0},
        "guidance_scale is 0, and 'lmc' divides by it: set it above 0 (the paper uses 15 for edits, 8 for images from "
        "scratch).",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_sampling(case: str):
    family, options, words = REFUSED[case]
    calls, options = Calls(), {"corrective": spectral(family), **options}
    if options["corrective"] is None:
        del options["corrective"]
    with pytest.raises(ValueError) as refusal:
        distill(calls.watch(tiny(family)), encoded(family), method="lmc", source=None, **options)
    assert str(refusal.value) == words
    assert (calls.runs, calls.batches) == (0, [])


def test_corrective_of_another_checkpoint_gives_a_warning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "dreamsampler"):
        run(EPS, encoded(EPS))
        assert not caplog.records
        run(EPS, encoded(EPS), corrective=ManifoldCorrective(spectral(EPS).network, about(EPS, base="other")))
    assert caplog.messages == [
        "The corrective was trained on another checkpoint of 'SD15' than this one: it may work, but a corrective "
        "trained on this checkpoint works better."
    ]


def test_corrective_of_other_noise_levels_gives_a_warning(caplog: pytest.LogCaptureFixture):
    (shifted,) = ModelSamplingSD3().patch(tiny(SD3), 9.0)
    with caplog.at_level(logging.WARNING, "dreamsampler"):
        distill(shifted, encoded(SD3), method="lmc", source=None, corrective=spectral(SD3))
    assert caplog.messages == [
        "The corrective was trained with other noise levels than this model has: remove the node that changes them, or "
        "train a corrective with that node in place."
    ]


def test_diversity_changes_the_result_reproducibly():
    plain, diverse = (run(QWEN, encoded(QWEN), diversity=d, seed=4) for d in (False, True))
    assert_differs(plain, diverse, 0.001)
    assert torch.equal(diverse, run(QWEN, encoded(QWEN), diversity=True, seed=4))

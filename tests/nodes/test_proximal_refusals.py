"""Invalid inputs of Proximal DreamSampler raise clear errors before sampling and do not affect the next run."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.supported_models
import pytest
import torch
from comfy.model_base import ModelType
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_flux import FluxDisableGuidance, FluxGuidance
from support.host_oracle import with_model_type
from support.tiny_models import (
    EPS,
    FLUX_DISTILLED,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    Conditioning,
    Family,
    cond,
    edit,
    encoded,
    refused,
    tiny,
)
from torch import Tensor


def latent(*shape: int, value: float = 0.5) -> dict[str, Any]:
    return {"latent": {"samples": torch.full(shape, value)}}


def masked(*shape: int, family: Family = EPS, count: int = 1) -> dict[str, Any]:
    return {"latent": encoded(family, count), "mask": torch.ones(shape)}


def guided(positive: float | None, negative: float | None) -> dict[str, Any]:
    def with_guidance(conditioning: Conditioning, value: float | None) -> Conditioning:
        return conditioning if value is None else FluxGuidance.execute(conditioning, value).args[0]

    return {"positive": with_guidance(POSITIVE, positive), "negative": with_guidance(NEGATIVE, negative)}


REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "no steps": (EPS, {"steps": 0}, "Input 'steps' is 0: set it to a number from 1"),
    "no positive": (EPS, {"positive": []}, "input 'positive' is empty: connect a CLIP Text Encode"),
    "no negative": (EPS, {"negative": []}, "input 'negative' is empty: connect a CLIP Text Encode"),
    "empty latent": (EPS, latent(1, 4, 8, 8, value=0), "latent_image is empty.*connect a VAE Encode"),
    "NaN": (EPS, latent(1, 4, 8, 8, value=float("nan")), "'latent_image' contains NaN"),
    "infinite": (EPS, {**latent(1, 4, 8, 8, value=float("inf")), "start_from": "noise"}, "NaN or infinite"),
    "channels": (EPS, latent(1, 16, 8, 8), "16 channels but the model works on 4: encode"),
    "flow channels": (SD3, latent(1, 4, 8, 8), "4 channels but the model works on 16: encode"),
    "audio": (EPS, latent(1, 4, 64), "3 dimensions; an image latent has 4"),
    "frames": (QWEN, latent(1, 16, 3, 8, 8), "3 frames or layers.*use one of them"),
    "frames for an image model": (EPS, latent(1, 4, 3, 8, 8), "3 frames or layers.*use one of them"),
    "one frame for an image model": (SD3, latent(1, 16, 1, 8, 8), "frame"),
    "mask shape": (
        EPS,
        masked(1, 64, 128),
        "mask is 128x64 pixels, 2:1, but latent_image is 1:1.*crop or resize",
    ),
    "mask shape with frames": (QWEN, masked(1, 128, 64, family=QWEN), "mask is 64x128 pixels.*crop or resize"),
    "mask batch": (EPS, masked(3, 64, 64, count=2), "3 masks but latent_image holds 2 images: connect one mask"),
    "empty mask": (EPS, {"mask": torch.zeros(1, 64, 64)}, "mask is empty: paint what to change"),
    "mask NaN": (EPS, {"mask": torch.full((1, 8, 8), float("nan"))}, "mask.* contains NaN"),
    "noise mask batch": (
        EPS,
        {"latent": encoded(EPS, 2, noise_mask=torch.ones(3, 1, 64, 64))},
        "3 masks but latent_image holds 2",
    ),
    "batch_index": (EPS, {"latent": encoded(EPS, 2, batch_index=[0])}, "batch_index"),
    "guidance by default": (
        FLUX_DISTILLED,
        {},
        "input 'positive' has guidance 3.5.*FluxGuidance node with guidance 1.0",
    ),
    "guidance": (FLUX_DISTILLED, guided(1.0, 2.0), "input 'negative' has guidance 2.*FluxGuidance node"),
    "guidance of one of two prompts": (
        FLUX_DISTILLED,
        {**guided(1.0, 1.0), "positive": guided(1.0, None)["positive"] + cond(3, guidance=0.5)},
        "input 'positive' has guidance 0.5",
    ),
    "image-to-image model": (
        EPS,
        {"patch": with_model_type(ModelType.IMG_TO_IMG)},
        "A node between .* sets a kind of sampling that is not supported: remove it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_sampling(case: str):
    family, options, words = REFUSED[case]
    good = guided(1.0, 1.0) if family is FLUX_DISTILLED else {}
    message = refused(edit, family, options, words, good)
    assert message[0].isupper() or message.startswith(("steps", "latent_image"))
    assert message.endswith(".") or message.endswith(")")


def test_a_refused_model_is_named_by_its_family():
    lotus = Family(
        "lotus",
        comfy.supported_models.LotusD,
        {**EPS.unet, "num_heads": 4, "adm_in_channels": 4},
        EPS.shape,
        False,
        lambda config: comfy.model_base.BaseModel(config, ModelType.IMG_TO_IMG),
    )
    with pytest.raises(ValueError, match=r"^The model family 'LotusD' is not supported.*Use an image model.*\.$"):
        edit(tiny(lotus), encoded(lotus))


@pytest.mark.parametrize("samples", [torch.ones(1, 32, 1, 8, 8), torch.zeros(1, 64, 1, 8, 8)], ids=["image", "empty"])
def test_a_model_that_reshapes_latents_is_refused(samples: Tensor):
    def refiner(model: ModelPatcher) -> ModelPatcher:
        clone = model.clone()
        clone.add_object_patch("latent_format", comfy.latent_formats.HunyuanImage21Refiner())
        return clone

    options = {"latent": {"samples": samples}, "patch": refiner, "start_from": "noise"}
    refused(edit, QWEN, options, "family 'QwenImage' is not supported, because its latents have another shape", {})


def disabled() -> dict[str, Any]:
    prompts = {"positive": POSITIVE, "negative": NEGATIVE}
    return {name: FluxDisableGuidance.execute(value).args[0] for name, value in prompts.items()}


@pytest.mark.parametrize("prompts", [guided(1.0, 1.0), disabled()], ids=["guidance 1", "disabled"])
def test_guidance_distilled_model_edits_with_guidance_off(prompts: dict[str, Any]):
    model, source = tiny(FLUX_DISTILLED), encoded(FLUX_DISTILLED)
    unedited, edited = (edit(model, source, gamma=g, **prompts)[0]["samples"] for g in (0.0, 1.0))
    assert (edited - unedited).std() > 0.05 * source["samples"].std()

"""Invalid inputs of Distillation Sampler raise clear errors before sampling and do not affect the next run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from comfy.model_base import ModelType
from comfy.nested_tensor import NestedTensor
from comfy_extras.nodes_flux import FluxDisableGuidance, FluxGuidance
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.nodes.sockets import ObjectiveSocket
from support.host_oracle import with_model_type
from support.tiny_models import (
    EPS,
    FLUX_DISTILLED,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    Calls,
    Conditioning,
    Family,
    cond,
    distill,
    encoded,
    refused,
    tiny,
    tiny_vae,
)


def latent(*shape: int, value: float = 0.5) -> dict[str, Any]:
    return {"samples": torch.full(shape, value)}


def video_with_audio() -> dict[str, Any]:
    return {"samples": NestedTensor([torch.ones(1, 4, 8, 8), torch.ones(1, 8, 16)])}


def guided(**scales: float | None) -> dict[str, Any]:
    """Prompts with FluxGuidance where a scale is given."""
    prompts = {"positive": POSITIVE, "negative": NEGATIVE, "source": SOURCE}
    return {
        name: value if scales[name] is None else FluxGuidance.execute(value, scales[name]).args[0]
        for name, value in prompts.items()
    }


def objective(method: str, reference: dict[str, Any] | None = None, **prompts: Conditioning) -> dict[str, Any]:
    return {"objective": ObjectiveSocket(replace(METHODS[method], name="mine"), prompts, reference, "source_latent")}


EDITS = ("dds", "flowedit", "dvrf", "flowalign", "chord")
WITH_SOURCE = ("csd", "bridge", "full bridge", *EDITS)
SMALL = latent(1, 4, 4, 8)

REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "no positive": (EPS, {"positive": []}, "input 'positive' is empty: connect a CLIP Text Encode"),
    "no negative": (EPS, {"negative": []}, "input 'negative' is empty: connect a CLIP Text Encode"),
    "empty source": (EPS, {"source": [], "method": "bridge"}, "input 'source' is empty: connect a CLIP Text Encode"),
    "empty unused source": (EPS, {"source": []}, "input 'source' is empty: connect a CLIP Text Encode"),
    **{
        f"no source for {method}": (
            EPS,
            {"source": None, "method": method},
            f"'{method}' needs a source prompt that describes the image as it is now: connect a conditioning to input "
            "'source'",
        )
        for method in WITH_SOURCE
    },
    **{
        f"no image for {method}": (
            SD3,
            {"latent": latent(1, 4, 8, 8, value=0), "method": method},
            f"'{method}' compares with a source image.*to latent_image or to reference_latent",
        )
        for method in EDITS
    },
    "no source for nfsd": (
        EPS,
        {"source": None, "method": "nfsd"},
        "'nfsd' needs a source prompt, the same for every image: connect the output source of Text-Source Descriptor, "
        "with preset low quality, to input 'source'",
    ),
    "snr of pure noise": (
        SD3,
        {"weighting": "snr", "t_max": 1.0},
        "weighting snr is b / a, and infinite at t_max 1 of this model.*: set t_max to 0.98",
    ),
    "empty reference": (EPS, {"reference": latent(1, 4, 8, 8, value=0), "method": "dds"}, "reference_latent"),
    "reference of other size": (
        EPS,
        {"reference": SMALL, "method": "dds"},
        "reference_latent is 1 of 8x4 cells but latent_image is 1 of 8x8 cells",
    ),
    "two references for one image": (
        EPS,
        {"reference": encoded(EPS, 2), "method": "dvrf"},
        "reference_latent is 2 of 8x8 cells but latent_image is 1 of",
    ),
    "two references for three images": (
        EPS,
        {"latent": encoded(EPS, 3), "reference": encoded(EPS, 2), "method": "flowedit"},
        "reference_latent is 2 of .* but latent_image is 3 of",
    ),
    "reference channels": (
        EPS,
        {"method": "dds", "reference": latent(1, 16, 8, 8)},
        "reference_latent has 16 channels but the model",
    ),
    "reference NaN": (
        EPS,
        {"method": "dds", "reference": latent(1, 4, 8, 8, value=float("nan"))},
        "'reference_latent' contains NaN",
    ),
    "equal times": (EPS, {"t_min": 0.5, "t_max": 0.5}, "t_min is 0.5 and t_max 0.5: t_min must be below t_max"),
    "t_min above t_max": (EPS, {"t_min": 0.6, "t_max": 0.5}, "t_min is 0.6 and t_max 0.5: t_min must be below"),
    "t_min above the method's t_max": (EPS, {"method": "flowedit", "t_min": 0.7}, "t_min is 0.7 and t_max 0.66"),
    "negative learning rate": (EPS, {"learning_rate": -0.5}, "Input 'learning_rate' is -0.5"),
    "negative guidance scale": (EPS, {"guidance_scale": -0.1}, "Input 'guidance_scale' is -0.1"),
    "negative LoRA learning rate": (EPS, {"lora_learning_rate": -0.5}, "Input 'lora_learning_rate' is -0.5"),
    "shift below 0": (EPS, {"method": "dvrf", "shift": -0.5}, "Input 'shift' is -0.5"),
    "t_min below 0": (EPS, {"t_min": -0.5}, "Input 't_min' is -0.5"),
    "t_max above 1": (EPS, {"t_max": 1.5}, "Input 't_max' is 1.5: set it to a number from 0 to 1"),
    "flow time at random times": (
        EPS,
        {"learning_rate_schedule": "flow time", "time_schedule": "uniform"},
        "learning_rate_schedule 'flow time'.*set time_schedule to descending",
    ),
    "flowedit at random times": (EPS, {"method": "flowedit", "time_schedule": "annealed"}, "time_schedule to desc"),
    "no steps": (EPS, {"steps": 0}, "steps is 0: set it to 1 or more"),
    "no ODE steps": (EPS, {"method": "full bridge", "ode_steps": 0}, "ode_steps is 0: set it to 1 or more, or to -1"),
    "no rank": (EPS, {"method": "vsd", "lora_rank": 0}, "lora_rank is 0: set it to 1 or more, or to -1"),
    "NaN": (EPS, {"latent": latent(1, 4, 8, 8, value=float("nan"))}, "'latent_image' contains NaN"),
    "infinite": (EPS, {"latent": latent(1, 4, 8, 8, value=float("inf")), "start_from": "noise"}, "NaN or infinite"),
    "channels": (EPS, {"latent": latent(1, 16, 8, 8)}, "16 channels but the model works on 4: encode"),
    "video": (QWEN, {"latent": latent(1, 16, 3, 8, 8)}, "latent_image has 3 frames or layers.*use one of them"),
    "video reference": (
        QWEN,
        {"method": "dds", "reference": latent(1, 16, 3, 8, 8)},
        "reference_latent has 3 frames or layers",
    ),
    "one frame for an image model": (SD3, {"latent": latent(1, 16, 1, 8, 8)}, "latent_image has a frame dimension"),
    "video with audio": (EPS, {"latent": video_with_audio()}, "latent_image holds several latents"),
    "audio": (EPS, {"latent": latent(1, 4, 64)}, "latent_image has 3 dimensions; an image latent has 4"),
    "batch_index": (EPS, {"latent": encoded(EPS, 2, batch_index=[0])}, "batch_index"),
    "noise mask batch": (
        EPS,
        {"latent": encoded(EPS, 2, noise_mask=torch.ones(3, 1, 64, 64))},
        "mask holds 3 masks",
    ),
    "noise mask shape": (
        EPS,
        {"latent": encoded(EPS, noise_mask=torch.ones(1, 1, 64, 128))},
        "mask is 128x64 pixels",
    ),
    "noise mask NaN": (
        EPS,
        {"latent": encoded(EPS, noise_mask=torch.full((1, 8, 8), float("nan")))},
        "mask.* contains NaN",
    ),
    "VAE channels": (EPS, {"vae": tiny_vae("taesd-16")}, "VAE makes latents of 16 channels but the model works on 4"),
    "VAE channels of a flow model": (SD3, {"vae": tiny_vae("taesd")}, "VAE makes latents of 4 channels.* on 16"),
    "VAE with frames": (SD3, {"vae": tiny_vae("wan")}, "frame dimension.*connect the VAE that belongs to the model"),
    "VAE without frames": (QWEN, {"vae": tiny_vae("taesd-16")}, "frame dimension.*connect the VAE that belongs"),
    "guidance by default": (
        FLUX_DISTILLED,
        guided(positive=None, negative=1.0, source=1.0),
        "input 'positive' has guidance 3.5.*FluxGuidance node with guidance 1.0",
    ),
    "guidance": (FLUX_DISTILLED, guided(positive=1.0, negative=2.0, source=1.0), "input 'negative' has guidance 2"),
    "guidance of the source": (FLUX_DISTILLED, guided(positive=1.0, negative=1.0, source=4.0), "input 'source'"),
    "image-to-image model": (
        EPS,
        {"patch": with_model_type(ModelType.IMG_TO_IMG)},
        "A node between .* sets a kind of sampling that is not supported: remove it",
    ),
    "objective without a source": (
        EPS,
        objective("csd", positive=POSITIVE, negative=NEGATIVE),
        "'mine' needs a source prompt that describes the image as it is now: connect a conditioning to input 'source'",
    ),
    "objective with an empty prompt": (EPS, objective("sds", positive=[], negative=NEGATIVE), "'positive' is empty"),
    "objective without a reference": (
        EPS,
        objective("dds", positive=POSITIVE, negative=NEGATIVE, source=SOURCE),
        "'mine' compares with a source image",
    ),
    "objective with a reference of other size": (
        EPS,
        objective("dds", SMALL, positive=POSITIVE, negative=NEGATIVE, source=SOURCE),
        "source_latent is 1 of 8x4 cells but latent_image is 1 of 8x8",
    ),
    "objective with a reference of other channels": (
        EPS,
        objective("dds", latent(1, 16, 8, 8), positive=POSITIVE, negative=NEGATIVE, source=SOURCE),
        "source_latent has 16 channels but the model works on 4",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_sampling(case: str):
    family, options, words = REFUSED[case]
    good = guided(positive=1.0, negative=1.0, source=1.0) if family is FLUX_DISTILLED else {}
    message = refused(distill, family, options, words, good)
    assert message.endswith(".")
    assert message[0].isupper() or message.startswith(
        (
            "steps",
            "latent_image",
            "reference_latent",
            "source_latent",
            "t_min",
            "guidance_scale",
            "learning_rate",
            "ode_steps",
            "lora_",
            "shift",
        )
    )


def test_unused_inputs_are_not_required():
    model, calls = tiny(EPS), Calls()
    for method in ("sds", "vsd"):
        distill(calls.watch(model), {"samples": torch.zeros(1, 4, 8, 8)}, method=method, source=None)
    distill(calls.watch(model), encoded(EPS), reference=SMALL)
    assert calls.runs == 3


def disabled() -> dict[str, Any]:
    prompts = guided(positive=None, negative=None, source=None)
    return {name: FluxDisableGuidance.execute(value).args[0] for name, value in prompts.items()}


@pytest.mark.parametrize(
    "prompts", [guided(positive=1.0, negative=1.0, source=1.0), disabled()], ids=["guidance 1", "disabled"]
)
@pytest.mark.parametrize("method", ["bridge", "dds", "vsd"])
def test_guidance_distilled_model_distills_with_guidance_off(method: str, prompts: dict[str, Any]):
    source = encoded(FLUX_DISTILLED)
    output, _ = distill(tiny(FLUX_DISTILLED), source, method=method, **prompts)
    assert output["samples"].isfinite().all() and not torch.equal(output["samples"], source["samples"])


def test_model_without_attention_rejects_only_vsd():
    model = tiny.__wrapped__(without_attention())
    with pytest.raises(
        ValueError, match=r"vsd trains a LoRA on the model's attention.*choose another method, or a model.*\.$"
    ):
        distill(model, encoded(EPS), method="vsd")
    output, _ = distill(model, encoded(EPS), method="sds", positive=cond(1))
    assert output["samples"].isfinite().all()


def without_attention() -> Family:
    unet = {
        **EPS.unet,
        "transformer_depth": [0, 0],
        "transformer_depth_output": [0, 0, 0, 0],
        "transformer_depth_middle": -1,
    }
    return Family("convolutions", EPS.config, unet, EPS.shape, False)


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
def test_snr_runs_up_to_pure_noise(family: Family):
    """Models that predict noise see the image at every level; flow models at 0.98."""
    t_max = 0.98 if family.flow else 1.0
    made, values = distill(tiny(family), encoded(family), steps=2, weighting="snr", t_max=t_max, source=None)
    assert made["samples"].isfinite().all() and all(norm > 0 for (norm,) in values["gradient_norm"])

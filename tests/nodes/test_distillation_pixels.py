"""Distillation Sampler with a VAE: pixels are optimized through ComfyUI's own encoders."""

from __future__ import annotations

import copy
from typing import Any

import comfy.model_management
import comfy.sd
import pytest
import torch
from dreamsampler.guidance.distillation.method import LoopSettings, Method
from dreamsampler.guidance.distillation.objective import Direction
from dreamsampler.guidance.distillation.objectives.sds import SDSSettings
from dreamsampler.nodes.sockets import ObjectiveSocket
from support.host_oracle import assert_differs, assert_same, left_half, progress_hook
from support.tiny_models import (
    EPS,
    POSITIVE,
    QWEN,
    SD3,
    Family,
    V,
    autoencoder,
    create_in_inference_mode,
    distill,
    distilled,
    encoded,
    tiny,
    tiny_vae,
)
from torch import Tensor
from torch.nn import functional as F

KINDS = [("taesd", EPS), ("kl", V), ("taesd-16", SD3), ("wan", QWEN)]
"""Matching VAEs and models. The last one has a frame dimension."""

every_kind = pytest.mark.parametrize(("kind", "family"), KINDS, ids=str)


TOWARDS_ONE = ObjectiveSocket(
    Method(
        "towards one",
        lambda settings, resources: lambda prior, sample: Direction(sample.z - 1, sample.eps),
        SDSSettings(1.0),
        LoopSettings(optimizer="sgd", weighting="uniform"),
    ),
    {"positive": POSITIVE},
)
"""An objective with the known gradient z - 1, in model scale."""


def decoded(vae: comfy.sd.VAE, samples: Tensor) -> Tensor:
    """Images decoded by ComfyUI: (B, 3, H, W)."""
    with torch.inference_mode():
        images = vae.decode(samples)
    return images.reshape(-1, *images.shape[-3:]).movedim(-1, 1).clone()


class Oracle:
    """Gradient descent on pixels, by autograd through a float32 copy of the encoder."""

    def __init__(self, vae: comfy.sd.VAE, family: Family):
        self.encoder = copy.deepcopy(autoencoder(vae)).float().requires_grad_(False)
        self.frames = family is QWEN
        self.model = tiny(family).model

    def encode(self, pixels: Tensor) -> Tensor:
        x = 2 * pixels - 1
        return self.encoder.encode(x[:, :, None] if self.frames else x)

    def descend(
        self,
        pixels: Tensor,
        rate: float,
        *,
        mask: Tensor | None = None,
        kept: Tensor | None = None,
        source: Tensor | None = None,
        weight: float = 0.0,
    ) -> Tensor:
        """The latents after two steps toward one. `kept` holds the pixels outside the mask; `source` pulls back.

        The mask weights each update of the pixels, not the gradient before it.
        """
        theta = pixels.clone()
        mask = torch.ones(1) if mask is None else mask
        kept = pixels if kept is None else kept

        def blended(theta: Tensor) -> Tensor:
            return mask * theta + (1 - mask) * kept

        for _ in range(2):
            seen = blended(theta).requires_grad_()
            z = self.model.process_latent_in(self.encode(seen))
            loss = 0.5 * (z - 1).square().sum()
            if source is not None:
                loss = loss + weight * (z - self.model.process_latent_in(source)).square().sum()
            loss.backward()
            assert seen.grad is not None
            theta = (theta - rate * seen.grad).clamp(0, 1)
        return self.encode(blended(theta))


RATE = {"taesd": 1.0, "taesd-16": 0.1, "kl": 0.02, "wan": 0.01}
"""Learning rates that move pixels visibly without clipping all of them, for these random encoders."""


@every_kind
def test_descends_through_the_encoder(kind: str, family: Family):
    vae, latent = tiny_vae(kind), encoded(family, 2)
    options = {"vae": vae, "objective": TOWARDS_ONE, "learning_rate": RATE[kind], "steps": 2}
    oracle, pixels = Oracle(vae, family), decoded(vae, latent["samples"])
    expected = oracle.descend(pixels, RATE[kind])
    made, curve = distill(tiny(family), latent, **options)
    assert_same(made["samples"], expected, 1e-3)
    start = oracle.encode(pixels)
    assert_differs(expected, start)
    z = oracle.model.process_latent_in(start)
    torch.testing.assert_close(
        torch.tensor(curve["gradient_norm"][0]), (z - 1).flatten(1).norm(dim=1), rtol=1e-4, atol=0
    )


@every_kind
def test_pixels_stay_in_their_range(kind: str, family: Family):
    vae, latent, rate = tiny_vae(kind), encoded(family), 20 * RATE[kind]
    pixels = decoded(vae, latent["samples"])
    made = distilled(tiny(family), latent, vae=vae, objective=TOWARDS_ONE, steps=2, learning_rate=rate)
    assert_same(made, Oracle(vae, family).descend(pixels, rate), 1e-3)


@pytest.mark.parametrize(
    ("kind", "family", "dtype"),
    [
        ("taesd", EPS, torch.float32),
        ("taesd", EPS, torch.bfloat16),
        ("kl", V, torch.bfloat16),
        ("wan", QWEN, torch.float16),
    ],
    ids=str,
)
def test_encoder_runs_in_float32_and_is_unchanged(kind: str, family: Family, dtype: torch.dtype):
    vae = create_in_inference_mode(tiny_vae, kind, dtype)
    latent = encoded(family, 2)
    weights = dict(autoencoder(vae).named_parameters()) | dict(autoencoder(vae).named_buffers())
    copies = {name: tensor.clone() for name, tensor in weights.items()}
    assert all(tensor.is_inference() and tensor.dtype == dtype for tensor in weights.values())
    pixels = decoded(vae, latent["samples"])

    made = distilled(tiny(family), latent, vae=vae, objective=TOWARDS_ONE, steps=2, learning_rate=RATE[kind])

    assert_same(made, Oracle(vae, family).descend(pixels, RATE[kind]), 1e-3)
    for name, tensor in (*autoencoder(vae).named_parameters(), *autoencoder(vae).named_buffers()):
        assert tensor is weights[name] and torch.equal(tensor, copies[name])
    assert torch.equal(pixels, decoded(vae, latent["samples"]))


@pytest.mark.parametrize("fails", ["canceled", "failed"])
def test_failed_or_canceled_run_leaves_the_vae_unchanged(fails: str):
    vae, latent = tiny_vae.__wrapped__("kl", torch.bfloat16), encoded(EPS)
    weights = {name: (tensor, tensor.clone()) for name, tensor in autoencoder(vae).named_parameters()}
    pixels = decoded(vae, latent["samples"])

    def stop(value: int, *_: Any, **__: Any) -> None:
        if value == 2 and fails == "canceled":
            comfy.model_management.interrupt_current_processing(True)
        comfy.model_management.throw_exception_if_processing_interrupted()
        if value == 2:
            raise ZeroDivisionError

    error = {"canceled": comfy.model_management.InterruptProcessingException, "failed": ZeroDivisionError}[fails]
    with progress_hook(stop), pytest.raises(error):
        distill(tiny(EPS), latent, vae=vae)
    for name, tensor in autoencoder(vae).named_parameters():
        assert tensor is weights[name][0] and torch.equal(tensor, weights[name][1])
    assert torch.equal(pixels, decoded(vae, latent["samples"]))


@pytest.mark.parametrize("method", ["sds", "dds", "bridge", "vsd"])
@pytest.mark.parametrize(("kind", "family"), KINDS[1:2] + KINDS[3:], ids=str)
def test_every_method_changes_the_pixels(kind: str, family: Family, method: str):
    model, vae, latent = tiny(family), tiny_vae(kind), encoded(family, 1)
    made, curve = distill(model, latent, method=method, vae=vae, steps=2, optimizer="adam", learning_rate=0.05)
    assert made["samples"].shape == latent["samples"].shape and made["samples"].isfinite().all()
    assert_differs(made["samples"], Oracle(vae, family).encode(decoded(vae, latent["samples"])))
    again, _ = distill(model, latent, method=method, vae=vae, steps=2, optimizer="adam", learning_rate=0.05)
    assert torch.equal(made["samples"], again["samples"])


@every_kind
def test_batch_matches_single_images(kind: str, family: Family):
    model, vae, seed = tiny(family), tiny_vae(kind), 5
    options = {"vae": vae, "steps": 2, "optimizer": "sgd", "learning_rate": 1e-4}
    together = distilled(model, encoded(family, 2), seed=seed, **options)
    for i in range(2):
        alone = distilled(model, encoded(family, seed=i, batch_index=[i]), seed=seed, **options)
        assert_same(together[i : i + 1], alone, 1e-3)


@every_kind
def test_mask_keeps_the_pixels_outside(kind: str, family: Family):
    vae, latent = tiny_vae(kind), encoded(family, 2)
    pixels, oracle = decoded(vae, latent["samples"]), Oracle(vae, family)
    mask = left_half()[:, None]
    soft = F.interpolate(F.interpolate(mask, (8, 8), mode="bilinear"), (64, 64), mode="bilinear")
    for given, at_pixels in ((mask, soft), (torch.cat([0 * mask, mask]), torch.cat([0 * soft, soft]))):
        made = distilled(
            tiny(family),
            {**latent, "noise_mask": given},
            vae=vae,
            objective=TOWARDS_ONE,
            learning_rate=RATE[kind],
            steps=2,
        )
        assert_same(made, oracle.descend(pixels, RATE[kind], mask=at_pixels), 1e-3)


@every_kind
def test_start_from_noise_uses_decoded_noise(kind: str, family: Family):
    model, vae, latent = tiny(family), tiny_vae(kind), encoded(family)
    oracle, pixels = Oracle(vae, family), decoded(vae, latent["samples"])
    noise = torch.randn(family.shape, generator=torch.Generator().manual_seed(30))[None]
    start = decoded(vae, model.model.process_latent_out(noise))
    options = {
        "vae": vae,
        "objective": TOWARDS_ONE,
        "learning_rate": RATE[kind],
        "start_from": "noise",
        "seed": 30,
        "steps": 2,
    }
    assert_same(distilled(model, latent, **options), oracle.descend(start, RATE[kind]), 1e-3)
    mask = torch.full((1, 1, 64, 64), 0.5)
    made = distilled(model, {**latent, "noise_mask": mask}, **options)
    assert_same(made, oracle.descend(start, RATE[kind], mask=mask, kept=pixels), 1e-3)


@every_kind
def test_source_weight_pulls_the_pixels_back(kind: str, family: Family):
    vae, latent = tiny_vae(kind), encoded(family)
    options = {"objective": TOWARDS_ONE, "learning_rate": RATE[kind], "steps": 2}
    made = distilled(tiny(family), latent, vae=vae, source_weight=0.5, **options)
    pixels, source = decoded(vae, latent["samples"]), latent["samples"]
    assert_same(made, Oracle(vae, family).descend(pixels, RATE[kind], source=source, weight=0.5), 1e-3)

"""Proximal DreamSampler with the choices `ding` and `few steps`, on tiny models and VAEs of every noising path."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import comfy.samplers
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.restoration.measurement import CONTRAST, DECODED_ERROR, QUANTIZATION, Measurement
from support.host_oracle import Draws, Predict, assert_differs, assert_same, by_formula, mix, progress_hook
from support.tiny_models import (
    EPS,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    Calls,
    Family,
    V,
    autoencoder,
    encoded,
    hole,
    hole_cells,
    measure,
    photo,
    restore,
    square_hole,
    tiny,
    tiny_vae,
    untouched,
)
from torch import Tensor
from torch.nn import functional as F

KINDS = [(EPS, "kl"), (V, "kl"), (SD3, "taesd-16"), (QWEN, "wan")]
"""Matching models and VAEs: noise, velocity and flow prediction, and latents with a frame dimension."""
CHOICES = ("ding", "few steps")

every_kind = pytest.mark.parametrize(("family", "kind"), KINDS, ids=str)
every_choice = pytest.mark.parametrize("consistency", CHOICES)


class Oracle:
    """Both choices, written with Python numbers on ComfyUI's own predictions and VAE."""

    def __init__(self, family: Family, kind: str, model: ModelPatcher, measurement: Measurement, **settings: Any):
        self.family, self.model, self.measurement, self.settings = family, model, measurement, settings
        self.network: Any = autoencoder(tiny_vae(kind))
        sampling: Any = model.get_model_object("model_sampling")
        self.sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", settings["steps"]).tolist()

    def decoded(self, z: Tensor) -> Tensor:
        images = self.network.decode(self.model.model.process_latent_out(z))
        return 2 * ((images + 1) / 2).clamp(0, 1).reshape(-1, 3, 64, 64) - 1

    def encoded(self, images: Tensor) -> Tensor:
        frames = images[:, :, None] if self.family is QWEN else images
        return self.model.model.process_latent_in(self.network.encode(frames))

    def __call__(self, index: int, predict: Predict, start: Tensor) -> Tensor:
        settings = self.settings
        draws = Draws(torch.Size([1, *self.family.shape]), item_seeds(settings["seed"], [index])[0])
        top = mix(self.family, self.sigmas[0])
        x = top[0] * start + top[1] * draws()
        region = hole_cells(self.family)
        for sigma, sigma_next in zip(self.sigmas, self.sigmas[1:]):
            (a, b), (a_next, b_next) = mix(self.family, sigma), mix(self.family, sigma_next)
            alpha_bar, share = a**2 / (a**2 + b**2), settings["eta"] * b_next / (a_next + b_next)
            null = predict(x, sigma, "negative")
            z_bar = null + region * settings["gamma"] * (predict(x, sigma, "positive") - null)
            if settings["consistency"] == "few steps":
                error = DECODED_ERROR**2 + CONTRAST**2 * (1 - alpha_bar)
                weight, seen = QUANTIZATION**2 / error, 1 - square_hole()[:, None]
                before = self.decoded(z_bar)
                images = (seen * self.measurement.y + weight * before) / (seen + weight)
                z_bar = z_bar + self.encoded(images.clamp(-1, 1)) - self.encoded(before)
            eps = (x - a * z_bar) / b
            mean = a_next * z_bar + b_next * (1 - share**2) ** 0.5 * eps
            if not share:
                x = mean
            elif settings["consistency"] == "few steps":
                x = mean + b_next * share * draws()
            else:
                x = self.decoupled(predict, mean, share * b_next, sigma_next, draws)
        return x

    def decoupled(self, predict: Predict, mean: Tensor, eta: float, sigma: float, draws: Draws) -> Tensor:
        (a, b), region = mix(self.family, sigma), hole_cells(self.family)
        proxy = mean + eta * draws()
        eps = (proxy - a * predict(proxy, sigma, "negative")) / b
        variance = 0.01**2 + (region / (1 - region)) ** 2
        gamma = eta**2 / (eta**2 + a**2 * variance)
        known = self.encoded(self.filled)
        return (1 - gamma) * mean + gamma * (a * known + b * eps) + eta * (1 - gamma).sqrt() * draws()

    @property
    def filled(self) -> Tensor:
        """The image with the hole filled by Laplace's equation, by plain relaxation."""
        image, unknown = self.measurement.y.double(), square_hole()[:, None].bool()
        for _ in range(4000):
            around = F.avg_pool2d(F.pad(image, (1, 1, 1, 1), "replicate"), 3, stride=1) * 9
            corners = F.pad(image, (1, 1, 1, 1), "replicate")
            corners = sum(corners[..., i : i + 64, j : j + 64] for i in (0, 2) for j in (0, 2))
            image = torch.where(unknown, (around - image - corners) / 4, image)
        return image.float()


@every_kind
@every_choice
def test_matches_the_equations_on_comfyui_predictions(family: Family, kind: str, consistency: str):
    model, latent, measurement = tiny(family), encoded(family), hole()
    options: dict[str, Any] = {"consistency": consistency, "steps": 3, "gamma": 1.5, "eta": 0.8, "seed": 7}
    options |= {"gamma_schedule": "constant", "renoise": "guided"}
    restored = restore(model, tiny_vae(kind), latent, measurement, start_from="noise", **options)
    oracle = Oracle(family, kind, model, measurement, **options)
    prompts = {"positive": POSITIVE, "negative": NEGATIVE}
    assert_same(restored.samples, by_formula(model, latent["samples"], [prompts], oracle), 2e-3)


@every_choice
def test_batch_matches_single_images_and_seeds_reproduce(consistency: str):
    model, vae, seed = tiny(V), tiny_vae("kl"), 5
    masks = torch.cat([square_hole(), square_hole(0, 24), square_hole(30, 50)])
    options: dict[str, Any] = {"consistency": consistency, "start_from": "noise", "seed": seed, "eta": 1.0}
    together = measure(photo(3), mask=masks)[0]
    batch = restore(model, vae, encoded(V, 3), together, **options)
    again = restore(model, vae, encoded(V, 3), together, **options)
    assert torch.equal(batch.samples, again.samples)
    for i in range(3):
        alone = measure(photo(1, i), mask=masks[i : i + 1])[0]
        single = restore(model, vae, encoded(V, seed=i, batch_index=[i]), alone, **options)
        assert_same(batch.samples[i : i + 1], single.samples, 5e-3)
    assert_differs(batch.samples, restore(model, vae, encoded(V, 3), together, **{**options, "seed": 6}).samples)


@pytest.mark.parametrize("operator", ["super-resolution", "gaussian blur", "motion blur", "colourisation"])
def test_few_steps_take_every_operator(operator: str):
    """Random encoders do not invert decoders, so the fit itself is tested with the mathematics; here, that it acts."""
    first, other = (measure(photo(seed=seed), operator)[0] for seed in (0, 1))
    options: dict[str, Any] = {"start_from": "noise", "steps": 4, "eta": 1.0}
    free = restore(tiny(V), tiny_vae("kl"), encoded(V), None, **options)
    restored, elsewhere = (
        restore(tiny(V), tiny_vae("kl"), encoded(V), each, projection=False, consistency="few steps", **options)
        for each in (first, other)
    )
    assert restored.samples.isfinite().all() and restored.notes == []
    assert_differs(restored.samples, free.samples)
    assert_differs(restored.samples, elsewhere.samples)


@every_choice
def test_neither_takes_gradients(consistency: str):
    calls = Calls()
    model = calls.watch(tiny(EPS))
    with untouched(model.model):
        restore(model, tiny_vae("kl"), encoded(EPS), hole(), consistency=consistency, start_from="noise", steps=3)
    assert calls.batches == ([2, 1, 2, 1, 2] if consistency == "ding" else [2, 2, 2])


@every_choice
def test_canceling_stops_the_run_and_does_not_affect_the_next(consistency: str):
    model, vae, latent, calls = tiny(EPS), tiny_vae("kl"), encoded(EPS), Calls()
    options: dict[str, Any] = {"consistency": consistency, "start_from": "noise"}
    undisturbed = restore(model, vae, latent, hole(), **options)

    def cancel(value: int, *_: Any, **__: Any) -> None:
        if value == 2:
            comfy.model_management.interrupt_current_processing(True)
        comfy.model_management.throw_exception_if_processing_interrupted()

    with untouched(model.model, autoencoder(vae)), progress_hook(cancel):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            restore(calls.watch(model), vae, latent, hole(), **options)
    assert len(calls.batches) == (4 if consistency == "ding" else 2)
    assert torch.equal(undisturbed.samples, restore(model, vae, latent, hole(), **options).samples)


def test_few_steps_fall_back_to_one_image_at_a_time(monkeypatch: pytest.MonkeyPatch):
    model, vae, latent = tiny(EPS), tiny_vae("kl"), encoded(EPS, 2)
    options: dict[str, Any] = {"consistency": "few steps", "start_from": "noise", "projection": False}
    expected = restore(model, vae, latent, hole(2), **options)
    network: Any = autoencoder(vae)
    encode = network.encode

    def limited(images: Tensor, *rest: Any, **named: Any) -> Tensor:
        if len(images) > 1:
            raise comfy.model_management.OOM_EXCEPTION("Allocation on device")
        return encode(images, *rest, **named)

    monkeypatch.setattr(network, "encode", limited)
    restored = restore(model, vae, latent, hole(2), **options)
    assert restored.notes == ["Out of memory: data fitting now processes one image at a time."]
    assert_same(restored.samples, expected.samples, 1e-3)

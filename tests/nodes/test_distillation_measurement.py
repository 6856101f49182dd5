"""Distillation Sampler with a measurement, on tiny models: what its terms and its choice of noise change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.nodes.sockets import ObjectiveSocket
from support.host_oracle import Draws, Seen, assert_differs, assert_same, by_formula, left_half, level_at
from support.tiny_models import (
    EPS,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    SOURCE,
    UNSET,
    Family,
    V,
    autoencoder,
    distill,
    distilled,
    encoded,
    measure,
    photo,
    refused,
    tiny,
    tiny_vae,
)
from torch import Tensor

KINDS = [("taesd", EPS), ("kl", V), ("taesd-16", SD3), ("wan", QWEN)]
"""VAEs with a model of each family: eps, v, flow, and flow with a frame dimension."""

PROMPTS = {"positive": POSITIVE, "negative": NEGATIVE}
RATE = {"taesd": 0.1, "taesd-16": 0.01, "kl": 0.002, "wan": 0.001}
"""Learning rates that move pixels enough to compare, for these random encoders."""


@pytest.mark.parametrize(("kind", "family"), KINDS, ids=str)
def test_a_step_descends_the_papers_energy(kind: str, family: Family):
    """One SGD step against autograd through ComfyUI's own encoder: DreamSampler, eq. 10 and 11 of the appendix."""
    model, vae, latent, rate = tiny(family), tiny_vae(kind), encoded(family), RATE[kind]
    measurement, _ = measure(photo(), "super-resolution")
    options = {"steps": 1, "guidance_scale": 3.0, "t_max": 0.5, "optimizer": "sgd", "learning_rate": rate}
    made = distilled(
        model, latent, method="dreamsampler", vae=vae, measurement=measurement, data_weight=2.0, pixel_weight=0.5,
        seed=21, **options,
    )  # fmt: skip

    network = copy.deepcopy(autoencoder(vae)).float().requires_grad_(False)
    frames = (lambda x: x[:, :, None]) if family is QWEN else lambda x: x
    with torch.inference_mode():
        images = vae.decode(latent["samples"])
    start = images.reshape(1, *images.shape[-3:]).movedim(-1, 1).clone()

    def encoded_image(theta: Tensor) -> Tensor:
        return model.model.process_latent_in(network.encode(frames(vae.process_input(theta))))

    def estimate(i: int, predict: Any, z: Tensor) -> Tensor:
        seen, eps = Seen(family, predict, level_at(model, 0.5)), Draws(z.shape, 21)()
        null, target = (seen.clean(seen.noised(z, eps), name) for name in ("negative", "positive"))
        return null + 3 * (target - null)

    z = encoded_image(start)
    z0_hat = model.model.process_latent_in(
        by_formula(model, model.model.process_latent_out(z), [PROMPTS], lambda i, p, z: estimate(i, p, z))
    )
    b = level_at(model, 0.5)
    a = 1 - b if family.flow else 1.0
    gamma = a**2 / (a**2 + b**2)
    decoded = vae.process_output(network.decode(model.model.process_latent_out(z0_hat))).reshape(start.shape)
    theta = start.clone().requires_grad_()
    distillation = (encoded_image(theta) - z0_hat).square().mean() + 0.5 * (2 * theta - 2 * decoded).square().mean()
    data = measurement.residual(2 * theta - 1).square().mean()
    (z.numel() / 2 * ((1 - gamma) * distillation + 2 * gamma * data)).backward()
    assert theta.grad is not None
    moved = (start - rate * theta.grad).clamp(0, 1)
    assert_same(
        made - network.encode(frames(vae.process_input(start))),
        (network.encode(frames(vae.process_input(moved))) - network.encode(frames(vae.process_input(start)))).detach(),
        5e-3,
    )


@pytest.mark.parametrize(
    ("kind", "family", "method"),
    [
        *((kind, family, "dreamsampler") for kind, family in KINDS),
        *(("kl", V, method) for method in ("sds", "nfsd", "csd", "vsd", "bridge", "full bridge", "ism", "sdi")),
    ],
    ids=str,
)
def test_every_method_that_makes_images_can_restore(
    kind: str, family: Family, method: str, monkeypatch: pytest.MonkeyPatch
):
    """The pixels agree better with the measurement than without its weight. They are what the encoder sees last."""
    model, vae, latent = tiny(family), tiny_vae(kind), encoded(family)
    measurement, _ = measure(photo(), "super-resolution")
    network: Any = autoencoder(vae)
    encode, encoded_images = network.encode, list[Tensor]()
    dark, bright = vae.process_input(torch.tensor([0.0, 1.0])).tolist()

    def encode_and_keep(images: Tensor, *rest: Any, **named: Any) -> Tensor:
        encoded_images.append(images.detach())
        return encode(images, *rest, **named)

    def misfit(data_weight: float) -> float:
        options = {"method": method, "vae": vae, "steps": 2, "learning_rate": 0.05, "optimizer": "adam", "t_max": 0.3}
        made = distilled(model, latent, measurement=measurement, data_weight=data_weight, **options)
        assert made.shape == latent["samples"].shape and made.isfinite().all()
        pixels = 2 * (encoded_images[-1] - dark) / (bright - dark) - 1
        return measurement.residual(pixels.reshape(1, 3, *pixels.shape[-2:])).square().mean().item()

    monkeypatch.setattr(network, "encode", encode_and_keep)
    assert misfit(UNSET) < 0.85 * misfit(0.0)


def test_batch_matches_single_images():
    model, vae = tiny(V), tiny_vae("kl")
    measurement, _ = measure(photo(2), "gaussian blur")
    options = {"method": "dreamsampler", "vae": vae, "steps": 2, "optimizer": "sgd", "learning_rate": 1e-3, "seed": 5}
    together = distilled(model, encoded(V, 2), measurement=measurement, **options)
    for i in range(2):
        alone = distilled(model, encoded(V, seed=i, batch_index=[i]), measurement=measurement.of_item(i), **options)
        assert_same(together[i : i + 1], alone, 1e-3)


def test_the_noise_mask_keeps_the_pixels_outside():
    model, vae, latent = tiny(V), tiny_vae("kl"), encoded(V)
    measurement, _ = measure(photo(), "super-resolution")
    options = {"method": "dreamsampler", "vae": vae, "measurement": measurement, "steps": 2, "learning_rate": 0.05}
    masked = distilled(model, {**latent, "noise_mask": left_half()[:, None]}, **options)
    assert_differs(masked, distilled(model, latent, **options))


@pytest.mark.parametrize("method", ["dreamsampler", "bridge"])
def test_defaults_with_a_measurement(method: str):
    """Adam at a rate for pixels, the weight snr, and the weight of the data that the paper uses for the operator."""
    model, vae, latent = tiny(V), tiny_vae("kl"), encoded(V)
    for operator, weight in (("super-resolution", 4.0), ("gaussian blur", 3.0 / 2.4)):
        measurement, _ = measure(photo(), operator)
        options = {"method": method, "vae": vae, "measurement": measurement, "steps": 2}
        own = distilled(model, latent, **options)
        given = {"optimizer": "adam", "weighting": "snr", "learning_rate": 0.005, "data_weight": weight}
        assert torch.equal(own, distilled(model, latent, **options, **given))
        assert_differs(own, distilled(model, latent, **options, data_weight=0.0), 1e-5)


@pytest.mark.parametrize("family", [EPS, V, SD3], ids=str)
def test_renoise_decides_the_noise_of_the_next_step(family: Family):
    model, latent = tiny(family), encoded(family)
    options = {"method": "dreamsampler", "optimizer": "sgd", "learning_rate": 0.1, "eta": 0.0}
    own, guided = (distilled(model, latent, steps=2, **options, **kind) for kind in ({}, {"renoise": "guided"}))
    assert_differs(own, guided, 1e-3)
    assert torch.equal(own, distilled(model, latent, steps=2, renoise="unconditional", **options))
    # In the first step the noise is a fresh draw. Guided, it is sds on descending times with estimated noise.
    one, other = (distilled(model, latent, steps=1, **options, renoise=kind) for kind in ("unconditional", "guided"))
    assert torch.equal(one, other)
    plan = {"time_schedule": "descending", "noise_policy": "estimated", "weighting": "uniform", "guidance_scale": 7.5}
    assert_same(guided, distilled(model, latent, steps=2, **{**options, **plan, "method": "sds"}))


MEASUREMENT = measure(photo(), "super-resolution")[0]
EDIT = ObjectiveSocket(METHODS["pds"], {**PROMPTS, "source": SOURCE}, encoded(EPS))
VAE = {"vae": tiny_vae("taesd")}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no VAE": ({}, "A measurement requires a VAE: connect the VAE that belongs to the model to input 'vae'"),
    "other size": (
        {"measurement": measure(photo(size=96), "super-resolution")[0], **VAE},
        "measurement is of images of 96x96 pixels, but latent_image decodes to 64x64",
    ),
    "other number": ({"measurement": measure(photo(2), "super-resolution")[0], **VAE}, "holds 2 images but"),
    "unknown blur": (
        {"measurement": measure(photo(), "unknown gaussian blur")[0], **VAE},
        "unknown blur, which Distillation Sampler does not fit: restore the image with Proximal DreamSampler",
    ),
    "edit": ({"method": "dds", **VAE}, "'dds' edits an image that is not degraded.*set method to dreamsampler"),
    "objective that edits": ({"objective": EDIT, **VAE}, "'pds' edits an image that is not degraded"),
    "region": ({"region": "find", **VAE}, "region finds where an edit goes.*set region to off"),
    "data weight": ({"data_weight": -0.5, **VAE}, "Input 'data_weight' is -0.5: set it to a number from 0"),
    "pixels of a latent": ({"measurement": None, "pixel_weight": 0.5}, "pixel_weight is 0.5, but without a VAE"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_sampling(case: str):
    options, words = REFUSED[case]
    options = {"method": "dreamsampler", "measurement": MEASUREMENT, **options}
    assert refused(distill, EPS, options, words, {}).endswith(".")

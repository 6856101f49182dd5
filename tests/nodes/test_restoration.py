"""Proximal DreamSampler with a measurement, on tiny models and VAEs of every family."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_execution.graph_utils import ExecutionBlocker
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import UnknownGaussianBlur
from dreamsampler.nodes import host
from dreamsampler.nodes.runs.edit import StartFrom
from support.host_oracle import (
    Draws,
    Predict,
    assert_differs,
    assert_same,
    by_formula,
    controlled,
    left_half,
    mix,
    negative_with_lora,
    negative_with_masked_lora,
    no_fused_kernels,
    progress_hook,
    set_mask,
    set_range,
)
from support.tiny_models import (
    EPS,
    FLUX,
    NEGATIVE,
    POSITIVE,
    QWEN,
    SD3,
    ApplyModel,
    Calls,
    Conditioning,
    Family,
    Latent,
    Restored,
    V,
    ask,
    autoencoder,
    cond,
    copied,
    create_in_inference_mode,
    edit,
    encoded,
    hole,
    hole_cells,
    measure,
    photo,
    restore,
    square_hole,
    tiny,
    tiny_controlnet,
    tiny_vae,
    untouched,
    wrapped,
)
from torch import Tensor
from torch.overrides import TorchFunctionMode

KINDS = [(EPS, "kl"), (V, "kl"), (SD3, "taesd-16"), (FLUX, "taesd-16"), (QWEN, "wan")]
"""Matching models and VAEs. The last one has a frame dimension."""
FEW = [(V, "kl"), (SD3, "taesd-16"), (QWEN, "wan")]

every_kind = pytest.mark.parametrize(("family", "kind"), KINDS, ids=str)
every_path = pytest.mark.parametrize(("family", "kind"), FEW, ids=str)

BRIEF = {"steps": 4, "skip": 0.5, "data_every": 2, "dps_weight": 3.0}
"""One data-fitting step and one gradient step, with a weight that makes a difference for random networks."""


def result(family: Family, kind: str, measurement: Measurement | None, **options: Any) -> Tensor:
    """The latent samples of one restored image."""
    return restore(tiny(family), tiny_vae(kind), encoded(family), measurement, **options).samples


def blur(count: int = 1, seed: int = 0) -> Measurement:
    """Blurred images."""
    return measure(photo(count, seed), "gaussian blur")[0]


def assert_pulled(actual: Tensor, oracle: Tensor) -> None:
    """Equal up to rounding of float32 gradients."""
    assert_same(actual, oracle, 1e-3)


# Compared with formulas on ComfyUI's own predictions and VAE


def with_constant_control(apply_model: ApplyModel, arguments: Any) -> Tensor:
    """Call the model without gradients through its ControlNets."""
    outputs = arguments["c"].get("control") or {}
    control = {name: [None if x is None else x.detach().clone() for x in each] for name, each in outputs.items()}
    return ask(apply_model, {**arguments, "c": {**arguments["c"], **({"control": control} if control else {})}})


class OutOfPlace(TorchFunctionMode):
    """Makes `x += y` create a new tensor, so that tensors saved by autograd stay unchanged."""

    REPLACEMENTS = {Tensor.add_: torch.add, Tensor.mul_: torch.mul, Tensor.div_: torch.div}  # from operators

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.REPLACEMENTS.get(func, func)(*args, **(kwargs or {}))


class Oracle:
    """Algorithm 4 on ComfyUI's own predictions, with autograd through copies of its networks."""

    def __init__(self, family: Family, vae: comfy.sd.VAE, measurement: Measurement, start: Tensor, **settings: Any):
        self.family, self.measurement, self.start = family, measurement, start
        self.vae: Any = copy.deepcopy(autoencoder(vae)).float().requires_grad_(False)
        self.settings = {
            "consistency": "both",
            "data_every": 3,
            "data_until": 0.85,
            "dps_weight": 1.0,
            "gamma": 1.0,
            "gamma_schedule": "alpha_bar",
            "eta": 0.5,
            "renoise": "unconditional",
            "seed": 0,
            "steps": 3,
            "skip": 0.0,
            "region": 1.0,
            **settings,
        }

    def __call__(self, latent: Latent, prompts: dict[str, Conditioning], base: ModelPatcher) -> Tensor:
        model = ModelPatcher(
            copied(base.model).requires_grad_(False),
            load_device=base.load_device,
            offload_device=base.offload_device,
        )
        model.set_model_unet_function_wrapper(with_constant_control)
        self.model = model.model
        sampling: Any = model.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", self.settings["steps"]).tolist()
        self.sigmas = sigmas[round(self.settings["skip"] * self.settings["steps"]) :]
        count = len(latent["samples"])
        return by_formula(model, latent["samples"], [prompts] * count, self.sampled)

    def decoded(self, z: Tensor) -> Tensor:
        images = self.vae.decode(self.model.process_latent_out(z))
        return 2 * ((images + 1) / 2).clamp(0, 1).reshape(-1, 3, 64, 64) - 1

    def encoded(self, images: Tensor) -> Tensor:
        frames = images[:, :, None] if self.family is QWEN else images
        return self.model.process_latent_in(self.vae.encode(frames))

    def sampled(self, index: int, predict: Predict, _: Tensor) -> Tensor:
        settings = self.settings
        draws = Draws(torch.Size([1, *self.family.shape]), item_seeds(settings["seed"], [index])[0])
        draws()  # the start noise
        x = self.model.process_latent_in(self.start[index : index + 1])
        measurement = self.measurement.of_item(index)
        steps = len(self.sigmas) - 1
        for i, (sigma, sigma_next) in enumerate(zip(self.sigmas, self.sigmas[1:])):
            a, b = mix(self.family, sigma)
            alpha_bar = a**2 / (a**2 + b**2)
            z_null, pull = predict(x, sigma, "negative"), torch.zeros(())
            if i % settings["data_every"] == 0 and i < settings["data_until"] * steps:
                known = self.fitted(z_null, measurement, alpha_bar)
                weight = settings["gamma"] * (alpha_bar if settings["gamma_schedule"] == "alpha_bar" else 1.0)
                z_bar = known + settings["region"] * weight * (predict(x, sigma, "positive") - known)
            elif settings["consistency"] == "consistency only":
                z_bar = self.fitted(z_null, measurement, alpha_bar)
            else:
                z_bar = z_null
                length = 8 / 64 * 200 / 50  # on 8 x 8 cells, in fewer than 50 steps
                pull = (
                    settings["dps_weight"]
                    * length
                    * (a**2 + b**2) ** 0.5
                    * self.gradient(predict, x, sigma, measurement)
                )
            eps = (x - a * (z_null if settings["renoise"] == "unconditional" else z_bar)) / b
            share = settings["eta"] * alpha_bar**0.5
            if share:
                eps = (1 - share**2) ** 0.5 * eps + share * draws()
            a_next, b_next = mix(self.family, sigma_next)
            x = a_next * (z_bar - pull) + b_next * eps
        return x

    def fitted(self, z: Tensor, measurement: Measurement, alpha_bar: float) -> Tensor:
        """Toward the least-squares image of an inpainting, in closed form."""
        if self.settings["consistency"] == "dps only":
            return z
        unseen = measurement.operator.hole
        assert unseen is not None
        seen, weight = 1 - unseen.float(), 1e-4
        images = (seen * measurement.y + weight * self.decoded(z)) / (seen + weight)
        return (1 - alpha_bar) * z + alpha_bar * self.encoded(images)

    def gradient(self, predict: Predict, x: Tensor, sigma: float, measurement: Measurement) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad(), OutOfPlace(), no_fused_kernels():
            state = x.clone().requires_grad_()
            seen = measurement.operator.forward(self.decoded(predict(state, sigma, "negative")))
            distance = (seen - measurement.y.clone()).square().sum().sqrt()
            (gradient,) = torch.autograd.grad(distance, state)
        return gradient


SETTINGS: dict[str, dict[str, Any]] = {
    "both": {"eta": 1.0, "dps_weight": 3.0},
    "dps only": {"consistency": "dps only", "eta": 0.0, "renoise": "guided", "gamma_schedule": "constant"},
    "consistency only": {"consistency": "consistency only", "dps_weight": 5.0, "gamma": 0.4},
    "gradient steps": {"data_until": 0.0, "dps_weight": 3.0},
}
PROMPTS = {"positive": POSITIVE, "negative": NEGATIVE}


@pytest.mark.parametrize(
    ("family", "kind", "start_from", "case"),
    [
        *[(*pair, "noise", "both") for pair in KINDS],
        *[(*pair, "inversion", "both") for pair in FEW],
        *[(*pair, "noise", case) for pair in FEW for case in list(SETTINGS)[1:]],
    ],
    ids=str,
)
def test_matches_algorithm_4_on_comfyui_predictions(family: Family, kind: str, start_from: StartFrom, case: str):
    model, vae, latent, measurement = tiny(family), tiny_vae(kind), encoded(family), hole()
    options = {"dps_weight": 1.0, "data_every": 2, "seed": 7, "steps": 4, "skip": 0.5, **SETTINGS[case]}
    restored = restore(model, vae, latent, measurement, start_from=start_from, **options)
    oracle = Oracle(family, vae, measurement, restored.start["samples"], region=hole_cells(family), **options)
    assert_pulled(restored.samples, oracle(latent, PROMPTS, model))


@every_path
def test_gradient_steps_match_from_pure_noise(family: Family, kind: str):
    model, vae, latent, measurement = tiny(family), tiny_vae(kind), encoded(family), hole()
    options = {"data_until": 0.0, "start_from": "noise", "steps": 2}
    restored = restore(model, vae, latent, measurement, **options)
    oracle = Oracle(family, vae, measurement, restored.start["samples"], **options)
    assert_pulled(restored.samples, oracle(latent, PROMPTS, model))
    without = restore(model, vae, latent, measurement, **options, dps_weight=0.0)
    assert_differs(restored.samples, without.samples, 0.003)


@pytest.mark.parametrize("make", ["blur", "super-resolution", "colourisation", "soft hole"])
def test_gradient_steps_match_for_every_operator(make: str):
    model, vae, latent = tiny(V), tiny_vae("kl"), encoded(V)
    operators = {"blur": "gaussian blur", "soft hole": "inpaint"}
    measurement, _ = measure(photo(), operators.get(make, make), mask=0.7 * square_hole())
    options = {"consistency": "dps only", "data_until": 0.0, "start_from": "noise", "steps": 4, "skip": 0.5}
    restored = restore(model, vae, latent, measurement, **options)
    oracle = Oracle(V, vae, measurement, restored.start["samples"], **options)
    assert_pulled(restored.samples, oracle(latent, PROMPTS, model))


@every_path
def test_inversion_puts_fresh_noise_in_the_hole(family: Family, kind: str):
    model, latent, seed = tiny(family), encoded(family, 2), 7
    restored = restore(model, tiny_vae(kind), latent, hole(), seed=seed)
    _, inverted = edit(model, latent)
    sampling: Any = model.get_model_object("model_sampling")
    top = float(comfy.samplers.calculate_sigmas(sampling, "normal", 3)[0])
    scale = (top**2 + ((1 - top) if family.flow else 1.0) ** 2) ** 0.5
    noise = scale * Draws(latent["samples"].shape, seed)()
    x = model.model.process_latent_in(inverted["samples"])
    expected = (1 - hole_cells(family)).sqrt() * x + hole_cells(family).sqrt() * noise
    assert_same(restored.start["samples"], model.model.process_latent_out(expected))


@every_path
def test_inversion_is_unchanged_without_a_hole(family: Family, kind: str):
    model, latent = tiny(family), encoded(family)
    restored = restore(model, tiny_vae(kind), latent, blur(), eta=0.0)
    assert torch.equal(restored.start["samples"], edit(model, latent)[1]["samples"])


# General properties


@every_kind
@pytest.mark.parametrize(
    ("consistency", "dtype"),
    [
        ("both", torch.bfloat16),
        ("consistency only", torch.float32),
        ("dps only", torch.bfloat16),
        ("ding", torch.bfloat16),
        ("few steps", torch.float32),
    ],
    ids=str,
)
def test_restores_without_changing_inputs_or_networks(family: Family, kind: str, dtype: torch.dtype, consistency: str):
    model, vae = create_in_inference_mode(tiny, family, dtype), create_in_inference_mode(tiny_vae, kind, dtype)
    latent = encoded(family, 2, batch_index=[4, 2], comment="kept")
    measurement = hole(2)
    samples, y = latent["samples"].clone(), measurement.y.clone()
    with untouched(model.model, autoencoder(vae)):
        restored = restore(model, vae, latent, measurement, consistency=consistency, **BRIEF)
        again = restore(model, vae, latent, measurement, consistency=consistency, **BRIEF)
    assert torch.equal(latent["samples"], samples) and torch.equal(measurement.y, y)
    for output in (restored.latent, restored.start):
        assert output.keys() == latent.keys()
        assert output["batch_index"] == [4, 2] and output["comment"] == "kept"
        assert output["samples"].shape == samples.shape and output["samples"].dtype == torch.float32
        assert output["samples"].isfinite().all()
    assert restored.image.shape == (2, 64, 64, 3)
    assert restored.image.min() >= 0 and restored.image.max() <= 1
    assert restored.notes == []
    assert torch.equal(restored.samples, again.samples) and torch.equal(restored.image, again.image)


@every_path
def test_consistency_options_differ(family: Family, kind: str):
    results = [
        result(family, kind, hole(), consistency=consistency, **BRIEF)
        for consistency in ("both", "consistency only", "dps only", "ding", "few steps")
    ]
    for one, other in combinations(results, 2):
        assert_differs(one, other)


@every_path
def test_last_step_takes_a_gradient_only_for_a_hole_or_in_dps_alone(family: Family, kind: str):
    single = {"steps": 1, "data_until": 0.0, "start_from": "noise"}
    for measurement, same in ((blur(), "consistency only"), (hole(), "dps only")):
        both, other, last = (
            result(family, kind, measurement, consistency=consistency, **single)
            for consistency in ("both", "consistency only", "dps only")
        )
        assert torch.equal(both, last if same == "dps only" else other)
        assert_differs(other, last)


def one_hole_per_image() -> tuple[Measurement, list[Measurement]]:
    masks = torch.cat([square_hole(), square_hole(0, 24), square_hole(30, 50)])
    together = measure(photo(3), mask=masks)[0]
    return together, [measure(photo(1, i), mask=masks[i : i + 1])[0] for i in range(3)]


def one_measurement_for_all() -> tuple[Measurement, list[Measurement]]:
    return hole(), [hole()] * 3


def one_blur_per_image() -> tuple[Measurement, list[Measurement]]:
    return blur(3), [blur(seed=i) for i in range(3)]


def one_hole_for_all() -> tuple[Measurement, list[Measurement]]:
    return hole(3), [hole(seed=i) for i in range(3)]


@pytest.mark.parametrize(
    ("family", "kind", "make"),
    [
        *[(*pair, one_hole_per_image) for pair in FEW],
        (V, "kl", one_measurement_for_all),
        (QWEN, "wan", one_blur_per_image),
        (QWEN, "wan", one_hole_for_all),
    ],
    ids=lambda chosen: getattr(chosen, "__name__", str(chosen)),
)
def test_batch_matches_single_images(family: Family, kind: str, make: Callable):
    model, vae, seed = tiny(family), tiny_vae(kind), 5
    together, alone = make()
    options = {**BRIEF, "dps_weight": 0.3}
    batch = restore(model, vae, encoded(family, 3), together, seed=seed, **options)
    for i, measurement in enumerate(alone):
        single = restore(model, vae, encoded(family, seed=i, batch_index=[i]), measurement, seed=seed, **options)
        assert_same(batch.samples[i : i + 1], single.samples, 5e-3)
        assert_same(batch.start["samples"][i : i + 1], single.start["samples"], 1e-3)
        assert_same(batch.image[i : i + 1], single.image, 5e-3)


@every_path
def test_noise_depends_on_the_seed(family: Family, kind: str):
    options = {"steps": 2, "consistency": "consistency only"}
    assert_differs(result(family, kind, hole(), seed=1, **options), result(family, kind, hole(), seed=2, **options))
    for index in (0, 3):
        latent = {**encoded(family), "batch_index": [index]}
        shifted = restore(tiny(family), tiny_vae(kind), latent, hole(), seed=1, **options).samples
        assert torch.equal(shifted, result(family, kind, hole(), seed=item_seeds(1, [index])[0], **options))


def test_global_rng_is_unchanged():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    restore(tiny(EPS), tiny_vae("kl"), encoded(EPS), hole())
    assert torch.equal(torch.get_rng_state(), before)


@every_path
def test_prompt_acts_in_the_hole_or_in_the_mask(family: Family, kind: str):
    def moved(measurement: Measurement, **optional: Any) -> Tensor:
        # One step only, so that the model cannot spread the edit.
        options = {"steps": 1, "gamma_schedule": "constant", "scheduler": "simple", **optional}
        edited, unedited = (result(family, kind, measurement, gamma=gamma, **options) for gamma in (1.0, 0.0))
        return (edited - unedited).abs().reshape(-1, 8, 8).mean(0) > 1e-6

    assert torch.equal(moved(hole()), hole_cells(family).reshape(8, 8) > 0)
    assert moved(blur()).all()
    left = left_half(8)[0] > 0
    assert torch.equal(moved(hole(), mask=left_half()), left)
    assert torch.equal(moved(blur(), mask=left_half()), left)


@every_path
def test_skip_omits_the_noisiest_steps(family: Family, kind: str):
    calls = Calls()
    model = calls.watch(tiny(family))
    restore(model, tiny_vae(kind), encoded(family), hole(), steps=4, skip=0.5, data_until=0.0)
    assert calls.batches == [1] * (1 + 2 + 2)  # a gradient to try, then two levels up and two down


@every_path
def test_progress_counts_every_step(family: Family, kind: str):
    seen = []
    for start_from in ("inversion", "noise"):
        with progress_hook(lambda value, total, preview, **_: seen.append((value, total))):
            options: dict[str, Any] = {"start_from": start_from, "consistency": "consistency only"}
            restore(tiny(family), tiny_vae(kind), encoded(family), hole(), **options)
    assert seen == [(i + 1, 6) for i in range(6)] + [(i + 1, 3) for i in range(3)]


@every_path
def test_nan_raises_with_step_and_sigma(family: Family, kind: str):
    broken = float("nan")

    def answer(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        prediction = ask(apply_model, arguments)
        return prediction * broken if arguments["input"].requires_grad else prediction

    model, options = wrapped(tiny(family), answer), {"start_from": "noise", "data_until": 0.4, "data_every": 1}
    with pytest.raises(ValueError, match=r"became NaN or infinite at step 3 of 3 \(sigma = .*\).* lower gamma"):
        restore(model, tiny_vae(kind), encoded(family), hole(), **options)
    broken = 1.0
    assert restore(model, tiny_vae(kind), encoded(family), hole(), **options).samples.isfinite().all()


# The image


@every_path
def test_projection_keeps_known_pixels_exactly(family: Family, kind: str):
    model, vae, latent, image = tiny(family), tiny_vae(kind), encoded(family), photo()
    measurement, known = hole(), square_hole()[0] == 0
    options: dict[str, Any] = {"consistency": "consistency only", "steps": 2}
    projected = restore(model, vae, latent, measurement, **options)
    decoded = restore(model, vae, latent, measurement, projection=False, **options)
    assert torch.equal(projected.samples, decoded.samples)
    torch.testing.assert_close(projected.image[0][known], image[0][known], rtol=0, atol=1e-6)
    assert (decoded.image[0][known] - image[0][known]).abs().max() > 0.05
    with torch.inference_mode():
        assert torch.equal(decoded.image, vae.decode(decoded.samples).reshape(1, 64, 64, 3))
    inside, before = projected.image[0][~known], decoded.image[0][~known]
    assert (inside.diff(dim=0) - before.diff(dim=0)).abs().mean() < 0.6 * before.diff(dim=0).abs().mean() + 0.05


@every_path
def test_projection_matches_a_blurred_measurement(family: Family, kind: str):
    options: dict[str, Any] = {"consistency": "consistency only", "steps": 2}
    measurement = blur()
    distances = []
    for projection in (True, False):
        restored = restore(tiny(family), tiny_vae(kind), encoded(family), measurement, projection=projection, **options)
        shown = 2 * restored.image.movedim(-1, 1) - 1
        distances.append((measurement.operator.forward(shown) - measurement.y).norm().item())
    assert distances[0] < 0.2 * distances[1]


RECENT: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("jpeg", {"quality": 10}),
    "outpaint": ("outpaint", {"right": 24}),
    "unknown blur": ("unknown gaussian blur", {"sigma": 2.0}),
}


@pytest.mark.parametrize(
    ("case", "consistency"),
    [
        *((case, each) for case in RECENT for each in ("both", "consistency only", "dps only", "few steps")),
        ("outpaint", "ding"),
    ],
)
def test_batches_match_single_images(case: str, consistency: str):
    operator, options = RECENT[case]
    measurement, _ = measure(photo(2), operator, **options)
    settings: dict[str, Any] = {"steps": 4, "data_every": 2, "consistency": consistency}
    together = restore(tiny(V), tiny_vae("kl"), encoded(V, 2), measurement, seed=3, **settings)
    for i in range(2):
        latent = encoded(V, seed=i)
        seed = item_seeds(3, [i])[0]
        alone = restore(tiny(V), tiny_vae("kl"), latent, measurement.of_item(i), seed=seed, **settings)
        assert_same(together.samples[i : i + 1], alone.samples, 1e-3)
        torch.testing.assert_close(together.image[i : i + 1], alone.image, rtol=0, atol=0.02)
    if consistency != "ding":
        other = restore(tiny(V), tiny_vae("kl"), encoded(V, 2), blur(2), seed=3, **settings)
        assert_differs(together.samples, other.samples)


def test_projection_is_computed_on_the_device_of_the_models(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(host, "device", lambda: torch.device("meta"))  # computes shapes only, so nothing comes back
    with pytest.raises(NotImplementedError, match="meta"):
        restore(tiny(V), tiny_vae("kl"), encoded(V), blur(), steps=2, consistency="consistency only")


def test_projection_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch):
    inputs = tiny(V), tiny_vae("kl"), encoded(V), blur()
    options: dict[str, Any] = {"steps": 2, "consistency": "consistency only"}
    expected = restore(*inputs, **options)
    projected, calls = Measurement.projected, []

    def fails_once(self: Measurement, images: Tensor) -> Tensor:
        calls.append(images.device)
        if len(calls) == 1:
            raise comfy.model_management.OOM_EXCEPTION("Allocation on device")
        return projected(self, images)

    monkeypatch.setattr(Measurement, "projected", fails_once)
    restored = restore(*inputs, **options)
    assert len(calls) == 2 and torch.equal(restored.image, expected.image)
    note = "Out of memory: the result is made to agree with the measurement on the CPU, which takes longer."
    assert restored.notes == [*expected.notes, note]


def test_projection_agrees_with_a_jpeg_and_keeps_what_outpainting_knows():
    options: dict[str, Any] = {"consistency": "consistency only", "steps": 2}
    for case in ("jpeg", "outpaint"):
        operator, settings = RECENT[case]
        measurement, _ = measure(0.2 + 0.6 * photo(), operator, **settings)
        misfits, knowns = [], []
        for projection in (True, False):
            restored = restore(tiny(V), tiny_vae("kl"), encoded(V), measurement, projection=projection, **options)
            shown = 2 * restored.image.movedim(-1, 1) - 1
            misfits.append(measurement.distance(shown).item())
            knowns.append((restored.image - 0.2 - 0.6 * photo())[:, :, :40].abs().max().item())
        assert misfits[0] < 0.2 * misfits[1]
        assert case == "jpeg" or knowns[0] < 1e-6 < 0.05 < knowns[1]


@pytest.mark.parametrize("consistency", ["consistency only", "few steps"])
def test_fitted_blur_is_reported_and_used_for_the_projection(consistency: str):
    measurement, _ = measure(photo(), "unknown gaussian blur", sigma=0.4)
    options: dict[str, Any] = {"consistency": consistency, "steps": 6}
    restored = restore(tiny(V), tiny_vae("kl"), encoded(V), measurement, **options)
    (note,) = restored.notes
    sigma = float(re.fullmatch(r"The blur was fitted: sigma (\d+\.\d) pixels\.", note)[1])  # type: ignore
    assert sigma != 0.4
    raw = restore(tiny(V), tiny_vae("kl"), encoded(V), measurement, projection=False, **options).image
    raw = 2 * raw.movedim(-1, 1) - 1
    nearest = min(
        (torch.linspace(sigma - 0.06, sigma + 0.06, 25).clamp(min=0.2).tolist()),
        key=lambda s: (
            (replace(measurement, operator=UnknownGaussianBlur(64, 64, s)).projected(raw) - shown(restored))
            .abs()
            .max()
            .item()
        ),
    )
    projected = replace(measurement, operator=UnknownGaussianBlur(64, 64, nearest)).projected(raw)
    assert (projected - shown(restored)).abs().max() < 0.02
    assert (measurement.projected(raw) - shown(restored)).abs().max() > 0.05


def test_too_large_a_guess_of_an_unknown_blur_is_lowered():
    options: dict[str, Any] = {"consistency": "consistency only", "steps": 2}
    blurred = (measure(photo(), "gaussian blur")[0].y.movedim(1, -1) + 1) / 2
    samples = []
    for sigma in (1.0, 8.0, 10.0):
        measurement, _ = measure(blurred, "unknown gaussian blur", sigma=sigma, simulate=False)
        samples.append(restore(tiny(V), tiny_vae("kl"), encoded(V), measurement, **options).samples)
    assert torch.equal(samples[1], samples[2]) and not torch.equal(samples[0], samples[1])


def shown(restored: Restored) -> Tensor:
    return 2 * restored.image.movedim(-1, 1) - 1


@every_path
def test_without_a_vae_only_latents_are_returned(family: Family, kind: str):
    model, latent = tiny(family), encoded(family, 2)
    without = restore(model, None, latent, None, eta=0.5)
    assert isinstance(without.image, ExecutionBlocker)
    assert "connect one to its input 'vae'" in without.image.message and without.image.message.endswith(".")
    vae = tiny_vae(kind)
    with untouched(model.model, autoencoder(vae)):
        connected = restore(model, vae, latent, None, eta=0.5)
    assert torch.equal(without.samples, connected.samples)
    assert torch.equal(without.start["samples"], connected.start["samples"])
    with torch.inference_mode():
        assert torch.equal(connected.image, vae.decode(connected.samples).reshape(2, 64, 64, 3))
    assert without.notes == connected.notes == []


def test_measurement_settings_do_nothing_without_a_measurement():
    model, vae, latent = tiny(EPS), tiny_vae("kl"), encoded(EPS)
    plain = restore(model, vae, latent, None)
    other = restore(model, vae, latent, None, consistency="dps only", data_until=0.0, dps_weight=9.0, projection=False)
    assert torch.equal(plain.samples, other.samples) and torch.equal(plain.image, other.image)


# Conditioning and patches


def with_controlnet() -> dict[str, Conditioning]:
    net: Any = tiny_controlnet.__wrapped__()
    net.control_model.requires_grad_(False)  # otherwise the oracle would give it gradients
    positive, negative = controlled(POSITIVE, NEGATIVE, net=net)
    return {"positive": positive, "negative": negative}


def with_mask() -> dict[str, Conditioning]:
    return {"negative": set_mask(cond(4), left_half()) + set_mask(NEGATIVE, 1 - left_half())}


def with_range() -> dict[str, Conditioning]:
    return {"negative": set_range(cond(4), 0.0, 0.7) + set_range(NEGATIVE, 0.7, 1.0)}


@pytest.mark.parametrize(
    ("make", "family"),
    [
        (with_controlnet, V),
        (with_mask, EPS),
        (with_range, V),
        (negative_with_lora, EPS),
        (negative_with_masked_lora, EPS),
    ],
    ids=["controlnet", "mask", "range", "lora", "lora in part"],
)
def test_conditioning_options_are_respected(make: Callable, family: Family):
    model, vae, latent, measurement = tiny(family), tiny_vae("kl"), encoded(family), hole()
    options = {"data_until": 0.0, "start_from": "noise", "dps_weight": 3.0, "steps": 2}
    prompts = {**PROMPTS, **make()}
    plain = restore(model, vae, latent, measurement, **options)
    with untouched(model.model, autoencoder(vae)):
        restored = restore(model, vae, latent, measurement, **options, **prompts)
    assert_differs(restored.samples, plain.samples)
    after = restore(model, vae, latent, measurement, **options)
    assert torch.equal(plain.samples, after.samples)
    oracle = Oracle(family, vae, measurement, restored.start["samples"], **options)
    assert_pulled(restored.samples, oracle(latent, prompts, model))


# Invalid inputs

WIDE = {"samples": torch.ones(1, 4, 8, 16)}

REFUSED: dict[str, tuple[Family, dict[str, Any], str]] = {
    "no VAE": (
        EPS,
        {"vae": None},
        "A measurement requires a VAE: connect the VAE that belongs to the model",
    ),
    "other size": (
        EPS,
        {"latent": WIDE},
        "measurement is of images of 64x64 pixels, but latent_image decodes to 128x64: encode the observed image",
    ),
    "other size with frames": (
        QWEN,
        {"measurement": measure(photo(size=32), mask=square_hole())[0]},
        "measurement is of images of 32x32 pixels, but latent_image decodes to 64x64: encode the observed image",
    ),
    "two measurements for three images": (
        EPS,
        {"measurement": hole(2), "latent": encoded(EPS, 3)},
        "measurement holds 2 images but latent_image holds 3: connect one, or one for each image",
    ),
    "two measurements for one image": (
        EPS,
        {"measurement": hole(2)},
        "measurement holds 2 images but latent_image holds 1: connect",
    ),
    "VAE channels": (EPS, {"vae": tiny_vae("taesd-16")}, "VAE makes latents of 16 channels but the model works on 4"),
    "VAE with frames": (SD3, {"vae": tiny_vae("wan")}, "frame dimension.*connect the VAE that belongs to the model"),
    "VAE without frames": (QWEN, {"vae": tiny_vae("taesd-16")}, "frame dimension.*connect the VAE that belongs"),
    "VAE channels without a measurement": (
        EPS,
        {"vae": tiny_vae("taesd-16"), "measurement": None},
        "VAE makes latents of 16 channels but the model works on 4",
    ),
    "stochastic inversion": (
        EPS,
        {"start_from": "stochastic inversion"},
        "start_from 'stochastic inversion' replays the source.*set start_from to inversion, or to noise",
    ),
    "no data fitting": (EPS, {"data_every": 0}, "Input 'data_every' is 0: set it to a number from 1"),
    "ding without a hole": (
        EPS,
        {"measurement": blur(), "consistency": "ding"},
        "consistency 'ding' only fills holes, and the measurement has none: set consistency to 'few steps'",
    ),
    "ding without fresh noise": (
        EPS,
        {"consistency": "ding", "eta": 0.0},
        "eta is 0, and consistency 'ding' keeps known pixels only by the fresh noise of each step: set eta to 1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_invalid_input_raises_before_sampling(case: str):
    family, options, words = REFUSED[case]
    vae = tiny_vae(dict(KINDS)[family])
    calls = Calls()
    model = calls.watch(tiny(family))
    given = {"latent": encoded(family), "vae": vae, "measurement": hole(), **options}
    with pytest.raises(ValueError, match=f"(?s){words}") as refusal:
        restore(model, **given)
    assert (calls.runs, calls.batches) == (0, [])
    message = str(refusal.value)
    assert message[0].isupper() or message.startswith(("start_from", "data_every", "consistency", "eta"))
    assert message.endswith(".") or message.endswith(")")
    restored = restore(model, vae, encoded(family), hole(), consistency="consistency only", steps=1)
    assert restored.samples.isfinite().all() and calls.runs == 1

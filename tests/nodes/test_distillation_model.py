"""The MODEL in Distillation Sampler: patched, short of memory, failing, with a LoRA beside it; afterwards as before."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import comfy.hooks
import comfy.model_management
import comfy.sample
import comfy.samplers
import comfy.sd
import latent_preview
import numpy as np
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.guidance.distillation.objectives import LISTED
from dreamsampler.nodes import host
from support.host_oracle import (
    LORA_LAYER,
    Draws,
    assert_differs,
    assert_same,
    controlled,
    left_half,
    level_at,
    one_each,
    progress_hook,
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
    QWEN,
    SD3,
    SOURCE,
    ApplyModel,
    Calls,
    Conditioning,
    Family,
    V,
    ask,
    create_in_inference_mode,
    distil,
    distilled,
    encoded,
    text,
    tiny,
    tiny_controlnet,
    untouched,
    wrapped,
)
from torch import Tensor

NAMES = [name for name in LISTED if name != "lmc"]  # which has tests of its own
every_method = pytest.mark.parametrize("method", NAMES)


def counted(model: ModelPatcher, wrap: Callable[[int, ApplyModel, dict[str, Any]], Tensor]) -> ModelPatcher:
    """A clone whose calls go through `wrap`, which is also told how many there were before."""
    calls = itertools.count()
    return wrapped(model, lambda apply_model, arguments: wrap(next(calls), apply_model, arguments))


def sampled(model: ModelPatcher, family: Family) -> Tensor:
    """What the host's KSampler makes."""
    latent = encoded(family)["samples"]
    with torch.inference_mode():
        noise = comfy.sample.prepare_noise(latent, 1)
        return comfy.sample.sample(
            model, noise, 2, 4.0, "euler", "normal", POSITIVE, NEGATIVE, latent, denoise=0.8, disable_pbar=True, seed=1
        )


# Patches of the model


@pytest.mark.parametrize("method", ["sds", "vsd", "dds"])
def test_a_lora_acts_as_if_in_the_weights_and_leaves_without_a_trace(method: str):
    model, latent, lora = tiny(EPS), encoded(EPS), tiny_lora()
    before = distilled(model, latent, method=method, optimizer="sgd")
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 0.5, 0.0)
    assert patched is not None
    with_lora = distilled(patched, latent, method=method, optimizer="sgd")
    assert torch.equal(before, distilled(model, latent, method=method, optimizer="sgd"))
    assert_differs(with_lora, before)

    baked = tiny.__wrapped__(EPS)  # a second model of the same weights
    with torch.no_grad():
        up, down = lora.values()
        baked.model.get_parameter(f"{LORA_LAYER}.weight").add_(0.5 * up @ down)
    assert_same(with_lora, distilled(baked, latent, method=method, optimizer="sgd"))


@pytest.mark.parametrize(("method", "asked"), [("sds", [2, 2]), ("dds", [2, 2]), ("vsd", [2, 1, 1] * 2)])
def test_a_patch_of_the_batched_call_is_asked_and_heard(method: str, asked: list[int]):
    seen = []

    def halved(arguments: dict[str, Any]) -> list[Tensor]:
        seen.append(len(arguments["conds"]))
        options = {k: v for k, v in arguments["model_options"].items() if k != "sampler_calc_cond_batch_function"}
        model, conds, x, sigma = (arguments[name] for name in ("model", "conds", "input", "sigma"))
        whole = comfy.samplers.calc_cond_batch(model, conds, x, sigma, options)
        return [0.5 * z0_hat for z0_hat in whole]

    patched = tiny(EPS).clone()
    patched.set_model_sampler_calc_cond_batch_function(halved)
    options = {"method": method, "steps": 2, "optimizer": "sgd", "learning_rate": 0.1}
    output = distilled(patched, encoded(EPS), **options)
    assert seen == asked
    assert_differs(output, distilled(tiny(EPS), encoded(EPS), **options))


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_patches_are_told_the_whole_range_of_levels(family: Family):
    def call(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        highest, lowest = arguments["c"]["transformer_options"]["sample_sigmas"].tolist()
        assert (highest, lowest) == (float(family_sampling.sigma_max), 0.0)
        return ask(apply_model, arguments)

    family_sampling: Any = tiny(family).get_model_object("model_sampling")
    distil(counted(tiny(family), call), encoded(family), steps=1, t_max=0.5)


# Afterwards


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
@every_method
def test_the_model_is_as_it_was(method: str, family: Family):
    model, latent = tiny(family), encoded(family, 2)
    before = sampled(model, family)
    with untouched(model.model):
        distilled(model, latent, method=method)
    assert torch.equal(before, sampled(model, family))


@pytest.mark.parametrize("method", ["sds", "vsd"])
def test_the_model_is_as_it_was_though_a_text_brought_a_lora(method: str):
    model, latent = tiny(EPS), encoded(EPS, 2)
    hooks = comfy.hooks.create_hook_lora(tiny_lora(), 0.5, 0.0)
    texts = {"positive": comfy.hooks.set_hooks_for_conditioning(POSITIVE, hooks) + text(4)}
    before = sampled(model, EPS)
    with untouched(model.model):
        hooked = distilled(model, latent, method=method, optimizer="sgd", learning_rate=0.1, **texts)
    plain = distilled(model, latent, method=method, optimizer="sgd", learning_rate=0.1, positive=POSITIVE + text(4))
    assert_differs(hooked, plain)
    assert torch.equal(before, sampled(model, EPS))


@pytest.mark.parametrize("family", [FLUX, QWEN], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_the_model_is_as_it_was_though_a_lora_was_trained_on_it(family: Family, dtype: torch.dtype):
    model = tiny(family, dtype)
    with untouched(model.model):
        distilled(model, encoded(family), method="vsd")


class Broken(Exception):
    """Something in the host that fails."""


@pytest.mark.parametrize("error", [Broken, comfy.model_management.InterruptProcessingException])
@pytest.mark.parametrize(
    ("method", "stop_at"),
    # vsd calls the model for its texts, with its LoRA, and to train it
    [("bridge", 1), ("dds", 2), ("full bridge", 3), *[("vsd", n) for n in (0, 1, 2, 3, 4, 5)]],
)
def test_a_run_that_breaks_off_leaves_the_model_as_it_was(method: str, stop_at: int, error: type[Exception]):
    model, latent = tiny(SD3), encoded(SD3, 2)
    before, undisturbed = sampled(model, SD3), distilled(model, latent, method=method)

    def breaks(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        if calls == stop_at:
            raise error
        return ask(apply_model, arguments)

    with untouched(model.model), pytest.raises(error):
        distilled(counted(model, breaks), latent, method=method)
    assert torch.equal(before, sampled(model, SD3))
    assert torch.equal(undisturbed, distilled(model, latent, method=method))


@pytest.mark.parametrize("method", ["sds", "vsd", "dds"])
def test_a_cancelled_run_stops_there_and_the_next_is_undisturbed(method: str):
    model, latent, calls = tiny(EPS), encoded(EPS), Calls()
    undisturbed = distilled(model, latent, method=method)

    def cancel(value: int, *_: Any, **__: Any) -> None:
        if value == 2:
            comfy.model_management.interrupt_current_processing(True)
        comfy.model_management.throw_exception_if_processing_interrupted()

    with untouched(model.model), progress_hook(cancel):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            distil(calls.watch(model), latent, method=method)
    assert len(calls.batches) == 2 * (3 if method == "vsd" else 1)
    assert torch.equal(undisturbed, distilled(model, latent, method=method))


# Numbers that are none


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", NAMES)
def test_a_model_that_breaks_down_stops_the_run_in_a_sentence(
    method: str, value: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.Latent2RGB)
    model, latent = tiny(SD3), encoded(SD3, 2)
    options = {"method": method, "steps": 4, "time_schedule": "descending", "t_min": 0.2, "t_max": 0.6}
    calls_of_a_step = {"vsd": 3, "full bridge": 4, "ism": 4}.get(method, 1)

    def breaks(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        prediction = ask(apply_model, arguments)
        if calls == 2 * calls_of_a_step:
            prediction[-1, ..., 0, 0] = value
        return prediction

    whole, shown = [], []
    with progress_hook(lambda value, total, preview, **_: whole.append(np.asarray(preview[1]))):
        undisturbed = distilled(model, latent, **options)
    with progress_hook(lambda value, total, preview, **_: shown.append(np.asarray(preview[1]))):
        with untouched(model.model), pytest.raises(ValueError) as failure:
            distil(counted(model, breaks), latent, **options)
    message = str(failure.value)
    assert message.startswith(f"The gradient of '{method}' became NaN or infinite at step 3 of 4 (t = 0.400, 0.400).")
    assert message.endswith(".") and "learning_rate" in message
    assert len(shown) == 2 and all(np.array_equal(mine, theirs) for mine, theirs in zip(shown, whole))
    assert torch.equal(undisturbed, distilled(model, latent, **options))


# Memory


def short_of_memory(model: ModelPatcher, room: int, sizes: list[int]) -> ModelPatcher:
    """A clone that has room for batches of a size and no larger ones."""

    def call(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        sizes.append(len(arguments["input"]))
        if sizes[-1] > room:
            raise comfy.model_management.OOM_EXCEPTION("Allocation on device")
        return ask(apply_model, arguments)

    return counted(model, call)


@pytest.mark.parametrize("family", [V, FLUX], ids=str)
@pytest.mark.parametrize("room", [2, 1])
@pytest.mark.parametrize("method", [name for name in NAMES if name != "vsd"])
def test_little_memory_gives_the_same_picture_more_slowly(method: str, room: int, family: Family):
    model, latent, sizes = tiny(family), encoded(family, 2), []
    texts = {"positive": [[t.repeat(2, 1, 1), v] for t, v in text(1)], "source": set_mask(text(3), left_half())}
    options = {"method": method, "optimizer": "sgd", **texts}
    free = distilled(model, latent, **options)
    assert_same(distilled(short_of_memory(model, room, sizes), latent, **options), free)
    refused = [i for i, size in enumerate(sizes) if size > room]
    assert refused, "there was memory enough"
    first = 8 if method == "ism" else 6  # ism inverts the image before it first asks for two prompts at once
    assert len(refused) <= 2 and refused[-1] < first, "it asks again for what there is no memory for"


@pytest.mark.parametrize("room", [1, 2])
def test_little_memory_suffices_for_vsd_where_a_picture_can_be_trained_on(room: int):
    model, latent, sizes = tiny(V), encoded(V, room), []
    free = distilled(model, latent, method="vsd", optimizer="sgd")
    assert_same(distilled(short_of_memory(model, room, sizes), latent, method="vsd", optimizer="sgd"), free)
    assert max(sizes) > room


@pytest.mark.parametrize("time_schedule", ["uniform", "descending"])
def test_little_memory_leaves_each_picture_its_texts_masks_hints_and_times(time_schedule: str):
    model, latent = tiny(V), encoded(V, 3)
    masks = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    positive, source, negative = controlled(POSITIVE, SOURCE, NEGATIVE, hints=3, end=0.7)
    texts = {
        "positive": set_mask(positive, masks) + set_range(text(4), 0.0, 0.6),
        "source": set_mask(source, masks) + set_range(text(5), 0.0, 0.6),
        "negative": negative,
    }
    options = {"method": "dds", "steps": 2, "time_schedule": time_schedule, **texts}
    free = distilled(model, latent, **options)
    for room in (1, 3):
        assert_same(distilled(short_of_memory(model, room, []), latent, **options), free)


@every_method
def test_no_memory_at_all_is_the_hosts_own_error(method: str):
    model, latent = tiny(EPS), encoded(EPS, 2)
    free = distilled(model, latent, method=method)
    with untouched(model.model), pytest.raises(comfy.model_management.OOM_EXCEPTION, match="Allocation on device"):
        distil(short_of_memory(model, 0, []), latent, method=method)
    assert torch.equal(free, distilled(model, latent, method=method))


# The LoRA of vsd


@dataclass
class Trained:
    """A LoRA after some steps of training on two noisy pictures: its losses and the model's own, its estimates."""

    before: float
    after: float
    own: tuple[float, float]
    estimates: Tensor


def trained(model: ModelPatcher, family: Family, text: Conditioning, steps: int) -> Trained:
    found = []

    def learn(run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run:
            path, sigma = run.prior.path, run.prior.sigma_at(torch.tensor([0.7, 0.3]))
            eps = Draws(run.latent.shape, 3)()
            x = path.noised(run.latent, eps, sigma)
            particles = host.LoraParticles(run, 4, 1e-2, 0)

            def loss(model: Any) -> float:
                (z0_hat,) = model(x, sigma, ("positive",))
                return (path.eps_hat(x, z0_hat, sigma) - eps).square().mean().item()

            before, own = loss(particles), loss(run.prior.denoise)
            for _ in range(steps):
                particles.fit(x, sigma, eps)
            estimates = particles(x, sigma, ("positive",))[0].clone()
            found.append(Trained(before, loss(particles), (own, loss(run.prior.denoise)), estimates))
        return (run.latent,)

    with torch.inference_mode(), untouched(model.model):
        host.run_in_sampler(
            learn,
            model=model,
            conditionings={"positive": text},
            samples=encoded(family, 2)["samples"],
            sigmas=host.full_range(model),
            evaluations=1,
            seed=0,
        )
    return found[0]


@pytest.mark.parametrize(
    ("family", "dtype"),
    [*((family, torch.float32) for family in FAMILIES), *((family, torch.bfloat16) for family in (EPS, FLUX))],
    ids=str,
)
def test_the_lora_of_vsd_learns_the_pictures_and_the_model_does_not(family: Family, dtype: torch.dtype):
    lora = trained(tiny(family, dtype), family, POSITIVE, 8)
    print(f"{family}: loss of the particles {lora.before:.4f} -> {lora.after:.4f}")
    assert lora.before == lora.own[0] == lora.own[1]
    assert lora.after < 0.98 * lora.before


def test_the_lora_of_vsd_learns_each_picture_with_the_text_of_its_time():
    early_then_late = set_range(text(4), 0.0, 0.5) + set_range(text(5), 0.5, 1.0)
    timed, each = (trained(tiny(V), V, said, 3) for said in (early_then_late, one_each(text(4), text(5))))
    assert_same(timed.estimates, each.estimates)
    assert timed.after == pytest.approx(each.after, rel=1e-4)


class Added(torch.nn.Module):
    """A LoRA in the weight itself."""

    def __init__(self, layer: torch.nn.Linear, generator: torch.Generator):
        super().__init__()
        scale = layer.in_features**-0.5
        self.down = torch.nn.Parameter(scale * torch.randn(4, layer.in_features, generator=generator))
        self.up = torch.nn.Parameter(torch.zeros(layer.out_features, 4))

    def forward(self, weight: Tensor) -> Tensor:
        return weight.detach() + self.up @ self.down


def test_the_lora_of_vsd_is_one_in_the_weights_of_attention_trained_by_adamw():
    model: Any = tiny.__wrapped__(V).model  # a second model of the same weights
    generator, added = torch.Generator().manual_seed(0), []
    for name, layer in list(model.diffusion_model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and "attn" in name:
            added.append(Added(layer, generator))
            torch.nn.utils.parametrize.register_parametrization(layer, "weight", added[-1])
    assert len(added) == 32
    z = model.process_latent_in(encoded(V, 2)["samples"])
    sigma, eps = torch.tensor([level_at(tiny(V), t) for t in (0.7, 0.3)]), Draws(z.shape, 3)()
    x = z + sigma[:, None, None, None] * eps
    optimizer = torch.optim.AdamW([p for lora in added for p in lora.parameters()], lr=1e-2)
    for _ in range(4):
        optimizer.zero_grad()
        estimates = model.apply_model(x, sigma, c_crossattn=POSITIVE[0][0].expand(2, -1, -1))
        ((x - estimates) / sigma[:, None, None, None] - eps).square().mean().backward()
        optimizer.step()
    assert_same(trained(tiny(V), V, POSITIVE, 3).estimates, estimates.detach(), 1e-3)


def test_vsd_trains_nothing_but_its_lora():
    model, trainable = tiny(SD3), []

    def call(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        trainable.append(torch.is_grad_enabled() and any(p.requires_grad for p in model.model.parameters()))
        prediction = ask(apply_model, arguments)
        assert prediction.requires_grad == (calls % 3 == 2)
        return prediction

    distil(counted(model, call), encoded(SD3), method="vsd", steps=2)
    assert len(trainable) == 6 and not any(trainable)


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_vsd_whose_lora_does_not_learn_is_classifier_guidance(family: Family):
    # eps_hat(null) + s (eps_hat(y) - eps_hat(null)) - eps_hat(y) = (s - 1) (eps_hat(y) - eps_hat(null))
    model, latent = tiny(family), encoded(family, 2)
    options = {"time_schedule": "descending", "noise_policy": "fixed", "optimizer": "sgd", "learning_rate": 0.3}
    frozen = distilled(model, latent, method="vsd", guidance_scale=4.0, lora_learning_rate=0.0, **options)
    guidance = distilled(model, latent, method="csd", guidance_scale=3.0, source_guidance_scale=0.0, **options)
    assert_same(frozen, guidance)
    learned = distilled(model, latent, method="vsd", guidance_scale=4.0, lora_learning_rate=0.1, **options)
    assert_differs(learned, guidance)


def test_the_pictures_of_vsd_are_particles_of_one_distribution():
    model, options = tiny(V), {"method": "vsd", "optimizer": "sgd", "learning_rate": 0.3}
    for rate, compare in ((0.1, assert_differs), (0.0, assert_same)):
        alone, together = (distilled(model, encoded(V, count), lora_learning_rate=rate, **options) for count in (1, 2))
        compare(together[:1], alone)


# The host's inference mode


def in_inference_mode(value: Any) -> Any:
    """The same with tensors as the host's nodes make them."""
    with torch.inference_mode():
        if isinstance(value, Tensor):
            return value.clone()
        if isinstance(value, dict):
            return {k: in_inference_mode(v) for k, v in value.items()}
        if isinstance(value, list):
            return [in_inference_mode(v) for v in value]
    return value


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_weights_and_inputs_made_in_inference_mode_give_the_same(family: Family, dtype: torch.dtype):
    model = create_in_inference_mode(tiny, family, dtype)
    assert all(tensor.is_inference() for tensor in model.model.parameters())
    inputs = {
        "positive": POSITIVE,
        "negative": NEGATIVE,
        "source": SOURCE,
        "reference": encoded(family, 2, seed=9),
    }
    latent = {**encoded(family, 2), "noise_mask": left_half()[:, None]}
    for method in ("vsd", "dds"):
        expected = distilled(tiny(family, dtype), latent, method=method, **inputs)
        with untouched(model.model):
            output = distilled(model, in_inference_mode(latent), method=method, **in_inference_mode(inputs))
        assert torch.equal(output, expected)


@pytest.mark.parametrize("of_inference", [False, True], ids=["ordinary", "inference"])
def test_vsd_trains_beside_a_controlnet(of_inference: bool):
    net: Any = create_in_inference_mode(tiny_controlnet) if of_inference else tiny_controlnet()
    positive, negative = controlled(POSITIVE, NEGATIVE, net=net)
    masked: Conditioning = in_inference_mode(set_mask(POSITIVE, left_half()))
    model = tiny(EPS)
    with untouched(model.model, net.control_model):
        output = distilled(model, encoded(EPS), method="vsd", positive=positive + masked, negative=negative)
    assert output.isfinite().all()

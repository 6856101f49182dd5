"""The MODEL in Distillation Sampler: patches, failures, low memory, VSD's LoRA, and no changes after a run."""

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
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_model_advanced import RescaleCFG
from dreamsampler.guidance.distillation.objectives import LISTED
from dreamsampler.nodes import host
from dreamsampler.nodes.host import patches
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
    cond,
    create_in_inference_mode,
    distill,
    distilled,
    encoded,
    tiny,
    tiny_controlnet,
    untouched,
    wrapped,
)
from torch import Tensor

NAMES = [name for name in LISTED if name != "lmc"]  # lmc: test_distillation_lmc.py
every_method = pytest.mark.parametrize("method", NAMES)


def counted(model: ModelPatcher, wrap: Callable[[int, ApplyModel, dict[str, Any]], Tensor]) -> ModelPatcher:
    """A clone whose calls go through `wrap`, which also gets the number of previous calls."""
    calls = itertools.count()
    return wrapped(model, lambda apply_model, arguments: wrap(next(calls), apply_model, arguments))


def sampled(model: ModelPatcher, family: Family) -> Tensor:
    """The result of ComfyUI's KSampler."""
    latent = encoded(family)["samples"]
    with torch.inference_mode():
        noise = comfy.sample.prepare_noise(latent, 1)
        return comfy.sample.sample(
            model, noise, 2, 4.0, "euler", "normal", POSITIVE, NEGATIVE, latent, denoise=0.8, disable_pbar=True, seed=1
        )


# Patches of the model


@pytest.mark.parametrize("method", ["sds", "vsd", "dds"])
def test_lora_acts_like_merged_weights_and_is_removed_after(method: str):
    model, latent, lora = tiny(EPS), encoded(EPS), tiny_lora()
    before = distilled(model, latent, method=method, optimizer="sgd")
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 0.5, 0.0)
    assert patched is not None
    with_lora = distilled(patched, latent, method=method, optimizer="sgd")
    assert torch.equal(before, distilled(model, latent, method=method, optimizer="sgd"))
    assert_differs(with_lora, before)

    baked = tiny.__wrapped__(EPS)  # a second model with the same weights
    with torch.no_grad():
        up, down = lora.values()
        baked.model.get_parameter(f"{LORA_LAYER}.weight").add_(0.5 * up @ down)
    assert_same(with_lora, distilled(baked, latent, method=method, optimizer="sgd"))


@pytest.mark.parametrize(("method", "batches"), [("sds", [2, 2]), ("dds", [2, 2]), ("vsd", [2, 1, 1] * 2)])
def test_calc_cond_batch_patch_is_used(method: str, batches: list[int]):
    seen = []

    def halved(arguments: dict[str, Any]) -> list[Tensor]:
        seen.append(len(arguments["conds"]))
        options = {k: v for k, v in arguments["model_options"].items() if k != "sampler_calc_cond_batch_function"}
        model, conds, x, sigma = (arguments[name] for name in ("model", "conds", "input", "sigma"))
        whole = comfy.samplers.calc_cond_batch(model, conds, x, sigma, options)
        return [0.5 * z0_hat for z0_hat in whole]

    patched = tiny(EPS).clone()
    patched.set_model_sampler_calc_cond_batch_function(halved)
    options = {"method": method, "steps": 2, "optimizer": "sgd", "weighting": "uniform"}
    output = distilled(patched, encoded(EPS), **options)
    assert seen == batches
    assert_differs(output, distilled(tiny(EPS), encoded(EPS), **options))


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_patches_get_the_full_range_of_sigmas(family: Family):
    def call(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        highest, lowest = arguments["c"]["transformer_options"]["sample_sigmas"].tolist()
        assert (highest, lowest) == (float(family_sampling.sigma_max), 0.0)
        return ask(apply_model, arguments)

    family_sampling: Any = tiny(family).get_model_object("model_sampling")
    distill(counted(tiny(family), call), encoded(family), steps=1, t_max=0.5)


# After the run


@pytest.mark.parametrize("family", [EPS, SD3], ids=str)
@every_method
def test_model_is_unchanged(method: str, family: Family):
    model, latent = tiny(family), encoded(family, 2)
    before = sampled(model, family)
    with untouched(model.model):
        distilled(model, latent, method=method)
    assert torch.equal(before, sampled(model, family))


@pytest.mark.parametrize("method", ["sds", "vsd"])
def test_lora_hook_leaves_the_model_unchanged(method: str):
    model, latent = tiny(EPS), encoded(EPS, 2)
    hooks = comfy.hooks.create_hook_lora(tiny_lora(), 0.5, 0.0)
    prompts = {"positive": comfy.hooks.set_hooks_for_conditioning(POSITIVE, hooks) + cond(4)}
    before = sampled(model, EPS)
    with untouched(model.model):
        hooked = distilled(model, latent, method=method, optimizer="sgd", learning_rate=0.1, **prompts)
    plain = distilled(model, latent, method=method, optimizer="sgd", learning_rate=0.1, positive=POSITIVE + cond(4))
    assert_differs(hooked, plain)
    assert torch.equal(before, sampled(model, EPS))


@pytest.mark.parametrize("family", [FLUX, QWEN], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_vsd_leaves_the_model_unchanged(family: Family, dtype: torch.dtype):
    model = tiny(family, dtype)
    with untouched(model.model):
        distilled(model, encoded(family), method="vsd")


class Broken(Exception):
    """An error raised by the model."""


@pytest.mark.parametrize("error", [Broken, comfy.model_management.InterruptProcessingException])
@pytest.mark.parametrize(
    ("method", "stop_at"),
    # vsd calls the model for the prompts, with its LoRA, and to train the LoRA
    [("bridge", 1), ("dds", 2), ("full bridge", 3), *[("vsd", n) for n in (0, 1, 2, 3, 4, 5)]],
)
def test_failed_or_canceled_run_leaves_the_model_unchanged(method: str, stop_at: int, error: type[Exception]):
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
def test_canceled_run_stops_and_does_not_affect_the_next(method: str):
    model, latent, calls = tiny(EPS), encoded(EPS), Calls()
    undisturbed = distilled(model, latent, method=method)

    def cancel(value: int, *_: Any, **__: Any) -> None:
        if value == 2:
            comfy.model_management.interrupt_current_processing(True)
        comfy.model_management.throw_exception_if_processing_interrupted()

    with untouched(model.model), progress_hook(cancel):
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            distill(calls.watch(model), latent, method=method)
    assert len(calls.batches) == 2 * (3 if method == "vsd" else 1)
    assert torch.equal(undisturbed, distilled(model, latent, method=method))


@pytest.mark.parametrize("evaluations", [None, 1000])
def test_every_report_of_progress_can_be_canceled(evaluations: int | None):
    """Also where the host shows none, and where it skips an update that follows another closely."""
    steps = []

    def algorithm(run: host.Run) -> tuple[Tensor, ...]:
        for step in range(10):
            steps.append(step)
            if step == 4:
                comfy.model_management.interrupt_current_processing(True)
            run.progress(step, run.latent, run.latent)
        return (run.latent,)

    with torch.inference_mode(), pytest.raises(comfy.model_management.InterruptProcessingException):
        host.run_in_sampler(
            algorithm, model=tiny(EPS), conditionings={"positive": POSITIVE}, samples=encoded(EPS)["samples"],
            sigmas=host.full_range(tiny(EPS)), evaluations=evaluations, seed=0,
        )  # fmt: skip
    assert steps == [0, 1, 2, 3, 4]
    assert not comfy.model_management.processing_interrupted()


# NaN and infinite values


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", NAMES)
def test_non_finite_prediction_raises_with_step_and_time(method: str, value: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(latent_preview.args, "preview_method", latent_preview.LatentPreviewMethod.Latent2RGB)
    model, latent = tiny(SD3), encoded(SD3, 2)
    options = {"method": method, "steps": 4, "time_schedule": "descending", "t_min": 0.2, "t_max": 0.6}
    calls_of_a_step = {"vsd": 4, "full bridge": 4, "ism": 4, "sdi": 3}.get(method, 1)
    # chord's first step has two noise levels, and a model with a wrapper is asked for each level and image alone.
    calls_of_two_steps = 4 + 1 if method == "chord" else 2 * calls_of_a_step

    def breaks(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        prediction = ask(apply_model, arguments)
        if calls == calls_of_two_steps:
            prediction[-1, ..., 0, 0] = value
        return prediction

    whole, shown = [], []
    with progress_hook(lambda value, total, preview, **_: whole.append(np.asarray(preview[1]))):
        undisturbed = distilled(model, latent, **options)
    with progress_hook(lambda value, total, preview, **_: shown.append(np.asarray(preview[1]))):
        with untouched(model.model), pytest.raises(ValueError) as failure:
            distill(counted(model, breaks), latent, **options)
    message = str(failure.value)
    assert message.startswith(f"The gradient of '{method}' became NaN or infinite at step 3 of 4 (t = 0.400, 0.400).")
    assert message.endswith(".") and "learning_rate" in message
    assert len(shown) == 2 and all(np.array_equal(mine, theirs) for mine, theirs in zip(shown, whole))
    assert torch.equal(undisturbed, distilled(model, latent, **options))


# Memory


def short_of_memory(model: ModelPatcher, room: int, sizes: list[int]) -> ModelPatcher:
    """A clone that runs out of memory for batches larger than `room`."""

    def call(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        sizes.append(len(arguments["input"]))
        if sizes[-1] > room:
            raise comfy.model_management.OOM_EXCEPTION("Allocation on device")
        return ask(apply_model, arguments)

    return counted(model, call)


@pytest.mark.parametrize("family", [V, FLUX], ids=str)
@pytest.mark.parametrize("room", [2, 1])
@pytest.mark.parametrize("method", [name for name in NAMES if name != "vsd"])
def test_low_memory_gives_the_same_result(method: str, room: int, family: Family):
    model, latent, sizes = tiny(family), encoded(family, 2), []
    prompts = {"positive": [[t.repeat(2, 1, 1), v] for t, v in cond(1)], "source": set_mask(cond(3), left_half())}
    # One time for all: a wrapper may look at the noise level, so items at different times are asked one by one.
    options = {"method": method, "optimizer": "sgd", "time_schedule": "descending", **prompts}
    free = distilled(model, latent, **options)
    assert_same(distilled(short_of_memory(model, room, sizes), latent, **options), free)
    refused = [i for i, size in enumerate(sizes) if size > room]
    assert refused, "nothing ran out of memory"
    first = 8 if method == "ism" else 6  # ism inverts the image before it first asks for two prompts at once
    assert len(refused) <= 2 and refused[-1] < first, "it repeats a call that ran out of memory"


def test_low_memory_of_patched_guidance_is_remembered():
    """RescaleCFG depends on the noise level, so items at different times are asked one by one."""
    sizes: list[int] = []
    model = RescaleCFG().patch(short_of_memory(tiny(V), 1, sizes), 0.7)[0]
    distilled(model, encoded(V, 2), method="sds", time_schedule="uniform", steps=4)
    assert [size for size in sizes if size > 1] == [2]


@pytest.mark.parametrize("room", [1, 2])
def test_low_memory_suffices_for_vsd_if_one_image_can_be_trained(room: int):
    model, latent, sizes = tiny(V), encoded(V, room), []
    options = {"method": "vsd", "optimizer": "sgd", "time_schedule": "descending"}
    free = distilled(model, latent, **options)
    assert_same(distilled(short_of_memory(model, room, sizes), latent, **options), free)
    assert max(sizes) > room


@pytest.mark.parametrize("time_schedule", ["uniform", "descending"])
def test_low_memory_keeps_prompts_masks_hints_and_times_per_image(time_schedule: str):
    model, latent = tiny(V), encoded(V, 3)
    masks = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(1))
    positive, source, negative = controlled(POSITIVE, SOURCE, NEGATIVE, hints=3, end=0.7)
    prompts = {
        "positive": set_mask(positive, masks) + set_range(cond(4), 0.0, 0.6),
        "source": set_mask(source, masks) + set_range(cond(5), 0.0, 0.6),
        "negative": negative,
    }
    options = {"method": "dds", "steps": 2, "time_schedule": time_schedule, **prompts}
    free = distilled(model, latent, **options)
    for room in (1, 3):
        assert_same(distilled(short_of_memory(model, room, []), latent, **options), free)


@every_method
def test_out_of_memory_error_is_raised_if_nothing_fits(method: str):
    model, latent = tiny(EPS), encoded(EPS, 2)
    free = distilled(model, latent, method=method)
    with untouched(model.model), pytest.raises(comfy.model_management.OOM_EXCEPTION, match="Allocation on device"):
        distill(short_of_memory(model, 0, []), latent, method=method)
    assert torch.equal(free, distilled(model, latent, method=method))


# The LoRA of vsd


@dataclass
class Trained:
    """A LoRA trained on two noisy images: losses with the LoRA and of the plain model, and its estimates."""

    before: float
    after: float
    own: tuple[float, float]
    estimates: Tensor


def trained(model: ModelPatcher, family: Family, prompt: Conditioning, steps: int) -> Trained:
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
            conditionings={"positive": prompt},
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
def test_vsd_lora_learns_the_images_and_the_model_does_not(family: Family, dtype: torch.dtype):
    lora = trained(tiny(family, dtype), family, POSITIVE, 8)
    print(f"{family}: LoRA loss {lora.before:.4f} -> {lora.after:.4f}")
    assert lora.before == lora.own[0] == lora.own[1]
    assert lora.after < 0.98 * lora.before


def test_vsd_lora_trains_each_image_with_the_prompt_of_its_time():
    early_then_late = set_range(cond(4), 0.0, 0.5) + set_range(cond(5), 0.5, 1.0)
    timed, each = (trained(tiny(V), V, prompt, 3) for prompt in (early_then_late, one_each(cond(4), cond(5))))
    assert_same(timed.estimates, each.estimates)
    assert timed.after == pytest.approx(each.after, rel=1e-4)


def with_torch_compile(family: Family, runs: list[int]) -> ModelPatcher:
    """A MODEL as Torch Compile returns it. `runs` gets an entry for each run of a compiled graph."""

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            runs.append(1)
            return graph.forward(*args)

        return run

    torch._dynamo.reset()
    model = tiny(family).clone()
    set_torch_compile_wrapper(model, backend)  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize("family", [FLUX, SD3], ids=str)
def test_vsd_lora_acts_on_a_compiled_model_outside_its_compiled_code(family: Family):
    runs, compiled_runs = [], list[int]()
    model = with_torch_compile(family, runs)

    def learn(run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run:
            sigma, eps = run.prior.sigma_at(torch.tensor([0.6])), Draws(run.latent.shape, 3)()
            x = run.prior.path.noised(run.latent, eps, sigma)
            particles = host.LoraParticles(run, 4, 0.1, 0)
            for call in (run.prior.denoise, particles, run.prior.denoise):
                runs.clear()
                call(x, sigma, ("positive",))
                compiled_runs.append(len(runs))
            runs.clear()
            particles.fit(x, sigma, eps)
            compiled_runs.append(len(runs))
        return (run.latent,)

    with torch.inference_mode():
        host.run_in_sampler(
            learn, model=model, conditionings={"positive": POSITIVE}, samples=encoded(family)["samples"],
            sigmas=host.full_range(model), evaluations=1, seed=0,
        )  # fmt: skip
    before, with_lora, after, fitting = compiled_runs
    assert before > 0 and after > 0 and (with_lora, fitting) == (0, 0)


def test_compiled_network_sees_hooks_only_while_it_runs_uncompiled():
    function, net = (lambda net, x: net(x, torch.tensor([0.5]), **texts)), tiny(FLUX).model.diffusion_model
    tokens, values = POSITIVE[0]
    texts = {"context": tokens, "y": values["pooled_output"]}
    torch._dynamo.reset()
    fast, x = torch.compile(net, backend="eager"), encoded(FLUX)["samples"]
    with torch.inference_mode():
        plain = function(fast, x)
        handle = net.double_blocks[0].img_attn.qkv.register_forward_hook(lambda layer, inputs, output: output + 1)
        try:
            expected, unseen = function(net, x), function(fast, x)
            with patches.uncompiled():
                seen = function(fast, x)
        finally:
            handle.remove()
    torch._dynamo.reset()
    assert_differs(expected, plain, 1e-3)
    assert_same(unseen, plain)  # the reason for `uncompiled`
    assert_same(seen, expected)


def test_vsd_refuses_a_compiled_model_where_pytorch_cannot_leave_it_uncompiled(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(patches, "set_stance", None)  # PyTorch 2.5
    model, calls = with_torch_compile(FLUX, []), []
    with pytest.raises(ValueError, match="remove Torch Compile, choose another method, or update PyTorch"):
        distill(counted(model, lambda n, *_: calls.append(n)), encoded(FLUX), method="vsd")  # type: ignore[arg-type]
    assert not calls
    assert distilled(tiny(FLUX), encoded(FLUX), method="vsd").isfinite().all()


class LoraWeight(torch.nn.Module):
    """A LoRA as a parametrization of the weight."""

    def __init__(self, layer: torch.nn.Linear, generator: torch.Generator):
        super().__init__()
        scale = layer.in_features**-0.5
        self.down = torch.nn.Parameter(scale * torch.randn(4, layer.in_features, generator=generator))
        self.up = torch.nn.Parameter(torch.zeros(layer.out_features, 4))

    def forward(self, weight: Tensor) -> Tensor:
        return weight.detach() + self.up @ self.down


def test_vsd_lora_matches_one_in_the_attention_weights_trained_by_adamw():
    model: Any = tiny.__wrapped__(V).model  # a second model with the same weights
    generator, added = torch.Generator().manual_seed(0), []
    for name, layer in list(model.diffusion_model.named_modules()):
        if isinstance(layer, torch.nn.Linear) and "attn" in name:
            added.append(LoraWeight(layer, generator))
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


def test_vsd_lora_of_an_fp16_model_gets_the_gradient_of_float32(monkeypatch: pytest.MonkeyPatch):
    """The first step of AdamW shows signs alone, so the gradients themselves are compared."""

    def gradient(dtype: torch.dtype) -> Tensor:
        found, model = [], tiny.__wrapped__(SD3, dtype, 1e-3)
        model.model.manual_cast_dtype = None  # computes in the dtype of its weights, as on a GPU
        step = torch.optim.AdamW.step

        def keep(optimizer: torch.optim.AdamW, *_: Any) -> None:
            found.append(torch.cat([p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]))
            step(optimizer)

        with monkeypatch.context() as patch:
            patch.setattr(torch.optim.AdamW, "step", keep)
            trained(model, SD3, POSITIVE, 1)
        return found[0].double()

    half, full = gradient(torch.float16), gradient(torch.float32)
    error = ((half / half.norm() - full / full.norm()).norm()).item()
    print(f"relative error {error:.4f}")
    assert error < 0.02


def test_vsd_trains_only_its_lora():
    model, trainable = tiny(SD3), []

    def call(calls: int, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        trainable.append(torch.is_grad_enabled() and any(p.requires_grad for p in model.model.parameters()))
        prediction = ask(apply_model, arguments)
        assert prediction.requires_grad == (calls % 3 == 2)
        return prediction

    distill(counted(model, call), encoded(SD3), method="vsd", steps=2)
    assert len(trainable) == 6 and not any(trainable)


@pytest.mark.parametrize("family", [V, SD3], ids=str)
def test_vsd_with_a_frozen_lora_is_classifier_guidance(family: Family):
    # eps_hat(null) + s (eps_hat(y) - eps_hat(null)) - eps_hat(y) = (s - 1) (eps_hat(y) - eps_hat(null))
    model, latent = tiny(family), encoded(family, 2)
    options = {"time_schedule": "descending", "noise_policy": "fixed", "optimizer": "sgd", "learning_rate": 0.3}
    frozen = distilled(model, latent, method="vsd", guidance_scale=4.0, lora_learning_rate=0.0, **options)
    guidance = distilled(model, latent, method="csd", guidance_scale=3.0, source_guidance_scale=0.0, **options)
    assert_same(frozen, guidance)
    learned = distilled(model, latent, method="vsd", guidance_scale=4.0, lora_learning_rate=0.1, **options)
    assert_differs(learned, guidance)


def test_vsd_treats_the_batch_as_particles_of_one_distribution():
    model, options = tiny(V), {"method": "vsd", "optimizer": "sgd", "learning_rate": 0.3}
    for rate, compare in ((0.1, assert_differs), (0.0, assert_same)):
        alone, together = (distilled(model, encoded(V, count), lora_learning_rate=rate, **options) for count in (1, 2))
        compare(together[:1], alone)


# Inference mode


def in_inference_mode(value: Any) -> Any:
    """A copy whose tensors were created in inference mode, as by ComfyUI's nodes."""
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
def test_inference_mode_tensors_give_the_same_result(family: Family, dtype: torch.dtype):
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


@pytest.mark.parametrize("inference", [False, True], ids=["normal", "inference"])
def test_vsd_trains_with_a_controlnet(inference: bool):
    net: Any = create_in_inference_mode(tiny_controlnet) if inference else tiny_controlnet()
    positive, negative = controlled(POSITIVE, NEGATIVE, net=net)
    masked: Conditioning = in_inference_mode(set_mask(POSITIVE, left_half()))
    model = tiny(EPS)
    with untouched(model.model, net.control_model):
        output = distilled(model, encoded(EPS), method="vsd", positive=positive + masked, negative=negative)
    assert output.isfinite().all()


@pytest.mark.parametrize("family", [EPS, FLUX], ids=str)
@pytest.mark.parametrize(("method", "alone"), [("sds", [1]), ("vsd", [1, 1, 1]), ("full bridge", [1] * 4)])
def test_guidance_1_evaluates_no_unconditional_prompt(family: Family, method: str, alone: list[int]):
    """The same as with a patch that is plain guidance, which ComfyUI gives both predictions; others still act."""

    def run(model: ModelPatcher) -> tuple[Tensor, list[int]]:
        options = {"steps": 1, "optimizer": "sgd", "learning_rate": 1.0, "weighting": "uniform", "first_stage": 0.0}
        calls = Calls()
        made = distilled(calls.watch(model), encoded(family), method=method, guidance_scale=1.0, **options)
        return made, calls.batches

    def patched(rule: Callable[[dict[str, Any]], Tensor]) -> ModelPatcher:
        model = tiny(family).clone()
        model.set_model_sampler_cfg_function(rule, disable_cfg1_optimization=True)
        return model

    made, calls = run(tiny(family))
    plain, both = run(patched(lambda args: args["uncond"] + args["cond_scale"] * (args["cond"] - args["uncond"])))
    other, _ = run(patched(lambda args: args["uncond"]))
    assert calls == alone and sum(both) > sum(calls)
    assert_same(made, plain)
    assert_differs(made, other, 1e-3)

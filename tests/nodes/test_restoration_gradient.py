"""The gradient steps of Proximal DreamSampler: checkpointing, low-memory fallbacks, and half precision."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_freelunch import FreeU_V2
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.nodes.host.checkpoints import checkpointed, mutation_allowed
from dreamsampler.nodes.host.gradients import differentiable
from support.host_oracle import (
    assert_differs,
    assert_same,
    controlled,
    left_half,
    negative_with_lora,
    negative_with_masked_lora,
    one_each,
    progress_hook,
    set_mask,
    set_range,
)
from support.tensors import uniform
from support.tiny_models import (
    EPS,
    FLUX,
    NEGATIVE,
    POOLED_WIDTH,
    POSITIVE,
    QWEN,
    SD3,
    TEXT_WIDTH,
    ApplyModel,
    Conditioning,
    Family,
    Restored,
    V,
    ask,
    autoencoder,
    cond,
    encoded,
    measure,
    photo,
    restore,
    square_hole,
    tiny,
    tiny_vae,
    untouched,
    wrapped,
)
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

KINDS = [(EPS, "kl"), (V, "kl"), (SD3, "taesd-16"), (FLUX, "taesd-16"), (QWEN, "wan")]
"""Matching models and VAEs. The last one has a frame dimension."""

FEW = [KINDS[0], KINDS[3], KINDS[4]]

every_kind = pytest.mark.parametrize(("family", "kind"), KINDS, ids=str)
few_kinds = pytest.mark.parametrize(("family", "kind"), FEW, ids=str)
every_vae = pytest.mark.parametrize(
    ("kind", "family"), [("taesd", EPS), ("kl", EPS), ("taesd-16", SD3), ("wan", QWEN)], ids=str
)

OOM = comfy.model_management.OOM_EXCEPTION
GRADIENT_STEPS = {
    "data_until": 0.0,
    "start_from": "noise",
    "steps": 4,
    "skip": 0.5,
    "dps_weight": 1.0,
    "projection": False,
}
"""Options for two gradient steps and no others."""
RECOMPUTED, ONE_BY_ONE, LEFT_OUT = "now recompute activations", "now process one image", "switched to consistency only"


def holes(count: int = 1) -> Measurement:
    return measure(photo(count), mask=torch.cat([square_hole(), square_hole(0, 24), square_hole(30, 50)])[:count])[0]


AWAY_FROM_KINKS = 18
"""Latents at which rounding does not decide whether a ReLU of TAESD is on: each that flips makes the gradient jump."""


def run(model: ModelPatcher, kind: str, family: Family, count: int = 1, **options: Any) -> Restored:
    latent = encoded(family, count, seed=AWAY_FROM_KINKS)
    return restore(model, tiny_vae(kind), latent, holes(count), **{**GRADIENT_STEPS, **options})


@cache
def expected_samples(kind: str, family: Family, count: int = 1, dps_weight: float = 1.0) -> Tensor:
    """The result with enough memory and without failures."""
    return run(tiny(family), kind, family, count, dps_weight=dps_weight).samples


@dataclass
class LimitedMemory:
    """Simulates out-of-memory errors. `fits` gets batch size, grad mode and the number of calls in that mode."""

    fits: Callable[[int, bool, int], bool]
    calls: list[tuple[int, bool]] = field(default_factory=list)

    def call(self, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        now = len(arguments["input"]), arguments["input"].requires_grad
        self.calls.append(now)
        if not self.fits(*now, [gradient for _, gradient in self.calls].count(now[1])):
            raise OOM("Allocation on device")
        return ask(apply_model, arguments)

    def of(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of the MODEL with this memory."""
        return wrapped(model, self.call)


def first_gradient_fails(count: int, gradient: bool, times: int) -> bool:
    return not gradient or times > 1


def single_gradients_fit(count: int, gradient: bool, times: int) -> bool:
    return not gradient or count == 1


def third_gradient_fits(count: int, gradient: bool, times: int) -> bool:
    return not gradient or times > 2


def no_gradient_fits(count: int, gradient: bool, times: int) -> bool:
    return not gradient


def nothing_fits(count: int, gradient: bool, times: int) -> bool:
    return False


# Checkpoints


def network_function(
    family: Family, transformer_options: dict[str, Any] | None = None, **values: Any
) -> Callable[..., Tensor]:
    """The family's network as a function of the noisy latent."""
    net = tiny(family).model.diffusion_model.requires_grad_(False)
    generator = torch.Generator().manual_seed(5)
    tokens = torch.randn(2, 4, TEXT_WIDTH, generator=generator)
    pooled = (
        {}
        if family.unet.get("adm_in_channels", family.unet.get("vec_in_dim")) is None
        else {"y": torch.randn(2, POOLED_WIDTH, generator=generator)}
    )

    def call(x: Tensor) -> Tensor:
        options = dict(transformer_options or {})
        return net(x, torch.tensor([0.5, 0.5]), context=tokens, transformer_options=options, **pooled, **values)

    return call


def gradient_of(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    x = z.clone().requires_grad_()
    with mutation_allowed():
        (gradient,) = torch.autograd.grad(function(x).square().sum(), x)
    return gradient


@pytest.mark.parametrize("family", [EPS, SD3, FLUX, QWEN], ids=str)
def test_model_gradient_is_the_same_with_checkpoints(family: Family):
    net, z = tiny(family).model.diffusion_model, encoded(family, 2)["samples"]
    function = network_function(family)
    with untouched(net), differentiable(net):
        plain = gradient_of(function, z)
        with checkpointed(net):
            assert_same(gradient_of(function, z), plain, 1e-5)
        assert plain.abs().max() > 0 and torch.equal(gradient_of(function, z), plain)


@every_vae
def test_decoder_gradient_is_the_same_with_checkpoints(kind: str, family: Family):
    net, z = autoencoder(tiny_vae(kind)).requires_grad_(False), encoded(family, 2)["samples"]
    plain = gradient_of(net.decode, z)
    with untouched(net), checkpointed(net):
        assert_same(gradient_of(net.decode, z), plain, 1e-5)
        images = uniform(2, 3, *(() if family is not QWEN else (1,)), 64, 64, dtype=torch.float32)
        encoder_gradient = gradient_of(net.encode, images)
    assert_same(encoder_gradient, gradient_of(net.encode, images), 1e-5)


def test_patch_gets_the_same_block_on_recomputation():
    blocks: list[Any] = []

    def louder(n: Tensor, options: dict[str, Any]) -> Tensor:
        block = options["block"], options["block_index"], options["transformer_index"]
        blocks.append(block)
        return n * (1 + 0.3 * ["input", "middle", "output"].index(block[0][0]) + 0.1 * block[2])

    options = {"patches": {"attn2_output_patch": [louder]}}
    net, z, function = tiny(EPS).model.diffusion_model, encoded(EPS, 2)["samples"], network_function(EPS, options)
    plain = gradient_of(function, z)
    once = list(blocks)
    assert len(set(once)) == len(once) > 2
    blocks.clear()
    with checkpointed(net):
        assert_same(gradient_of(function, z), plain, 1e-5)
    assert blocks[: len(once)] == once and blocks[len(once) :] == once[::-1]
    assert_differs(plain, gradient_of(network_function(EPS), z))


class InPlaceBlock(nn.Module):
    """A block that changes its input, which autograd has saved, and its own tensors in place."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(8, 8), nn.Tanh())

    def forward(self, x: Tensor, seen: list[int]) -> Tensor:
        seen[0] += 1
        squared = x.square()
        x += self.part(squared) * seen[0]
        squared *= x
        return squared + x


class SkipNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.row = nn.ModuleList([InPlaceBlock(), InPlaceBlock(), InPlaceBlock()])

    def forward(self, x: Tensor) -> Tensor:
        h, skips, seen = 1 * x, [], [0]
        for block in self.row:
            h = block(h, seen)
            skips.append(h)
            h = torch.sin(h)
            skips[-1] += 0.5  # like a ControlNet adds to a U-Net's skip connections
        assert seen == [len(self.row)]
        return h + sum(skips)


def test_in_place_changes_and_counters_do_not_affect_checkpoints():
    torch.manual_seed(0)
    net, z = SkipNetwork().double().requires_grad_(False), torch.randn(2, 8, dtype=torch.float64)
    plain = gradient_of(net, z)
    with checkpointed(net):
        torch.testing.assert_close(gradient_of(net, z), plain)
    step, direction = 1e-6, torch.randn(2, 8, dtype=torch.float64)
    ahead, behind = (net(z + sign * step * direction).square().sum() for sign in (1, -1))
    torch.testing.assert_close((plain * direction).sum(), (ahead - behind) / (2 * step), rtol=1e-5, atol=0)


@pytest.mark.parametrize("others", range(10))
@pytest.mark.parametrize("shape", [(2, 32, 8, 8), (64, 64), (128, 128)], ids=str)
def test_tensor_at_the_address_of_a_freed_one_is_not_mistaken_for_it(shape: tuple[int, ...], others: int):
    factors = [torch.full(shape, float(i)) for i in range(1, 6)]
    x = torch.ones(shape, requires_grad=True)
    total = torch.zeros(())
    with mutation_allowed():
        for factor in factors:
            product = x * factor
            total = total + product.exp().mul(product).sum()
            product += 1
            del product
            for _ in range(others):
                torch.empty(3)
        (gradient,) = torch.autograd.grad(total, x)
    expected = sum(f * f.exp() * (1 + f) for f in factors)
    torch.testing.assert_close(gradient, expected)


def traced(function: Callable[[Tensor], Tensor], z: Tensor) -> tuple[int, int, int]:
    """Bytes allocated before the backward pass, at the peak, and after it."""
    now, peak, held = 0, 0, 0
    x = z.clone().requires_grad_()
    with mutation_allowed():
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as forward:
            output = function(x).square().sum()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as backward:
            torch.autograd.grad(output, x)
    for part in (forward, backward):
        events: list[Any] = [e for e in part.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
        for event in sorted(events, key=lambda e: e.start_ns()):
            now += event.nbytes()
            peak = max(peak, now)
        held = held or now
    return held, peak, now


@every_vae
def test_checkpoints_reduce_the_memory_of_a_decoder(kind: str, family: Family):
    net, z = autoencoder(tiny_vae(kind)).requires_grad_(False), encoded(family, 2)["samples"]
    held, peak, _ = traced(net.decode, z)
    with checkpointed(net):
        less, lower, left = traced(net.decode, z)
    print(f"{kind}: held {held} -> {less}, peak {peak} -> {lower}, left {left}")
    assert less < 0.6 * held and lower < peak and left < 0.01 * held


def deep(family: Family) -> Family:
    more = {
        EPS: {
            "num_res_blocks": [3, 3],
            "transformer_depth": [1] * 3 + [2] * 3,
            "transformer_depth_output": [1] * 4 + [2] * 4,
        },
        FLUX: {"depth": 3, "depth_single_blocks": 4},
        QWEN: {"num_layers": 5},
    }
    return Family(f"deep {family}", family.config, {**family.unet, **more[family]}, family.shape, family.flow)


@pytest.mark.parametrize("family", [EPS, FLUX, QWEN], ids=str)
def test_checkpoints_reduce_the_memory_of_a_deep_model(family: Family):
    larger = deep(family)
    function, net = network_function(larger), tiny(larger).model.diffusion_model
    z = torch.randn(2, *family.shape[:-2], 24, 24, generator=torch.Generator().manual_seed(0))
    with differentiable(net):
        held, peak, _ = traced(function, z)
        with checkpointed(net):
            less, lower, left = traced(function, z)
    print(f"{larger}: held {held} -> {less}, peak {peak} -> {lower}, left {left}")
    assert less < 0.6 * held and lower < 0.8 * peak and left < 0.01 * held


def test_checkpoints_do_nothing_without_gradients():
    net, z = autoencoder(tiny_vae("kl")), encoded(EPS, 2)["samples"]
    with torch.inference_mode():
        plain = net.decode(z)
        with checkpointed(net):
            assert torch.equal(net.decode(z), plain)
    with torch.no_grad():
        ordinary = operations(net.decode, z)
        with checkpointed(net):
            output = net.decode(z)
            assert operations(net.decode, z) == ordinary
    assert torch.equal(output, plain) and output.grad_fn is None


def operations(function: Callable[[Tensor], Tensor], z: Tensor) -> dict[str, int]:
    """The operations of a function and their counts."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        function(z)
    return {event.key: event.count for event in found.key_averages() if event.key.startswith("aten::")}


def test_checkpoints_are_removed_after_an_error_and_keep_existing_wrappers():
    net = autoencoder(tiny_vae.__wrapped__("kl"))
    block: Any = net.decoder.mid.block_1
    own, calls = block.forward, []

    def wrapper(*arguments: Any) -> Tensor:
        calls.append(len(arguments))
        return own(*arguments)

    block.forward = wrapper
    with untouched(net), pytest.raises(ZeroDivisionError), checkpointed(net):
        gradient_of(net.decode, encoded(EPS)["samples"])
        raise ZeroDivisionError
    assert block.forward is wrapper and len(calls) == 2
    del block.forward
    assert "forward" not in block.__dict__


# Low memory


@every_kind
def test_first_fallback_recomputes_activations(family: Family, kind: str, caplog: pytest.LogCaptureFixture):
    model, vae, memory = tiny(family), tiny_vae(kind), LimitedMemory(first_gradient_fails)
    free = expected_samples(kind, family, 2)
    assert_differs(free, expected_samples(kind, family, 2, 0.0), 0.003)
    caplog.set_level(logging.WARNING, "dreamsampler")
    with untouched(model.model, autoencoder(vae)):
        restored = run(memory.of(model), kind, family, 2)
    assert_same(restored.samples, free)
    assert memory.calls == [(2, True)] * 3
    (note,) = restored.notes
    assert RECOMPUTED in note and note.startswith("Out of memory: ") and note.endswith(".")
    assert [record.message for record in caplog.records if record.name == "dreamsampler"] == [note]


@few_kinds
def test_second_fallback_processes_one_image_at_a_time(family: Family, kind: str):
    model, vae, memory = tiny(family), tiny_vae(kind), LimitedMemory(single_gradients_fit)
    with untouched(model.model, autoencoder(vae)):
        restored = run(memory.of(model), kind, family, 3)
    assert_same(restored.samples, expected_samples(kind, family, 3), 2e-3)
    assert memory.calls == [(3, True)] * 2 + [(1, True)] * 6
    assert [RECOMPUTED in restored.notes[0], ONE_BY_ONE in restored.notes[1]] == [True] * 2
    assert len(restored.notes) == 2


@few_kinds
@pytest.mark.parametrize("consistency", ["both", "dps only"])
def test_third_fallback_switches_to_data_fitting(
    family: Family, kind: str, consistency: str, caplog: pytest.LogCaptureFixture
):
    model, vae, memory = tiny(family), tiny_vae(kind), LimitedMemory(no_gradient_fits)
    caplog.set_level(logging.WARNING, "dreamsampler")
    with untouched(model.model, autoencoder(vae)):
        restored = run(memory.of(model), kind, family, 2, consistency=consistency)
    fitted = run(model, kind, family, 2, consistency="consistency only").samples
    assert_same(restored.samples, fitted)
    assert_differs(fitted, expected_samples(kind, family, 2, 0.0), 0.003)
    assert memory.calls == [(2, True)] * 2 + [(1, True)] + [(2, False)] * 2
    assert [words in note for words, note in zip((RECOMPUTED, ONE_BY_ONE, LEFT_OUT), restored.notes)] == [True] * 3
    assert [record.message for record in caplog.records if record.name == "dreamsampler"] == restored.notes


WITH_DECODER = [(EPS, "kl"), (QWEN, "wan")]
"""Those whose VAE has a decoder module to hook; TAESD has none."""

every_decoder = pytest.mark.parametrize(("family", "kind"), WITH_DECODER, ids=str)


@pytest.mark.parametrize("fits", [first_gradient_fails, no_gradient_fits])
def test_trying_gradients_without_memory_for_it_changes_nothing(fits: Callable[[int, bool, int], bool]):
    model, memory = tiny(EPS), LimitedMemory(fits)
    options = {"start_from": "inversion", "skip": 0.0}
    restored = run(memory.of(model), "kl", EPS, 2, **options)
    assert memory.calls[:2] == [(1, True), (2, False)]
    if fits is no_gradient_fits:
        assert len(restored.notes) == 3
        assert_same(restored.samples, run(model, "kl", EPS, 2, consistency="consistency only", **options).samples)
    else:
        assert restored.notes == []
        assert torch.equal(restored.samples, run(model, "kl", EPS, 2, **options).samples)


def test_cache_is_emptied_after_the_error_that_holds_what_failed(monkeypatch: pytest.MonkeyPatch):
    handled: list[Any] = []
    monkeypatch.setattr(comfy.model_management, "soft_empty_cache", lambda *_: handled.append(sys.exc_info()[0]))
    run(LimitedMemory(first_gradient_fails).of(tiny(EPS)), "kl", EPS, start_from="inversion", skip=0.0)
    assert handled and set(handled) == {None}


@every_decoder
def test_dps_only_fits_data_only_after_the_last_fallback(family: Family, kind: str):
    options = {**GRADIENT_STEPS, "data_every": 2, "data_until": 1.0, "consistency": "dps only"}
    model, vae, source, measurement = tiny(family), tiny_vae(kind), encoded(family, 2), holes(2)
    with decoding_fails(vae, lambda count, gradient, times: True) as calls:
        restore(model, vae, source, measurement, **options)
    *steps, _image = calls
    assert steps == [(2, True)]
    with decoding_fails(vae, no_gradient_fits) as calls:
        restored = restore(model, vae, source, measurement, **{**options, "steps": 8})
    *steps, _image = calls
    assert len(restored.notes) == 3 and steps == [(2, True)] * 2 + [(1, True)] + [(2, False)] * 3


@every_decoder
def test_data_fitting_falls_back_to_one_image_at_a_time(family: Family, kind: str):
    model, vae = tiny(family), tiny_vae(kind)
    options = {"consistency": "consistency only"}
    free = run(model, kind, family, 3, **options)
    with untouched(model.model, autoencoder(vae)), decoding_fails(vae, lambda count, *_: count == 1) as calls:
        restored = run(model, kind, family, 3, **options)
    assert_same(restored.samples, free.samples, 2e-3)
    assert calls[:7] == [(3, False)] + [(1, False)] * 6
    (note,) = restored.notes
    assert note == "Out of memory: data fitting now processes one image at a time."


def test_unknown_blur_is_refitted_one_image_at_a_time_in_the_same_way():
    model, vae, measurement = tiny(EPS), tiny_vae("kl"), measure(photo(3), "unknown gaussian blur", sigma=2.0)[0]
    options = {**GRADIENT_STEPS, "consistency": "few steps", "skip": 0.0}
    free = restore(model, vae, encoded(EPS, 3), measurement, **options)
    with decoding_fails(vae, lambda count, *_: count == 1):
        restored = restore(model, vae, encoded(EPS, 3), measurement, **options)
    assert_same(restored.samples, free.samples, 2e-3)
    assert "Out of memory: data fitting now processes one image at a time." in restored.notes


@pytest.mark.parametrize(("family", "kind"), [KINDS[0], KINDS[2]], ids=str)
def test_out_of_memory_error_is_raised_if_nothing_fits(family: Family, kind: str):
    model, vae, memory = tiny(family), tiny_vae(kind), LimitedMemory(nothing_fits)
    with untouched(model.model, autoencoder(vae)), pytest.raises(OOM, match="Allocation on device"):
        run(memory.of(model), kind, family, 2)
    assert memory.calls[-1] == (1, False)
    assert torch.equal(expected_samples(kind, family, 2), run(model, kind, family, 2).samples)


def test_next_run_starts_without_fallbacks():
    model, memory = tiny(EPS), LimitedMemory(first_gradient_fails)
    limited_model = memory.of(model)
    assert run(limited_model, "kl", EPS).notes and run(limited_model, "kl", EPS).notes == []


@contextmanager
def decoding_fails(vae: comfy.sd.VAE, fits: Callable[[int, bool, int], bool]) -> Iterator[list[tuple[int, bool]]]:
    """Simulates out-of-memory errors of a decoder, like `LimitedMemory`. Yields its calls."""
    calls: list[tuple[int, bool]] = []

    def before(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        now = len(arguments[0]), arguments[0].requires_grad
        calls.append(now)
        if not fits(*now, [gradient for _, gradient in calls].count(now[1])):
            raise OOM("Allocation on device")

    handle = autoencoder(vae).decoder.register_forward_pre_hook(before)
    try:
        yield calls
    finally:
        handle.remove()


@every_decoder
@pytest.mark.parametrize(
    ("fits", "notes"), [(first_gradient_fails, 1), (single_gradients_fit, 2), (no_gradient_fits, 3)]
)
def test_decoder_uses_the_same_fallbacks(family: Family, kind: str, fits: Callable, notes: int):
    model, vae = tiny(family), tiny_vae(kind)
    with untouched(model.model, autoencoder(vae)), decoding_fails(vae, fits) as calls:
        restored = run(model, kind, family, 2)
    fitted = run(model, kind, family, 2, consistency="consistency only").samples
    assert_same(restored.samples, expected_samples(kind, family, 2) if notes < 3 else fitted, 2e-3)
    assert len(restored.notes) == notes and (2, True) in calls


def failing_backwards(model: ModelPatcher, error: Exception, times: int) -> ModelPatcher:
    """A clone whose first `times` backward passes fail at the model's output."""
    left = [times]

    def call(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        output = ask(apply_model, arguments)
        if output.requires_grad and left[0]:
            left[0] -= 1

            def stop(_: Tensor) -> None:
                raise error

            output.register_hook(stop)
        return output

    return wrapped(model, call)


@few_kinds
@pytest.mark.parametrize("times", [1, 2])
def test_backward_pass_uses_the_same_fallbacks(family: Family, kind: str, times: int):
    model, vae = tiny(family), tiny_vae(kind)
    with untouched(model.model, autoencoder(vae)):
        restored = run(failing_backwards(model, OOM("Allocation on device"), times), kind, family, 2)
    assert_same(restored.samples, expected_samples(kind, family, 2), 2e-3)
    assert len(restored.notes) == times


# Conditioning and patches with fallbacks


def with_controlnet() -> dict[str, Conditioning]:
    positive, negative = controlled(POSITIVE, NEGATIVE, hints=2)
    return {"positive": positive, "negative": negative}


def with_mask_and_range() -> dict[str, Conditioning]:
    return {"negative": set_mask(set_range(cond(4), 0.0, 0.9), left_half()) + NEGATIVE}


def with_one_prompt_per_image() -> dict[str, Conditioning]:
    return {"negative": one_each(NEGATIVE, cond(5))}


@pytest.mark.parametrize(
    "make",
    [with_controlnet, with_mask_and_range, with_one_prompt_per_image, negative_with_lora, negative_with_masked_lora],
)
def test_conditioning_options_act_with_every_fallback(make: Callable):
    model, vae, prompts = tiny(EPS), tiny_vae("kl"), make()
    free = run(model, "kl", EPS, 2, **prompts)
    assert_differs(free.samples, expected_samples("kl", EPS, 2))
    with untouched(model.model, autoencoder(vae)):
        once = run(LimitedMemory(first_gradient_fails).of(model), "kl", EPS, 2, **prompts)
        twice = run(LimitedMemory(third_gradient_fits).of(model), "kl", EPS, 2, **prompts)
    assert (len(once.notes), len(twice.notes)) == (1, 2)
    assert_same(once.samples, free.samples, 1e-3)
    assert_same(twice.samples, free.samples, 1e-3)


def test_block_patch_acts_with_every_fallback():
    model = tiny(EPS).clone()

    def louder(n: Tensor, options: dict[str, Any]) -> Tensor:
        return n * (2.0 if options["block"][0] == "middle" else 0.7)

    model.set_model_attn2_output_patch(louder)
    free = run(model, "kl", EPS, 2)
    assert_differs(free.samples, expected_samples("kl", EPS, 2))
    assert_same(run(LimitedMemory(third_gradient_fits).of(model), "kl", EPS, 2).samples, free.samples, 1e-3)


def test_freeu_acts_with_every_fallback():
    (model,) = FreeU_V2().patch(tiny(EPS), 1.3, 1.4, 0.9, 0.2)
    free = run(model, "kl", EPS, 2)
    assert_same(run(LimitedMemory(first_gradient_fails).of(model), "kl", EPS, 2).samples, free.samples, 1e-3)


# Failures


class Broken(Exception):
    """An error raised during a run."""


@pytest.mark.parametrize(
    ("family", "kind", "where"),
    [
        *((*pair, where) for pair in FEW for where in ("forward", "backward", "checkpoint")),
        *((*pair, where) for pair in WITH_DECODER for where in ("decoder", "canceled")),
    ],
    ids=str,
)
def test_failed_or_canceled_run_leaves_networks_unchanged(family: Family, kind: str, where: str):
    model, vae = tiny(family), tiny_vae(kind)
    contexts: dict[str, Any] = {"decoder": nullcontext, "canceled": lambda: progress_hook(cancel)}
    error: type[BaseException] = Broken

    def fails(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        if arguments["input"].requires_grad:
            ask(apply_model, arguments)
            raise Broken
        return ask(apply_model, arguments)

    def cancel(value: int, *_: Any, **__: Any) -> None:
        if value == 1:
            comfy.model_management.interrupt_current_processing(True)
        comfy.model_management.throw_exception_if_processing_interrupted()

    broken = model
    if where == "forward":
        broken = wrapped(model, fails)
    elif where == "backward":
        broken = failing_backwards(model, Broken(), 1)
    elif where == "checkpoint":
        memory = LimitedMemory(first_gradient_fails)

        def fails_on_recomputation(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
            output = memory.call(apply_model, arguments)
            output.register_hook(breaks)
            return output

        broken = wrapped(model, fails_on_recomputation)
    elif where == "canceled":
        error = comfy.model_management.InterruptProcessingException
    with untouched(model.model, autoencoder(vae)), contexts.get(where, nullcontext)():
        handle = autoencoder(vae).decoder.register_forward_hook(breaks) if where == "decoder" else None
        try:
            with pytest.raises(error):
                run(broken, kind, family)
        finally:
            if handle:
                handle.remove()
    assert torch.equal(expected_samples(kind, family), run(model, kind, family).samples)


def breaks(*_: Any) -> None:
    raise Broken


# Half precision


def computed_in(family: Family, dtype: torch.dtype) -> ModelPatcher:
    """A MODEL that computes in the dtype of its weights, as on a GPU."""
    model = tiny.__wrapped__(family, dtype)
    model.model.manual_cast_dtype = None
    return model


@pytest.mark.parametrize(
    ("family", "kind", "dtype"),
    [*[(*pair, torch.bfloat16) for pair in KINDS], *[(*pair, torch.float16) for pair in FEW]],
    ids=str,
)
def test_half_precision_gradient_matches_float32(family: Family, kind: str, dtype: torch.dtype):
    def gradient(model: ModelPatcher) -> Tensor:
        without, pulled = (run(model, kind, family, skip=0.75, eta=0.0, dps_weight=weight) for weight in (0.0, 100.0))
        return (without.samples - pulled.samples) / 100

    seen: list[torch.dtype] = []

    def record_dtype(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        seen.append(model.model.get_dtype())
        return ask(apply_model, arguments)

    model = computed_in(family, dtype)
    half, full = gradient(wrapped(model, record_dtype)), gradient(tiny(family))
    assert set(seen) == {dtype}
    assert half.isfinite().all() and (half != 0).float().mean() > 0.95
    cosine = torch.cosine_similarity(half.flatten(), full.flatten(), dim=0).item()
    print(f"{family} {dtype}: cosine {cosine:.5f}, length {(half.norm() / full.norm()).item():.4f}")
    assert cosine > 0.99 and abs(half.norm() / full.norm() - 1) < 0.1

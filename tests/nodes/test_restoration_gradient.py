"""The gradient steps of Proximal DreamSampler: checkpoints, what happens where memory is short, and half precision."""

from __future__ import annotations

import logging
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
    encoded,
    measure,
    photo,
    restore,
    square,
    text,
    tiny,
    tiny_vae,
    untouched,
    wrapped,
)
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

KINDS = [(EPS, "kl"), (V, "kl"), (SD3, "taesd-16"), (FLUX, "taesd-16"), (QWEN, "wan")]
"""Models and VAEs that belong together; the last has a frame dimension."""

FEW = [KINDS[0], KINDS[3], KINDS[4]]

every_kind = pytest.mark.parametrize(("family", "kind"), KINDS, ids=str)
few_kinds = pytest.mark.parametrize(("family", "kind"), FEW, ids=str)
every_vae = pytest.mark.parametrize(
    ("kind", "family"), [("taesd", EPS), ("kl", EPS), ("taesd-16", SD3), ("wan", QWEN)], ids=str
)

OOM = comfy.model_management.OOM_EXCEPTION
ALONG = {"data_until": 0.0, "start_from": "noise", "steps": 4, "skip": 0.5, "dps_weight": 1.0, "projection": False}
"""Two steps along the gradient and no others."""
RECOMPUTED, ONE_BY_ONE, LEFT_OUT = "now recompute activations", "now process one image", "switched to consistency only"


def holes(count: int = 1) -> Measurement:
    return measure(photo(count), mask=torch.cat([square(), square(0, 24), square(30, 50)])[:count])[0]


def along(model: ModelPatcher, kind: str, family: Family, count: int = 1, **options: Any) -> Restored:
    return restore(model, tiny_vae(kind), encoded(family, count), holes(count), **{**ALONG, **options})


@cache
def undisturbed(kind: str, family: Family, count: int = 1, dps_weight: float = 1.0) -> Tensor:
    """What comes of it where nothing happens."""
    return along(tiny(family), kind, family, count, dps_weight=dps_weight).samples


@dataclass
class Short:
    """Memory that holds what `fits` says of a batch size, a grad mode, and how often that mode was asked for."""

    fits: Callable[[int, bool, int], bool]
    asked: list[tuple[int, bool]] = field(default_factory=list)

    def answer(self, apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        now = len(arguments["input"]), arguments["input"].requires_grad
        self.asked.append(now)
        if not self.fits(*now, [gradient for _, gradient in self.asked].count(now[1])):
            raise OOM("Allocation on device")
        return ask(apply_model, arguments)

    def of(self, model: ModelPatcher) -> ModelPatcher:
        """A clone of the MODEL that has no more."""
        return wrapped(model, self.answer)


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


def called(family: Family, transformer_options: dict[str, Any] | None = None, **values: Any) -> Callable[..., Tensor]:
    """The family's network as a function of its state."""
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
def test_a_model_has_the_same_gradient_with_checkpoints(family: Family):
    net, z = tiny(family).model.diffusion_model, encoded(family, 2)["samples"]
    function = called(family)
    plain = gradient_of(function, z)
    with untouched(net), checkpointed(net):
        assert_same(gradient_of(function, z), plain, 1e-5)
    assert plain.abs().max() > 0 and torch.equal(gradient_of(function, z), plain)


@every_vae
def test_a_decoder_has_the_same_gradient_with_checkpoints(kind: str, family: Family):
    net, z = autoencoder(tiny_vae(kind)).requires_grad_(False), encoded(family, 2)["samples"]
    plain = gradient_of(net.decode, z)
    with untouched(net), checkpointed(net):
        assert_same(gradient_of(net.decode, z), plain, 1e-5)
        pictures = torch.rand(2, 3, *(() if family is not QWEN else (1,)), 64, 64)
        kept = gradient_of(net.encode, pictures)
    assert_same(kept, gradient_of(net.encode, pictures), 1e-5)


def test_a_patch_is_told_the_same_block_when_it_is_asked_again():
    told: list[Any] = []

    def louder(n: Tensor, options: dict[str, Any]) -> Tensor:
        block = options["block"], options["block_index"], options["transformer_index"]
        told.append(block)
        return n * (1 + 0.3 * ["input", "middle", "output"].index(block[0][0]) + 0.1 * block[2])

    options = {"patches": {"attn2_output_patch": [louder]}}
    net, z, function = tiny(EPS).model.diffusion_model, encoded(EPS, 2)["samples"], called(EPS, options)
    plain = gradient_of(function, z)
    once = list(told)
    assert len(set(once)) == len(once) > 2
    told.clear()
    with checkpointed(net):
        assert_same(gradient_of(function, z), plain, 1e-5)
    assert told[: len(once)] == once and told[len(once) :] == once[::-1]
    assert_differs(plain, gradient_of(called(EPS), z))


class Adds(nn.Module):
    """A block that adds in place to what it was given and has saved, and to what it has made."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Sequential(nn.Linear(8, 8), nn.Tanh())

    def forward(self, x: Tensor, seen: list[int]) -> Tensor:
        seen[0] += 1
        squared = x.square()
        x += self.part(squared) * seen[0]
        squared *= x
        return squared + x


class Row(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.row = nn.ModuleList([Adds(), Adds(), Adds()])

    def forward(self, x: Tensor) -> Tensor:
        h, skips, seen = 1 * x, [], [0]
        for block in self.row:
            h = block(h, seen)
            skips.append(h)
            h = torch.sin(h)
            skips[-1] += 0.5  # as a ControlNet adds to what a U-Net has put aside
        assert seen == [len(self.row)]
        return h + sum(skips)


def test_what_is_added_in_place_and_counted_in_a_list_does_not_disturb_it():
    torch.manual_seed(0)
    net, z = Row().double().requires_grad_(False), torch.randn(2, 8, dtype=torch.float64)
    plain = gradient_of(net, z)
    with checkpointed(net):
        torch.testing.assert_close(gradient_of(net, z), plain)
    step, direction = 1e-6, torch.randn(2, 8, dtype=torch.float64)
    ahead, behind = (net(z + sign * step * direction).square().sum() for sign in (1, -1))
    torch.testing.assert_close((plain * direction).sum(), (ahead - behind) / (2 * step), rtol=1e-5, atol=0)


@pytest.mark.parametrize("others", range(10))
@pytest.mark.parametrize("shape", [(2, 32, 8, 8), (64, 64), (128, 128)], ids=str)
def test_a_tensor_at_the_address_of_a_freed_one_is_not_taken_for_it(shape: tuple[int, ...], others: int):
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
    """Bytes allocated before the backward pass, the most there were at a time, and those left after it."""
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
def test_a_decoder_keeps_less_with_checkpoints(kind: str, family: Family):
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
def test_a_deep_model_keeps_less_with_checkpoints(family: Family):
    larger = deep(family)
    function, net = called(larger), tiny(larger).model.diffusion_model
    z = torch.randn(2, *family.shape[:-2], 24, 24, generator=torch.Generator().manual_seed(0))
    held, peak, _ = traced(function, z)
    with checkpointed(net):
        less, lower, left = traced(function, z)
    print(f"{larger}: held {held} -> {less}, peak {peak} -> {lower}, left {left}")
    assert less < 0.6 * held and lower < 0.8 * peak and left < 0.01 * held


def test_without_gradients_checkpoints_do_nothing():
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
    """What a function does, and how often."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        function(z)
    return {event.key: event.count for event in found.key_averages() if event.key.startswith("aten::")}


def test_checkpoints_leave_when_they_fail_and_lie_over_what_was_there():
    net = autoencoder(tiny_vae.__wrapped__("kl"))
    block: Any = net.decoder.mid.block_1
    own, calls = block.forward, []

    def listened(*arguments: Any) -> Tensor:
        calls.append(len(arguments))
        return own(*arguments)

    block.forward = listened
    with untouched(net), pytest.raises(ZeroDivisionError), checkpointed(net):
        gradient_of(net.decode, encoded(EPS)["samples"])
        raise ZeroDivisionError
    assert block.forward is listened and len(calls) == 2
    del block.forward
    assert "forward" not in block.__dict__


# Where memory is short


@every_kind
def test_first_the_gradient_is_computed_twice(family: Family, kind: str, caplog: pytest.LogCaptureFixture):
    model, vae, short = tiny(family), tiny_vae(kind), Short(first_gradient_fails)
    free = undisturbed(kind, family, 2)
    assert_differs(free, undisturbed(kind, family, 2, 0.0), 0.003)
    caplog.set_level(logging.WARNING, "dreamsampler")
    with untouched(model.model, autoencoder(vae)):
        restored = along(short.of(model), kind, family, 2)
    assert_same(restored.samples, free)
    assert short.asked == [(2, True)] * 3
    (note,) = restored.notes
    assert RECOMPUTED in note and note.startswith("Out of memory: ") and note.endswith(".")
    assert [record.message for record in caplog.records if record.name == "dreamsampler"] == [note]


@few_kinds
def test_then_the_gradient_goes_picture_by_picture(family: Family, kind: str):
    model, vae, short = tiny(family), tiny_vae(kind), Short(single_gradients_fit)
    with untouched(model.model, autoencoder(vae)):
        restored = along(short.of(model), kind, family, 3)
    assert_same(restored.samples, undisturbed(kind, family, 3), 2e-3)
    assert short.asked == [(3, True)] * 2 + [(1, True)] * 6
    assert [RECOMPUTED in restored.notes[0], ONE_BY_ONE in restored.notes[1]] == [True] * 2
    assert len(restored.notes) == 2


@few_kinds
@pytest.mark.parametrize("consistency", ["both", "dps only"])
def test_then_estimates_are_fitted_instead(
    family: Family, kind: str, consistency: str, caplog: pytest.LogCaptureFixture
):
    model, vae, short = tiny(family), tiny_vae(kind), Short(no_gradient_fits)
    caplog.set_level(logging.WARNING, "dreamsampler")
    with untouched(model.model, autoencoder(vae)):
        restored = along(short.of(model), kind, family, 2, consistency=consistency)
    fitted = along(model, kind, family, 2, consistency="consistency only").samples
    assert_same(restored.samples, fitted)
    assert_differs(fitted, undisturbed(kind, family, 2, 0.0), 0.003)
    assert short.asked == [(2, True)] * 2 + [(1, True)] + [(2, False)] * 2
    assert [words in note for words, note in zip((RECOMPUTED, ONE_BY_ONE, LEFT_OUT), restored.notes)] == [True] * 3
    assert [record.message for record in caplog.records if record.name == "dreamsampler"] == restored.notes


WITH_DECODER = [(EPS, "kl"), (QWEN, "wan")]
"""Those whose VAE has a decoder module to hook. TAESD has none."""

with_a_decoder = pytest.mark.parametrize(("family", "kind"), WITH_DECODER, ids=str)


@with_a_decoder
def test_where_gradients_do_alone_data_steps_are_fitted_only_after_the_gradient_is_left_out(family: Family, kind: str):
    options = {**ALONG, "data_every": 2, "data_until": 1.0, "consistency": "dps only"}
    model, vae, source, measurement = tiny(family), tiny_vae(kind), encoded(family, 2), holes(2)
    with decoding_fails(vae, lambda count, gradient, times: True) as asked:
        restore(model, vae, source, measurement, **options)
    *steps, _image = asked
    assert steps == [(2, True)]
    with decoding_fails(vae, no_gradient_fits) as asked:
        restored = restore(model, vae, source, measurement, **{**options, "steps": 8})
    *steps, _image = asked
    assert len(restored.notes) == 3 and steps == [(2, True)] * 2 + [(1, True)] + [(2, False)] * 3


@with_a_decoder
def test_a_fit_that_has_no_memory_for_the_batch_goes_picture_by_picture(family: Family, kind: str):
    model, vae = tiny(family), tiny_vae(kind)
    options = {"consistency": "consistency only"}
    free = along(model, kind, family, 3, **options)
    with untouched(model.model, autoencoder(vae)), decoding_fails(vae, lambda count, *_: count == 1) as asked:
        restored = along(model, kind, family, 3, **options)
    assert_same(restored.samples, free.samples, 2e-3)
    assert asked[:7] == [(3, False)] + [(1, False)] * 6
    (note,) = restored.notes
    assert note == "Out of memory: data fitting now processes one image at a time."


@pytest.mark.parametrize(("family", "kind"), [KINDS[0], KINDS[2]], ids=str)
def test_no_memory_at_all_is_the_hosts_own_error(family: Family, kind: str):
    model, vae, short = tiny(family), tiny_vae(kind), Short(nothing_fits)
    with untouched(model.model, autoencoder(vae)), pytest.raises(OOM, match="Allocation on device"):
        along(short.of(model), kind, family, 2)
    assert short.asked[-1] == (1, False)
    assert torch.equal(undisturbed(kind, family, 2), along(model, kind, family, 2).samples)


def test_the_next_run_tries_anew():
    model, short = tiny(EPS), Short(first_gradient_fails)
    short_model = short.of(model)
    assert along(short_model, "kl", EPS).notes and along(short_model, "kl", EPS).notes == []


@contextmanager
def decoding_fails(vae: comfy.sd.VAE, fits: Callable[[int, bool, int], bool]) -> Iterator[list[tuple[int, bool]]]:
    """A decoder that has memory for what `fits` says."""
    asked: list[tuple[int, bool]] = []

    def before(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        now = len(arguments[0]), arguments[0].requires_grad
        asked.append(now)
        if not fits(*now, [gradient for _, gradient in asked].count(now[1])):
            raise OOM("Allocation on device")

    handle = autoencoder(vae).decoder.register_forward_pre_hook(before)
    try:
        yield asked
    finally:
        handle.remove()


@with_a_decoder
@pytest.mark.parametrize(
    ("fits", "notes"), [(first_gradient_fails, 1), (single_gradients_fit, 2), (no_gradient_fits, 3)]
)
def test_a_decoder_that_does_not_fit_takes_the_same_ways(family: Family, kind: str, fits: Callable, notes: int):
    model, vae = tiny(family), tiny_vae(kind)
    with untouched(model.model, autoencoder(vae)), decoding_fails(vae, fits) as asked:
        restored = along(model, kind, family, 2)
    fitted = along(model, kind, family, 2, consistency="consistency only").samples
    assert_same(restored.samples, undisturbed(kind, family, 2) if notes < 3 else fitted, 2e-3)
    assert len(restored.notes) == notes and (2, True) in asked


def failing_backwards(model: ModelPatcher, error: Exception, times: int) -> ModelPatcher:
    """A clone whose first backward passes break off on their way into the model."""
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
def test_a_backward_pass_that_does_not_fit_takes_the_same_ways(family: Family, kind: str, times: int):
    model, vae = tiny(family), tiny_vae(kind)
    with untouched(model.model, autoencoder(vae)):
        restored = along(failing_backwards(model, OOM("Allocation on device"), times), kind, family, 2)
    assert_same(restored.samples, undisturbed(kind, family, 2), 2e-3)
    assert len(restored.notes) == times


# What acts on the model


def with_controlnet() -> dict[str, Conditioning]:
    positive, negative = controlled(POSITIVE, NEGATIVE, hints=2)
    return {"positive": positive, "negative": negative}


def with_mask_and_range() -> dict[str, Conditioning]:
    return {"negative": set_mask(set_range(text(4), 0.0, 0.9), left_half()) + NEGATIVE}


def with_a_text_each() -> dict[str, Conditioning]:
    return {"negative": one_each(NEGATIVE, text(5))}


@pytest.mark.parametrize(
    "make", [with_controlnet, with_mask_and_range, with_a_text_each, negative_with_lora, negative_with_masked_lora]
)
def test_what_the_host_puts_on_conditioning_acts_on_every_way(make: Callable):
    model, vae, texts = tiny(EPS), tiny_vae("kl"), make()
    free = along(model, "kl", EPS, 2, **texts)
    assert_differs(free.samples, undisturbed("kl", EPS, 2))
    with untouched(model.model, autoencoder(vae)):
        once = along(Short(first_gradient_fails).of(model), "kl", EPS, 2, **texts)
        twice = along(Short(third_gradient_fits).of(model), "kl", EPS, 2, **texts)
    assert (len(once.notes), len(twice.notes)) == (1, 2)
    assert_same(once.samples, free.samples, 1e-3)
    assert_same(twice.samples, free.samples, 1e-3)


def test_a_patch_of_one_block_acts_on_every_way():
    model = tiny(EPS).clone()

    def louder(n: Tensor, options: dict[str, Any]) -> Tensor:
        return n * (2.0 if options["block"][0] == "middle" else 0.7)

    model.set_model_attn2_output_patch(louder)
    free = along(model, "kl", EPS, 2)
    assert_differs(free.samples, undisturbed("kl", EPS, 2))
    assert_same(along(Short(third_gradient_fits).of(model), "kl", EPS, 2).samples, free.samples, 1e-3)


def test_freeu_acts_on_every_way():
    (model,) = FreeU_V2().patch(tiny(EPS), 1.3, 1.4, 0.9, 0.2)
    free = along(model, "kl", EPS, 2)
    assert_same(along(Short(first_gradient_fails).of(model), "kl", EPS, 2).samples, free.samples, 1e-3)


# Breaking off


class Broken(Exception):
    """Something in the host that fails."""


@pytest.mark.parametrize(
    ("family", "kind", "where"),
    [
        *((*pair, where) for pair in FEW for where in ("forward", "backward", "checkpoint")),
        *((*pair, where) for pair in WITH_DECODER for where in ("decoder", "canceled")),
    ],
    ids=str,
)
def test_a_run_that_breaks_off_leaves_everything_as_it_was(family: Family, kind: str, where: str):
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
        short = Short(first_gradient_fails)

        def then_broken(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
            output = short.answer(apply_model, arguments)
            output.register_hook(breaks)
            return output

        broken = wrapped(model, then_broken)
    elif where == "canceled":
        error = comfy.model_management.InterruptProcessingException
    with untouched(model.model, autoencoder(vae)), contexts.get(where, nullcontext)():
        handle = autoencoder(vae).decoder.register_forward_hook(breaks) if where == "decoder" else None
        try:
            with pytest.raises(error):
                along(broken, kind, family)
        finally:
            if handle:
                handle.remove()
    assert torch.equal(undisturbed(kind, family), along(model, kind, family).samples)


def breaks(*_: Any) -> None:
    raise Broken


# Half precision


def computed_in(family: Family, dtype: torch.dtype) -> ModelPatcher:
    """A MODEL that also computes in the type that its weights are stored as, as on a GPU."""
    model = tiny.__wrapped__(family, dtype)
    model.model.manual_cast_dtype = None
    return model


@pytest.mark.parametrize(
    ("family", "kind", "dtype"),
    [*[(*pair, torch.bfloat16) for pair in KINDS], *[(*pair, torch.float16) for pair in FEW]],
    ids=str,
)
def test_the_gradient_of_half_precision_is_that_of_float32(family: Family, kind: str, dtype: torch.dtype):
    def pulled(model: ModelPatcher) -> Tensor:
        without, pulled = (
            along(model, kind, family, skip=0.75, eta=0.0, dps_weight=weight) for weight in (0.0, 1000.0)
        )
        return (without.samples - pulled.samples) / 1000

    seen: list[torch.dtype] = []

    def listened(apply_model: ApplyModel, arguments: dict[str, Any]) -> Tensor:
        seen.append(model.model.get_dtype())
        return ask(apply_model, arguments)

    model = computed_in(family, dtype)
    half, full = pulled(wrapped(model, listened)), pulled(tiny(family))
    assert set(seen) == {dtype}
    assert half.isfinite().all() and (half != 0).float().mean() > 0.95
    cosine = torch.cosine_similarity(half.flatten(), full.flatten(), dim=0).item()
    print(f"{family} {dtype}: cosine {cosine:.5f}, length {(half.norm() / full.norm()).item():.4f}")
    assert cosine > 0.99 and abs(half.norm() / full.norm() - 1) < 0.1

"""Gradients through models as users load them: quantized weights, streamed weights, kernels without a backward pass."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.ops
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.nodes.host.gradients import differentiable, gradients, is_plain
from dreamsampler.nodes.host.lora import attention_layers
from dreamsampler.nodes.runs import restoration
from support.host_oracle import assert_differs, assert_same
from support.tiny_models import (
    EPS,
    FLUX,
    QWEN,
    SD3,
    Calls,
    Family,
    distilled,
    encoded,
    measure,
    photo,
    restore,
    tiny,
    tiny_vae,
)
from torch import Tensor, nn

SIDES = ("weight", "bias")


def own_copy(family: Family) -> ModelPatcher:
    """A tiny model that no other test shares."""
    return tiny.__wrapped__(family)


def attention(model: ModelPatcher) -> dict[str, Any]:
    network = model.model.diffusion_model
    layers = {id(layer) for layer in attention_layers(network)}
    return {name: module for name, module in network.named_modules() if id(module) in layers}


def quantized(family: Family) -> tuple[ModelPatcher, ModelPatcher]:
    """A MODEL with scaled fp8 weights in its attention, and one that holds the same weights in float32."""
    model, plain = own_copy(family), own_copy(family)
    twins = attention(plain)
    for name, layer in attention(model).items():
        scale = layer.weight.detach().abs().max() / 448
        stored = (layer.weight.detach() / scale).to(torch.float8_e4m3fn)
        parent, _, child = name.rpartition(".")
        setattr(model.model.diffusion_model.get_submodule(parent), child, fp8_layer(layer, stored, scale))
        with torch.no_grad():
            twins[name].weight.copy_(stored.float() * scale)
    return model, plain


def fp8_layer(layer: nn.Linear, stored: Tensor, scale: Tensor) -> Any:
    """ComfyUI's own layer, loaded as from a checkpoint."""
    settings = {"format": "float8_e4m3fn"}
    state: dict[str, Tensor] = {"layer.weight": stored, "layer.weight_scale": scale}
    if layer.bias is not None:
        state["layer.bias"] = layer.bias.detach()
    if "layer_quant_config" in inspect.signature(comfy.ops.mixed_precision_ops).parameters:
        operations = comfy.ops.mixed_precision_ops({"layer": settings}, torch.float32, True)
    else:  # newer hosts read the settings from the checkpoint
        operations = comfy.ops.mixed_precision_ops({}, torch.float32, True)
        state["layer.comfy_quant"] = torch.tensor(list(json.dumps(settings).encode()), dtype=torch.uint8)
    errors: list[str] = []
    with torch.inference_mode():  # as loader nodes do
        made = operations.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="cpu")
        made._load_from_state_dict(state, "layer.", {}, True, [], [], errors)
    assert errors == [] and not is_plain(made.weight)
    return made


every_family = pytest.mark.parametrize("family", [EPS, SD3, FLUX, QWEN], ids=str)
with_vae = pytest.mark.parametrize("family, kind", [(EPS, "kl"), (QWEN, "wan")], ids=str)


def blurred() -> Any:
    return measure(photo(), "gaussian blur")[0]


@with_vae
@pytest.mark.parametrize("consistency", ["both", "dps only"])
def test_restoration_passes_gradients_through_quantized_weights(family: Family, kind: str, consistency: str):
    model, plain = quantized(family)
    options: dict[str, Any] = {"consistency": consistency, "dps_weight": 3.0}
    vae = tiny_vae(kind)
    found, expected = (restore(each, vae, encoded(family), blurred(), **options).samples for each in (model, plain))
    assert_same(found, expected)
    without = restore(model, vae, encoded(family), blurred(), consistency="consistency only").samples
    assert_differs(found, without, 1e-4)


@every_family
def test_vsd_trains_its_lora_beside_quantized_weights(family: Family):
    model, plain = quantized(family)
    options: dict[str, Any] = {"method": "vsd", "optimizer": "sgd", "steps": 3}
    assert_same(distilled(model, encoded(family), **options), distilled(plain, encoded(family), **options))


@with_vae
def test_quantized_layers_have_their_own_weights_after_a_run(family: Family, kind: str):
    model, _ = quantized(family)
    layers = attention(model)
    before = {name: (stored(layer), layer.weight_function, layer.bias_function) for name, layer in layers.items()}
    restore(model, tiny_vae(kind), encoded(family), blurred())
    for name, layer in attention(model).items():
        weight, *functions = before[name]
        assert not is_plain(layer.weight) and torch.equal(stored(layer), weight)
        assert [layer.weight_function, layer.bias_function] == functions


def stored(layer: Any) -> Tensor:
    """The weights of a quantized layer. Loading and unloading may give it new tensors with the same content."""
    return layer.weight.dequantize().clone()


# Streamed weights


needs_streaming = pytest.mark.skipif(
    not hasattr(comfy.ops, "cast_modules_with_vbar"), reason="this ComfyUI does not stream weights"
)


class Buffer:
    """Memory of a layer on the device, as ComfyUI's allocator hands it out: one byte buffer, reused by other layers."""

    def __init__(self, size: int, shared: Tensor):
        self.size, self.memory = size, shared[:size]


@contextmanager
def streamed(model: ModelPatcher, monkeypatch: pytest.MonkeyPatch, *, resident: bool) -> Iterator[None]:
    """Let ComfyUI's own code stream a model's linear layers through plain memory in place of VRAM.

    `resident` layers keep their memory between calls; others share one buffer, which the next layer overwrites.
    """
    ops: Any = comfy.ops
    layers: list[Any] = [
        module for module in model.model.diffusion_model.modules()
        if isinstance(module, nn.Linear) and isinstance(module, ops.CastWeightBiasOp)
    ]  # fmt: skip
    sizes = [ops.comfy.memory_management.vram_aligned_size([layer.weight, layer.bias]) for layer in layers]
    shared = torch.zeros(max(sizes), dtype=torch.uint8)
    cast_before = [layer.comfy_cast_weights for layer in layers]
    for layer, size in zip(layers, sizes, strict=True):
        layer._v = Buffer(size, torch.zeros(size, dtype=torch.uint8) if resident else shared)
        layer._v_signature = None
        layer.comfy_cast_weights = True
        for side in SIDES:
            setattr(layer, f"{side}_lowvram_function", None)
    ordinary = ops.cast_bias_weight
    streamed_calls = 0

    def cast(
        s: Any,
        input: Any = None,
        dtype: Any = None,
        device: Any = None,
        bias_dtype: Any = None,
        offloadable: bool = False,
        compute_dtype: Any = None,
        want_requant: bool = False,
    ) -> Any:
        """The branch for streamed layers of `cast_bias_weight`, which asks for a device other than the CPU."""
        nonlocal streamed_calls
        if not hasattr(s, "_v"):
            return ordinary(s, input, dtype, device, bias_dtype, offloadable, compute_dtype, want_requant)
        dtype, device = dtype or input.dtype, device or input.device
        streamed_calls += 1
        ops.cast_modules_with_vbar([s], dtype, device, bias_dtype or dtype, False)
        weight, bias = ops.resolve_cast_module_with_vbar(
            s, dtype, device, bias_dtype or dtype, compute_dtype, want_requant
        )
        del s._prefetch
        return (weight, bias, (None, None, None)) if offloadable else (weight, bias)

    monkeypatch.setattr(ops, "cast_bias_weight", cast)
    monkeypatch.setattr(ops.comfy_aimdo.model_vbar, "vbar_fault", lambda v: b"here")
    monkeypatch.setattr(ops.comfy_aimdo.model_vbar, "vbar_signature_compare", lambda a, b: resident and a == b)
    monkeypatch.setattr(ops.comfy_aimdo.model_vbar, "vbar_unpin", lambda v: None)
    monkeypatch.setattr(ops.comfy_aimdo.torch, "aimdo_to_tensor", lambda v, device: v.memory)
    monkeypatch.setattr(ops.comfy.pinned_memory, "get_pin", lambda *_, **__: None)
    monkeypatch.setattr(ops.comfy.pinned_memory, "pin_memory", lambda *_, **__: None)
    monkeypatch.setattr(comfy.model_management, "get_offload_stream", lambda device: None)
    try:
        yield
        assert streamed_calls > len(layers)
    finally:
        for layer, before in zip(layers, cast_before, strict=True):
            layer.comfy_cast_weights = before
            for name in ("_v", "_v_signature", "_v_weight", "_v_bias"):
                layer.__dict__.pop(name, None)


@needs_streaming
@with_vae
@pytest.mark.parametrize("resident", [True, False])
def test_gradients_pass_through_streamed_weights(
    family: Family, kind: str, resident: bool, monkeypatch: pytest.MonkeyPatch
):
    vae = tiny_vae(kind)
    restoration: dict[str, Any] = {"consistency": "dps only", "dps_weight": 3.0}
    vsd: dict[str, Any] = {"method": "vsd", "optimizer": "sgd", "steps": 3}
    expected = restore(tiny(family), vae, encoded(family), blurred(), **restoration).samples
    trained = distilled(tiny(family), encoded(family), **vsd)
    model = own_copy(family)
    with streamed(model, monkeypatch, resident=resident):
        assert_same(restore(model, vae, encoded(family), blurred(), **restoration).samples, expected)
        assert_same(distilled(model, encoded(family), **vsd), trained)


# What has no backward pass


@torch.library.custom_op("dreamsampler_tests::fused_linear", mutates_args=())
def fused_linear(x: Tensor, weight: Tensor) -> Tensor:
    """A kernel without a backward pass, as newer hosts have for attention."""
    return nn.functional.linear(x, weight)


def opaque(family: Family) -> ModelPatcher:
    """A MODEL with a layer that autograd cannot follow."""
    model = own_copy(family)
    *_, layer = attention(model).values()
    layer.forward = lambda x: fused_linear(x, layer.weight)
    return model


def test_a_model_without_a_backward_pass_is_told_what_to_do():
    latent, vae = encoded(EPS), tiny_vae("kl")
    words = r"Gradients cannot pass through this model: set consistency to 'consistency only', which needs none\. \(PyT"
    with pytest.raises(ValueError, match=words):
        restore(opaque(EPS), vae, latent, blurred())
    assert restore(opaque(EPS), vae, latent, blurred(), consistency="consistency only").samples.isfinite().all()
    with pytest.raises(ValueError, match="choose another method than vsd"):
        distilled(opaque(EPS), latent, method="vsd")


@pytest.mark.parametrize("consistency", ["both", "dps only"])
def test_a_restoration_is_refused_before_its_inversion(consistency: str):
    calls, latent, vae = Calls(), encoded(EPS, 2), tiny_vae("kl")
    model = calls.watch(opaque(EPS))
    with pytest.raises(ValueError, match="Gradients cannot pass"):
        restore(model, vae, latent, blurred(), steps=20, consistency=consistency)
    assert calls.batches == [1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1] + [2] * 4 + [4] + [2] * 2 + [4]),  # one to see whether gradients pass, inversion, two steps of data
        ({"consistency": "consistency only"}, [2] * 4 + [4] + [2] * 2 + [4]),
        ({"data_every": 1, "data_until": 1.0}, [2] * 4 + [4] * 4),
        ({"start_from": "noise"}, [4] + [2] * 2 + [4]),
        ({"steps": 2}, [2] * 2 + [4] + [2]),  # the last step is a fit
        ({"steps": 2, "consistency": "dps only"}, [1] + [2] * 2 + [4] + [2]),
    ],
)
def test_gradients_are_tried_first_where_a_step_needs_them(options: dict[str, Any], expected: list[int]):
    calls = Calls()
    settings = {"steps": 4, "data_every": 3, "data_until": 1.0, **options}
    restore(calls.watch(tiny(EPS)), tiny_vae("kl"), encoded(EPS, 2), blurred(), **settings)
    assert calls.batches == expected


def test_trying_gradients_does_not_change_the_result(monkeypatch: pytest.MonkeyPatch):
    def restored() -> Tensor:
        return restore(tiny(EPS), tiny_vae("kl"), encoded(EPS, 2), blurred(), eta=1.0).samples

    tried = restored()
    monkeypatch.setattr(restoration.host, "check_gradients", lambda *_: None)
    assert torch.equal(tried, restored())


def test_vsd_is_refused_in_its_first_step():
    calls = Calls()
    with pytest.raises(ValueError, match="Gradients cannot pass"):
        distilled(calls.watch(opaque(EPS)), encoded(EPS), method="vsd", steps=20)
    assert calls.batches == [2, 1, 1]


def test_rotary_embeddings_have_a_backward_pass():
    kernels = pytest.importorskip("comfy_kitchen", reason="this ComfyUI has no fused kernels")
    own = dict(vars(kernels))
    generator = torch.Generator().manual_seed(0)
    q, k, scale = (torch.randn(shape, generator=generator) for shape in ((1, 5, 2, 8), (1, 5, 2, 8), (8,)))
    angles = torch.rand(1, 5, 1, 4, generator=generator)
    turns = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], dim=-1).unflatten(-1, (2, 2))
    expected = kernels.rms_rope_split_half(q, k, turns, scale)
    with gradients(), differentiable(nn.Linear(2, 2)):
        both = kernels.rms_rope_split_half(q.requires_grad_(), k.requires_grad_(), turns, scale)
        for rotated, x in zip(both, (q, k), strict=True):
            (gradient,) = torch.autograd.grad(rotated.square().sum(), x)
            assert gradient.abs().max() > 0
    for name in ("apply_rope", "apply_rope1", "apply_rope_split_half", "rms_rope", "rms_rope_split_half"):
        assert getattr(kernels, name) is own[name]
    with torch.no_grad(), differentiable(nn.Linear(2, 2)):
        plain = kernels.rms_rope_split_half(q, k, turns, scale)
    for one, other in zip(plain, expected, strict=True):
        assert_same(one, other, 1e-5)


def test_other_errors_are_not_explained_away():
    model = own_copy(EPS)
    layer = next(iter(attention(model).values()))

    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    layer.forward = broken
    with pytest.raises(RuntimeError, match="mat1 and mat2") as error:
        restore(model, tiny_vae("kl"), encoded(EPS), blurred())
    assert type(error.value) is RuntimeError


def test_the_host_is_told_that_it_trains():
    host: Any = comfy.model_management
    before = getattr(host, "in_training", None)
    with differentiable(nn.Linear(2, 2)):
        assert getattr(host, "in_training", None) == (None if before is None else True)
    assert getattr(host, "in_training", None) == before


# Attention layers by name


class Block(nn.Module):
    def __init__(self, name: str, linear: type[nn.Module] = nn.Linear):
        super().__init__()
        self.add_module(name, nn.ModuleDict({"to_q": linear(4, 4), "norm": nn.LayerNorm(4)}))
        self.mlp = linear(4, 4)


class OtherLinear(nn.Module):
    """A linear layer of another class, as ComfyUI's quantized ones."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))


@pytest.mark.parametrize("linear", [nn.Linear, OtherLinear])
@pytest.mark.parametrize("name", ["attn", "attn1", "self_attn", "attention", "self_attention", "cross_attention"])
def test_attention_layers_are_found_by_name(name: str, linear: type[nn.Module]):
    network = nn.Sequential(Block(name, linear), Block(name, linear))
    assert attention_layers(network) == [block.get_submodule(name).to_q for block in network]


def test_a_network_without_attention_is_refused():
    with pytest.raises(ValueError, match="this model has none by the usual names"):
        attention_layers(nn.Sequential(Block("mixer")))


def test_a_tensor_subclass_stays_as_it_is():
    class Packed(torch.Tensor):
        pass

    layer: Any = nn.Linear(2, 2)
    packed = torch.ones(2, 2).as_subclass(Packed)
    layer._parameters["weight"] = packed
    with gradients(), differentiable(layer):
        assert layer._parameters["weight"] is packed and layer.bias.requires_grad is False

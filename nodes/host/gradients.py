"""Gradients inside the host, which runs every node in inference mode.

Inference tensors, model weights among them, cannot be saved for a backward pass. An alias of the same memory, made
outside inference mode, can: no copy, no second set of weights. Weights that are no plain tensors (quantized ones), or
that the host streams to the device layer by layer, are copied by their layer as it runs.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import comfy.ldm.modules.attention as attention
import comfy.model_management
import torch
from torch import Tensor, nn


@contextmanager
def gradients() -> Iterator[None]:
    """Leave inference mode and enable gradients."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is memory with a shape and strides, not a subclass with parts of its own (quantized weights)."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.layout == torch.strided


def ordinary(tensor: Tensor) -> Tensor:
    """An alias of a tensor that autograd accepts. Tensors that are not plain are returned as they are."""
    if not tensor.is_inference() or not is_plain(tensor):
        return tensor
    with torch.inference_mode(False):
        alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
        return alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())


def ordinary_attributes(value: Any) -> Any:
    """A shallow copy of an object whose tensors autograd accepts."""
    own = copy.copy(value)
    for name, attribute in vars(value).items():
        if isinstance(attribute, Tensor):
            setattr(own, name, ordinary(attribute))
    return own


def ordinary_conditioning(cond: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A prepared conditioning with tensors that autograd accepts, and with ControlNets as constants."""
    return [_ordinary_entry(entry) for entry in cond]


def _ordinary_entry(entry: dict[str, Any]) -> dict[str, Any]:
    model_conds = {name: _ordinary_value(value) for name, value in entry["model_conds"].items()}
    control = {"control": _ConstantControl(entry["control"])} if "control" in entry else {}
    return {**entry, **control, "model_conds": model_conds}


def _ordinary_value(value: Any) -> Any:
    return value._copy_with(ordinary(value.cond)) if isinstance(value.cond, Tensor) else value


class _ConstantControl:
    """A ControlNet that is not differentiated: it does not depend on anything that is optimized here."""

    def __init__(self, control: Any):
        self._control = control

    def get_control(self, *arguments: Any) -> dict[str, list[Tensor | None]] | None:
        with torch.no_grad():
            outputs = self._control.get_control(*arguments)
        if outputs is None:
            return None
        return {name: [None if x is None else ordinary(x) for x in each] for name, each in outputs.items()}


@contextmanager
def differentiable(module: nn.Module, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Within this context, gradients pass through a module of the host; its own weights are restored after.

    Its weights are frozen tensors that autograd accepts: aliases, or copies where `dtype` differs from their own. The
    host is told that it trains, and leaves out most of its fused kernels, which have no backward pass; the others are
    replaced.
    """
    with ExitStack() as stack:
        stack.enter_context(_training())
        stack.enter_context(_plain_rotations())
        for each in module.modules():
            stack.enter_context(_ordinary_weights(each, dtype))
        yield


@contextmanager
def _training() -> Iterator[None]:
    host: Any = comfy.model_management
    before = getattr(host, "in_training", None)  # newer hosts only
    if before is None:
        yield
        return
    host.in_training = True
    try:
        yield
    finally:
        host.in_training = before


KERNELS = "comfy_kitchen"
"""The package of fused kernels that newer hosts use."""


@contextmanager
def _plain_rotations() -> Iterator[None]:
    """Rotary embeddings by PyTorch's own operations, in place of fused kernels.

    Some networks use the kernels even in training: Cosmos Predict2, Anima, JoyImage, Ernie-Image.
    """
    fused, plain = (sys.modules.get(name) for name in (KERNELS, f"{KERNELS}.backends.eager.rope"))
    if plain is None:  # older hosts
        yield
        return
    rotations = {
        name: function
        for name, function in vars(plain).items()
        if name.startswith(("apply_rope", "rms_rope")) and hasattr(fused, name)
    }
    own = {name: getattr(fused, name) for name in rotations}
    try:
        vars(fused).update(rotations)
        yield
    finally:
        vars(fused).update(own)


WITH_BACKWARD = tuple(f"attention_{kind}" for kind in ("basic", "sub_quad", "split", "xformers", "pytorch"))
"""The host's attention functions that have a backward pass. SageAttention, without an error, gives a constant."""
CHOICES = ("optimized_attention", "optimized_attention_masked")
"""The names by which the host's networks import the attention function that its options choose."""


@contextmanager
def plain_attention() -> Iterator[None]:
    """Within this context, attention functions without a backward pass are replaced by PyTorch's own.

    Some networks look at no options of a MODEL for it (PixArt, HunyuanDiT, the VAE of Mochi), so it is replaced in all
    modules that have imported it.
    """
    tables = [getattr(module, "__dict__", {}) for module in tuple(sys.modules.values())]
    chosen = [(table, name, table[name]) for table in tables for name in CHOICES if callable(table.get(name))]
    without = [each for each in chosen if not _has_backward(each[2])]
    try:
        for table, name, _ in without:
            table[name] = attention.attention_pytorch
        yield
    finally:
        for table, name, own in without:
            table[name] = own


def _has_backward(function: Any) -> bool:
    names = getattr(function, "__module__", ""), getattr(function, "__name__", "")
    return names[0] == attention.__name__ and names[1] in WITH_BACKWARD


@contextmanager
def _ordinary_weights(module: Any, dtype: torch.dtype | None) -> Iterator[None]:
    """The weights of one module, without those of its children."""
    if _supplies_weights(module):
        with _copied_weights(module):
            yield
        return
    tables: list[dict[str, Any]] = [module._parameters, module._buffers]
    own = [dict(table) for table in tables]
    try:
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None and is_plain(tensor):
                    table[name] = _frozen(tensor, dtype)
        yield
    finally:
        for table, tensors in zip(tables, own, strict=True):
            table.update(tensors)


def _supplies_weights(module: Any) -> bool:
    """Whether the host's layer makes its weights again in each call: it streams them ("_v") or dequantizes them."""
    if not hasattr(module, "weight_function"):
        return False
    weights = (module._parameters.get(name) for name in ("weight", "bias"))
    return hasattr(module, "_v") or any(weight is not None and not is_plain(weight) for weight in weights)


@contextmanager
def _copied_weights(module: Any) -> Iterator[None]:
    """The layer copies its weights after it has made them. The copies are plain, and no buffer is used again."""
    own = module.weight_function, module.bias_function
    module.weight_function, module.bias_function = ([*functions, torch.clone] for functions in own)
    try:
        yield
    finally:
        module.weight_function, module.bias_function = own


@torch.inference_mode(False)
def _frozen(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    alias = ordinary(tensor).detach()
    if dtype is not None and alias.is_floating_point():
        alias = alias.to(dtype)
    return nn.Parameter(alias, requires_grad=False) if isinstance(tensor, nn.Parameter) else alias


# Networks that cannot be differentiated

_NO_BACKWARD = (
    "Inference tensors cannot be saved",
    "backward through",
    "support automatic differentiation",
    "does not require grad",
    "derivative for",
    "invalid python storage",
    "data is not allocated",
)
"""Parts of PyTorch's messages where an operation has no backward pass."""


@contextmanager
def explained(advice: str) -> Iterator[None]:
    """Within this context, an operation without a backward pass is a ValueError that gives `advice`."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        if not any(words in str(error) for words in _NO_BACKWARD):
            raise
        cause = str(error).strip().splitlines()[0]
        raise ValueError(f"Gradients cannot pass through this model: {advice} (PyTorch says: {cause})") from error

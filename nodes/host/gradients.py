"""Gradients inside the host, which runs every node in inference mode.

Inference tensors, model weights among them, cannot be saved for a backward pass. An alias of the same memory, made
outside inference mode, can: no copy, no second set of weights.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def gradients() -> Iterator[None]:
    """Leave inference mode and enable gradients."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def ordinary(tensor: Tensor) -> Tensor:
    """An alias of a tensor that autograd accepts."""
    if not tensor.is_inference():
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
def ordinary_weights(module: nn.Module, dtype: torch.dtype | None = None) -> Iterator[None]:
    """Within this context, a module's weights are frozen tensors that autograd accepts; its own are restored after.

    They are aliases, or copies where `dtype` differs from the dtype of the weights.
    """
    tables: list[Any] = [table for m in module.modules() for table in (m._parameters, m._buffers)]
    own = [dict(table) for table in tables]
    try:
        for table in tables:
            for name, tensor in table.items():
                if tensor is not None:
                    table[name] = _frozen(tensor, dtype)
        yield
    finally:
        for table, tensors in zip(tables, own, strict=True):
            table.update(tensors)


@torch.inference_mode(False)
def _frozen(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    alias = ordinary(tensor).detach()
    if dtype is not None and alias.is_floating_point():
        alias = alias.to(dtype)
    return nn.Parameter(alias, requires_grad=False) if isinstance(tensor, nn.Parameter) else alias

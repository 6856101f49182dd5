"""Activation checkpointing for any of the host's networks: the backward pass recomputes each block."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from .gradients import is_plain


@contextmanager
def checkpointed(network: nn.Module) -> Iterator[None]:
    """Within this context, autograd saves only the input of each block of a network."""
    with ExitStack() as stack:
        running: list[nn.Module] = []
        for block in blocks(network):
            stack.enter_context(_replaced_forward(block, _checkpointed_forward(block, block.forward, running)))
        yield


def blocks(network: nn.Module) -> list[nn.Module]:
    """The composite modules of a network that contain no sequence of further blocks.

    They may nest, because it is not known which of them the network calls.
    """
    return [m for m in network.modules() if m is not network and any(m.children()) and not _has_sequence(m)]


def _has_sequence(module: nn.Module) -> bool:
    """Whether it contains a module list or sequence with two or more composite modules."""
    sequences = (m for m in module.modules() if isinstance(m, (nn.ModuleList, nn.Sequential)))
    return any(sum(any(child.children()) for child in sequence) > 1 for sequence in sequences)


def _checkpointed_forward(
    block: nn.Module, forward: Callable[..., Any], running: list[nn.Module]
) -> Callable[..., Any]:
    """A forward that is recomputed in the backward pass. Within another checkpointed block it runs unchanged."""

    def run(*args: Any, **kwargs: Any) -> Any:
        running.append(block)
        try:
            return forward(*args, **kwargs)
        finally:
            running.pop()

    def checkpointed_run(*args: Any, **kwargs: Any) -> Any:
        if running or not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        saved_args, saved_kwargs = [_snapshot(value) for value in args], {k: _snapshot(v) for k, v in kwargs.items()}
        activations = _RecomputedActivations(lambda: run(*saved_args, **saved_kwargs))
        with saved_tensors_hooks(activations.pack, activations.unpack):
            return run(*args, **kwargs)

    return checkpointed_run


def _snapshot(argument: Any) -> Any:
    """A copy of an argument: networks add to tensors in place, and count and cache in dictionaries and lists."""
    if isinstance(argument, Tensor):
        return argument.clone()
    return copy.copy(argument) if isinstance(argument, (dict, list)) else argument


class _RecomputedActivations:
    """Hooks that save an index for each activation of a block, and recompute all of them when the first is needed.

    `torch.utils.checkpoint` does not work here: it cannot protect saved tensors from in-place additions.
    """

    def __init__(self, recompute: Callable[[], Any]):
        self._recompute: Callable[[], Any] | None = recompute
        self._count = 0
        self._saved: list[_SavedTensor] = []

    def pack(self, _: Tensor) -> int:
        self._count += 1
        return self._count - 1

    def unpack(self, index: int) -> Tensor:
        if self._recompute is not None:
            recompute, self._recompute = self._recompute, None  # keeping it would be a cycle through autograd's nodes
            with _CopyOnWrite() as copies, torch.enable_grad():
                with saved_tensors_hooks(lambda tensor: self._saved.append(copies.save(tensor)), _no_backward):
                    recompute()
        return self._saved[index].tensor


def _no_backward(_: Any) -> Any:
    """Never called: the recomputed graph is used for its tensors only."""


@contextmanager
def mutation_allowed() -> Iterator[None]:
    """Within this context, tensors that autograd saves keep their values when a network adds to them in place.

    Must span the forward pass, and the backward pass too if that writes to what was saved. Replaces
    `torch.autograd.graph.allow_mutation_on_saved_tensors`, which identifies tensors by address and confuses a new
    tensor with a freed one: in PyTorch 2.13 its gradients are wrong.
    """
    with _CopyOnWrite() as copies, saved_tensors_hooks(copies.save, lambda saved: saved.tensor):
        yield


class _SavedTensor:
    """A tensor that autograd has saved. As long as it exists, no other tensor can have its memory."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor.detach()


class _CopyOnWrite(TorchDispatchMode):
    """Copies saved tensors before an operation writes to their memory."""

    def __init__(self) -> None:
        super().__init__()
        self._by_address: defaultdict[int, WeakSet[_SavedTensor]] = defaultdict(WeakSet)

    def save(self, tensor: Tensor) -> _SavedTensor:
        saved = _SavedTensor(tensor)
        if is_plain(tensor):  # others are weights, which nothing writes to
            self._by_address[_address(tensor)].add(saved)
        return saved

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for position, name in _written_arguments(func):
            value = args[position] if position < len(args) else kwargs.get(name)
            for tensor in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(tensor, Tensor) and is_plain(tensor):
                    self._copy(_address(tensor))
        return func(*args, **kwargs)

    def _copy(self, address: int) -> None:
        for saved in self._by_address.pop(address, ()):
            saved.tensor = saved.tensor.clone()


@cache
def _written_arguments(operation: Any) -> tuple[tuple[int, str], ...]:
    """Position and name of the arguments that an operation writes to. Cached: it runs for every operation."""
    arguments = enumerate(operation._schema.arguments)
    return tuple((n, a.name) for n, a in arguments if a.alias_info is not None and a.alias_info.is_write)


def _address(tensor: Tensor) -> int:
    """The address of a tensor's storage, which all its views share."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = own

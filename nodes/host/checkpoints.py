"""Activation checkpointing of any of the host's networks: backward recomputes each block instead of keeping it."""

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


@contextmanager
def checkpointed(network: nn.Module) -> Iterator[None]:
    """Within, what a backward pass keeps of a network is the input of each of its blocks."""
    with ExitStack() as stack:
        running: list[nn.Module] = []
        for block in blocks(network):
            stack.enter_context(_forward_replaced(block, _recomputed(block, block.forward, running)))
        yield


def blocks(network: nn.Module) -> list[nn.Module]:
    """The modules of a network that have parts but no row of further blocks inside.

    They may nest, as it is not known which of them a network calls.
    """
    return [m for m in network.modules() if m is not network and any(m.children()) and not _has_row(m)]


def _has_row(module: nn.Module) -> bool:
    """Whether a list or sequence of two or more composite modules lies inside."""
    rows = (m for m in module.modules() if isinstance(m, (nn.ModuleList, nn.Sequential)))
    return any(sum(any(child.children()) for child in row) > 1 for row in rows)


def _recomputed(block: nn.Module, forward: Callable[..., Any], running: list[nn.Module]) -> Callable[..., Any]:
    """A forward that is recomputed in the backward pass; inside another one's it runs as it is."""

    def whole(*arguments: Any, **named: Any) -> Any:
        running.append(block)
        try:
            return forward(*arguments, **named)
        finally:
            running.pop()

    def recomputed(*arguments: Any, **named: Any) -> Any:
        if running or not torch.is_grad_enabled():
            return forward(*arguments, **named)
        begun_with = [_copied(value) for value in arguments], {name: _copied(value) for name, value in named.items()}
        saved = _Saved(lambda: whole(*begun_with[0], **begun_with[1]))
        with saved_tensors_hooks(saved.numbered, saved.tensor):
            return whole(*arguments, **named)

    return recomputed


def _copied(argument: Any) -> Any:
    """An argument as it is now: networks add to tensors in place, and count and cache in dictionaries and lists."""
    if isinstance(argument, Tensor):
        return argument.clone()
    return copy.copy(argument) if isinstance(argument, (dict, list)) else argument


class _Saved:
    """What autograd saves in a block: numbers at first, and tensors once the backward pass asks for one of them.

    `torch.utils.checkpoint` will not do, as it cannot be told to keep them from what the block adds to in place.
    """

    def __init__(self, again: Callable[[], Any]):
        self._again: Callable[[], Any] | None = again
        self._count = 0
        self._kept: list[_Kept] = []

    def numbered(self, _: Tensor) -> int:
        self._count += 1
        return self._count - 1

    def tensor(self, number: int) -> Tensor:
        if self._again is not None:
            again, self._again = self._again, None  # holding it longer would be a cycle through autograd's nodes
            with _CopiesBeforeMutation() as copies, torch.enable_grad():
                with saved_tensors_hooks(lambda tensor: self._kept.append(copies.kept(tensor)), _never_asked):
                    again()
        return self._kept[number].tensor


def _never_asked(_: Any) -> Any:
    """There is no backward pass through what was computed only for its tensors."""


@contextmanager
def mutation_allowed() -> Iterator[None]:
    """Within, forwards and backwards, what autograd saves stays as it was though a network adds to it in place.

    As `torch.autograd.graph.allow_mutation_on_saved_tensors`, which knows a tensor by its address and so takes a new
    one for another that was freed: in PyTorch 2.13 its gradients are then wrong.
    """
    with _CopiesBeforeMutation() as copies, saved_tensors_hooks(copies.kept, lambda kept: kept.tensor):
        yield


class _Kept:
    """A tensor that autograd has saved. While it is alive, so is its memory, which no other tensor can have."""

    def __init__(self, tensor: Tensor):
        self.tensor = tensor.detach()


class _CopiesBeforeMutation(TorchDispatchMode):
    """Gives what it keeps memory of its own before an operation writes there."""

    def __init__(self) -> None:
        super().__init__()
        self._by_memory: defaultdict[int, WeakSet[_Kept]] = defaultdict(WeakSet)

    def kept(self, tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        self._by_memory[_memory(tensor)].add(kept)
        return kept

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for place, name in _written(func):
            value = args[place] if place < len(args) else kwargs.get(name)
            for tensor in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(tensor, Tensor):
                    self._copy(_memory(tensor))
        return func(*args, **kwargs)

    def _copy(self, memory: int) -> None:
        for kept in self._by_memory.pop(memory, ()):
            kept.tensor = kept.tensor.clone()


@cache
def _written(operation: Any) -> tuple[tuple[int, str], ...]:
    """Place and name of the arguments an operation writes to; asked so often that it is worth remembering."""
    arguments = enumerate(operation._schema.arguments)
    return tuple((n, a.name) for n, a in arguments if a.alias_info is not None and a.alias_info.is_write)


def _memory(tensor: Tensor) -> int:
    """The address of its memory, shared by all its views."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _forward_replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = own

"""Activation checkpointing of any of the host's networks: backward recomputes each block instead of keeping it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


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
        saved = _Saved(lambda: whole(*begun_with[0], **begun_with[1]), block)
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

    `torch.utils.checkpoint` will not do, as it saves tensors that a block then adds to in place.
    """

    def __init__(self, again: Callable[[], Any], block: nn.Module):
        self._again, self._block = again, block
        self._count, self._tensors = 0, []

    def numbered(self, _: Tensor) -> int:
        self._count += 1
        return self._count - 1

    def tensor(self, number: int) -> Tensor:
        if not self._tensors:
            self._compute()
        return self._tensors[number]

    def _compute(self) -> None:
        weights = {_memory(weight) for weight in (*self._block.parameters(), *self._block.buffers())}

        def keep(tensor: Tensor) -> None:
            tensor = tensor.detach()
            self._tensors.append(tensor if _memory(tensor) in weights else tensor.clone())

        with torch.enable_grad(), saved_tensors_hooks(keep, lambda _: None):
            self._again()


def _memory(tensor: Tensor) -> int:
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

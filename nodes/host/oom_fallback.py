"""Out-of-memory fallbacks, tried in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import comfy.model_management
import torch

log = logging.getLogger("dreamsampler")
Result = TypeVar("Result")


def is_oom(error: Exception) -> bool:
    """Whether an error means that memory ran out. Newer hosts know more kinds of it than one exception class."""
    host: Any = comfy.model_management
    return host.is_oom(error) if hasattr(host, "is_oom") else isinstance(error, host.OOM_EXCEPTION)


def is_cpu_oom(error: Exception) -> bool:
    """Whether an error means that the CPU's memory ran out; PyTorch has no class of its own for that."""
    return isinstance(error, RuntimeError) and "CPUAllocator" in str(error)


def free_ram() -> int:
    """Free memory of the CPU, in bytes."""
    management: Any = comfy.model_management
    return int(management.get_free_memory(torch.device("cpu")))


def free_memory() -> None:
    """Give memory that nothing uses any more back to the device."""
    comfy.model_management.soft_empty_cache()


class OomFallback(Generic[Result]):
    """Calls the first function that fits in memory, and sticks with it.

    Each of `functions` comes with a sentence for the user, which is logged and appended to `notes` when it takes over.
    If the last one does not fit either, the host's own out-of-memory error is raised.
    """

    def __init__(self, functions: Sequence[tuple[str, Callable[..., Result]]], notes: list[str]):
        self._functions, self._notes = list(functions), notes

    @property
    def left(self) -> int:
        """The number of remaining fallbacks."""
        return len(self._functions) - 1

    def __call__(self, *arguments: object) -> Result:
        try:
            return self._functions[0][1](*arguments)
        except Exception as error:
            if not self.left or not is_oom(error):
                raise
        del self._functions[0]
        note = self._functions[0][0]
        log.warning(note)
        self._notes.append(note)
        free_memory()
        return self(*arguments)

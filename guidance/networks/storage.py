"""The file format that all networks of the pack share: named tensors, and text that describes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

VERSION = "1"
READABLE = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""Types of weights that a file may have."""
Network = TypeVar("Network", bound=nn.Module)


class UnusableFileError(ValueError):
    """A file's content cannot be used; the message says why, in full sentences."""


@dataclass(frozen=True)
class Format:
    """A kind of file: `noun` is what it holds, `maker` is what writes it."""

    noun: str
    maker: str

    def text(self, **described: str) -> dict[str, str]:
        """The text of a file, with its format and version."""
        return {"format": f"dreamsampler {self.noun}", "version": VERSION, **described}

    def check(self, text: dict[str, str]) -> None:
        """Raise UnusableFileError if a file with this text is of another kind or version."""
        if text.get("format") != f"dreamsampler {self.noun}":
            raise UnusableFileError(f"It is not a {self.noun}: choose a file that {self.maker} wrote.")
        if text.get("version") != VERSION:
            raise UnusableFileError(
                f"Its version is {text.get('version')}, and this pack reads version {VERSION}: update the pack."
            )


MALFORMED = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What reading a description may raise: RecursionError for deeply nested JSON, OverflowError for infinite sizes."""


def damaged_file_error() -> UnusableFileError:
    """The error for a file whose description cannot be parsed."""
    return UnusableFileError("Its description cannot be read: the file is damaged.")


def checked_form(form: dict[str, Any], largest: dict[str, int]) -> dict[str, Any]:
    """The `form`, if its whole numbers are from 1 to those of `largest`. Raises ValueError otherwise."""
    for name, limit in largest.items():
        if name in form and not (isinstance(form[name], int) and 1 <= form[name] <= limit):
            raise ValueError(name)
    return form


def load_weights(make: Callable[[], Network], weights: dict[str, Tensor]) -> Network:
    """The network that `make` returns, with these weights, which are not copied.

    Raises:
        UnusableFileError: the weights do not fit the network, or are not finite.
    """
    with torch.device("meta"):  # so that a form too large for memory costs nothing
        network = make()
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in weights.items()}:
        raise UnusableFileError("Its tensors do not fit the network it describes: the file is damaged.")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise UnusableFileError("It holds NaN or infinite weights: the file is damaged, or the training failed.")
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False)


def to_float32(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file as float32, in which networks compute.

    Raises UnusableFileError for other than plain floating-point numbers, whose values would change.
    """
    other = sorted({_short(tensor.dtype) for tensor in tensors.values() if tensor.dtype not in READABLE})
    if other:
        raise UnusableFileError(
            f"Its weights are {' and '.join(other)}, and this pack reads {', '.join(map(_short, READABLE))}: choose a "
            "file that was not quantized or converted."
        )
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def weights_of(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a network as `dtype`."""
    return {name: tensor.to(dtype).contiguous() for name, tensor in network.state_dict().items()}

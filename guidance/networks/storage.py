"""What all files of networks have in common: named tensors, and text beside them that says what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

VERSION = "1"
Network = TypeVar("Network", bound=nn.Module)


class Unusable(ValueError):
    """What was read cannot be used; the message, whole sentences, says why."""


@dataclass(frozen=True)
class Format:
    """A kind of file: `noun` is what it holds, `maker` is what writes it."""

    noun: str
    maker: str

    def text(self, **described: str) -> dict[str, str]:
        """The text of a file with what is described in it."""
        return {"format": f"dreamsampler {self.noun}", "version": VERSION, **described}

    def check(self, text: dict[str, str]) -> None:
        """Raises Unusable where a file with this text is of another kind or version."""
        if text.get("format") != f"dreamsampler {self.noun}":
            raise Unusable(f"It is no {self.noun}: choose a file that {self.maker} wrote.")
        if text.get("version") != VERSION:
            raise Unusable(
                f"It is of version {text.get('version')}, and this pack knows version {VERSION}: update the pack."
            )


def damaged() -> Unusable:
    """The refusal of a file whose description makes no sense."""
    return Unusable("Its description cannot be read: the file is damaged.")


def bounded(form: dict[str, Any], largest: dict[str, int]) -> dict[str, Any]:
    """A form whose whole numbers are from 1 to the largest allowed. Raises ValueError."""
    for name, most in largest.items():
        if name in form and not (isinstance(form[name], int) and 1 <= form[name] <= most):
            raise ValueError(name)
    return form


def with_weights(make: Callable[[], Network], weights: dict[str, Tensor]) -> Network:
    """A network with these weights, which are not copied. Raises Unusable where they do not fit."""
    with torch.device("meta"):  # so that a form beyond all memory costs nothing
        network = make()
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in weights.items()}:
        raise Unusable("Its tensors are not those of the network it describes: the file is damaged.")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise Unusable("It holds NaN or infinite weights: the file is damaged, or the training failed.")
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False)


def in_float32(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file as networks take them."""
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}


def tensors_of(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a network as `dtype`."""
    return {name: tensor.to(dtype).contiguous() for name, tensor in network.state_dict().items()}

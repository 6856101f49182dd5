"""A manifold corrective with where it comes from, as a value and as named tensors with text beside them."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from .network import HEADS, Architecture, CorrectiveNetwork
from .normalisation import STATISTICS, Statistics
from .spectral import Bands, SpectralCorrective

FORMAT, VERSION = "dreamsampler manifold corrective", 1
KINDS: dict[str, type[Architecture] | type[Bands]] = {"network": Architecture, "spectral": Bands}
"""How a corrective of each kind is described."""
LARGEST = {"channels": 1024, "width": 1024, "levels": 8, "bands": 1024, "knots": 4096}
"""What a file may ask for before its tensors are compared."""


@dataclass(frozen=True)
class About:
    """Where a corrective comes from.

    `family` names the kind of model and `base` identifies its weights; `path` is the noising path, `levels` are its
    noise levels at the times LEVELS_AT. `size` (height, width) is that of the latents it saw, `steps` and `loss` say
    how it was trained.
    """

    family: str
    base: str
    channels: int
    path: str
    levels: tuple[float, ...]
    size: tuple[int, int]
    statistics: Statistics
    steps: int
    loss: float


LEVELS_AT = (0.1, 0.3, 0.5, 0.7, 0.9)


class NotACorrective(ValueError):
    """What was read is no manifold corrective that can be used; the message, a sentence, says why."""


@dataclass(frozen=True)
class ManifoldCorrective:
    """b_hat(z, t) before its normalisation, and where it comes from."""

    network: CorrectiveNetwork | SpectralCorrective
    about: About

    @property
    def kind(self) -> str:
        """Its name in `KINDS`."""
        return "network" if isinstance(self.network, CorrectiveNetwork) else "spectral"

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        return self.network(z, t)

    def to(self, like: Tensor) -> ManifoldCorrective:
        """A copy of its own on the device and in the type of a tensor."""
        return ManifoldCorrective(copy.deepcopy(self.network).to(like), self.about)

    def encoded(self, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Its weights as `dtype`, and all else as text: what `decoded` takes."""
        form = self.network.architecture if isinstance(self.network, CorrectiveNetwork) else self.network.form
        text = {"format": FORMAT, "version": str(VERSION), "kind": self.kind}
        text |= {"form": json.dumps(asdict(form)), "about": json.dumps(asdict(self.about))}
        return {name: tensor.to(dtype).contiguous() for name, tensor in self.network.state_dict().items()}, text


def with_weights(form: Architecture | Bands, weights: dict[str, Tensor]) -> CorrectiveNetwork | SpectralCorrective:
    """A corrective with these float32 weights, which are not copied. Raises NotACorrective where they do not fit."""
    make = CorrectiveNetwork if isinstance(form, Architecture) else SpectralCorrective
    with torch.device("meta"):  # so that a form beyond all memory costs nothing
        network: Any = make(form)  # type: ignore[arg-type]
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in weights.items()}:
        raise NotACorrective("Its tensors are not those of the network it describes: the file is damaged.")
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise NotACorrective("It holds NaN or infinite weights: the file is damaged, or the training failed.")
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False)


def decoded(tensors: dict[str, Tensor], text: dict[str, str]) -> ManifoldCorrective:
    """The corrective that was `encoded`, in float32. Raises NotACorrective."""
    if text.get("format") != FORMAT:
        raise NotACorrective("It is no manifold corrective: choose a file that Save Manifold Corrective wrote.")
    if text.get("version") != str(VERSION):
        raise NotACorrective(
            f"It is of version {text.get('version')}, and this pack knows version {VERSION}: update the pack."
        )
    try:
        kind, form, about = text["kind"], json.loads(text["form"]), json.loads(text["about"])
        shape, origin = KINDS[kind](**_bounded(form)), _about(about)
    except (KeyError, TypeError, ValueError) as error:
        raise NotACorrective("Its description cannot be read: the file is damaged.") from error
    if shape.channels != origin.channels:
        raise NotACorrective("Its description contradicts itself: the file is damaged.")
    return ManifoldCorrective(with_weights(shape, {n: t.to(torch.float32) for n, t in tensors.items()}), origin)


def _about(values: dict[str, Any]) -> About:
    known = {field.name for field in fields(About)}
    about = About(**{name: values[name] for name in known})
    if about.statistics not in STATISTICS:
        raise ValueError(about.statistics)
    height, width = (int(side) for side in about.size)
    if min(height, width) < 1:
        raise ValueError(about.size)
    levels = tuple(float(level) for level in about.levels)
    return About(
        str(about.family), str(about.base), int(about.channels), str(about.path), levels, (height, width),
        about.statistics, int(about.steps), float(about.loss),
    )  # fmt: skip


def _bounded(form: dict[str, Any]) -> dict[str, Any]:
    for name, most in LARGEST.items():
        if name in form and not (isinstance(form[name], int) and 1 <= form[name] <= most):
            raise ValueError(name)
    if form.get("head", "linear") not in HEADS:
        raise ValueError(form["head"])
    return form

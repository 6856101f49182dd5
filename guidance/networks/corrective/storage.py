"""A manifold corrective with where it comes from, as a value and as named tensors with text beside them."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..storage import Format, Unusable, bounded, damaged, in_float32, tensors_of, with_weights
from .network import HEADS, Architecture, CorrectiveNetwork
from .normalisation import STATISTICS, Statistics
from .spectral import Bands, SpectralCorrective

FORMAT = Format("manifold corrective", "Save Manifold Corrective")
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
        said = {"form": json.dumps(asdict(form)), "about": json.dumps(asdict(self.about))}
        return tensors_of(self.network, dtype), FORMAT.text(kind=self.kind, **said)


def made_of(form: Architecture | Bands, weights: dict[str, Tensor]) -> CorrectiveNetwork | SpectralCorrective:
    """A corrective of a form with these weights. Raises Unusable where they do not fit."""
    if isinstance(form, Architecture):
        return with_weights(lambda: CorrectiveNetwork(form), weights)
    return with_weights(lambda: SpectralCorrective(form), weights)


def decoded(tensors: dict[str, Tensor], text: dict[str, str]) -> ManifoldCorrective:
    """The corrective that was `encoded`, in float32. Raises Unusable."""
    FORMAT.check(text)
    try:
        form, about = json.loads(text["form"]), _about(json.loads(text["about"]))
        if form.get("head", "linear") not in HEADS:
            raise ValueError(form["head"])
        shape = KINDS[text["kind"]](**bounded(form, LARGEST))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged() from error
    if shape.channels != about.channels:
        raise Unusable("Its description contradicts itself: the file is damaged.")
    return ManifoldCorrective(made_of(shape, in_float32(tensors)), about)


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

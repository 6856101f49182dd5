"""A manifold corrective with its origin, and its conversion to and from named tensors and text."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from ..storage import (
    MALFORMED,
    Format,
    UnusableFileError,
    checked_form,
    damaged_file_error,
    load_weights,
    to_float32,
    weights_of,
)
from .network import HEADS, Architecture, CorrectiveNetwork
from .normalization import STATISTICS, Statistics
from .spectral import SpectralCorrective, SpectralForm

FORMAT = Format("manifold corrective", "Save Manifold Corrective")
KINDS: dict[str, type[Architecture] | type[SpectralForm]] = {"network": Architecture, "spectral": SpectralForm}
"""The description of each kind of corrective."""
LARGEST = {"channels": 1024, "width": 1024, "levels": 8, "bands": 1024, "knots": 4096}
"""The largest sizes that a file may ask for."""
LEVELS_AT = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Times at which noise levels are stored."""


@dataclass(frozen=True)
class About:
    """The origin of a corrective.

    `family` names the kind of model and `base` identifies its weights. `path` is the noising path and `levels` are its
    noise levels at the times `LEVELS_AT`. `size` is the (height, width) of the latents it was trained on, `steps` and
    `loss` are those of its training.
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


@dataclass(frozen=True)
class ManifoldCorrective:
    """b_hat(z, t) of LMC-SDS before normalization, and its origin."""

    network: CorrectiveNetwork | SpectralCorrective
    about: About

    @property
    def kind(self) -> str:
        """Its name in `KINDS`."""
        return "network" if isinstance(self.network, CorrectiveNetwork) else "spectral"

    def __call__(self, z: Tensor, t: Tensor) -> Tensor:
        """Apply it to latents (B, C, H, W) in model scale at times (B,) in [0, 1]."""
        return self.network(z, t)

    def to(self, like: Tensor) -> ManifoldCorrective:
        """An independent copy on the device and in the dtype of a tensor."""
        return ManifoldCorrective(copy.deepcopy(self.network).to(like), self.about)

    def encode(self, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Its weights as `dtype` and everything else as text, for `decode`."""
        form = self.network.architecture if isinstance(self.network, CorrectiveNetwork) else self.network.form
        text = {"form": json.dumps(asdict(form)), "about": json.dumps(asdict(self.about))}
        return weights_of(self.network, dtype), FORMAT.text(kind=self.kind, **text)


def build_network(
    form: Architecture | SpectralForm, weights: dict[str, Tensor]
) -> CorrectiveNetwork | SpectralCorrective:
    """The network of a corrective. Raises UnusableFileError if the weights do not fit its `form`."""
    if isinstance(form, Architecture):
        return load_weights(lambda: CorrectiveNetwork(form), weights)
    return load_weights(lambda: SpectralCorrective(form), weights)


def decode(tensors: dict[str, Tensor], text: dict[str, str]) -> ManifoldCorrective:
    """The corrective from the result of `ManifoldCorrective.encode`, in float32.

    Raises:
        UnusableFileError: the file is of another kind or version, or damaged.
    """
    FORMAT.check(text)
    try:
        form, about = json.loads(text["form"]), _parse_about(json.loads(text["about"]))
        if form.get("head", "linear") not in HEADS:
            raise ValueError(form["head"])
        shape = KINDS[text["kind"]](**checked_form(form, LARGEST))
    except MALFORMED as error:
        raise damaged_file_error() from error
    if shape.channels != about.channels:
        raise UnusableFileError("Its description contradicts itself: the file is damaged.")
    return ManifoldCorrective(build_network(shape, to_float32(tensors)), about)


def _parse_about(values: dict[str, Any]) -> About:
    """The origin from parsed JSON. Raises KeyError, TypeError or ValueError for values that make no sense."""
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

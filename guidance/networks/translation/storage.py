"""A translator with its origin, and its conversion to and from named tensors and text."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..patches import without_frame_dim
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
from .network import Architecture, TranslatorNetwork, target_code

FORMAT = Format("translator", "tools/translator")
LARGEST = {"channels": 1024, "width": 1024, "levels": 8}
"""The largest sizes that a file may ask for."""


@dataclass(frozen=True)
class About:
    """The origin of a translator.

    `family` is the kind of model it was trained with. `targets` are the names of its targets, `texts` their prompts and
    `source` the prompt of the source images. `method`, `guidance_scale` and `steps` are those of its training.
    """

    family: str
    channels: int
    source: str
    targets: tuple[str, ...]
    texts: tuple[str, ...]
    method: str
    guidance_scale: float
    steps: int


@dataclass(frozen=True)
class Translator:
    """A network that edits an image toward one of several targets in one pass, and its origin."""

    network: TranslatorNetwork
    about: About

    def __call__(self, z: Tensor, target: str) -> Tensor:
        """Edit latents (B, C, [1,] H, W) in the host's scale toward `target`, one of `about.targets`."""
        code = target_code(self.about.targets.index(target), len(self.about.targets))
        latents = without_frame_dim(z).to(torch.float32)
        return self.network(latents, latents.new_full((len(z),), code)).reshape_as(z).to(z)

    def to(self, device: torch.device) -> Translator:
        """An independent copy on a device."""
        return Translator(copy.deepcopy(self.network).to(device), self.about)

    def encode(self, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Its weights as `dtype` and everything else as text, for `decode`."""
        form, about = json.dumps(asdict(self.network.architecture)), json.dumps(asdict(self.about))
        return weights_of(self.network, dtype), FORMAT.text(form=form, about=about)


def decode(tensors: dict[str, Tensor], text: dict[str, str]) -> Translator:
    """The translator from the result of `Translator.encode`, in float32.

    Raises:
        UnusableFileError: the file is of another kind or version, or damaged.
    """
    about = read_about(text)
    try:
        form = Architecture(**checked_form(json.loads(text["form"]), LARGEST))
    except MALFORMED as error:
        raise damaged_file_error() from error
    if form.channels != about.channels:
        raise UnusableFileError("Its description contradicts itself: the file is damaged.")
    return Translator(load_weights(lambda: TranslatorNetwork(form), to_float32(tensors)), about)


def read_about(text: dict[str, str]) -> About:
    """The origin of a translator from the text of its file. Raises UnusableFileError as `decode` does."""
    FORMAT.check(text)
    try:
        return _parse_about(json.loads(text["about"]))
    except MALFORMED as error:
        raise damaged_file_error() from error


def _parse_about(values: dict[str, Any]) -> About:
    """The origin from parsed JSON. Raises KeyError, TypeError or ValueError for values that make no sense."""
    targets, texts = (tuple(str(each) for each in values[name]) for name in ("targets", "texts"))
    if not targets or len(set(targets)) != len(texts):
        raise ValueError(targets)
    return About(
        str(values["family"]), int(values["channels"]), str(values["source"]), targets, texts, str(values["method"]),
        float(values["guidance_scale"]), int(values["steps"]),
    )  # fmt: skip

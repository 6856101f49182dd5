"""A translator with what it was trained for, as a value and as named tensors with text beside them."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..patches import as_pictures
from ..storage import Format, Unusable, bounded, damaged, in_float32, tensors_of, with_weights
from .network import Architecture, TranslatorNetwork, place

FORMAT = Format("translator", "tools/translator")
LARGEST = {"channels": 1024, "width": 1024, "levels": 8}
"""What a file may ask for before its tensors are compared."""


@dataclass(frozen=True)
class About:
    """Where a translator comes from.

    `family` is the kind of model it was trained with. `targets` are the names of what it makes, `texts` what the model
    was told of each, `source` what of the pictures as they are. `method`, `guidance_scale` and `steps` say how.
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
    """A network that makes one of several things of a picture in one pass, and where it comes from."""

    network: TranslatorNetwork
    about: About

    def __call__(self, z: Tensor, target: str) -> Tensor:
        """Latents (B, C, [1,] H, W) in the host's scale, translated. `target` is one of `about.targets`."""
        number = place(self.about.targets.index(target), len(self.about.targets))
        pictures = as_pictures(z).to(torch.float32)
        return self.network(pictures, pictures.new_full((len(z),), number)).reshape_as(z).to(z)

    def to(self, device: torch.device) -> Translator:
        """A copy of its own on a device."""
        return Translator(copy.deepcopy(self.network).to(device), self.about)

    def encoded(self, dtype: torch.dtype = torch.float32) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Its weights as `dtype`, and all else as text: what `decoded` takes."""
        form, about = json.dumps(asdict(self.network.architecture)), json.dumps(asdict(self.about))
        return tensors_of(self.network, dtype), FORMAT.text(form=form, about=about)


def decoded(tensors: dict[str, Tensor], text: dict[str, str]) -> Translator:
    """The translator that was `encoded`, in float32. Raises Unusable."""
    about = described(text)
    try:
        form = Architecture(**bounded(json.loads(text["form"]), LARGEST))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged() from error
    if form.channels != about.channels:
        raise Unusable("Its description contradicts itself: the file is damaged.")
    return Translator(with_weights(lambda: TranslatorNetwork(form), in_float32(tensors)), about)


def described(text: dict[str, str]) -> About:
    """What the text of a file says of its translator. Raises Unusable."""
    FORMAT.check(text)
    try:
        return _about(json.loads(text["about"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged() from error


def _about(values: dict[str, Any]) -> About:
    targets, texts = (tuple(str(each) for each in values[name]) for name in ("targets", "texts"))
    if not targets or len(set(targets)) != len(texts):
        raise ValueError(targets)
    return About(
        str(values["family"]), int(values["channels"]), str(values["source"]), targets, texts, str(values["method"]),
        float(values["guidance_scale"]), int(values["steps"]),
    )  # fmt: skip

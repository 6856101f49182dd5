"""Apply Translator: an edit in one pass of a network that was trained for it."""

from __future__ import annotations

import hashlib
import logging
import math
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..guidance.networks.translation.storage import Translator
from . import checks, host

log = logging.getLogger("dreamsampler")

BETWEEN = ": "
"""Between a file's name and a target's."""


class TranslatorApply(io.ComfyNode):
    """`guidance.translation` as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSTranslatorApply",
            display_name="Apply Translator",
            category="DreamSampler",
            description=(
                "Edits a picture in one pass of a small network, without a model and in milliseconds: what the network "
                "was trained for, such as other animals instead of cats, and nothing else. tools/translator.py trains "
                "one."
            ),
            inputs=[
                io.Latent.Input(
                    "latent_image",
                    tooltip="An encoded picture, or a batch, of the kind the translator was trained on. A noise mask "
                    "limits the change.",
                ),
                io.Combo.Input(
                    "translation",
                    options=_translations(),
                    tooltip="A translator's file in models/dreamsampler_translators or "
                    "output/dreamsampler_translators, and which of its targets is wanted.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How far to go: 0 is the picture as it was, 1 what the network says.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The edited latent.")],
        )

    @classmethod
    def validate_inputs(cls, translation: str | None) -> bool | str:
        """Replaces the host's check that the choice is listed, which it was not when the page was loaded.

        The host says None where another node is to make the choice.
        """
        if translation is None:
            return True
        try:
            _chosen(translation)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, translation: str | None, **_: Any) -> str | float:
        """The file's digest; where another node makes the choice, what is unequal to itself, so that it runs again."""
        if translation is None:
            return math.nan
        name, _target = _parted(translation)
        return hashlib.sha256(host.TRANSLATORS.file(name).read_bytes()).hexdigest()

    @classmethod
    def execute(cls, latent_image: dict, translation: str, strength: float) -> io.NodeOutput:
        translator, target = _chosen(translation)
        samples = checks.checked_translatable(translator, latent_image)
        mask = checks.checked_mask(latent_image.get("noise_mask"), samples)
        made = _translated(translator, samples, target)
        share = torch.tensor(strength) if mask is None else strength * _for_cells(mask, samples)
        return io.NodeOutput({**latent_image, "samples": samples + share * (made - samples)})


def _translations() -> list[str]:
    """Every target of every translator in the host's folders. A file that cannot be read is logged and left out."""
    found = []
    for name in host.TRANSLATORS.names():
        try:
            found += [f"{name}{BETWEEN}{target}" for target in host.translator_targets(name)]
        except ValueError as error:
            log.warning("Apply Translator: %s", error)
    return found


def _parted(translation: str) -> tuple[str, str]:
    """The name of a file and that of a target. Raises ValueError where it is not both."""
    name, between, target = translation.rpartition(BETWEEN)
    if not between:
        raise ValueError(
            f"'{translation}' is not a file and its target, such as 'cats.safetensors: dog': choose one of the list on "
            "input 'translation'."
        )
    return name, target


def _chosen(translation: str) -> tuple[Translator, str]:
    """A translator and one of its targets. Raises ValueError where there is none."""
    name, target = _parted(translation)
    translator = host.TRANSLATORS.read(name)
    targets = translator.about.targets
    if target not in targets:
        raise ValueError(
            f"The translator '{name}' has no target '{target}': choose "
            f"{' or '.join(f'{name}{BETWEEN}{each}' for each in targets)} on input 'translation'."
        )
    return translator, target


@torch.inference_mode()
def _translated(translator: Translator, samples: Tensor, target: str) -> Tensor:
    place = host.device()
    return translator.to(place)(samples.to(place), target).to(samples.device)


def _for_cells(mask: Tensor, samples: Tensor) -> Tensor:
    """A mask (B or 1, 1, [1,] H, W) over latents (B, C, [1,] h, w)."""
    plain = mask.reshape(len(mask), 1, *mask.shape[-2:])
    fitted = F.interpolate(plain, samples.shape[-2:], mode="bilinear", antialias=True)
    return fitted.reshape(len(mask), 1, *(1,) * (samples.ndim - 4), *samples.shape[-2:])

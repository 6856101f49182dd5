"""Apply Translator: edit in one forward pass of a network trained for that edit."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor
from torch.nn import functional as F

from ..guidance.networks.translation.storage import Translator
from . import checks, host, widgets

SEPARATOR = ": "
"""Separates the file name from the target in an option."""


class TranslatorApply(io.ComfyNode):
    """`guidance.networks.translation` as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSTranslatorApply",
            display_name="Apply Translator",
            category="DreamSampler",
            description=(
                "Applies a trained translator network to a latent in one forward pass (milliseconds, no diffusion "
                "model). Each translator makes one kind of edit, such as cats into other animals. Train one with "
                "tools/translator.py."
            ),
            search_aliases="image to image translation, fast edit, style transfer, unpaired translation",
            is_experimental=True,
            inputs=[
                io.Latent.Input(
                    "latent_image",
                    tooltip="An encoded image, or a batch, of the kind the translator was trained on. Its noise mask "
                    "limits the change.",
                ),
                io.Combo.Input(
                    "translation",
                    options=_list_choices(),
                    tooltip="Translator file, from models/dreamsampler_translators or output/dreamsampler_translators, "
                    "and the target to translate to.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="Strength of the edit: 0 returns the input, 1 the network's output, above 1 exaggerates.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The edited latent.")],
        )

    @classmethod
    def validate_inputs(cls, translation: str | None) -> bool | str:
        """Checks the choice. Its file may be added after the page loaded."""
        return checks.answer(_load_choice, translation)

    @classmethod
    def fingerprint_inputs(cls, translation: str | None, **_: Any) -> str:
        """Digest of the file, or of all files if the choice comes from another node and is not known yet (None)."""
        return host.TRANSLATORS.digest(None if translation is None else _split_choice(translation)[0])

    @classmethod
    def execute(cls, latent_image: dict, translation: str, strength: float) -> io.NodeOutput:
        translator, target = _load_choice(translation)
        samples = checks.checked_translatable(translator, latent_image)
        mask = checks.checked_noise_mask(latent_image, samples)
        translated = _translate(translator, samples, target)
        weight = torch.tensor(strength) if mask is None else strength * _resized_mask(mask, samples)
        return io.NodeOutput({**latent_image, "samples": samples + weight * (translated - samples)})


def _list_choices() -> list[str]:
    """Every target of every translator in the host's folders."""
    return [f"{name}{SEPARATOR}{target}" for name, target in host.listed_translations()]


def _split_choice(translation: str) -> tuple[str, str]:
    """File name and target of a choice. Raises ValueError if one is missing."""
    name, separator, target = translation.rpartition(SEPARATOR)
    if not separator:
        raise ValueError(
            f"'{translation}' is not a file and a target, such as 'cats.safetensors: dog': choose an entry of the list "
            "on input 'translation'."
        )
    return name, target


def _load_choice(translation: str) -> tuple[Translator, str]:
    """The translator and target of a choice. Raises ValueError if either does not exist."""
    name, target = _split_choice(translation)
    translator = host.TRANSLATORS.read(name)
    targets = translator.about.targets
    if target not in targets:
        raise ValueError(
            f"The translator '{name}' has no target '{target}': choose "
            f"{' or '.join(f'{name}{SEPARATOR}{each}' for each in targets)} on input 'translation'."
        )
    return translator, target


@torch.inference_mode()
def _translate(translator: Translator, samples: Tensor, target: str) -> Tensor:
    device = host.device()
    return translator.to(device)(samples.to(device), target).to(samples.device)


def _resized_mask(mask: Tensor, samples: Tensor) -> Tensor:
    """A mask (B or 1, 1, [1,] H, W) at the size of latents (B, C, [1,] h, w)."""
    flat = mask.reshape(len(mask), 1, *mask.shape[-2:])
    resized = F.interpolate(flat, samples.shape[-2:], mode="bilinear", antialias=True)
    return resized.reshape(len(mask), 1, *(1,) * (samples.ndim - 4), *samples.shape[-2:])

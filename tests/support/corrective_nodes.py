"""Manifold correctives of the tiny models, and a helper that runs Train Manifold Corrective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from dreamsampler.guidance.networks.corrective.network import Architecture, initial_network
from dreamsampler.guidance.networks.corrective.spectral import SpectralCorrective, SpectralForm
from dreamsampler.guidance.networks.corrective.storage import About, ManifoldCorrective
from dreamsampler.nodes import host
from dreamsampler.nodes.train_manifold_corrective import ManifoldCorrectiveTrain
from torch import Tensor

from support.tiny_models import NEGATIVE, QWEN, Conditioning, Family, photo, tiny, tiny_vae


def vae_of(family: Family) -> Any:
    """A tiny VAE that fits a model family."""
    if family is QWEN:
        return tiny_vae("wan")
    return tiny_vae("taesd-16" if family.flow else "taesd")


def about(family: Family, **changes: Any) -> About:
    """The metadata of a corrective for a family's tiny model and latents of 8x8 cells."""
    model = tiny(family)
    path, levels = host.noise_schedule(model)
    values = {"family": host.family(model), "base": host.weights_digest(model), "channels": family.shape[0]}
    values |= {"path": path, "levels": levels, "size": (8, 8), "statistics": "as printed", "steps": 7, "loss": 0.5}
    return About(**{**values, **changes})


def spectral(family: Family, **changes: Any) -> ManifoldCorrective:
    """A spectral corrective that halves everything but the means, at any time."""
    network = SpectralCorrective(SpectralForm(about(family, **changes).channels, bands=2, knots=2))
    network.gain[..., 1:] = 0.5
    return ManifoldCorrective(network, about(family, **changes))


def network(family: Family, **changes: Any) -> ManifoldCorrective:
    """An untrained network."""
    untrained = initial_network(Architecture(family.shape[0], 4, 2), torch.Generator().manual_seed(3))
    return ManifoldCorrective(untrained.requires_grad_(False), about(family, **changes))


def train(
    family: Family,
    images: Sequence[Tensor] | None = None,
    *,
    model: ModelPatcher | None = None,
    negative: Conditioning = NEGATIVE,
    vae: Any = None,
    kind: str = "network",
    steps: int = 2,
    batch_size: int = 2,
    learning_rate: float = 1e-3,
    patch_size: int = 32,
    seed: int = 5,
    width: int = 4,
    levels: int = 2,
    normalisation: str = "as printed",
    corrective: ManifoldCorrective | None = None,
) -> tuple[ManifoldCorrective, dict[str, Any]]:
    """Run Train Manifold Corrective like ComfyUI: in inference mode, with lists as inputs."""
    with torch.inference_mode():
        output = ManifoldCorrectiveTrain.execute(
            model=[model or tiny(family)],
            negative=[negative],
            vae=[vae or vae_of(family)],
            images=list(images or [photo(16, size=32)]),
            kind=[kind],
            steps=[steps],
            batch_size=[batch_size],
            learning_rate=[learning_rate],
            patch_size=[patch_size],
            seed=[seed],
            width=[width],
            levels=[levels],
            normalisation=[normalisation],
            **({} if corrective is None else {"corrective": [corrective]}),
        )
    ui = output.ui
    assert isinstance(ui, dict)
    return output.args[0], ui

"""Checkpoints of the shipped weights, to train them further instead of starting from nothing."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from . import autoencoder, diffusion, scorer, text_encoder
from .export import CHECKPOINT, SCORER
from .training import write_start


def write_checkpoints(folder: Path) -> None:
    """Write a checkpoint at step 0 for every stage. Raises FileExistsError if one is there already."""
    model = load_file(CHECKPOINT)
    for stage, weights, prefix in (
        (autoencoder.STAGE, model, "first_stage_model."),
        (text_encoder.STAGE, model, "cond_stage_model."),
        (diffusion.STAGE, model, "model.diffusion_model."),
        (scorer.STAGE, load_file(SCORER), ""),
    ):
        network = stage.build()
        network.load_state_dict(_cut_to_size(network.state_dict(), weights, prefix))
        write_start(stage, network, folder)


def _cut_to_size(layout: dict[str, Tensor], weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights that `layout` names, without the zeros they were padded with. What was not shipped stays."""
    found = {name: weights.get(prefix + name) for name in layout}
    return {
        name: own if (given := found[name]) is None else given[tuple(map(slice, own.shape))].to(own.dtype)
        for name, own in layout.items()
    }

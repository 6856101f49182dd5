"""Trainings that were interrupted, kept in the host's user folder."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from safetensors import SafetensorError
from torch import Tensor

from .model_files import SUFFIX, read_tensors, write_tensors

FOLDER = Path("dreamsampler", "unfinished_correctives")


def unfinished_training(key: str) -> Path:
    """Where the state of an interrupted training is kept, by a name for its settings."""
    return Path(folder_paths.get_user_directory(), FOLDER, key + SUFFIX)


def read_state(path: Path) -> dict[str, Tensor] | None:
    """The tensors that `write_state` left, if any that can be read."""
    if not path.is_file():
        return None
    try:
        return read_tensors(path)[0]
    except SafetensorError:
        return None


def write_state(path: Path, state: dict[str, Tensor]) -> None:
    """Keep tensors, whole or not at all."""
    write_tensors(path, state, {})

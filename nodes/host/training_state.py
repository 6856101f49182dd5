"""States of interrupted trainings, saved in the host's user folder."""

from __future__ import annotations

from pathlib import Path

import folder_paths
from safetensors import SafetensorError
from torch import Tensor

from .model_files import SUFFIX, read_tensors, write_tensors

FOLDER = Path("dreamsampler", "unfinished_correctives")


def training_state_path(key: str) -> Path:
    """The file for the state of an interrupted training; `key` identifies its settings."""
    return Path(folder_paths.get_user_directory(), FOLDER, key + SUFFIX)


def read_state(path: Path) -> dict[str, Tensor] | None:
    """The tensors saved by `write_state`, or None if there is no readable file."""
    if not path.is_file():
        return None
    try:
        return read_tensors(path)[0]
    except SafetensorError:
        return None


def write_state(path: Path, state: dict[str, Tensor]) -> None:
    """Save tensors. The file is replaced atomically."""
    write_tensors(path, state, {})

"""States of interrupted trainings, saved in the host's user folder."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import folder_paths
from safetensors import SafetensorError
from torch import Tensor

from .files import read_tensors, reason, write_tensors
from .model_files import SUFFIX

log = logging.getLogger("dreamsampler")

FOLDER = Path("dreamsampler", "unfinished_correctives")
VERSION = "1"
"""The version of a state: what its tensors are called and mean."""
SET_ASIDE = ".unusable"
"""Appended to the name of a state that cannot be used."""
KEPT_DAYS = 30
"""States that were not written to for so long are removed."""


def training_state_path(key: str) -> Path:
    """The file for the state of an interrupted training; `key` identifies its settings."""
    return Path(folder_paths.get_user_directory(), FOLDER, key + SUFFIX)


def read_state(path: Path) -> dict[str, Tensor] | None:
    """The tensors saved by `write_state`, or None if there are none. A file that cannot be used is set aside."""
    try:
        if not path.is_file():
            return None
        tensors, text = read_tensors(path)
    except (OSError, SafetensorError) as error:
        set_aside(path, f"cannot be read ({reason(error)})")
        return None
    if text.get("version") != VERSION:
        set_aside(path, "was written by another version of this pack")
        return None
    return tensors


def write_state(path: Path, state: dict[str, Tensor]) -> None:
    """Save tensors. The file is replaced atomically. If that fails, it is kept, and UnwritableFileError is raised."""
    write_tensors(path, state, {"format": "dreamsampler training state", "version": VERSION})


def set_aside(path: Path, fault: str) -> None:
    """Rename a state that cannot be used, and say so; `fault` continues the sentence "The state ..."."""
    place = path.with_name(path.name + SET_ASIDE)
    try:
        path.replace(place)
    except OSError:
        place = path
    log.warning(
        "Train Manifold Corrective: the state of an interrupted training %s, so the training starts over. It is kept "
        "as %s.",
        fault,
        place,
    )


def remove_old_states() -> None:
    """Remove what trainings left that were not resumed for `KEPT_DAYS`."""
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    try:
        for file in Path(folder_paths.get_user_directory(), FOLDER).iterdir():
            if file.is_file() and file.stat().st_mtime < oldest:
                file.unlink()
                log.info("Removed %s, which an unfinished training left more than %d days ago.", file, KEPT_DAYS)
    except OSError:  # there is no folder, or another process removes the same files
        return

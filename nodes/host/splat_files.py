"""Files of splats in the host's folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import folder_paths

from ...splats.files import HEAD, read_splats, size_to_read, write_ply
from ...splats.scene import Scene
from .files import UnwritableFileError, file_version, reason, write_new_bytes
from .input_files import InputFiles, read_input
from .model_files import MAX_NAME_BYTES, NOT_IN_NAMES

FILES = InputFiles((".ply", ".splat"), "convert it to .ply")


def input_splat_names() -> list[str]:
    """The names of the files of splats in the host's input folder, sorted."""
    return FILES.names()


def input_splat(name: Any) -> Path:
    """The path of a file of splats, as `InputFiles.find` finds it."""
    return FILES.find(name)


def input_splat_versions(name: str | None) -> str:
    """Changes whenever a file of splats changes: that of this name, or any in the input folder or its subfolders."""
    if name is None:
        return FILES.versions()
    return str(file_version(FILES.find(name)))


def read_input_splat(name: str) -> Scene:
    """The scene in a file of splats. Raises ValueError as `input_splat` does, and if it cannot be read or used."""
    return read_input(FILES, name, lambda path: _read(path, f"The file '{name}'"))


def _read(path: Path, label: str) -> Scene:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        needed = size_to_read(file.read(HEAD), size, label)
        file.seek(0)
        return read_splats(file.read(needed), label)


def check_prefix(prefix: str) -> None:
    """Check that files can be saved under a prefix, before they are made. Raises ValueError."""
    stem = prefix.replace("\\", "/")
    if not stem.strip("/ ") or stem.endswith("/"):
        raise ValueError("The file needs a name to be saved: enter one on input 'filename_prefix'.")
    if wrong := sorted(NOT_IN_NAMES.intersection(stem)):
        raise ValueError(
            f"The name {prefix!r} has the character {wrong[0]!r}, which a file name cannot have: remove it on input "
            "'filename_prefix'."
        )
    if len(os.fsencode(max(stem.split("/"), key=len))) > MAX_NAME_BYTES:
        raise ValueError(
            f"The name '{prefix[:20]}...' is too long: shorten it to at most {MAX_NAME_BYTES} bytes on input "
            "'filename_prefix'."
        )
    root = os.path.abspath(folder_paths.get_output_directory())
    path = Path(os.path.abspath(os.path.join(root, os.path.normpath(prefix))))
    if not path.is_relative_to(root) or path == Path(root):
        raise ValueError(
            f"'{prefix}' is outside ComfyUI's output folder: use a name inside it on input 'filename_prefix'; "
            "subfolders are allowed."
        )


def save_splats(prefix: str, scenes: Sequence[Scene]) -> list[dict[str, str]]:
    """Write scenes as .ply files to the host's output folder; returns them as a node's ui data.

    Never overwrites a file. Raises ValueError as `check_prefix` does, and UnwritableFileError.
    """
    check_prefix(prefix)
    output = folder_paths.get_output_directory()
    try:
        folder, name, number, subfolder, _ = folder_paths.get_save_image_path(prefix, output)
    except OSError as error:
        raise UnwritableFileError(
            f"The file '{prefix}' cannot be written to {output}: {reason(error)}. Check the folder's permissions."
        ) from error
    places = (Path(folder, f"{name}_{each:05}_.ply") for each in count(number))
    saved = [write_new_bytes(places, write_ply(scene)) for scene in scenes]
    return [{"filename": path.name, "subfolder": subfolder, "type": "output"} for path in saved]

"""Files and folders that users choose from the host's input folder, by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import folder_paths

from .files import file_version, is_file, list_files, reason
from .names import did_you_mean

Content = TypeVar("Content")


@dataclass(frozen=True)
class InputFiles:
    """The files with one of some suffixes in the host's input folder; `otherwise` is what to do with other files."""

    suffixes: tuple[str, ...]
    otherwise: str

    def names(self) -> list[str]:
        """The names of the files, sorted."""
        return self._listed(below=False)

    def find(self, name: Any) -> Path:
        """The path of a file that the host's Load Image would find by this `name`.

        That is in the input folder, or with the suffix " [output]" or " [temp]" in these folders; subfolders are
        allowed. Raises ValueError for a name outside the folder, of another file type, of no existing file, or that is
        no text.
        """
        path, folder = located(name, "file")
        if path.suffix.lower() not in self.suffixes:
            raise ValueError(f"'{name}' is not an {' or '.join(self.suffixes)} file: choose one, or {self.otherwise}.")
        if not any(is_file(path, suffix) for suffix in self.suffixes):
            remedy = "upload it" if folder == "input" else "run the node again that writes it"
            raise ValueError(
                f"ComfyUI's {folder} folder has no file '{name}': {remedy}, or choose another."
                + did_you_mean(name, self.names())
            )
        return path

    def versions(self) -> str:
        """Changes whenever such a file in the input folder or its subfolders changes."""
        folder = Path(folder_paths.get_input_directory())
        return " ".join(filter(None, (file_version(folder / name) for name in self._listed(below=True))))

    def _listed(self, *, below: bool) -> list[str]:
        folder = Path(folder_paths.get_input_directory())
        return sorted(name for suffix in self.suffixes for name in list_files(folder, suffix, below=below))


def located(name: Any, noun: str) -> tuple[Path, str]:
    """Where a name of a "file" or "folder" leads, and in which of the host's folders that is: input, output or temp.

    Nothing needs to be there. Raises ValueError for a name outside the folder, or that is no text.
    """
    if not isinstance(name, str):
        raise ValueError(f"Input '{noun}' is {name!r}, which is not the name of a {noun}: connect or enter a name.")
    name_in_folder, base = folder_paths.annotated_filepath(name)
    root = os.path.abspath(base or folder_paths.get_input_directory())
    path = Path(os.path.abspath(os.path.join(root, name_in_folder)))
    folder = next((each for each in ("output", "temp") if name.endswith(f"[{each}]")), "input")
    if not path.is_relative_to(root):
        raise ValueError(f"'{name}' is not in ComfyUI's {folder} folder: put the {noun} there, or upload it.")
    return path, folder


def read_input(files: InputFiles, name: Any, read: Callable[[Path], Content]) -> Content:
    """What `read` makes of a file. Raises ValueError as `InputFiles.find` does, and if it cannot be read."""
    path = files.find(name)
    try:
        return read(path)
    except OSError as error:
        raise ValueError(f"The file '{name}' cannot be read: {reason(error)}. Check its permissions.") from error

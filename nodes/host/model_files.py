"""The pack's own networks as safetensors files in the host's folders."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

import folder_paths
import torch
from safetensors import SafetensorError
from torch import Tensor

from ...guidance.networks.corrective import storage as correctives
from ...guidance.networks.storage import Format
from ...guidance.networks.translation import storage as translators
from .files import (
    UnwritableFileError,
    file_version,
    is_file,
    list_files,
    read_metadata,
    read_tensors,
    reason,
    write_new_tensors,
    write_tensors,
)
from .names import did_you_mean

log = logging.getLogger("dreamsampler")

SUFFIX = ".safetensors"
MAX_NAME_BYTES = 200
"""The longest name of a file or folder; most file systems take 255 bytes, and a number may be appended."""
NOT_IN_NAMES = {chr(code) for code in (*range(32), 127)} | (set('<>:"|?*') if os.name == "nt" else set())
"""Characters that cannot be part of a name."""
Network = TypeVar("Network", correctives.ManifoldCorrective, translators.Translator)


@dataclass(frozen=True)
class ModelFiles(Generic[Network]):
    """The files of one kind of network, in the subfolder `folder` of the host's models and output folders."""

    folder: str
    format: Format
    decode: Callable[[dict[str, Tensor], dict[str, str]], Network]

    def names(self) -> list[str]:
        """The names of all files, sorted, relative to the folders."""
        return sorted({name for folder in self._folders() for name in list_files(folder, SUFFIX, below=True)})

    def find(self, name: str) -> Path:
        """The path of a file. Raises ValueError if the name leads out of the folders or there is no such file."""
        paths = (self._path_inside(folder, name) for folder in self._folders())
        found = [path for path in paths if is_file(path, SUFFIX)]
        if not found:
            raise ValueError(
                f"There is no {self.format.noun} '{name}' in ComfyUI's folders models/{self.folder} and "
                f"output/{self.folder}: put the file into one of them, or make one with {self.format.maker}."
                + did_you_mean(name, self.names())
            )
        return found[0]

    def digest(self, name: str | None) -> str:
        """Changes with the content of a file, or of any file if the name is None. Raises ValueError as `find` does."""
        names = self.names() if name is None else [name]
        return " ".join(hashlib.sha256(self.find(each).read_bytes()).hexdigest() for each in names)

    def read(self, name: str) -> Network:
        """The network in the file `name`, on the CPU. Raises ValueError if it cannot be read."""
        return self.read_file(self.find(name), name)

    def read_file(self, path: Path, name: str = "") -> Network:
        """The network in a file, on the CPU. Raises ValueError if it cannot be read; the message uses `name`."""
        name = name or path.name

        def decode() -> Network:
            tensors, text = read_tensors(path)
            with torch.inference_mode(False):
                return self.decode({key: tensor.clone() for key, tensor in tensors.items()}, text)

        return _read(name, decode)

    def check_name(self, name: str) -> None:
        """Check that a network can be saved as `name`, before it is trained. Raises ValueError."""
        path = self._path_to_save(name)
        for folder in path.parents:
            if folder.exists():
                if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
                    raise UnwritableFileError(
                        f"'{name}' cannot be saved, because {folder} is not a folder that ComfyUI may write to: choose "
                        "another name on input 'name', or change the folder's permissions."
                    )
                return

    def save(self, name: str, network: Network, dtype: torch.dtype = torch.float32) -> Path:
        """Save a network with weights of `dtype` in the output folder, under a number if `name` is taken.

        Returns the path. Never overwrites a file. Raises ValueError for a name that is empty or leads out of the
        folder, and UnwritableFileError.
        """
        return write_new_tensors(self._path_to_save(name), *network.encode(dtype))

    def write(self, path: Path, network: Network, dtype: torch.dtype = torch.float32) -> None:
        """Save a network with weights of `dtype`. The file is replaced atomically. Raises UnwritableFileError."""
        write_tensors(path, *network.encode(dtype))

    def _path_to_save(self, name: str) -> Path:
        stem = name.strip().removesuffix(SUFFIX)
        if not stem or stem.endswith(("/", "\\")):
            raise ValueError(f"The {self.format.noun} needs a file name to be saved: enter one on input 'name'.")
        wrong = sorted(NOT_IN_NAMES.intersection(stem))
        if wrong:
            raise ValueError(
                f"The name {stem!r} has the character {wrong[0]!r}, which a file name cannot have: remove it on input "
                "'name'."
            )
        longest = max(stem.replace("\\", "/").split("/"), key=len)
        if len(os.fsencode(longest)) > MAX_NAME_BYTES:
            raise ValueError(
                f"The name '{longest[:20]}...' has {len(os.fsencode(longest))} bytes: shorten it to at most "
                f"{MAX_NAME_BYTES} on input 'name'."
            )
        return self._path_inside(Path(folder_paths.get_output_directory(), self.folder), stem + SUFFIX)

    def _folders(self) -> list[Path]:
        """The output folder, the models folder, and any folders of the user's extra_model_paths.yaml."""
        extra = folder_paths.folder_names_and_paths.get(self.folder, ([], set()))[0]
        folders = [
            Path(folder_paths.get_output_directory(), self.folder),
            Path(folder_paths.models_dir, self.folder),
            *map(Path, extra),
        ]
        return list(dict.fromkeys(Path(os.path.abspath(folder)) for folder in folders))

    def _path_inside(self, folder: Path, name: str) -> Path:
        # Does not resolve links: model folders are often full of links to elsewhere.
        root, path = os.path.abspath(folder), Path(os.path.abspath(os.path.join(folder, name.replace("\\", "/"))))
        if not path.is_relative_to(root) or path == Path(root):
            raise ValueError(
                f"'{name}' is outside ComfyUI's folder for {self.format.noun}s, {self.folder}: use a name inside that "
                "folder; subfolders are allowed."
            )
        return path


Content = TypeVar("Content")


def _read(name: str, read: Callable[[], Content]) -> Content:
    """What `read` returns. Raises ValueError that names the file if it cannot be read or used."""
    try:
        return read()
    except SafetensorError as error:
        raise ValueError(f"The file '{name}' is damaged or not a safetensors file.") from error
    except OSError as error:
        raise ValueError(f"The file '{name}' cannot be read: {reason(error)}. Check its permissions.") from error
    except ValueError as error:
        raise ValueError(f"The file '{name}' cannot be used. {error}") from error


CORRECTIVES = ModelFiles("dreamsampler_correctives", correctives.FORMAT, correctives.decode)
TRANSLATORS = ModelFiles("dreamsampler_translators", translators.FORMAT, translators.decode)


def listed_translations() -> list[tuple[str, str]]:
    """Every target of every translator, after the name of its file. Unreadable files are logged once and left out.

    The host asks for the list many times in one prompt: a file is only opened again after it has changed.
    """
    listed = []
    for name in TRANSLATORS.names():
        try:
            path = TRANSLATORS.find(name)
        except ValueError:  # it has just vanished
            continue
        listed += [(name, target) for target in _targets(name, path, file_version(path))]
    return listed


@lru_cache(maxsize=4096)
def _targets(name: str, path: Path, _version: str | None) -> tuple[str, ...]:
    """The targets of a translator file, none if it is unreadable."""
    try:
        return _read(name, lambda: translators.read_about(read_metadata(path)).targets)
    except ValueError as error:
        log.warning("Apply Translator: %s", error)
        return ()

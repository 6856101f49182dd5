"""The pack's own networks as safetensors files in the host's folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import folder_paths
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...guidance.networks.corrective import storage as correctives
from ...guidance.networks.storage import Format
from ...guidance.networks.translation import storage as translators
from .names import did_you_mean

SUFFIX = ".safetensors"
Encoded = tuple[dict[str, Tensor], dict[str, str]]
Network = TypeVar("Network", correctives.ManifoldCorrective, translators.Translator)


@dataclass(frozen=True)
class ModelFiles(Generic[Network]):
    """The files of one kind of network, in the subfolder `folder` of the host's models and output folders."""

    folder: str
    format: Format
    decode: Callable[[dict[str, Tensor], dict[str, str]], Network]

    def names(self) -> list[str]:
        """The names of all files, sorted, relative to the folders."""
        names = {
            file.relative_to(folder).as_posix()
            for folder in self._folders()
            for file in folder.rglob("*")
            if _is_model_file(file)
        }
        return sorted(names)

    def find(self, name: str) -> Path:
        """The path of a file. Raises ValueError if the name leads out of the folders or there is no such file."""
        paths = (self._path_inside(folder, name) for folder in self._folders())
        found = [path for path in paths if _is_model_file(path)]
        if not found:
            raise ValueError(
                f"There is no {self.format.noun} '{name}' in ComfyUI's folders models/{self.folder} and "
                f"output/{self.folder}: put the file into one of them, or make one with {self.format.maker}."
                + did_you_mean(name, self.names())
            )
        return found[0]

    def read(self, name: str) -> Network:
        """The network in the file `name`, on the CPU. Raises ValueError if it cannot be read."""
        return self.read_file(self.find(name), name)

    def read_file(self, path: Path, name: str = "") -> Network:
        """The network in a file, on the CPU. Raises ValueError if it cannot be read; the message uses `name`."""
        name = name or path.name
        try:
            tensors, text = read_tensors(path)
            with torch.inference_mode(False):
                return self.decode({key: tensor.clone() for key, tensor in tensors.items()}, text)
        except SafetensorError as error:
            raise ValueError(f"The file '{name}' is damaged or not a safetensors file.") from error
        except ValueError as error:
            raise ValueError(f"The file '{name}' cannot be used. {error}") from error

    def new_path(self, name: str) -> Path:
        """The path to save to: in the output folder, with a number appended if `name` is taken.

        Raises ValueError for a name that is empty or leads out of the folder.
        """
        stem = name.strip().removesuffix(SUFFIX)
        if not stem or stem.endswith(("/", "\\")):
            raise ValueError(f"The {self.format.noun} needs a file name to be saved: enter one on input 'name'.")
        first = self._path_inside(Path(folder_paths.get_output_directory(), self.folder), stem + SUFFIX)
        path, number = first, 1
        while path.exists():
            number += 1
            path = first.with_name(f"{first.stem}_{number}{SUFFIX}")
        return path

    def write(self, path: Path, network: Network, dtype: torch.dtype = torch.float32) -> None:
        """Save a network with weights of `dtype`. The file is replaced atomically."""
        write_tensors(path, *network.encode(dtype))

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


def _is_model_file(path: Path) -> bool:
    return path.suffix == SUFFIX and path.is_file()


def read_tensors(path: Path) -> Encoded:
    """The tensors and the metadata of a safetensors file. Raises SafetensorError."""
    with safe_open(str(path), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def write_tensors(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
    """Save tensors with metadata. The file is replaced atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, partial, metadata=text)
    partial.replace(path)


CORRECTIVES = ModelFiles("dreamsampler_correctives", correctives.FORMAT, correctives.decode)
TRANSLATORS = ModelFiles("dreamsampler_translators", translators.FORMAT, translators.decode)


def translator_targets(name: str) -> tuple[str, ...]:
    """The targets of a translator file, read without its tensors. Raises ValueError if it cannot be read."""
    try:
        with safe_open(str(TRANSLATORS.find(name)), "pt") as file:
            return translators.read_about(dict(file.metadata() or {})).targets
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"The file '{name}' cannot be used. {error}") from error

"""Networks of the pack's own as safetensors files in the host's folders."""

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

SUFFIX = ".safetensors"
Encoded = tuple[dict[str, Tensor], dict[str, str]]
Kept = TypeVar("Kept", correctives.ManifoldCorrective, translators.Translator)


@dataclass(frozen=True)
class Shelf(Generic[Kept]):
    """One kind of files: `folder` is that of models, and of the output folder, which they lie in."""

    folder: str
    format: Format
    decode: Callable[[dict[str, Tensor], dict[str, str]], Kept]

    def names(self) -> list[str]:
        """The names of the files in the host's folders, sorted."""
        found = {
            file.relative_to(folder).as_posix()
            for folder in self._folders()
            for file in folder.rglob("*")
            if _is_ours(file)
        }
        return sorted(found)

    def file(self, name: str) -> Path:
        """The file of a name. Raises ValueError where it leads out of the folders or there is none."""
        found = [path for path in (self._inside(folder, name) for folder in self._folders()) if _is_ours(path)]
        if not found:
            raise ValueError(
                f"There is no {self.format.noun} '{name}' in ComfyUI's folders models/{self.folder} and "
                f"output/{self.folder}: put the file into one of them, or make one with {self.format.maker}."
            )
        return found[0]

    def read(self, name: str) -> Kept:
        """What a name's file holds, on the CPU. Raises ValueError where it is none."""
        return self.read_file(self.file(name), name)

    def read_file(self, path: Path, name: str = "") -> Kept:
        """What a file holds, on the CPU. Raises ValueError, with the `name` to be told, where it is none."""
        name = name or path.name
        try:
            tensors, text = read_tensors(path)
            with torch.inference_mode(False):
                return self.decode({key: tensor.clone() for key, tensor in tensors.items()}, text)
        except SafetensorError as error:
            raise ValueError(f"The file '{name}' cannot be read: it is damaged or no safetensors file.") from error
        except ValueError as error:
            raise ValueError(f"The file '{name}' cannot be used. {error}") from error

    def new_file(self, name: str) -> Path:
        """Where to save something under a name: a file that does not exist, numbered where the name is taken.

        Raises ValueError for a name that is empty or leads out of the folder.
        """
        stem = name.strip().removesuffix(SUFFIX)
        if not stem or stem.endswith(("/", "\\")):
            raise ValueError(f"The {self.format.noun} has no name to be saved by: give it one on input 'name'.")
        path, number = self._inside(Path(folder_paths.get_output_directory(), self.folder), stem + SUFFIX), 1
        place = path
        while place.exists():
            number += 1
            place = path.with_name(f"{path.stem}_{number}{SUFFIX}")
        return place

    def write(self, path: Path, kept: Kept, dtype: torch.dtype = torch.float32) -> None:
        """Save what is to be kept, whole or not at all, its weights as `dtype`."""
        write_tensors(path, *kept.encoded(dtype))

    def _folders(self) -> list[Path]:
        """Where the files are: what nodes wrote, the models, and what the user's configuration adds."""
        added = folder_paths.folder_names_and_paths.get(self.folder, ([], set()))[0]
        places = [
            Path(folder_paths.get_output_directory(), self.folder),
            Path(folder_paths.models_dir, self.folder),
            *map(Path, added),
        ]
        return list(dict.fromkeys(Path(os.path.abspath(place)) for place in places))

    def _inside(self, folder: Path, name: str) -> Path:
        # By name, not by what links lead to: a model folder may well be full of links.
        root, path = os.path.abspath(folder), Path(os.path.abspath(os.path.join(folder, name.replace("\\", "/"))))
        if not path.is_relative_to(root) or path == Path(root):
            raise ValueError(
                f"'{name}' leads out of ComfyUI's folder for {self.format.noun}s, {self.folder}: give a name, which "
                "may have folders before it, inside that folder."
            )
        return path


def _is_ours(path: Path) -> bool:
    return path.suffix == SUFFIX and path.is_file()


def read_tensors(path: Path) -> Encoded:
    """The tensors of a file and its text. Raises SafetensorError."""
    with safe_open(str(path), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def write_tensors(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
    """Save tensors, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, partial, metadata=text)
    partial.replace(path)


CORRECTIVES = Shelf("dreamsampler_correctives", correctives.FORMAT, correctives.decoded)
TRANSLATORS = Shelf("dreamsampler_translators", translators.FORMAT, translators.decoded)


def translator_targets(name: str) -> tuple[str, ...]:
    """What the translator of a name makes, read without its tensors. Raises ValueError where the file is none."""
    try:
        with safe_open(str(TRANSLATORS.file(name)), "pt") as file:
            return translators.described(dict(file.metadata() or {})).targets
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"The file '{name}' cannot be used. {error}") from error

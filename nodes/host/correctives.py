"""Manifold correctives in the host's folders, and what tells one of its models from another."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import folder_paths
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...guidance.corrective.storage import LEVELS_AT, ManifoldCorrective, decoded
from .model import clock_of, path_of

KIND, SUFFIX = "dreamsampler_correctives", ".safetensors"
UNFINISHED = Path("dreamsampler", "unfinished_correctives")
"""Inside the host's user folder: trainings that were interrupted."""


def family(model: Any) -> str:
    """The kind of a MODEL, by the host's name for it."""
    return type(model.model.model_config).__name__


def base_of(model: Any) -> str:
    """What identifies the weights of a MODEL, though not the type it has them in nor the LoRAs on them.

    LoRAs are on matrices; what is looked at are the vectors, as bfloat16.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(model.model.diffusion_model.named_parameters()):
        digest.update(f"{name} {tuple(weight.shape)} ".encode())
        if weight.ndim == 1:
            few = weight.detach()[:8].to("cpu", torch.bfloat16)
            digest.update(str(few.tolist()).encode())
    return digest.hexdigest()[:32]


def noise_schedule(model: Any) -> tuple[str, tuple[float, ...]]:
    """The name of a MODEL's noising path, and its noise levels at the times `LEVELS_AT`."""
    sampling = model.get_model_object("model_sampling")
    levels = clock_of(sampling)(torch.tensor(LEVELS_AT, dtype=torch.float64))
    return path_of(sampling).name, tuple(levels.tolist())


def corrective_names() -> list[str]:
    """The names of the correctives in the host's folders, sorted."""
    found = {
        file.relative_to(folder).as_posix() for folder in _folders() for file in folder.rglob("*") if _is_ours(file)
    }
    return sorted(found)


def corrective_file(name: str) -> Path:
    """The file of a corrective's name. Raises ValueError where it leads out of the folders or there is none."""
    found = [path for path in (_inside(folder, name) for folder in _folders()) if _is_ours(path)]
    if not found:
        raise ValueError(
            f"There is no corrective '{name}' in ComfyUI's folders models/{KIND} and output/{KIND}: put the file into "
            "one of them, or make one with Train and Save Manifold Corrective."
        )
    return found[0]


def read_corrective(name: str) -> ManifoldCorrective:
    """The corrective of a name, on the CPU. Raises ValueError where its file is none."""
    return read_corrective_file(corrective_file(name), name)


def read_corrective_file(path: Path, name: str = "") -> ManifoldCorrective:
    """The corrective in a file, on the CPU. Raises ValueError, with the `name` to be told, where it is none."""
    name = name or path.name
    try:
        tensors, text = _read(path)
        with torch.inference_mode(False):
            return decoded({key: tensor.clone() for key, tensor in tensors.items()}, text)
    except SafetensorError as error:
        raise ValueError(f"The file '{name}' cannot be read: it is damaged or no safetensors file.") from error
    except ValueError as error:
        raise ValueError(f"The file '{name}' cannot be used. {error}") from error


def new_corrective_file(name: str) -> Path:
    """Where to save a corrective under a name: a file that does not exist, numbered where the name is taken.

    Raises ValueError for a name that is empty or leads out of the folder.
    """
    stem = name.strip().removesuffix(SUFFIX)
    if not stem or stem.endswith(("/", "\\")):
        raise ValueError("The corrective has no name to be saved by: give it one on input 'name'.")
    path, number = _inside(Path(folder_paths.get_output_directory(), KIND), stem + SUFFIX), 1
    place = path
    while place.exists():
        number += 1
        place = path.with_name(f"{path.stem}_{number}{SUFFIX}")
    return place


def write_corrective(path: Path, corrective: ManifoldCorrective, dtype: torch.dtype = torch.float32) -> None:
    """Save a corrective, whole or not at all, its weights as `dtype`."""
    _write(path, *corrective.encoded(dtype))


def unfinished_training(key: str) -> Path:
    """Where the state of an interrupted training is kept, by a name for its settings."""
    return Path(folder_paths.get_user_directory(), UNFINISHED, key + SUFFIX)


def read_state(path: Path) -> dict[str, Tensor] | None:
    """The tensors that `write_state` left, if any that can be read."""
    if not path.is_file():
        return None
    try:
        return _read(path)[0]
    except SafetensorError:
        return None


def write_state(path: Path, state: dict[str, Tensor]) -> None:
    """Keep tensors, whole or not at all."""
    _write(path, state, {})


def _folders() -> list[Path]:
    """Where correctives are: what nodes wrote, the models, and what the user's configuration adds."""
    added = folder_paths.folder_names_and_paths.get(KIND, ([], set()))[0]
    places = [
        Path(folder_paths.get_output_directory(), KIND),
        Path(folder_paths.models_dir, KIND),
        *map(Path, added),
    ]
    return list(dict.fromkeys(Path(os.path.abspath(place)) for place in places))


def _inside(folder: Path, name: str) -> Path:
    # By name, not by what links lead to: a model folder may well be full of links.
    root, path = os.path.abspath(folder), Path(os.path.abspath(os.path.join(folder, name.replace("\\", "/"))))
    if not path.is_relative_to(root) or path == Path(root):
        raise ValueError(
            f"'{name}' leads out of ComfyUI's folder for correctives, {KIND}: give a name, which may have folders "
            "before it, inside that folder."
        )
    return path


def _is_ours(path: Path) -> bool:
    return path.suffix == SUFFIX and path.is_file()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with safe_open(str(path), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def _write(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: tensor.cpu() for name, tensor in tensors.items()}, partial, metadata=text)
    partial.replace(path)

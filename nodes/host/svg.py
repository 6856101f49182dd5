"""The host's SVG sockets, and SVG files in its folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from .files import file_version, is_file, list_files, reason
from .names import did_you_mean

SUFFIX = ".svg"


def svg_value(files: Iterable[bytes]) -> Any:
    """The value of an SVG socket, from SVG files."""
    return _svg_class()([BytesIO(file) for file in files])


def svg_files(name: str, value: Any) -> list[bytes]:
    """The files in the value of the SVG socket `name`, at least one.

    Raises ValueError for a value that is not an SVG, and for one without files.
    """
    # Checks the content, not the class: other packs have their own class, and an old host loads its class twice.
    streams = getattr(value, "data", None)
    if not isinstance(streams, list) or not all(isinstance(stream, BytesIO) for stream in streams):
        raise ValueError(
            f"Input '{name}' is not a valid SVG, its type is {type(value).__name__}: connect Load SVG or another node "
            "with an SVG output."
        )
    if not streams:
        raise ValueError(f"Input '{name}' has no SVGs: check the node connected to it.")
    return [stream.getvalue() for stream in streams]


def input_svg_names() -> list[str]:
    """The names of the SVG files in the host's input folder, sorted."""
    return list_files(Path(folder_paths.get_input_directory()), SUFFIX, below=False)


def input_svg(name: Any) -> Path:
    """The path of an SVG file that the host's Load Image would find by this `name`.

    That is in the input folder, or with the suffix " [output]" or " [temp]" in these folders; subfolders are allowed.
    Raises ValueError for a name outside the folder, of another file type, of no existing file, or that is no text.
    """
    if not isinstance(name, str):
        raise ValueError(f"Input 'file' is {name!r}, which is not the name of a file: connect or enter a name.")
    name_in_folder, base = folder_paths.annotated_filepath(name)
    root = os.path.abspath(base or folder_paths.get_input_directory())
    path = Path(os.path.abspath(os.path.join(root, name_in_folder)))
    folder = next((each for each in ("output", "temp") if name.endswith(f"[{each}]")), "input")
    if not path.is_relative_to(root):
        raise ValueError(f"'{name}' is not in ComfyUI's {folder} folder: put the file there, or upload it.")
    if path.suffix.lower() != SUFFIX:
        raise ValueError(f"'{name}' is not an {SUFFIX} file: choose one, or load an image with Load Image.")
    if not is_file(path, SUFFIX):
        remedy = "upload it" if folder == "input" else "run the node again that writes it"
        raise ValueError(
            f"ComfyUI's {folder} folder has no file '{name}': {remedy}, or choose another."
            + did_you_mean(name, input_svg_names())
        )
    return path


def read_input_svg(name: str) -> bytes:
    """An SVG file in the input folder. Raises ValueError as `input_svg` does, and if it cannot be read."""
    path = input_svg(name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"The file '{name}' cannot be read: {reason(error)}. Check its permissions.") from error


def input_svg_versions() -> str:
    """Changes whenever an SVG file in the input folder or its subfolders changes."""
    folder = Path(folder_paths.get_input_directory())
    return " ".join(filter(None, (file_version(folder / name) for name in list_files(folder, SUFFIX, below=True))))


def svg_previews(files: Iterable[bytes]) -> list[dict[str, str]]:
    """Write SVG files to the host's temp folder; returns them as a node's `images` ui data."""
    previews = []
    for file in files:
        folder, name, number, subfolder, _ = folder_paths.get_save_image_path(
            "DreamSampler", folder_paths.get_temp_directory()
        )
        place = Path(folder, f"{name}_{number:05}_{SUFFIX}")
        place.write_bytes(file)
        previews.append({"filename": place.name, "subfolder": subfolder, "type": "temp"})
    return previews


def _svg_class() -> Any:
    """The host's class for values of SVG sockets."""
    if io.SVG.Type is not Any:
        return io.SVG.Type
    from comfy_extras.nodes_images import SVG  # before 0.8.0; not importable outside a server

    return SVG

"""The host's SVG sockets, and SVG files in its folders."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import io

from .input_files import InputFiles, read_input

SUFFIX = ".svg"
FILES = InputFiles((SUFFIX,), "load an image with Load Image")


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
    return FILES.names()


def input_svg(name: Any) -> Path:
    """The path of an SVG file, as `InputFiles.find` finds it."""
    return FILES.find(name)


def read_input_svg(name: str) -> bytes:
    """An SVG file in the input folder. Raises ValueError as `input_svg` does, and if it cannot be read."""
    return read_input(FILES, name, Path.read_bytes)


def input_svg_versions() -> str:
    """Changes whenever an SVG file in the input folder or its subfolders changes."""
    return FILES.versions()


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

"""Files in the host's folders, which may be unreadable, vanish, or be written by other processes at the same time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

PARTIAL = ".partial"
"""The suffix of a file that is not complete yet."""
Encoded = tuple[dict[str, Tensor], dict[str, str]]
Write = Callable[[Path], object]
Published = TypeVar("Published")


class UnwritableFileError(ValueError):
    """A file cannot be written; the message says why, in full sentences."""


def is_file(path: Path, suffix: str) -> bool:
    """Whether there is a file with this suffix, in small or capital letters. False if that cannot be found out."""
    try:
        return path.suffix.lower() == suffix and path.is_file()
    except OSError:  # the name is too long, or a folder on the way is unreadable
        return False


def list_files(folder: Path, suffix: str, *, below: bool) -> list[str]:
    """The files with a suffix in a folder, and if `below` in its subfolders, sorted, relative to the folder.

    Leaves out what cannot be read, and names that cannot be sent to the page.
    """
    found = []
    for parent, folders, names in os.walk(folder):  # skips unreadable folders
        paths = (Path(parent, name) for name in names)
        found += [path.relative_to(folder).as_posix() for path in paths if is_file(path, suffix)]
        if not below:
            folders.clear()
    return sorted(name for name in found if _is_text(name))


def file_version(path: Path) -> str | None:
    """Path, size and time of the last change of a file, None if it has just vanished."""
    try:
        state = path.stat()
    except OSError:
        return None
    return f"{path} {state.st_size} {state.st_mtime_ns}"


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the name is bytes in no known encoding
        return False
    return True


def reason(error: Exception) -> str:
    """Why a file could not be read or written, without a period at its end."""
    return str(getattr(error, "strerror", None) or error).rstrip(".")


def read_tensors(path: Path) -> Encoded:
    """The tensors and the metadata of a safetensors file. Raises SafetensorError or OSError."""
    with safe_open(str(path), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file, read without its tensors. Raises SafetensorError or OSError."""
    with safe_open(str(path), "pt") as file:
        return dict(file.metadata() or {})


def write_tensors(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> None:
    """Save tensors with metadata. The file is replaced atomically; if that fails, it stays as it was.

    Raises UnwritableFileError.
    """
    _write(path, _tensor_writer(tensors, text), lambda partial: partial.replace(path))


def write_new_tensors(path: Path, tensors: dict[str, Tensor], text: dict[str, str]) -> Path:
    """Save tensors with metadata to a file that does not exist yet: with a number appended to its name if it is taken.

    Never overwrites a file, even if other processes save under the same name. Raises UnwritableFileError.
    """
    return _write(
        path,
        _tensor_writer(tensors, text),
        lambda partial: next(place for place in _numbered(path) if _takes_place(partial, place)),
    )


def write_new_bytes(places: Iterator[Path], content: bytes) -> Path:
    """Write a file to the first of `places`, all in one folder, where there is none yet; returns it.

    Never overwrites a file, even if other processes save under the same names. Raises UnwritableFileError.
    """
    first = next(places)
    return _write(
        first,
        lambda partial: partial.write_bytes(content),
        lambda partial: next(place for place in chain([first], places) if _takes_place(partial, place)),
    )


def write_missing_bytes(path: Path, content: bytes) -> bool:
    """Write a file unless there is one; returns whether it was written. Raises UnwritableFileError."""
    return _write(path, lambda partial: partial.write_bytes(content), lambda partial: _takes_place(partial, path))


def _tensor_writer(tensors: dict[str, Tensor], text: dict[str, str]) -> Write:
    return lambda place: save_file({name: each.cpu() for name, each in tensors.items()}, place, metadata=text)


def _write(path: Path, write: Write, publish: Callable[[Path], Published]) -> Published:
    """Write a file of another name beside `path`, which `publish` then gives its name. Returns its result."""
    partial = path.with_name(uuid.uuid4().hex + PARTIAL)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            return publish(partial)
        finally:
            partial.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise UnwritableFileError(
            f"The file '{path.name}' cannot be written to {path.parent}: {reason(error)}. Free disk space, or check "
            "the folder's permissions."
        ) from error


def _numbered(path: Path) -> Iterator[Path]:
    """The path, then the same with the numbers 2, 3, ... appended to the name."""
    yield path
    number = 1
    while True:
        number += 1
        yield path.with_name(f"{path.stem}_{number}{path.suffix}")


def _takes_place(partial: Path, place: Path) -> bool:
    """Give a complete file its place, unless there is a file already."""
    try:
        os.link(partial, place)
    except FileExistsError:
        return False
    except (OSError, NotImplementedError):  # a file system without hard links
        try:
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        partial.replace(place)
    return True

"""The pictures and drawings that jobs begin with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .errors import QueueingError

SVG = ".svg"


@dataclass(frozen=True)
class Picture:
    """A picture file. Servers know it by its content, so that no file of theirs is ever overwritten by another."""

    path: Path
    digest: str

    @property
    def upload_name(self) -> str:
        """Its name in a server's input folder."""
        return f"dreamsampler-{self.digest[:20]}{self.path.suffix.lower()}"


def gather(paths: Sequence[Path], *, drawings: bool) -> list[Picture]:
    """The pictures at ``paths``, in order; a folder stands for those in it. ``drawings`` asks for SVG files instead.

    The same picture twice counts once. Raises QueueingError for what is not there or is none.
    """
    found = {picture.digest: picture for path in paths for picture in _at(path, drawings)}
    return list(found.values())


def read(path: Path, *, drawing: bool) -> Picture:
    """The picture in a file, which is looked into."""
    try:
        content = path.read_bytes()
        if drawing and b"<svg" not in content:
            raise QueueingError(f"{path} is not a drawing: an SVG file is wanted here.")
        if not drawing:
            with Image.open(path) as picture:
                picture.verify()
    except FileNotFoundError:
        raise QueueingError(f"There is no picture {path}.") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise QueueingError(f"{path} is not a picture that can be read ({error}).") from error
    return Picture(path, hashlib.sha256(content).hexdigest())


def _at(path: Path, drawings: bool) -> list[Picture]:
    if not path.is_dir():
        return [read(path, drawing=drawings)]
    suffixes = {SVG} if drawings else set(Image.registered_extensions())
    files = sorted(file for file in path.iterdir() if file.is_file() and file.suffix.lower() in suffixes)
    if not files:
        raise QueueingError(f"The folder {path} has no {'drawing (.svg)' if drawings else 'picture'} in it.")
    return [read(file, drawing=drawings) for file in files]

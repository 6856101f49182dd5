"""The pictures and drawings that jobs begin with."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from .errors import QueueingError

SVG = ".svg"
_FEW = 3


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

    The same picture twice counts once, which is said on stderr. Raises QueueingError for what is not there or is none.
    """
    found: dict[str, Picture] = {}
    same: dict[Path, Path] = {}
    for picture in (picture for path in paths for picture in _at(path, drawings)):
        first = found.setdefault(picture.digest, picture).path
        if first.resolve() != picture.path.resolve():
            same[picture.path] = first
    if same:
        _say_what_is_the_same(same)
    return list(found.values())


def _say_what_is_the_same(same: dict[Path, Path]) -> None:
    """Name some of those that get no results of their own, with those whose results they share."""
    pairs = [f"{path} is {first}" for path, first in same.items()]
    more = f" and {len(pairs) - _FEW} more" if len(pairs) > _FEW else ""
    print(f"warning: The same picture counts once: {', '.join(pairs[:_FEW])}{more}.", file=sys.stderr)


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
    suffixes = {SVG} if drawings else _picture_suffixes()
    named = (file for file in path.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith("."))
    files = sorted(file for file in named if file.is_file())
    if not files:
        raise QueueingError(f"The folder {path} has no {'drawing (.svg)' if drawings else 'picture'} in it.")
    return [read(file, drawing=drawings) for file in files]


def _picture_suffixes() -> set[str]:
    """Of what Pillow calls images. It has names for more: documents, videos and data that it cannot show."""
    formats = Image.registered_extensions()
    return {suffix for suffix, name in formats.items() if Image.MIME.get(name, "").startswith("image/")}

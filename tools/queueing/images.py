"""The image and SVG files that jobs start from."""

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
class ImageFile:
    """An image or SVG file. Servers store it under a digest of its content, so that no upload replaces another file."""

    path: Path
    digest: str

    @property
    def upload_name(self) -> str:
        """Its name in a server's input folder."""
        return f"dreamsampler-{self.digest[:20]}{self.path.suffix.lower()}"


def gather(paths: Sequence[Path], *, drawings: bool) -> list[ImageFile]:
    """The images at ``paths``, in order; a folder stands for the images in it. With ``drawings``, SVG files instead.

    Identical files count once, with a warning on stderr. Raises QueueingError for a missing or unreadable file.
    """
    unique: dict[str, ImageFile] = {}
    duplicates: dict[Path, Path] = {}
    for image in (image for path in paths for image in _at(path, drawings)):
        first = unique.setdefault(image.digest, image).path
        if first.resolve() != image.path.resolve():
            duplicates[image.path] = first
    if duplicates:
        _warn_of_duplicates(duplicates)
    return list(unique.values())


def _warn_of_duplicates(duplicates: dict[Path, Path]) -> None:
    """Name some of the files that get no results of their own, with the files whose results they share."""
    pairs = [f"{path} is the same as {first}" for path, first in duplicates.items()]
    more = f" and {len(pairs) - _FEW} more" if len(pairs) > _FEW else ""
    print(f"warning: Identical files are processed once: {', '.join(pairs[:_FEW])}{more}.", file=sys.stderr)


def read(path: Path, *, drawing: bool) -> ImageFile:
    """The file at ``path``. Raises QueueingError if it is not an image, or not an SVG file for ``drawing``."""
    try:
        content = path.read_bytes()
        if drawing and b"<svg" not in content:
            raise QueueingError(f"{path} is not an SVG file. The workflow loads it with Load SVG: choose an SVG file.")
        if not drawing:
            with Image.open(path) as image:
                image.verify()
    except FileNotFoundError:
        raise QueueingError(f"The file {path} does not exist. Check the path.") from None
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise QueueingError(f"{path} cannot be read as an image ({error}). Choose another file.") from error
    return ImageFile(path, hashlib.sha256(content).hexdigest())


def _at(path: Path, drawings: bool) -> list[ImageFile]:
    if not path.is_dir():
        return [read(path, drawing=drawings)]
    suffixes = {SVG} if drawings else _image_suffixes()
    named = (file for file in path.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith("."))
    files = sorted(file for file in named if file.is_file())
    if not files:
        raise QueueingError(
            f"The folder {path} contains no {'SVG files' if drawings else 'images'}. Choose another folder."
        )
    return [read(file, drawing=drawings) for file in files]


def _image_suffixes() -> set[str]:
    """The suffixes of image formats. Pillow also registers documents, videos and data that it cannot show."""
    formats = Image.registered_extensions()
    return {suffix for suffix, name in formats.items() if Image.MIME.get(name, "").startswith("image/")}

"""Images and prompts to edit: the folder layout of PIE-Bench, and a smaller one of the same kind.

A folder holds `mapping_file.json`, whose keys name the images:

    {"cat_1": {"image_path": "cat_1.jpg", "original_prompt": "a photo of a cat", "editing_prompt": "a photo of a dog"}}

`image_path` is relative to `annotation_images/`, or to the folder itself. Brackets around changed words are dropped.
Two more fields are optional: `editing_type_id`, and `mask`, the region that may change. A mask is a list of start and
length pairs over the flattened image, as in PIE-Bench, or the path of an image that is white where it may change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from queueing.errors import QueueingError

MAPPING = "mapping_file.json"
IMAGES = "annotation_images"
MULTIPLE = 8
"""Sides of images are multiples of this, or VAE Encode would crop them."""


class BrokenEntry(Exception):
    """An entry that cannot be run. The message is a sentence."""


@dataclass(frozen=True)
class Entry:
    """One image and the edit to make. `facts` are its fields in the mapping file."""

    key: str
    folder: Path
    facts: dict[str, Any]

    @property
    def kind(self) -> str:
        """The type of the edit: "0" to "9" in PIE-Bench, empty without one."""
        return str(self.facts.get("editing_type_id", ""))

    @property
    def source_prompt(self) -> str:
        return self._prompt("original_prompt")

    @property
    def target_prompt(self) -> str:
        return self._prompt("editing_prompt")

    @property
    def path(self) -> Path:
        """The source image."""
        return self._file("image_path")

    def digest(self) -> str:
        """Equal for equal entries with equal masks."""
        mask = self.facts.get("mask")
        content = self._file("mask").read_bytes() if isinstance(mask, str) else b""
        return hashlib.sha256(json.dumps(self.facts, sort_keys=True).encode() + content).hexdigest()[:16]

    def image(self) -> Image.Image:
        """The source image in RGB."""
        return _read(self.path).convert("RGB")

    def mask(self) -> np.ndarray | None:
        """The region that may change: (height, width) bool, None without a mask."""
        mask = self.facts.get("mask")
        if mask is None:
            return None
        width, height = self.image().size
        if isinstance(mask, str):
            return np.asarray(_read(self._file("mask")).convert("L").resize((width, height))) > 127
        return decoded(mask, height, width)

    def check(self) -> None:
        """Raise BrokenEntry if something is missing or cannot be read."""
        _ = self.source_prompt, self.target_prompt, self.mask()
        self.image()

    def _prompt(self, name: str) -> str:
        text = self.facts.get(name)
        if not isinstance(text, str):
            raise BrokenEntry(f"The entry has no '{name}'. Write the prompt into {MAPPING}.")
        return text.replace("[", "").replace("]", "")

    def _file(self, name: str) -> Path:
        found = self.facts.get(name)
        if not isinstance(found, str):
            raise BrokenEntry(f"The entry has no '{name}'. Write the path of the image into {MAPPING}.")
        paths = [self.folder / IMAGES / found, self.folder / found]
        return next((path for path in paths if path.is_file()), paths[0] if paths[0].parent.is_dir() else paths[1])


def read(folder: Path) -> list[Entry]:
    """The entries of a folder, in the order of its mapping file. Raises QueueingError if that cannot be read."""
    path = folder / MAPPING
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise QueueingError(
            f"--data: {folder} has no {MAPPING}. Name the folder that holds it, beside {IMAGES}."
        ) from None
    except (OSError, ValueError) as error:
        raise QueueingError(f"{path} cannot be read ({error}).") from error
    if not isinstance(found, dict) or not all(isinstance(facts, dict) for facts in found.values()):
        raise QueueingError(f"{path} must be an object that has an object of fields for each image.")
    return [Entry(key, folder, facts) for key, facts in found.items()]


def decoded(pairs: Sequence[int], height: int, width: int) -> np.ndarray:
    """A mask from start and length pairs over the flattened image: (height, width) bool.

    Runs beyond the last pixel end there. The border is always set, as in PIE-Bench, whose annotations miss parts of it.
    """
    try:
        runs = np.asarray(pairs, np.int64).reshape(-1, 2)
    except (ValueError, TypeError):
        raise BrokenEntry("The 'mask' is not a list of start and length pairs.") from None
    if (runs < 0).any() or (runs[:, 0] >= height * width).any():
        raise BrokenEntry(f"The 'mask' has a run outside of the image, which has {width} x {height} pixels.")
    mask = np.zeros(height * width, bool)
    for start, length in runs:
        mask[start : start + length] = True
    mask = mask.reshape(height, width)
    mask[[0, -1]] = mask[:, [0, -1]] = True
    return mask


def _read(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise BrokenEntry(f"The image {path.name} does not exist. Check its path in {MAPPING}.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BrokenEntry(f"The image {path.name} cannot be read ({error}).") from error


def upload(entry: Entry, folder: Path, size: int | None, *, hole: bool) -> Path:
    """The image as it is uploaded: the file itself, or a copy in `folder` with sides that models take.

    `size` is the length of the shorter side. With `hole`, what may change is transparent.
    """
    image = entry.image()
    sides = fitting(image.size, size)
    if image.size == sides and not hole:
        return entry.path
    image = image.resize(sides, Image.Resampling.LANCZOS)
    if hole:
        mask = entry.mask()
        if mask is None:
            raise BrokenEntry("The entry has no mask, so there is no hole to fill.")
        known = Image.fromarray(np.where(mask, 0, 255).astype(np.uint8))
        image.putalpha(known.resize(sides, Image.Resampling.NEAREST))
    path = folder / f"{hashlib.sha256(image.tobytes()).hexdigest()[:20]}.png"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        image.save(path)
    return path


def fitting(sides: tuple[int, int], size: int | None) -> tuple[int, int]:
    """Sides in the same ratio with the shorter one `size` long, or as it is, as multiples of `MULTIPLE`."""
    scale = 1 if size is None else size / min(sides)
    width, height = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in sides)
    return width, height

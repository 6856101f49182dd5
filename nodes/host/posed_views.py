"""Images with camera poses, in folders of the host's input folder. Their contents are untrusted."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import folder_paths
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...splats.camera import Camera
from ...splats.transforms import LARGEST, SUFFIXES, Pose, TransformsError, read_transforms
from .files import file_version, is_file, list_files, reason
from .input_files import located
from .names import did_you_mean

NAMES = ("transforms.json", "transforms_train.json")
"""The files that hold poses, the preferred one first; the second is that of Blender's synthetic scenes."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MOST_PIXELS = 100_000_000
"""Of an image."""
MOST_BYTES = 8 << 30
"""Of all images together, as they leave the node."""


@dataclass(frozen=True)
class PosedView:
    """An image that can be loaded, by its header, and its camera in the size to load.

    Attributes:
        file: the image, relative to the folder of the poses.
        bend: how many pixels the lens distorts the image at most, in its own size.
    """

    path: Path
    file: str
    camera: Camera
    bend: float


def posed_view_folders() -> list[str]:
    """The folders with poses in the host's input folder and below, sorted. "." is the input folder itself."""
    files = list_files(Path(folder_paths.get_input_directory()), ".json", below=True)
    paths = (PurePosixPath(file) for file in files)
    return sorted({path.parent.as_posix() for path in paths if path.name in NAMES})


def posed_views_file(name: Any) -> Path:
    """The file with the poses of a folder.

    Raises ValueError for a name outside the input folder, of a folder without such a file, or that is no text.
    """
    folder, kind = located(name, "folder")
    found = next((folder / each for each in NAMES if is_file(folder / each, ".json")), None)
    if found is None:
        raise ValueError(
            f"ComfyUI's {kind} folder has no folder '{name}' with a {NAMES[0]}: put the images with their "
            f"{NAMES[0]} there, or choose another." + did_you_mean(str(name), posed_view_folders())
        )
    return found


def posed_views_versions(name: str | None) -> str:
    """Changes whenever poses or images of a folder change, or those of any folder if the name is None."""
    root = Path(folder_paths.get_input_directory())
    folders = [root / each for each in posed_view_folders()] if name is None else [posed_views_file(name).parent]
    files = (
        folder / each
        for folder in folders
        for each in [*NAMES, *(image for suffix in SUFFIXES for image in list_files(folder, suffix, below=True))]
    )
    return " ".join(filter(None, map(file_version, files)))


def checked_views(name: str, every: int, longest_side: int) -> list[PosedView]:
    """Each `every`-th view of a folder, to be loaded with at most `longest_side` pixels on a side; 0 sets no limit.

    Everything is checked before an image is decoded. Raises ValueError that names the file.
    """
    poses_file = posed_views_file(name)
    label = f"The folder '{name}' cannot be used"
    poses = _read_poses(poses_file, name, every)
    paths = [poses_file.parent / pose.file for pose in poses]
    if missing := [
        pose.file for pose, path in zip(poses, paths, strict=True) if not is_file(path, path.suffix.lower())
    ]:
        others = f", nor {len(missing) - 1} others" if len(missing) > 1 else ""
        raise ValueError(f"{label}: it has no image '{missing[0]}'{others}. Copy the images into it.")
    width, height = _size(paths[0], f"{label}: the image '{poses[0].file}'")
    shrunk = min(1.0, (longest_side or max(width, height)) / max(width, height))
    loaded = max(1, round(width * shrunk)), max(1, round(height * shrunk))
    total = 12 * len(poses) * loaded[0] * loaded[1]
    if total > MOST_BYTES:
        raise ValueError(
            f"{label}: its {len(poses)} views of {loaded[0]}x{loaded[1]} pixels take {total / 2**30:.0f} GiB of "
            f"memory, more than {MOST_BYTES >> 30}: lower longest_side, or raise every."
        )
    views = []
    for pose, path in zip(poses, paths, strict=True):
        size = _size(path, f"{label}: the image '{pose.file}'")
        if size != (width, height):
            raise ValueError(
                f"{label}: the image '{pose.file}' is {size[0]}x{size[1]} pixels, but '{poses[0].file}' is "
                f"{width}x{height}: all need one size."
            )
        try:
            camera = pose.camera(width, height)
        except TransformsError as error:
            raise ValueError(f"{label}: {error}") from error
        views.append(PosedView(path, pose.file, camera.scaled(*loaded), pose.bend(camera)))
    return views


def posed_image(view: PosedView) -> Tensor:
    """The image (H, W, 3) of a view, over white where it is transparent. Raises ValueError if it is damaged."""
    try:
        with Image.open(view.path, formats=FORMATS) as image:
            if image.mode.startswith("I"):  # 16 bits of gray
                image = Image.fromarray((np.asarray(image).clip(0, 65535) / 257).round().astype(np.uint8))
            straight = image.convert("RGBA")
    except Exception as error:  # damaged files raise errors of many types
        raise ValueError(f"The image '{view.file}' is damaged: {reason(error)}. Export or copy it again.") from error
    opaque = Image.alpha_composite(Image.new("RGBA", straight.size, "white"), straight).convert("RGB")
    size = view.camera.width, view.camera.height
    if opaque.size != size:
        opaque = opaque.resize(size, Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(opaque).astype(np.float32) / 255)


def _read_poses(path: Path, name: str, every: int) -> list[Pose]:
    label = f"The file '{PurePosixPath(name, path.name)}'"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{label} cannot be read: {reason(error)}. Check its permissions.") from error
    return read_transforms(content, label, every)


def _size(path: Path, label: str) -> tuple[int, int]:
    """Width and height of an image by its header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        width = height = MOST_PIXELS
    except Exception as error:  # damaged files raise errors of many types
        raise ValueError(
            f"{label} cannot be read as PNG, JPEG, WebP, BMP or TIFF: {type(error).__name__}. Convert it, or leave it "
            "out."
        ) from error
    if width * height > MOST_PIXELS:
        raise ValueError(f"{label} has more than {MOST_PIXELS // 10**6} million pixels: scale all images down.")
    return width, height

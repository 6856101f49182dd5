"""Poses of photographs: the transforms.json of nerfstudio, instant-ngp and Blender's synthetic scenes.

Contents are untrusted. The files have the camera axes of OpenGL (x right, y up, z back) in a world whose z is up; here
both have x right, y down, z forward.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from posixpath import normpath
from typing import Any

import torch
from torch import Tensor

from .camera import Camera

LARGEST = 8_000_000
"""Bytes of the largest file that is read: about 8,000 frames."""
MOST_PARTS = 200_000
"""The most lists and objects in a file: a frame has six, and millions take seconds."""
MOST_FRAMES = 2000
"""The most frames that are used."""
LONGEST_PATH = 1000
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Of images."""
VIDEOS = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".gif")
LENSES = ("OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "RADIAL", "SIMPLE_RADIAL", "PERSPECTIVE")
"""Camera models that are a pinhole with distortion."""
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
WORLD = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
"""From a world whose z is up to one whose y is down."""
CAMERA = torch.tensor([1.0, -1, -1], dtype=torch.float64)
"""The signs of OpenGL's axes of a camera."""
SKEW = 0.01
"""The largest difference from perpendicular axes, as a cosine, that is rounding."""


class TransformsError(ValueError):
    """A file has no poses that can be used; the message says what is wrong."""


@dataclass(frozen=True)
class Pose:
    """An image and the camera that took it.

    Attributes:
        file: the image, relative to the folder of the transforms.json and inside it, with slashes.
        position, axes: as those of `Camera`, in float64.
        focal: horizontal and vertical focal length in pixels, or angle of view in radians where `angles` says so. None
            for the vertical one: pixels are square.
        center: where the optical axis is in pixels, None for the middle.
        size: the width and height of the image in pixels that the numbers are for, None where the file does not say.
        distortion: the coefficients of the lens by name, those other than 0.
    """

    file: str
    position: Tensor
    axes: Tensor
    focal: tuple[float, float | None]
    angles: tuple[bool, bool]
    center: tuple[float | None, float | None]
    size: tuple[float | None, float | None]
    distortion: Mapping[str, float]

    def camera(self, width: int, height: int) -> Camera:
        """The camera, for the image in `width` x `height` pixels. Raises TransformsError for other proportions."""
        own = self.size[0] or width, self.size[1] or height
        if abs(width * own[1] - height * own[0]) > max(*own, width, height):  # more than a pixel
            raise TransformsError(
                f"the image '{self.file}' is {width}x{height} pixels, but its camera is for {own[0]:g}x{own[1]:g}: use "
                "the images that the file was made for, or correct w and h."
            )
        fx, fy = (
            length if length is None or not angle else side / 2 / math.tan(length / 2)
            for length, angle, side in zip(self.focal, self.angles, own, strict=True)
        )
        cx, cy = (side / 2 if middle is None else middle for middle, side in zip(self.center, own, strict=True))
        assert fx is not None
        across, down = width / own[0], height / own[1]
        focal, center = (fx * across, (fy or fx) * down), (cx * across, cy * down)
        return Camera(self.position, self.axes, focal, center, width, height)

    def bend(self, camera: Camera) -> float:
        """How many pixels the lens moves a corner of the camera's image, at most."""
        k1, k2, k3, _, p1, p2 = (self.distortion.get(name, 0.0) for name in DISTORTION)
        most = 0.0
        for column in (0, camera.width):
            for row in (0, camera.height):
                x, y = (column - camera.center[0]) / camera.focal[0], (row - camera.center[1]) / camera.focal[1]
                r = x * x + y * y
                radial = r * (k1 + r * (k2 + r * k3))
                dx = x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x)
                dy = y * radial + 2 * p2 * x * y + p1 * (r + 2 * y * y)
                most = max(most, math.hypot(dx * camera.focal[0], dy * camera.focal[1]))
        return most


def read_transforms(content: bytes, name: str, every: int = 1) -> list[Pose]:
    """The poses in a transforms.json: its first frame and each `every`-th after it, in the file's order.

    `name` is for messages. Raises TransformsError.
    """
    data = _parsed(content, name)
    frames = data.get("frames")
    if not isinstance(frames, list) or not frames:
        raise TransformsError(f"{name} has no frames: export the poses of its images again.")
    numbers = range(0, len(frames), every)
    if len(numbers) > MOST_FRAMES:
        raise TransformsError(f"{name} has {len(numbers):,} frames to load, more than {MOST_FRAMES:,}: raise every.")
    labels = [f"{name} cannot be used: frame {i + 1}" for i in numbers]
    for label, i in zip(labels, numbers, strict=True):
        if not isinstance(frames[i], dict):
            raise TransformsError(f"{label} is not an object with file_path and transform_matrix.")
    chosen = [frames[i] for i in numbers]
    files = [_file(frame.get("file_path"), label) for frame, label in zip(chosen, labels, strict=True)]
    lenses = [_lens(frame, data, label) for frame, label in zip(chosen, labels, strict=True)]
    matrices = [_matrix(frame.get("transform_matrix"), label) for frame, label in zip(chosen, labels, strict=True)]
    positions, axes = _poses(torch.tensor(matrices, dtype=torch.float64), labels)
    return [Pose(file, *each) for file, *each in _zipped(files, positions, axes, lenses)]


def _zipped(
    files: Sequence[str], positions: Tensor, axes: Tensor, lenses: Sequence[tuple[Any, ...]]
) -> Iterator[tuple[Any, ...]]:
    for file, position, own, lens in zip(files, positions, axes, lenses, strict=True):
        yield file, position, own, *lens


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    if len(content) > LARGEST:
        raise TransformsError(
            f"{name} has {len(content):,} bytes, more than {LARGEST:,}: leave out frames, or what is not of cameras."
        )
    if content.count(b"[") + content.count(b"{") > MOST_PARTS:
        raise TransformsError(f"{name} has more than {MOST_PARTS:,} lists and objects: leave out frames.")
    try:
        data = json.loads(content)
    except RecursionError as error:
        raise TransformsError(f"{name} is nested too deep: it is damaged, or no transforms.json.") from error
    except ValueError as error:  # also text in no known encoding
        raise TransformsError(f"{name} is not JSON ({str(error)[:80].rstrip('.')}): export it again.") from error
    if not isinstance(data, dict):
        raise TransformsError(f"{name} has no frames: it holds a {type(data).__name__}, not an object.")
    return data


def _file(path: Any, label: str) -> str:
    """The path of an image inside the folder."""
    if not isinstance(path, str) or not path.strip() or not path.isprintable() or len(path) > LONGEST_PATH:
        raise TransformsError(f"{label} has no file_path of an image.")
    slashed = path.replace("\\", "/")
    if PurePosixPath(slashed).is_absolute() or PureWindowsPath(path).drive:
        raise TransformsError(
            f"{label} has the absolute path '{path}': put the image into the folder, and write its path from there."
        )
    inside = normpath(slashed)
    if inside.split("/")[0] == "..":
        raise TransformsError(f"{label} has the path '{path}', which is outside the folder: put the image into it.")
    suffix = PurePosixPath(inside).suffix.lower()
    if suffix in VIDEOS:
        raise TransformsError(f"{label} is the video '{path}': extract its frames as images, and name those.")
    if not suffix:  # as in Blender's synthetic scenes
        return f"{inside}.png"
    if suffix not in SUFFIXES:
        raise TransformsError(f"{label} is '{path}', and {suffix} files are not read: convert it to PNG or JPEG.")
    return inside


def _lens(frame: Mapping[str, Any], data: Mapping[str, Any], label: str) -> tuple[Any, ...]:
    """Focal lengths, which of them are angles, center, size and distortion: the frame's own, or those of all."""
    both = (frame, data)
    model = next((each["camera_model"] for each in both if each.get("camera_model") is not None), "OPENCV")
    if model not in LENSES or any(each.get("is_fisheye") for each in both):
        shown = model if model not in LENSES else "fisheye"
        raise TransformsError(
            f"{label} has a camera of the model {str(shown)[:40]}, and only pinhole cameras are known: undistort the "
            "images first."
        )

    def number(key: str, low: float = -1e6, high: float = 1e6) -> float | None:
        """The value of a key in either, between both limits."""
        for each in both:
            if each.get(key) is not None:
                value = _number(each[key])
                if value is None or not low < value < high:
                    limits = f"a number between {low:g} and {high:g}"
                    raise TransformsError(f"{label} has {key} {str(each[key])[:40]}, which is not {limits}.")
                return value
        return None

    def focal(axis: str) -> tuple[float | None, bool]:
        for each in both:
            if each.get(f"fl_{axis}") is not None:
                return number(f"fl_{axis}", 0), False
            if each.get(f"camera_angle_{axis}") is not None:
                return number(f"camera_angle_{axis}", 0, math.pi), True
        return None, False

    (x, x_angle), (y, y_angle) = focal("x"), focal("y")
    if x is None:
        raise TransformsError(f"{label} has no focal length: write fl_x, in pixels, or camera_angle_x, in radians.")
    distortion = {key: value for key in DISTORTION if (value := number(key))}
    size = number("w", 0, 65_536), number("h", 0, 65_536)
    return (x, y), (x_angle, y_angle), (number("cx"), number("cy")), size, distortion


def _number(value: Any) -> float | None:
    """A finite number, None if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        converted = float(value)
    except OverflowError:  # of a whole number
        return None
    return converted if math.isfinite(converted) else None


def _matrix(value: Any, label: str) -> list[list[float]]:
    """The first three rows of a matrix of numbers."""
    if (
        not isinstance(value, list)
        or len(value) not in (3, 4)
        or not all(isinstance(row, list) and len(row) == 4 for row in value)
    ):
        raise TransformsError(f"{label} has no transform_matrix of 4 rows and 4 columns.")
    rows = [[_number(entry) for entry in row] for row in value]
    if any(entry is None or abs(entry) > 1e9 for row in rows for entry in row):
        raise TransformsError(f"{label} has a transform_matrix with entries that are NaN, infinite or no numbers.")
    numbers = [[entry or 0.0 for entry in row] for row in rows]
    if any(abs(entry - one) > 1e-3 for row in numbers[3:] for entry, one in zip(row, (0, 0, 0, 1), strict=True)):
        raise TransformsError(f"{label} has a transform_matrix whose last row is not 0, 0, 0, 1: is it transposed?")
    return numbers[:3]


def _poses(matrices: Tensor, labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Positions (N, 3) and axes (N, 3, 3), as rows, of camera-to-world matrices (N, 3, 4) of the files."""
    rotations, positions = matrices[..., :3], matrices[..., 3]
    rotations = rotations / rotations.norm(dim=1, keepdim=True)  # some programs scale the scene
    between = rotations.mT @ rotations - torch.eye(3, dtype=torch.float64)
    bad = ~(between.abs().amax((1, 2)) <= SKEW) | ~(torch.linalg.det(rotations) > 0)
    if bad.any():
        label = labels[int(bad.nonzero()[0])]
        raise TransformsError(f"{label} has a transform_matrix that is no rotation: its axes are skewed or mirrored.")
    left, _, right = torch.linalg.svd(rotations)
    axes = WORLD @ (left @ right) * CAMERA
    return positions @ WORLD.mT, axes.mT

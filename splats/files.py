"""Files of splats: 3DGS .ply, read and written, and .splat, read. Contents are untrusted."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .harmonics import COUNTS, from_colors
from .scene import Scene

MOST_SPLATS = 5_000_000
LONGEST_HEADER = 65_536
HEAD = LONGEST_HEADER + 16
"""How many bytes of a file `size_to_read` looks at."""
LARGEST = 4_000_000_000
"""The most bytes of a file that are read: 5 million splats with all coefficients take a third."""
TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "<i2", "int16": "<i2", "ushort": "<u2",
    "uint16": "<u2", "int": "<i4", "int32": "<i4", "uint": "<u4", "uint32": "<u4", "float": "<f4", "float32": "<f4",
    "double": "<f8", "float64": "<f8",
}  # fmt: skip
"""The types of PLY properties, as numpy names them."""
SPLAT = np.dtype([("position", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("rotation", "u1", 4)])
"""A splat of a .splat file."""


class SplatFileError(ValueError):
    """A file is no scene of splats that can be read; the message says what is wrong."""


def read_splats(content: bytes, name: str) -> Scene:
    """The scene in a file, by its content. `name` is for messages. Raises SplatFileError."""
    scene = _from_ply(content, name) if content.startswith(b"ply") else _from_splat(content, name)
    for what, values in zip(("positions", "scales", "rotations", "opacities", "colors"), scene.parameters, strict=True):
        if not values.isfinite().all():
            raise SplatFileError(f"{name} has NaN or infinite {what}: export it again, or choose another file.")
    if not scene.scales.isfinite().all():
        raise SplatFileError(
            f"{name} has scales above exp(88): export it again, with the logarithms of scales, as 3DGS does."
        )
    return scene


def size_to_read(head: bytes, size: int, name: str) -> int:
    """How many bytes of a file to read, from its first `HEAD` ones and its size. Raises SplatFileError.

    So a file that is far too large, or that promises too much, is refused before it fills the memory.
    """
    if head.startswith(b"ply"):
        count, properties, start = _read_header(head, name)
        needed = start + count * np.dtype(properties).itemsize
        _check_complete(size, needed, count, name)
    else:
        needed = size
        _check_splat_size(size, name)
    if needed > LARGEST:
        raise SplatFileError(f"{name} needs {needed / 1e9:.1f} GB of memory: remove values that splats do not have.")
    return needed


def write_ply(scene: Scene) -> bytes:
    """The scene as a 3DGS .ply in binary, which other programs read."""
    with torch.no_grad():
        parts = {
            "xyz": scene.positions,
            "nxyz": torch.zeros_like(scene.positions),
            "f_dc": scene.harmonics[:, 0],
            # A file lists all coefficients of red before those of green.
            "f_rest": scene.harmonics[:, 1:].transpose(1, 2).flatten(1),
            "opacity": scene.opacity_logits[:, None],
            "scale": scene.log_scales,
            "rot": scene.rotations,
        }
        columns = torch.cat([part.detach().cpu().float() for part in parts.values()], dim=1)
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    names += [f"f_rest_{i}" for i in range(parts["f_rest"].shape[1])]
    names += ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(scene)}"]
    header += [*(f"property float {name}" for name in names), "end_header", ""]
    return "\n".join(header).encode() + columns.numpy().astype("<f4").tobytes()


def _from_ply(content: bytes, name: str) -> Scene:
    count, properties, start = _read_header(content, name)
    record = np.dtype(properties)
    _check_complete(len(content), start + count * record.itemsize, count, name)
    values = np.frombuffer(content, record, count, start)
    known = set(record.names or ())

    def columns(*names: str) -> Tensor:
        return torch.from_numpy(np.stack([values[each].astype(np.float32) for each in names], axis=1))

    needed = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
    needed += [f"rot_{i}" for i in range(4)]
    if missing := [each for each in needed if each not in known]:
        kind = "a mesh or point cloud" if {"x", "y", "z"} <= known else "something else"
        raise SplatFileError(f"{name} is {kind}, not Gaussian splats: it has no {missing[0]}. Load a 3DGS .ply.")
    rest = sum(each.startswith("f_rest_") for each in known)
    if rest % 3 or rest // 3 + 1 not in COUNTS:
        raise SplatFileError(
            f"{name} has {rest} coefficients f_rest of view-dependent color: 0, 9, 24 or 45 are known."
        )
    if missing := [each for each in (f"f_rest_{i}" for i in range(rest)) if each not in known]:
        raise SplatFileError(
            f"{name} has {rest} coefficients f_rest of view-dependent color, but no {missing[0]}: export it again."
        )
    harmonics = columns("f_dc_0", "f_dc_1", "f_dc_2")[:, None]
    if rest:
        others = columns(*(f"f_rest_{i}" for i in range(rest))).reshape(count, 3, rest // 3)
        harmonics = torch.cat([harmonics, others.transpose(1, 2)], dim=1)
    rotations = columns(*(f"rot_{i}" for i in range(4)))
    return Scene(
        columns("x", "y", "z"), columns("scale_0", "scale_1", "scale_2"), rotations, columns("opacity")[:, 0], harmonics
    )


def _read_header(content: bytes, name: str) -> tuple[int, list[tuple[str, str]], int]:
    """The number of splats, the names and types of their values, and where they start."""
    end = content.find(b"end_header", 0, LONGEST_HEADER)
    if end < 0:
        raise SplatFileError(f"{name} has no header of a .ply in its first {LONGEST_HEADER} bytes: it is damaged.")
    start = end + len(b"end_header")
    start += 2 if content[start : start + 2] == b"\r\n" else 1
    lines = [line.split() for line in content[:end].decode("ascii", "replace").splitlines()]
    if ["format", "binary_little_endian", "1.0"] not in lines:
        raise SplatFileError(f"{name} is not a binary little-endian .ply: export it as binary.")
    elements = [line for line in lines if line[:1] == ["element"]]
    if not elements or elements[0][1:2] != ["vertex"] or len(elements[0]) != 3 or not elements[0][2].isdecimal():
        raise SplatFileError(f"{name} does not begin with vertices, so it holds no Gaussian splats.")
    count = int(elements[0][2][:20])  # more digits are too many splats anyway
    _check_count(count, name)
    properties: list[tuple[str, str]] = []
    for line in lines[lines.index(elements[0]) + 1 :]:
        if line[:1] == ["element"]:
            break
        if line[:1] != ["property"]:
            continue
        if len(line) != 3 or line[1] not in TYPES or line[2] in dict(properties):
            raise SplatFileError(f"{name} has a property that splats do not have: '{' '.join(line)[:60]}'.")
        properties.append((line[2], TYPES[line[1]]))
    if not properties:
        raise SplatFileError(f"{name} has vertices without values, so it holds no Gaussian splats.")
    return count, properties, start


def _from_splat(content: bytes, name: str) -> Scene:
    _check_splat_size(len(content), name)
    values = np.frombuffer(content, SPLAT)
    position, scale, color, rotation = (torch.from_numpy(values[each].astype(np.float32)) for each in SPLAT.names or ())
    color = color / 255
    return Scene.activated(position, scale, (rotation - 128) / 128, color[:, 3], from_colors(color[:, :3]))


def _check_splat_size(size: int, name: str) -> None:
    if size % SPLAT.itemsize:
        raise SplatFileError(f"{name} is no .ply, and no .splat either, as its size is not a multiple of 32 bytes.")
    _check_count(size // SPLAT.itemsize, name)


def _check_complete(size: int, needed: int, count: int, name: str) -> None:
    if size < needed:
        raise SplatFileError(
            f"{name} ends early: its header promises {count} splats, {needed} bytes in all, and it has {size}. Copy or "
            "download it again."
        )


def _check_count(count: int, name: str) -> None:
    if not 0 < count <= MOST_SPLATS:
        found = f"{count:,} splats, more than {MOST_SPLATS:,}" if count else "no splats"
        raise SplatFileError(f"{name} has {found}: choose another file.")

"""The host's sockets of Gaussian splats. Hosts before 0.33 have none: there the pack's own type has the same name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io
from torch import Tensor

from ...splats.files import MOST_SPLATS, write_ply
from ...splats.harmonics import COUNTS
from ...splats.scene import Scene

SPLAT: Any = getattr(io, "Splat", None) or io.Custom("SPLAT")
"""The socket type of splats."""
WIDTHS = {"positions": 3, "scales": 3, "rotations": 4, "opacities": 1}
"""How many numbers of a splat each attribute has, beside those of its color."""


@dataclass
class Splats:
    """A batch of B scenes with the attributes of the newer host's class, for hosts without it.

    Attributes:
        positions: (B, N, 3), in world units; x right, y down, z forward.
        scales: (B, N, 3), standard deviations above 0.
        rotations: (B, N, 4), unit quaternions (w, x, y, z).
        opacities: (B, N, 1) in [0, 1].
        sh: (B, N, K, 3), coefficients of spherical harmonics, K = 1, 4, 9 or 16.
        counts: (B,), how many splats each scene has; zeros follow. None if all have N.
    """

    positions: Tensor
    scales: Tensor
    rotations: Tensor
    opacities: Tensor
    sh: Tensor
    counts: Tensor | None = None


def splat_value(scenes: Sequence[Scene]) -> Any:
    """The value of a SPLAT socket, from at least one scene; on the CPU in float32."""
    lengths = [len(scene) for scene in scenes]
    coefficients = max(scene.harmonics.shape[1] for scene in scenes)

    def padded(parts: Iterator[Tensor], *shape: int) -> Tensor:
        batch = torch.zeros(len(scenes), max(lengths), *shape)
        for row, part in zip(batch, parts, strict=True):
            row[tuple(slice(size) for size in part.shape)] = part.detach()
        return batch

    return _splat_class()(
        positions=padded((scene.positions for scene in scenes), 3),
        scales=padded((scene.scales for scene in scenes), 3),
        rotations=padded((torch.nn.functional.normalize(scene.rotations, dim=-1) for scene in scenes), 4),
        opacities=padded((scene.opacities[:, None] for scene in scenes), 1),
        sh=padded((scene.harmonics for scene in scenes), coefficients, 3),
        counts=None if len(set(lengths)) == 1 else torch.tensor(lengths),
    )


def splat_scenes(name: str, value: Any) -> list[Scene]:
    """The scenes in the value of the SPLAT socket `name`, at least one; on the CPU in float32.

    Their tensors may share memory with the value. Raises ValueError if it is none that can be drawn.
    """
    # Checks the content, not the class: other packs have their own class.
    parts: dict[str, Any] = {each: getattr(value, each, None) for each in (*WIDTHS, "sh")}
    if not all(isinstance(part, Tensor) for part in parts.values()):
        raise ValueError(
            f"Input '{name}' is not a valid splat, its type is {type(value).__name__}: connect Load Splat or another "
            "node with a SPLAT output."
        )
    _check_shapes(name, parts)
    lengths = _lengths(name, parts["positions"], getattr(value, "counts", None))
    if (total := sum(lengths)) > MOST_SPLATS:
        raise ValueError(
            f"Input '{name}' has {total:,} splats, more than {MOST_SPLATS:,}: remove faint splats, or use fewer scenes."
        )
    scenes = []
    for i, length in enumerate(lengths):
        own = {each: part[i, :length].detach().to("cpu", torch.float32) for each, part in parts.items()}
        if bad := next((each for each, part in own.items() if not part.isfinite().all()), None):
            raise ValueError(
                f"Input '{name}' contains NaN or infinite values in {bad}: check the node connected to it."
            )
        opacities = own["opacities"][:, 0]
        scenes.append(Scene.activated(own["positions"], own["scales"], own["rotations"], opacities, own["sh"]))
    return scenes


def temporary_splat(scene: Scene) -> str:
    """Save a scene to the host's temp folder; returns the name of the file."""
    folder, name, number, _, _ = folder_paths.get_save_image_path("DreamSampler", folder_paths.get_temp_directory())
    place = Path(folder, f"{name}_{number:05}_.ply")
    place.write_bytes(write_ply(scene))
    return place.name


def _check_shapes(name: str, parts: dict[str, Tensor]) -> None:
    """Check the shapes of all attributes of a splat."""
    leading = parts["positions"].shape[:2]
    wanted = {each: (*leading, width) for each, width in WIDTHS.items()}
    wrong = next((each for each, shape in wanted.items() if tuple(parts[each].shape) != shape), None)
    if len(leading) != 2:
        wrong = "positions"
    elif wrong is None and not any(tuple(parts["sh"].shape) == (*leading, count, 3) for count in COUNTS):
        wrong = "sh"
    if wrong:
        shape = "x".join(map(str, parts[wrong].shape))
        raise ValueError(
            f"Input '{name}' is a splat whose {wrong} have the wrong shape {shape} for positions of the shape "
            f"{'x'.join(map(str, parts['positions'].shape))}: check the node connected to it."
        )


def _lengths(name: str, positions: Tensor, counts: Any) -> list[int]:
    """How many splats each scene has, at least one."""
    scenes, longest = positions.shape[:2]
    if counts is None:
        lengths = [longest] * scenes
    elif isinstance(counts, Tensor) and counts.shape == (scenes,) and ((counts >= 0) & (counts <= longest)).all():
        lengths = [int(each) for each in counts]
    else:
        raise ValueError(
            f"Input '{name}' is a splat of {scenes} scenes with up to {longest} splats, and its counts do not fit: "
            "check the node connected to it."
        )
    if not lengths or 0 in lengths:
        raise ValueError(f"Input '{name}' has a scene without splats: check the node connected to it.")
    return lengths


def _splat_class() -> Any:
    """The host's class for values of SPLAT sockets, or the pack's own."""
    return Splats if SPLAT.Type is Any else SPLAT.Type

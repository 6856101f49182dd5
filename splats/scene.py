"""A scene of Gaussian splats, with parameters that may take any value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Scene:
    """N soft ellipsoids.

    Attributes:
        positions: (N, 3), in world units; x right, y down, z forward.
        log_scales: (N, 3), logarithms of the standard deviations along each splat's own axes.
        rotations: (N, 4), quaternions (w, x, y, z) of these axes, of any length but 0.
        opacity_logits: (N,); the sigmoid is the opacity at the center.
        harmonics: (N, K, 3), the coefficients of `harmonics.basis` for color - 0.5; K is 1, 4, 9 or 16.
    """

    positions: Tensor
    log_scales: Tensor
    rotations: Tensor
    opacity_logits: Tensor
    harmonics: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def activated(cls, positions: Tensor, scales: Tensor, rotations: Tensor, opacities: Tensor, sh: Tensor) -> Scene:
        """A scene from standard deviations (N, 3) above 0 and opacities (N,) in [0, 1]."""
        return cls(positions, scales.clamp(min=1e-12).log(), rotations, opacities.clamp(1e-6, 1 - 1e-6).logit(), sh)

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """All tensors, in the order of the attributes."""
        return tuple(getattr(self, each.name) for each in fields(self))

    @property
    def scales(self) -> Tensor:
        """Standard deviations (N, 3)."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """Opacities (N,) in (0, 1)."""
        return self.opacity_logits.sigmoid()

    def axes(self) -> Tensor:
        """The splats' own axes as columns (N, 3, 3)."""
        w, x, y, z = F.normalize(self.rotations, dim=-1).unbind(-1)
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)

    def map(self, change: Callable[[Tensor], Tensor]) -> Scene:
        """A scene of changed tensors."""
        return replace(self, **{each.name: change(getattr(self, each.name)) for each in fields(self)})

    def __getitem__(self, chosen: Tensor) -> Scene:
        """The splats at indices, or where a mask (N,) is true."""
        return self.map(lambda values: values[chosen])

"""Filling a hole smoothly from its surroundings, and putting an edit back into its source."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .solvers import conjugate_gradient

ITERATIONS, TOLERANCE = 4000, 1e-3
"""Limits of the conjugate gradients on each resolution."""
COARSEST = 16
"""Side in pixels at and below which no coarser image is solved first."""


def membrane(values: Tensor, hole: Tensor) -> Tensor:
    """Fill a hole with the membrane that its surroundings span (Poisson image editing, eq. 3).

    The membrane solves Laplace's equation inside the hole: it continues the values at the hole's edge, stays between
    their extremes and is as smooth as possible. The border of the image does not fix it.

    Args:
        values: (B, C, H, W).
        hole: (B or 1, 1, H, W), 1 inside and 0 outside.

    Returns:
        `values` outside the hole, the membrane inside: (B, C, H, W). An item without any known pixel is 0.
    """
    # Write u = known + hole v. With the graph Laplacian L (positive semidefinite), L u = 0 inside the hole is
    #     hole L (hole v) = -hole L known
    # which is symmetric and solved by conjugate gradients. They carry a value one pixel further per iteration, and are
    # slow for the long waves of a wide hole. So each resolution starts from the solution at half the resolution, which
    # already has the long waves (nested iteration, the way up of full multigrid); only the short ones are left.
    known = (1 - hole) * values
    if min(values.shape[-2:]) <= COARSEST:
        start = torch.zeros_like(values)
    else:
        start = functional.interpolate(membrane(*_halve(known, hole)), values.shape[-2:], mode="bilinear")
    has_edge = (hole < 1).flatten(1).any(dim=1).reshape(-1, 1, 1, 1)
    film = conjugate_gradient(
        lambda v: hole * _laplacian(hole * v),
        -hole * has_edge * _laplacian(known),
        hole * has_edge * start,
        tolerance=TOLERANCE,
        iterations=ITERATIONS,
    )
    return known + film.x


def leveled(images: Tensor, known: Tensor, hole: Tensor) -> Tensor:
    """Images (B, C, H, W) brought to the level of what is `known` outside a `hole` (B or 1, 1, H, W) in [0, 1]."""
    return images + membrane(known - images, hole.ceil())


REACH = 8
"""How far an edit reaches beyond its mask, in pixels: the width of a latent cell of most autoencoders."""


def spliced(edited: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """The edit within its mask, and the source's own pixels more than `REACH` away from it.

    In between both are mixed. The edit is brought to the level of the source at its border, so that the drift of color
    of an autoencoder leaves no seam.

    Args:
        edited, source: images (B, C, H, W).
        mask: (B or 1, 1, H, W) in [0, 1], 1 where the edit applies.
    """
    region = _widened(mask)
    return source + region * (leveled(edited, source, region) - source)


def _widened(mask: Tensor) -> Tensor:
    """A mask with a border of `REACH` pixels around it, in which it falls to 0."""
    side = REACH + 1  # each of both reaches half as far
    return functional.avg_pool2d(
        functional.max_pool2d(mask, side, stride=1, padding=REACH // 2),
        side,
        stride=1,
        padding=REACH // 2,
        count_include_pad=False,
    )


def _halve(known: Tensor, hole: Tensor) -> tuple[Tensor, Tensor]:
    """Values and hole at half the resolution: means of the known pixels of each 2 x 2; hole where none is known."""
    total, count = (functional.avg_pool2d(v, 2, ceil_mode=True) for v in (known, 1 - hole))
    return total / count.clamp(min=0.25), (count == 0).to(hole)


def _laplacian(v: Tensor) -> Tensor:
    """The graph Laplacian of the pixel grid: the sum of each pixel's differences from its 2 to 4 neighbors."""
    down, right = v.diff(dim=-2), v.diff(dim=-1)
    total = torch.zeros_like(v)
    total[..., :-1, :] -= down
    total[..., 1:, :] += down
    total[..., :-1] -= right
    total[..., 1:] += right
    return total

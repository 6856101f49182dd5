"""Random views of a drawing, so that no view of it alone pleases the diffusion model (VectorFusion, supplement F.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Perspective views that pictures are seen in: one for all or one for each.

    `homographies` (1 or B, 3, 3) take pixel coordinates (x, y, 1) of the view, centres at .5, to those of the picture,
    up to scale. The view is of `height` x `width` pixels.
    """

    homographies: Tensor
    height: int
    width: int

    def __call__(self, pictures: Tensor, background: Tensor | float = 1.0) -> Tensor:
        """The views (B, C, height, width) of pictures (B, C, H, W), differentiable in the pictures and the background.

        One picture may be seen in many views. `background` is what surrounds the pictures, white unless given: a
        number, a colour (C,), or one for each picture (B, C). Bilinear, so the border fades over a pixel; nothing is
        averaged where a perspective makes a part smaller.
        """
        count = max(len(pictures), len(self.homographies))
        homographies = self.homographies.to(pictures.dtype).to(pictures.device)
        places = _places(homographies, self.height, self.width, pictures.shape[-2:])
        around = torch.as_tensor(background, dtype=pictures.dtype, device=pictures.device)
        around = around.reshape(*around.shape, 1, 1) if around.ndim else around
        # Zeros are the one border that grid_sample fills smoothly: so they stand for the background.
        views = functional.grid_sample(
            (pictures - around).expand(count, -1, -1, -1),
            places.expand(count, -1, -1, -1),
            padding_mode="zeros",
            align_corners=False,
        )
        return views + around


def random_augmentation(
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    crop: tuple[int, int],
    distortion: float = 0.5,
    probability: float = 0.7,
    count: int = 1,
) -> Augmentation:
    """`count` random views of pictures of `height` x `width` pixels: a perspective and then a crop (VectorFusion).

    With `probability` the corners of the picture move inwards, along x and y, by up to `distortion` of half a side.
    Then a window of `crop` (height, width) is cut out anywhere. The same draws whether or not there is a perspective.

    Raises ValueError for a crop that is larger than the picture.
    """
    if crop[0] > height or crop[1] > width:
        raise ValueError(
            f"A crop of {crop[1]} x {crop[0]} pixels does not fit a picture of {width} x {height}; choose a smaller "
            "crop."
        )
    # In float64 from here, so that a view without perspective hits the pixel centres.
    draw = torch.rand(count, 11, generator=generator, device=generator.device).cpu().double()
    size = torch.tensor([width, height], dtype=torch.float64)
    corners = size * torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    inwards = 1 - 2 * corners / size
    moved = corners + inwards * draw[:, :8].reshape(-1, 4, 2) * distortion * size / 2
    skewed = draw[:, 8, None, None] < probability
    perspective = _homography(torch.where(skewed, moved, corners), corners.expand_as(moved))
    room = torch.tensor([width - crop[1] + 1, height - crop[0] + 1], dtype=torch.float64)
    shift = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    shift[:, :2, 2] = (draw[:, 9:] * room).floor()
    return Augmentation(perspective @ shift, *crop)


class Views:
    """Random views of pictures of `canvas` (height, width), of `crop`'s size: item i draws from `generators[i]`."""

    def __init__(self, canvas: tuple[int, int], crop: tuple[int, int], generators: Sequence[torch.Generator]):
        self._canvas, self._crop, self._generators = canvas, crop, generators

    def __call__(self) -> Augmentation:
        views = [random_augmentation(*self._canvas, g, crop=self._crop).homographies for g in self._generators]
        return Augmentation(torch.cat(views), *self._crop)


def _homography(start: Tensor, end: Tensor) -> Tensor:
    """The projective maps (B, 3, 3) that take four points `start` (B, 4, 2) to `end` (B, 4, 2)."""
    (x, y), (u, v) = start.unbind(-1), end.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    for_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    for_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    entries = torch.linalg.solve(torch.cat([for_u, for_v], 1), torch.cat([u, v], 1))
    return torch.cat([entries, one[:, :1]], 1).reshape(-1, 3, 3)


def _places(homographies: Tensor, height: int, width: int, of: torch.Size) -> Tensor:
    """Where each pixel of the views is seen, in grid_sample's coordinates: (B, height, width, 2)."""
    y, x = (torch.arange(n, dtype=homographies.dtype, device=homographies.device) + 0.5 for n in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    places = torch.einsum("bij,hwj->bhwi", homographies, pixels)
    size = homographies.new_tensor([of[1], of[0]])
    return 2 * places[..., :2] / places[..., 2:] / size - 1

"""Random perspective and crop of a drawing before it is encoded (VectorFusion, supplement F.2).

The diffusion model sees another view at every step, so the drawing cannot fit the model in one fixed view only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Perspective views of images: one view for all images, or one for each.

    Attributes:
        homographies: (1 or B, 3, 3), up to scale. They map homogeneous pixel coordinates (x, y, 1) of the view to those
            of the image; pixel centers are at .5.
        height: Height of the view in pixels.
        width: Width of the view in pixels.
    """

    homographies: Tensor
    height: int
    width: int

    def __call__(self, images: Tensor, background: Tensor | float = 1.0) -> Tensor:
        """The views (B, C, height, width) of images (B, C, H, W).

        Differentiable in the images and the background. One image may be shown in several views. Sampling is bilinear,
        so the border fades over one pixel; there is no antialiasing where the perspective makes a part smaller.

        Args:
            images: (B or 1, C, H, W).
            background: What surrounds the images: a number, a color (C,), or one color for each image (B, C). White
                by default.
        """
        count = max(len(images), len(self.homographies))
        homographies = self.homographies.to(images.dtype).to(images.device)
        grid = _sampling_grid(homographies, self.height, self.width, images.shape[-2:])
        around = torch.as_tensor(background, dtype=images.dtype, device=images.device)
        around = around.reshape(*around.shape, 1, 1) if around.ndim else around
        # grid_sample fills smoothly only with zeros, so the background is subtracted before and added after.
        views = functional.grid_sample(
            (images - around).expand(count, -1, -1, -1),
            grid.expand(count, -1, -1, -1),
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
    """Random views of images: a perspective, then a crop (VectorFusion, supplement F.2).

    With `probability`, the corners of the image move inwards, along x and along y, by up to `distortion` times half a
    side. Then a random window is cut out. The number of random draws does not depend on the outcome.

    Args:
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        generator: Source of the random numbers.
        crop: Height and width of the window in pixels.
        distortion: In [0, 1].
        probability: In [0, 1].
        count: The number of views.

    Raises:
        ValueError: The crop is larger than the image.
    """
    if crop[0] > height or crop[1] > width:
        raise ValueError(
            f"A crop of {crop[1]} x {crop[0]} pixels does not fit an image of {width} x {height}; choose a smaller "
            "crop."
        )
    # float64 from here on, so that a view without perspective samples exactly at pixel centers.
    draw = torch.rand(count, 11, generator=generator, device=generator.device).cpu().double()
    size = torch.tensor([width, height], dtype=torch.float64)
    corners = size * torch.tensor([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    inwards = 1 - 2 * corners / size
    moved = corners + inwards * draw[:, :8].reshape(-1, 4, 2) * distortion * size / 2
    distorted = draw[:, 8, None, None] < probability
    perspective = _homography(torch.where(distorted, moved, corners), corners.expand_as(moved))
    positions = torch.tensor([width - crop[1] + 1, height - crop[0] + 1], dtype=torch.float64)
    shift = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    shift[:, :2, 2] = (draw[:, 9:] * positions).floor()
    return Augmentation(perspective @ shift, *crop)


class RandomViews:
    """Makes new random views at each call, one per drawing.

    Args:
        canvas: Height and width of the images in pixels.
        crop: Height and width of the views in pixels.
        generators: One random generator per drawing.
    """

    def __init__(self, canvas: tuple[int, int], crop: tuple[int, int], generators: Sequence[torch.Generator]):
        self._canvas, self._crop, self._generators = canvas, crop, generators

    def __call__(self) -> Augmentation:
        views = [random_augmentation(*self._canvas, g, crop=self._crop).homographies for g in self._generators]
        return Augmentation(torch.cat(views), *self._crop)


def _homography(start: Tensor, end: Tensor) -> Tensor:
    """The projective maps (B, 3, 3) that take four points `start` (B, 4, 2) to `end` (B, 4, 2).

    With the last entry fixed to 1, u = (h1 x + h2 y + h3) / (h7 x + h8 y + 1) is linear in the other eight entries:
    h1 x + h2 y + h3 - h7 u x - h8 u y = u, and the same for v. Four points give eight equations.
    """
    (x, y), (u, v) = start.unbind(-1), end.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    u_rows = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1)
    v_rows = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)
    entries = torch.linalg.solve(torch.cat([u_rows, v_rows], 1), torch.cat([u, v], 1))
    return torch.cat([entries, one[:, :1]], 1).reshape(-1, 3, 3)


def _sampling_grid(homographies: Tensor, height: int, width: int, image_size: torch.Size) -> Tensor:
    """Where each pixel of the views is sampled, (B, height, width, 2) in the coordinates of grid_sample."""
    y, x = (torch.arange(n, dtype=homographies.dtype, device=homographies.device) + 0.5 for n in (height, width))
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    pixels = torch.stack([columns, rows, torch.ones_like(rows)], -1)
    mapped = torch.einsum("bij,hwj->bhwi", homographies, pixels)
    size = homographies.new_tensor([image_size[1], image_size[0]])
    return 2 * mapped[..., :2] / mapped[..., 2:] / size - 1

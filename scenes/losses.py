"""Losses of scenes: distance to an image, and what keeps splats few and small."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .optimizer import TrainableScene

DSSIM = 0.2
"""The share of 1 - SSIM in the distance to an image (3DGS, eq. 7)."""
WINDOW, WIDTH = 11, 1.5
"""The Gaussian window of SSIM in pixels (Wang et al., 2004)."""


def image_distance(images: Tensor, targets: Tensor) -> Tensor:
    """0.8 L1 + 0.2 (1 - SSIM) of images (V, 3, H, W) in [0, 1]: the loss of 3DGS, eq. 7."""
    return (1 - DSSIM) * (images - targets).abs().mean() + DSSIM * (1 - ssim(images, targets))


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """The mean structural similarity of images (B, C, H, W) in [0, 1] (Wang et al., 2004, eq. 13).

    The window of 11 pixels is cut to the largest odd size that fits in smaller images.
    """
    window = min(WINDOW, (min(x.shape[-2:]) - 1) // 2 * 2 + 1)
    offsets = torch.arange(window, dtype=x.dtype, device=x.device) - window // 2
    line = torch.exp(-0.5 * (offsets / WIDTH).square())
    line = line / line.sum()
    channels = x.shape[1]
    rows, columns = (line.reshape(shape).expand(channels, 1, -1, -1) for shape in ((1, 1, -1, 1), (1, 1, 1, -1)))

    def mean(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image, rows, groups=channels), columns, groups=channels)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * mx * my + c1) * (2 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean()


@dataclass(frozen=True)
class SparsityTerm:
    """Pull to transparent and small splats, which are moved to where they are needed (3DGS-MCMC, section 3.4).

    Weights are the paper's, of means over all splats.
    """

    trainable: TrainableScene
    opacity_weight: float = 0.01
    scale_weight: float = 0.01

    def __call__(self, sample: object = None) -> Tensor:
        scene = self.trainable.scene()
        return self.opacity_weight * scene.opacities.mean() + self.scale_weight * scene.scales.mean()

"""Fit a scene to posed images, or to measurements of them (3DGS: Kerbl et al., 2023; 3DGS-MCMC: Kheradmand et al.,
2024)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..guidance.restoration.measurement import Measurement
from ..splats.camera import Camera
from ..splats.rasterizer import render
from ..splats.renderers import Renderer
from .cameras import among
from .losses import SparsityTerm, image_distance
from .optimizer import FITTING, LearningRates, TrainableScene, set_rates

RELOCATE_EVERY, RELOCATE_UNTIL = 100, 5 / 6
"""Transparent splats move every 100 steps, over 25,000 of the 30,000 steps of 3DGS-MCMC."""


@dataclass(frozen=True)
class Targets:
    """What the views should look like: `images` (V, 3, H, W) in [0, 1] before `background` (3,), one per camera.

    With a `measurement` of V images or of one, `images` are ignored and the measurement of each view is compared.
    """

    cameras: Sequence[Camera]
    background: Tensor
    images: Tensor | None = None
    measurement: Measurement | None = None

    def distance(self, image: Tensor, index: int) -> Tensor:
        """How far the image (3, H, W) of the camera `index` is from what it should be."""
        if self.measurement is None:
            assert self.images is not None
            return image_distance(image[None], self.images[index][None])
        residual = self.measurement.of_item(index).residual(2 * image[None] - 1)
        return residual.square().mean()


@dataclass(frozen=True)
class FitStep:
    """What a step did: its index, and the view (3, H, W) that it looked at, as it was before."""

    index: int
    image: Tensor


def fit(
    trainable: TrainableScene,
    targets: Targets,
    steps: int,
    generator: torch.Generator,
    *,
    rates: LearningRates = FITTING,
    renderer: Renderer = render,
) -> Iterator[FitStep]:
    """Fit a scene in place, one view a step: all views in random order, then again.

    Do not run it in `torch.inference_mode`. Yields each step after it was taken.
    """
    optimizer, sparsity = trainable.adam(rates), SparsityTerm(trainable)
    draw = among(targets.cameras, 1, lambda: targets.background, generator)
    for step in range(steps):
        (look,) = draw()
        with torch.enable_grad():
            image = renderer(trainable.scene(), look.camera, look.background).color
            loss = targets.distance(image, look.index) + sparsity()
        set_rates(optimizer, rates, step / steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trainable.constrain()
        if relocation_due(step, steps):
            trainable.relocate(optimizer, generator)
        yield FitStep(step, image.detach())


def relocation_due(step: int, steps: int) -> bool:
    """Whether transparent splats move after this step."""
    return (step + 1) % RELOCATE_EVERY == 0 and step < RELOCATE_UNTIL * steps

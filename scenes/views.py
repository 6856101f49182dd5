"""Rendered views of a scene as a generator of latents."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..splats.rasterizer import render
from ..splats.renderers import Renderer
from ..splats.scene import Scene
from .cameras import Draw, Look
from .optimizer import TrainableScene


class SceneViews:
    """Views of one scene as a generator of latents z0 = g(theta): a new set of cameras at each call.

    The items of its batch are views of one scene, so they share all parameters, and their gradients add up.

    Args:
        trainable: the scene; it is changed in place.
        encode: maps images (V, 3, H, W) in [-1, 1] to latents, differentiably.
        draw: the looks of each call.
        renderer: draws the scene.

    Attributes:
        looks: the last looks.
        images: the last rendered images (V, 3, H, W) in [0, 1].
    """

    def __init__(
        self, trainable: TrainableScene, encode: Callable[[Tensor], Tensor], draw: Draw, renderer: Renderer = render
    ):
        self.trainable, self._encode, self._draw, self._renderer = trainable, encode, draw, renderer
        self.looks: Sequence[Look] = ()
        self.images = torch.empty(0)

    @property
    def parameters(self) -> Sequence[Tensor]:
        return list(self.trainable.groups.values())

    def encode(self, images: Tensor) -> Tensor:
        """The latents of images (V, 3, H, W) in [0, 1]."""
        return self._encode(2 * images - 1)

    def of(self, scene: Scene) -> Tensor:
        """Another scene seen by the last looks: (V, 3, H, W) in [0, 1]."""
        return seen(scene, self.looks, self._renderer)

    def __call__(self) -> Tensor:
        self.looks = self._draw()
        self.images = self.of(self.trainable.scene())
        return self.encode(self.images)

    def constrain(self) -> None:
        self.trainable.constrain()


def seen(scene: Scene, looks: Sequence[Look], renderer: Renderer = render) -> Tensor:
    """A scene by looks of one size: (V, 3, H, W) in [0, 1]."""
    return torch.stack([renderer(scene, look.camera, look.background).color for look in looks]).clamp(0, 1)

"""Scenes of the reference model as image files and tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tools.reference import world


def save_scene(scene: world.Scene, path: Path) -> Path:
    """Render a scene to an image file. Returns its path."""
    Image.fromarray((world.render(scene) * 255).astype(np.uint8)).save(path)
    return path


def as_tensor(image: Image.Image) -> Tensor:
    """(1, 3, H, W) RGB values in [0, 1]."""
    return torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255).movedim(-1, 0)[None]

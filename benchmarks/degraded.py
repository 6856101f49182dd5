"""Rows of `restoration`: degraded images restored, also of a blur that is not known."""

from __future__ import annotations

import math
import re
from random import Random
from typing import Any

from torch import Tensor

from tools.reference import in_process, world

from .editing import SEED
from .restoration_studio import CONSISTENCY_STEPS, FEW, FEW_STEPS, IMAGES, NOISE_STD, STEPS, Figures, Studio

DEGRADATIONS: dict[str, dict[str, Any]] = {
    "super-resolution, 4": {"operator": "super-resolution", "scale": 4},
    "super-resolution, 8": {"operator": "super-resolution", "scale": 8},
    "gaussian blur, sigma 2": {"operator": "gaussian blur", "kernel_size": 15, "sigma": 2.0},
    "motion blur, 15": {"operator": "motion blur", "kernel_size": 15, "angle": 30.0},
    "JPEG, quality 10": {"operator": "jpeg", "quality": 10},
    "JPEG, quality 30": {"operator": "jpeg", "quality": 30},
    "a quarter of the width": {"operator": "outpaint", "right": world.SIZE // 4},
}
WAYS = ("observed", "both", "consistency only", "dps only", "few steps")


def degraded(studio: Studio, degradation: str, batch: slice) -> tuple[Tensor, Any, Tensor, Any]:
    """Held-out images (B, 3, H, W), their measurement, what it shows of them, and their prompts."""
    scenes = held_out(batch)
    images = in_process.render(scenes)
    measurement, observed = studio.measured(images, noise_std=NOISE_STD, **DEGRADATIONS[degradation])
    prompts = studio.reference.conditioning([world.describe(scene) for scene in scenes])
    return images, measurement, observed, prompts


def restoration(studio: Studio, degradation: str, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the restoration table."""
    images, measurement, observed, prompts = degraded(studio, degradation, batch)
    if way == "observed":
        made = {"observed": observed, "observed, projected": (measurement.projected(2 * observed - 1) + 1) / 2}
    else:
        steps = CONSISTENCY_STEPS if way == "consistency only" else STEPS
        how = {**FEW, "steps": FEW_STEPS} if way == "few steps" else {"steps": steps, "consistency": way}
        raw, image = studio.restored(measurement, observed, prompts, **how)
        made = {f"ours, {way}": raw, f"ours, {way}, projected": image}
    return {name: restoration_row(measurement, each, images) for name, each in made.items()}


SIGMA = 3.0
FITTED, FIXED = "unknown gaussian blur", "gaussian blur"
SIGMAS = {
    "sigma 3, known": (FIXED, SIGMA),
    "sigma 1.5, fitted": (FITTED, 1.5),
    "sigma 6, fitted": (FITTED, 6.0),
    "sigma 1.5, not fitted": (FIXED, 1.5),
    "sigma 6, not fitted": (FIXED, 6.0),
}
"""The operator and the sigma that are given for images blurred by `SIGMA`."""


def unknown_blur(studio: Studio, given: str, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the table of blurs whose sigma is a guess."""
    scenes = held_out(batch)
    images = in_process.render(scenes)
    (operator, sigma), side = SIGMAS[given], 8 * math.ceil(SIGMA) + 1
    truth, observed = studio.measured(images, FIXED, kernel_size=side, sigma=SIGMA, noise_std=NOISE_STD)
    side = 8 * math.ceil(sigma) + 1
    blurred = (truth.y + 1) / 2
    told, _ = studio.measured(blurred, operator, kernel_size=side, sigma=sigma, noise_std=NOISE_STD, simulate=False)
    steps = CONSISTENCY_STEPS if way == "consistency only" else STEPS
    conditioning, notes = studio.reference.conditioning([world.describe(scene) for scene in scenes]), []
    _, image = studio.restored(told, observed, conditioning, notes, steps=steps, consistency=way)
    found = [float(number) for note in notes for number in re.findall(r"\d+\.\d+", note)] or [sigma] * len(images)
    row = {**restoration_row(truth, image, images), "sigma": found}
    return {f"{given}, {way}": {**row, "off by": [abs(each / SIGMA - 1) for each in found]}}


def restoration_row(measurement: Any, made: Tensor, images: Tensor) -> Figures:
    away = measurement.residual(2 * made - 1).square().mean((1, 2, 3)).sqrt()
    return {"PSNR": in_process.psnr(made, images).tolist(), "|A x - y|": away.tolist()}


def held_out(batch: slice) -> list[world.Scene]:
    rng = Random(SEED + 1)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(IMAGES)][batch]

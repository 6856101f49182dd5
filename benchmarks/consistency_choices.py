"""Rows of `restoration`: holes and degraded images by every choice of consistency, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from dreamsampler.guidance.editing.proximal import ProximalSettings
from dreamsampler.nodes.runs.restoration import Restoration

from tools.reference import in_process, world

from .degraded import DEGRADATIONS, held_out
from .holes import holes, inpainting_row
from .restoration_studio import (
    CONSISTENCY_STEPS,
    DING,
    DING_STEPS,
    EQUAL_DING,
    EQUAL_FEW,
    FEW,
    FEW_STEPS,
    NOISE_STD,
    STEPS,
    TEMPLATE,
    Figures,
    Studio,
    psnr_within,
    timed,
)

CHOICES: dict[str, dict[str, Any]] = {
    "both": {"steps": STEPS, "consistency": "both"},
    "consistency only": {"steps": CONSISTENCY_STEPS, "consistency": "consistency only"},
    "dps only": {"steps": STEPS, "consistency": "dps only"},
    "few steps": {**FEW, "steps": FEW_STEPS},
    "few steps, equal": {**FEW, "steps": EQUAL_FEW},
    "consistency only, 8 from noise": {"steps": FEW_STEPS, "consistency": "consistency only", "start_from": "noise"},
}
HOLE_CHOICES = {
    "both, template": TEMPLATE,
    **{way: {**how, "gamma": 2.0} if how.get("gamma") else how for way, how in CHOICES.items()},
    "ding": {**DING, "steps": DING_STEPS},
    "ding, 8 steps": {**DING, "steps": FEW_STEPS},
    "ding, equal": {**DING, "steps": EQUAL_DING},
}
SIDE_BY_SIDE = "Choices of consistency"
COMPARED = ("super-resolution, 4",)


def chosen_for_hole(studio: Studio, way: str, batch: slice) -> dict[str, Figures]:
    """A row of the table of choices, for holes: with the error inside against the image that the prompt names."""
    jobs = holes()[batch]
    masks = torch.from_numpy(np.stack([job.mask() for job in jobs])).float()
    images, wanted = (in_process.render([getattr(j.edit, which) for j in jobs]) for which in ("source", "target"))
    measurement, observed = studio.measured(images, "inpaint", masks, simulate=False)
    prompts = studio.reference.conditioning([world.describe(job.edit.target) for job in jobs])
    (raw, image), seconds = timed(lambda: studio.restored(measurement, observed, prompts, **HOLE_CHOICES[way]))
    inside = psnr_within(image, wanted, masks)
    row = inpainting_row(studio, jobs, raw, images, masks)
    projected = inpainting_row(studio, jobs, image, images, masks)
    return {
        way: {
            "colour": projected["colour"],
            "shape": projected["shape"],
            "PSNR outside, not projected": row["PSNR outside"],
            "PSNR inside": inside,
            "seam": projected["seam"],
            "seconds": [seconds / len(jobs)] * len(jobs),
        }
    }


def chosen_for_operator(studio: Studio, degradation: str, way: str, batch: slice) -> dict[str, Figures]:
    """A row of the table of choices, for a degraded image."""
    scenes = held_out(batch)
    images = in_process.render(scenes)
    measurement, observed = studio.measured(images, noise_std=NOISE_STD, **DEGRADATIONS[degradation])
    prompts = studio.reference.conditioning([world.describe(scene) for scene in scenes])
    (raw, image), seconds = timed(lambda: studio.restored(measurement, observed, prompts, **CHOICES[way]))
    return {
        way: {
            "PSNR": in_process.psnr(raw, images).tolist(),
            "PSNR, projected": in_process.psnr(image, images).tolist(),
            "seconds": [seconds / len(scenes)] * len(scenes),
        }
    }


# The last step


class LastGradient(Restoration):
    """Ours with a last step that takes a gradient, whatever is measured."""

    @property
    def _last_gradient(self) -> bool:
        return True


class LastFit(Restoration):
    """Ours with a last step that fits the estimate, whatever is measured."""

    @property
    def _last_gradient(self) -> bool:
        return False


LAST: dict[str, type[Restoration]] = {"a gradient": LastGradient, "a fit": LastFit}
SMOOTHED = ("super-resolution, 4", "gaussian blur, sigma 2", "motion blur, 15")
SETTINGS = ProximalSettings(gamma=1.0, eta=1.0)


def last_step(studio: Studio, degradation: str, last: str, batch: slice) -> dict[str, Figures]:
    """A row of the table of last steps, for a degraded image."""
    scenes = held_out(batch)
    images = in_process.render(scenes)
    measurement, observed = studio.measured(images, noise_std=NOISE_STD, **DEGRADATIONS[degradation])
    prompts = studio.reference.conditioning([world.describe(scene) for scene in scenes])
    raw = studio.walked(LAST[last], SETTINGS, measurement, observed, prompts)
    projected = (measurement.projected(2 * raw - 1) + 1) / 2
    psnr = {"PSNR": in_process.psnr(raw, images), "PSNR, projected": in_process.psnr(projected, images)}
    return {f"{degradation}, {last}": {name: each.tolist() for name, each in psnr.items()}}


def last_step_of_hole(studio: Studio, way: str, batch: slice) -> dict[str, Figures]:
    """A row of the table of last steps, for holes."""
    jobs = holes()[batch]
    masks = torch.from_numpy(np.stack([job.mask() for job in jobs])).float()
    images = in_process.render([job.edit.source for job in jobs])
    measurement, observed = studio.measured(images, "inpaint", masks, simulate=False)
    prompts = studio.reference.conditioning([world.describe(job.edit.target) for job in jobs])
    raw = studio.walked(LAST[way], SETTINGS, measurement, observed, prompts)
    return {way: inpainting_row(studio, jobs, raw, images, masks)}

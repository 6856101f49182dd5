"""Rows of `restoration`: holes and degraded images by every choice of consistency, side by side."""

from __future__ import annotations

from typing import Any

from dreamsampler.guidance.editing.proximal import ProximalSettings
from dreamsampler.nodes.runs.restoration import Restoration

from tools.reference import in_process

from .degraded import degraded
from .holes import inpainting_row, with_holes
from .restoration_studio import (
    CONSISTENCY_STEPS,
    DING,
    DING_STEPS,
    EQUAL_DING,
    EQUAL_FEW,
    FEW,
    FEW_STEPS,
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
    jobs, images, masks, prompts = with_holes(studio, batch)
    wanted = in_process.render([job.edit.target for job in jobs])
    measurement, observed = studio.measured(images, "inpaint", masks, simulate=False)
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
    images, measurement, observed, prompts = degraded(studio, degradation, batch)
    (raw, image), seconds = timed(lambda: studio.restored(measurement, observed, prompts, **CHOICES[way]))
    return {
        way: {
            "PSNR": in_process.psnr(raw, images).tolist(),
            "PSNR, projected": in_process.psnr(image, images).tolist(),
            "seconds": [seconds / len(images)] * len(images),
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
    images, measurement, observed, prompts = degraded(studio, degradation, batch)
    raw = studio.walked(LAST[last], SETTINGS, measurement, observed, prompts)
    projected = (measurement.projected(2 * raw - 1) + 1) / 2
    psnr = {"PSNR": in_process.psnr(raw, images), "PSNR, projected": in_process.psnr(projected, images)}
    return {f"{degradation}, {last}": {name: each.tolist() for name, each in psnr.items()}}


def last_step_of_hole(studio: Studio, way: str, batch: slice) -> dict[str, Figures]:
    """A row of the table of last steps, for holes."""
    jobs, images, masks, prompts = with_holes(studio, batch)
    measurement, observed = studio.measured(images, "inpaint", masks, simulate=False)
    raw = studio.walked(LAST[way], SETTINGS, measurement, observed, prompts)
    return {way: inpainting_row(studio, jobs, raw, images, masks)}

"""The rows of `restoration`: holes filled, two prompts in two holes, and images restored, each in several ways."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from time import process_time
from typing import Any

import numpy as np
import torch
from dreamsampler.guidance.core.denoiser import Denoiser, guide
from dreamsampler.guidance.editing.proximal import ProximalSettings
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.proximal import DataSteps
from dreamsampler.nodes import host
from dreamsampler.nodes.mask_localized_guidance import MaskLocalizedGuidance
from dreamsampler.nodes.measurement import MeasurementNode
from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.restoration import Restoration
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.host_access import host_nodes

from .editing import SEED, Edit, edits

IMAGES = 128
"""Held-out images of each table."""
BATCH, STEPS, MARGIN, CFG, NOISE_STD = 8, 50, 5, 4.0, 0.01
CONSISTENCY_STEPS, TEMPLATE_STEPS, HOST_STEPS, DING_STEPS, FEW_STEPS = 80, 58, 92, 25, 8
"""As many model calls as `STEPS` with gradients: 50 up, 2 for each of 15 data steps and 3 for each of 35 others."""
TEMPLATE = {"steps": TEMPLATE_STEPS, "gamma": 2.0, "data_every": 1, "consistency": "both"}
EQUAL_DING, EQUAL_FEW = 62, 92
"""Steps of `ding`, with 2 conditionings and 1 proxy each, and of `few steps`, with as many model calls as both."""
FROM_NOISE: dict[str, Any] = {"start_from": "noise", "gamma": 2.0, "gamma_schedule": "constant", "renoise": "guided"}
DING, FEW = {**FROM_NOISE, "consistency": "ding"}, {**FROM_NOISE, "gamma": 1.0, "consistency": "few steps"}
INPAINTING: dict[str, dict[str, Any]] = {
    "as in the template": TEMPLATE,
    "as in the paper": {"steps": STEPS, "consistency": "both"},
    "consistency only": {"steps": CONSISTENCY_STEPS, "consistency": "consistency only"},
    "dps only": {"steps": STEPS, "consistency": "dps only"},
    "ding": {**DING, "steps": DING_STEPS},
    "few steps": {**FEW, "gamma": 2.0, "steps": FEW_STEPS},
}
Figures = dict[str, list[float]]
"""A row of a table: the values of its columns for each image; accuracies are 1 or 0 for images of that attribute."""


class Studio:
    """The reference model and the pack's nodes."""

    def __init__(self) -> None:
        self.reference, self.scorer = in_process.load(), in_process.load_scorer()
        self.nothing = self.reference.conditioning([""])
        self.reference.run_autoencoder_in_bfloat16()

    def measured(self, images: Tensor, operator: str, mask: Tensor | None = None, **inputs: Any) -> tuple[Any, Tensor]:
        """A measurement of images (B, 3, H, W) in [0, 1], and the degraded images."""
        given = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.0, "simulate": True, **inputs}
        measurement, observed = MeasurementNode.execute(
            images.movedim(1, -1), operator, seed=SEED, mask=mask, **given
        ).args
        return measurement, observed.movedim(-1, 1)

    def restored(
        self,
        measurement: Any,
        observed: Tensor,
        conditioning: Any,
        notes: list[str] | None = None,
        *,
        steps: int,
        **how: Any,
    ) -> tuple[Tensor, Tensor]:
        """Decoded images without and with projection onto the measurement. `notes` gets those of the node."""
        model, latent = self.reference.model, self.reference.latent(observed)
        given = {
            "gamma": 1.0, "gamma_schedule": "alpha_bar", "renoise": "unconditional", "start_from": "inversion", **how
        }  # fmt: skip
        output = ProximalDreamSampler.execute(
            model, conditioning, self.nothing, latent, steps=steps, eta=1.0, scheduler="normal", seed=SEED,
            vae=self.reference.vae, measurement=measurement, **given,
        )  # fmt: skip
        (made, _, image), ui = output.args, output.ui
        if notes is not None and isinstance(ui, dict):
            notes += ui["text"]
        return self.reference.decoded(made), image.movedim(-1, 1)


# Inpainting


@dataclass(frozen=True)
class Hole:
    """An edit whose object is covered by a box."""

    edit: Edit

    def mask(self) -> np.ndarray:
        """(SIZE, SIZE), 1 in the box around the object before and after."""
        return box(np.maximum(world.object_mask(self.edit.source), world.object_mask(self.edit.target)))


def box(region: np.ndarray) -> np.ndarray:
    """A (SIZE, SIZE) mask of the box around a region, with a margin."""
    rows, columns = (np.flatnonzero(region.max(axis) > 0.01) for axis in (1, 0))
    mask = np.zeros_like(region)
    spans = [slice(max(line[0] - MARGIN, 0), line[-1] + MARGIN + 1) for line in (rows, columns)]
    mask[spans[0], spans[1]] = 1
    return mask


def seam(images: Tensor, masks: Tensor) -> Tensor:
    """Mean jump between pixels on both sides of each hole's edge: images (B, 3, H, W), masks (B, H, W)."""
    jumps = []
    for dim in (-2, -1):
        crossing = masks.diff(dim=dim).abs()[:, None]
        jumps.append((images.diff(dim=dim).abs() * crossing).sum((1, 2, 3)) / crossing.sum((1, 2, 3)) / 3)
    return torch.stack(jumps).mean(0)


def holes() -> list[Hole]:
    """Color and shape of every source changed once."""
    return [Hole(edit) for edit in edits(IMAGES // 2) if edit.attribute in ("colour", "shape")]


def filled_by_host(studio: Studio, way: str, images: Tensor, masks: Tensor, conditioning: Any) -> Tensor:
    """Inpainting by ComfyUI, with pixels outside the hole as the decoder returns them."""
    nodes, reference, image = host_nodes(), studio.reference, images.movedim(1, -1)
    if way == "VAEEncodeForInpaint":
        (latent,) = nodes.VAEEncodeForInpaint().encode(reference.vae, image, masks, grow_mask_by=6)
    else:
        (latent,) = nodes.SetLatentNoiseMask().set_mask(reference.latent(images), masks)
    (made,) = nodes.KSampler().sample(
        reference.model, SEED, HOST_STEPS, CFG, "ddim", "normal", conditioning, studio.nothing, latent
    )
    return reference.decoded(made)


class Mixing:
    """A denoiser that returns the guided estimate for both prompts, from which TReg's data consistency starts."""

    def __init__(self, denoise: Denoiser):
        self.denoise = denoise

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        if len(names) < 2:
            return self.denoise(x, sigma, names)
        null, target = self.denoise(x, sigma, names)
        return [guide(null, target, CFG)] * 2


def filled_by_treg(studio: Studio, measurement: Measurement, observed: Tensor, conditioning: Any) -> Tensor:
    """Ours with prompt and data mixed before the fit."""
    samples = studio.reference.latent(observed)["samples"]

    class TReg(Restoration):
        def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
            prior = replace(run.prior, denoise=Mixing(run.prior.denoise))
            return super().__call__(replace(run, prior=prior))

    method = TReg(
        ProximalSettings(gamma=0.0, eta=1.0),
        "inversion",
        [SEED + i for i in range(len(samples))],
        studio.reference.model,
        studio.reference.vae,
        measurement,
        "both",
        DataSteps(),
        1.0,
    )
    made, _ = host.run_in_sampler(
        method,
        model=studio.reference.model,
        conditionings={"positive": conditioning, "negative": studio.nothing},
        samples=samples,
        sigmas=host.schedule(studio.reference.model, "normal", STEPS),
        evaluations=2 * STEPS,
        seed=SEED,
    )
    return studio.reference.decoded({"samples": made})


def inpainted(studio: Studio, way: str, images: Tensor, masks: Tensor, conditioning: Any) -> dict[str, Tensor]:
    """Images filled in one way, by the names of the table's rows."""
    if way in ("VAEEncodeForInpaint", "SetLatentNoiseMask"):
        return {way: filled_by_host(studio, way, images, masks, conditioning)}
    measurement, observed = studio.measured(images, "inpaint", masks, simulate=False)
    if way == "TReg mixing":
        return {way: filled_by_treg(studio, measurement, observed, conditioning)}
    raw, image = studio.restored(measurement, observed, conditioning, **INPAINTING[way])
    return {f"ours, {way}": raw, f"ours, {way}, projected": image}


def inpainting(studio: Studio, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the inpainting table."""
    jobs = holes()[batch]
    masks = torch.from_numpy(np.stack([job.mask() for job in jobs])).float()
    images = in_process.render([job.edit.source for job in jobs])
    conditioning = studio.reference.conditioning([world.describe(job.edit.target) for job in jobs])
    made = inpainted(studio, way, images, masks, conditioning)
    return {name: _inpainting_row(studio, jobs, each, images, masks) for name, each in made.items()}


def _inpainting_row(studio: Studio, jobs: list[Hole], made: Tensor, images: Tensor, masks: Tensor) -> Figures:
    seen = studio.scorer.read(made)
    hits = {
        name: [
            float(s[name] == e.wanted) for s, e in zip(seen, (j.edit for j in jobs), strict=True) if e.attribute == name
        ]
        for name in ("colour", "shape")
    }
    return {
        **hits,
        "PSNR outside": _psnr(made, images, 1 - masks),
        "seam": seam(made, masks).tolist(),
        "seam of the sources": seam(images, masks).tolist(),
    }


# Two prompts in two holes


IN_ORDER, REVERSED = "one prompt for both", "one prompt for both, which names the right object first"


def two_prompts(studio: Studio, name: str, batch: slice) -> dict[str, Figures]:
    """Both objects get new colors: by one prompt for each hole, or by one prompt for both.

    The first object that a caption names is always the left one in the model's world, so one prompt says what goes
    where, unless it names them the other way round.
    """
    rng = Random(SEED)
    scenes = [world.sample_scene(rng, clean=True, objects=2) for _ in range(IMAGES)]
    wanted, scenes = [_new_colors(rng, scene) for scene in scenes][batch], scenes[batch]
    made = in_process.render(wanted)
    if name != "real images":
        regions, encode = [_masks(scenes, side) for side in (0, 1)], studio.reference.conditioning
        prompts = [encode([world.describe(_decoy(scene, side)) for scene in wanted]) for side in (0, 1)]
        conditioning, union = MaskLocalizedGuidance.execute(
            studio.nothing, regions[0], prompts[0], 0.0, mask_2=regions[1], conditioning_2=prompts[1]
        ).args
        if name in (IN_ORDER, REVERSED):
            named = [replace(scene, things=scene.things[::-1]) if name == REVERSED else scene for scene in wanted]
            conditioning = encode([world.describe(scene) for scene in named])
        measurement, observed = studio.measured(in_process.render(scenes), "inpaint", union, simulate=False)
        made = studio.restored(measurement, observed, conditioning, **TEMPLATE)[1]
    right = _right(studio, made, wanted)
    columns = {"left right": right[:, 0], "right right": right[:, 1], "both right": right.all(1).double()}
    return {name: {column: each.tolist() for column, each in columns.items()}}


def _new_colors(rng: Random, scene: world.Scene) -> world.Scene:
    taken = {scene.background, *(thing.color for thing in scene.things)}
    colors = rng.sample([c for c in world.COLORS if c not in taken], 2)
    return replace(scene, things=tuple(replace(thing, color=c) for thing, c in zip(scene.things, colors, strict=True)))


def _decoy(scene: world.Scene, side: int) -> world.Scene:
    """The scene with another color for the object on the other side, which must not appear.

    The small model draws two objects only if a prompt names two.
    """
    taken = {scene.background, *(thing.color for thing in scene.things)}
    other = replace(scene.things[1 - side], color=next(c for c in world.COLORS if c not in taken))
    return replace(scene, things=(scene.things[side], other) if side == 0 else (other, scene.things[side]))


def _alone(scene: world.Scene, side: int) -> world.Scene:
    return replace(scene, things=(scene.things[side],))


def _masks(scenes: list[world.Scene], side: int) -> Tensor:
    return torch.from_numpy(np.stack([box(world.object_mask(_alone(s, side))) for s in scenes])).float()


def _right(studio: Studio, images: Tensor, wanted: list[world.Scene]) -> Tensor:
    """(B, 2): whether the left and the right object have the wanted colors. The scorer names the left one's."""
    order = [sorted(scene.things, key=lambda thing: thing.x) for scene in wanted]
    seen = [studio.scorer.read(view) for view in (images, images.flip(-1))]
    return torch.tensor(
        [[seen[side][i]["colour"] == things[side].color for side in (0, 1)] for i, things in enumerate(order)]
    ).double()


# Restoration

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


def restoration(studio: Studio, degradation: str, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the restoration table."""
    scenes = _held_out(batch)
    images = in_process.render(scenes)
    measurement, observed = studio.measured(images, noise_std=NOISE_STD, **DEGRADATIONS[degradation])
    if way == "observed":
        made = {"observed": observed, "observed, projected": (measurement.projected(2 * observed - 1) + 1) / 2}
    else:
        conditioning = studio.reference.conditioning([world.describe(scene) for scene in scenes])
        steps = CONSISTENCY_STEPS if way == "consistency only" else STEPS
        how = {**FEW, "steps": FEW_STEPS} if way == "few steps" else {"steps": steps, "consistency": way}
        raw, image = studio.restored(measurement, observed, conditioning, **how)
        made = {f"ours, {way}": raw, f"ours, {way}, projected": image}
    return {name: _restoration_row(measurement, each, images) for name, each in made.items()}


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
    rng = Random(SEED + 1)
    scenes = [world.sample_scene(rng, clean=True, objects=1) for _ in range(IMAGES)][batch]
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
    row = {**_restoration_row(truth, image, images), "sigma": found}
    return {f"{given}, {way}": {**row, "off by": [abs(each / SIGMA - 1) for each in found]}}


def _restoration_row(measurement: Any, made: Tensor, images: Tensor) -> Figures:
    away = measurement.residual(2 * made - 1).square().mean((1, 2, 3)).sqrt()
    return {"PSNR": in_process.psnr(made, images).tolist(), "|A x - y|": away.tolist()}


# Choices of consistency, side by side

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
    (raw, image), seconds = _timed(lambda: studio.restored(measurement, observed, prompts, **HOLE_CHOICES[way]))
    inside = _psnr(image, wanted, masks)
    row = _inpainting_row(studio, jobs, raw, images, masks)
    projected = _inpainting_row(studio, jobs, image, images, masks)
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
    scenes = _held_out(batch)
    images = in_process.render(scenes)
    measurement, observed = studio.measured(images, noise_std=NOISE_STD, **DEGRADATIONS[degradation])
    prompts = studio.reference.conditioning([world.describe(scene) for scene in scenes])
    (raw, image), seconds = _timed(lambda: studio.restored(measurement, observed, prompts, **CHOICES[way]))
    return {
        way: {
            "PSNR": in_process.psnr(raw, images).tolist(),
            "PSNR, projected": in_process.psnr(image, images).tolist(),
            "seconds": [seconds / len(scenes)] * len(scenes),
        }
    }


def _held_out(batch: slice) -> list[world.Scene]:
    rng = Random(SEED + 1)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(IMAGES)][batch]


def _psnr(made: Tensor, images: Tensor, masks: Tensor) -> list[float]:
    """PSNR within masks (B, H, W) of images (B, 3, H, W)."""
    error = ((made - images).square().mean(1) * masks).sum((1, 2)) / masks.sum((1, 2))
    return (-10 * error.clamp(min=1e-10).log10()).tolist()


def _timed(work: Callable[[], tuple[Tensor, Tensor]]) -> tuple[tuple[Tensor, Tensor], float]:
    """A result, and the seconds of the CPU it took."""
    started = process_time()
    return work(), process_time() - started


# All tables


Task = Callable[..., dict[str, Figures]]
"""Measures rows with the keyword arguments `studio` and `batch`."""


def tasks() -> dict[str, dict[str, Task]]:
    """The functions that measure the rows of each table, by table and task."""
    fixed = [(given, "consistency only") for given in SIGMAS]
    guesses = [*fixed, *((given, "both") for given in SIGMAS if "not" not in given)]
    prompts = ("one prompt for each hole", IN_ORDER, REVERSED, "real images")
    return {
        "Inpainting": _in_ways(inpainting, (*INPAINTING, "TReg mixing", "VAEEncodeForInpaint", "SetLatentNoiseMask")),
        "Two prompts in two holes": {name: partial(two_prompts, name=name) for name in prompts},
        **{f"Restoration: {each}": _in_ways(restoration, WAYS, degradation=each) for each in DEGRADATIONS},
        "Restoration: blur of unknown sigma 3": {
            f"{given}, {way}": partial(unknown_blur, given=given, way=way) for given, way in guesses
        },
        f"{SIDE_BY_SIDE}: a hole": _in_ways(chosen_for_hole, HOLE_CHOICES),
        **{f"{SIDE_BY_SIDE}: {each}": _in_ways(chosen_for_operator, CHOICES, degradation=each) for each in COMPARED},
    }


def _in_ways(measure: Task, ways: Iterable[str], **what: str) -> dict[str, Task]:
    return {way: partial(measure, way=way, **what) for way in ways}

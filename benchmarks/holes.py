"""Rows of `restoration`: holes filled, and two prompts in two holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import torch
from dreamsampler.guidance.core.denoiser import Denoiser, guide
from dreamsampler.guidance.editing.proximal import ProximalSettings
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.nodes import host
from dreamsampler.nodes.mask_localized_guidance import MaskLocalizedGuidance
from dreamsampler.nodes.runs.restoration import Restoration
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.host_access import host_nodes

from .editing import SEED, Edit, edits
from .restoration_studio import (
    CFG,
    CONSISTENCY_STEPS,
    DING,
    DING_STEPS,
    FEW,
    FEW_STEPS,
    HOST_STEPS,
    IMAGES,
    MARGIN,
    STEPS,
    TEMPLATE,
    Figures,
    Studio,
    psnr_within,
)

AUTOENCODER = "sources as the autoencoder returns them"
INPAINTING: dict[str, dict[str, Any]] = {
    "as in the template": TEMPLATE,
    "as in the paper": {"steps": STEPS, "consistency": "both"},
    "consistency only": {"steps": CONSISTENCY_STEPS, "consistency": "consistency only"},
    "dps only": {"steps": STEPS, "consistency": "dps only"},
    "ding": {**DING, "steps": DING_STEPS},
    "few steps": {**FEW, "gamma": 2.0, "steps": FEW_STEPS},
}


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

    class TReg(Restoration):
        def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
            prior = replace(run.prior, denoise=Mixing(run.prior.denoise))
            return super().__call__(replace(run, prior=prior))

    return studio.walked(TReg, ProximalSettings(gamma=0.0, eta=1.0), measurement, observed, conditioning)


def inpainted(studio: Studio, way: str, images: Tensor, masks: Tensor, conditioning: Any) -> dict[str, Tensor]:
    """Images filled in one way, by the names of the table's rows."""
    if way == AUTOENCODER:
        return {way: studio.reference.decoded(studio.reference.latent(images))}
    if way in ("VAEEncodeForInpaint", "SetLatentNoiseMask"):
        return {way: filled_by_host(studio, way, images, masks, conditioning)}
    measurement, observed = studio.measured(images, "inpaint", masks, simulate=False)
    if way == "TReg mixing":
        return {way: filled_by_treg(studio, measurement, observed, conditioning)}
    raw, image = studio.restored(measurement, observed, conditioning, **INPAINTING[way])
    return {f"ours, {way}": raw, f"ours, {way}, projected": image}


FILLED = (*INPAINTING, "TReg mixing", "VAEEncodeForInpaint", "SetLatentNoiseMask", AUTOENCODER)
"""The ways of the inpainting table."""


def with_holes(studio: Studio, batch: slice) -> tuple[list[Hole], Tensor, Tensor, Any]:
    """Holes, the images (B, 3, H, W) they are in, their masks (B, H, W), and the prompts of what should fill them."""
    jobs = holes()[batch]
    images = in_process.render([job.edit.source for job in jobs])
    masks = torch.from_numpy(np.stack([job.mask() for job in jobs])).float()
    return jobs, images, masks, studio.reference.conditioning([world.describe(job.edit.target) for job in jobs])


def inpainting(studio: Studio, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the inpainting table."""
    jobs, images, masks, prompts = with_holes(studio, batch)
    made = inpainted(studio, way, images, masks, prompts)
    return {name: inpainting_row(studio, jobs, each, images, masks) for name, each in made.items()}


def inpainting_row(studio: Studio, jobs: list[Hole], made: Tensor, images: Tensor, masks: Tensor) -> Figures:
    seen = studio.scorer.read(made)
    hits = {
        name: [
            float(s[name] == e.wanted) for s, e in zip(seen, (j.edit for j in jobs), strict=True) if e.attribute == name
        ]
        for name in ("colour", "shape")
    }
    return {
        **hits,
        "PSNR outside": psnr_within(made, images, 1 - masks),
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

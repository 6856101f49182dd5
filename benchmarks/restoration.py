"""Holes filled by text, two texts in two holes, and damaged pictures restored, on the reference world.

    .host/venv/bin/python -m benchmarks.restoration       writes benchmarks/results/restoration.{json,md}

- Inpainting: a box over the object of a held-out picture is to hold an object of another colour or shape. The host's
  two ways and TReg's mixing of text and data get as many model evaluations, a backward pass counted as two.
- Two holes: both objects of a picture get a new colour each, by Mask Localized Guidance. Each text names another
  colour, too, which must not appear in the other's hole.
- Restoration: held-out pictures are made 4 and 8 times smaller, or blurred, with noise of 0.01.

The work is done in batches of 8 pictures, which is fastest on a CPU, each of all rows before the next. What is done is
kept in benchmarks/work/, and at the end, picture by picture, in the JSON. So a run that was cut goes on where it
stopped, and several may share the batches; delete both to start over. The autoencoder, which takes most of the time,
computes in bfloat16: with float32 the PSNR outside of three rows on 8 pictures differed by 0.08 dB at most.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from dreamsampler.guidance.core.denoiser import Denoiser, guided
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

log = logging.getLogger("dreamsampler.benchmarks")
RESULTS = Path(__file__).with_name("results")
WORK = Path(__file__).with_name("work") / "restoration"
PICTURES = 128
"""Held-out pictures of each table."""
BATCH, STEPS, MARGIN, CFG, NOISE_STD = 8, 50, 5, 4.0, 0.01
CONSISTENCY_STEPS, TEMPLATE_STEPS, HOST_STEPS = 80, 58, 92
"""As many evaluations as `STEPS` with gradients: 50 up, 2 for each of 15 data steps and 3 for each of 35 others."""
TEMPLATE = {"steps": TEMPLATE_STEPS, "gamma": 2.0, "data_every": 1, "consistency": "both"}
INPAINTING: dict[str, dict[str, Any]] = {
    "as the template": TEMPLATE,
    "published": {"steps": STEPS, "consistency": "both"},
    "consistency only": {"steps": CONSISTENCY_STEPS, "consistency": "consistency only"},
    "dps only": {"steps": STEPS, "consistency": "dps only"},
}
Figures = dict[str, list[float]]
"""A row of a table: the columns' values for each picture. Attribute accuracies have 1 or 0 for pictures to tell by."""


class Studio:
    """The reference model and the pack's nodes."""

    def __init__(self) -> None:
        self.reference, self.scorer = in_process.load(), in_process.load_scorer()
        self.nothing = self.reference.conditioning([""])
        self.reference.narrow_autoencoder()

    def measured(
        self, pictures: Tensor, operator: str, mask: Tensor | None = None, **inputs: Any
    ) -> tuple[Any, Tensor]:
        """A measurement of pictures (B, 3, H, W) in [0, 1] and what is observed of them."""
        given = {"scale": 4, "kernel_size": 15, "sigma": 2.0, "noise_std": 0.0, "simulate": True, **inputs}
        images = pictures.movedim(1, -1)
        measurement, observed = MeasurementNode.execute(images, operator, seed=SEED, mask=mask, **given).args
        return measurement, observed.movedim(-1, 1)

    def restored(
        self, measurement: Any, observed: Tensor, texts: Any, *, steps: int, gamma: float = 1.0, **how: Any
    ) -> tuple[Tensor, Tensor]:
        """Decoded pictures as they come, and in agreement with the measurement."""
        model, latent = self.reference.model, self.reference.latent(observed)
        settings = (steps, gamma, "alpha_bar", 1.0, "unconditional", "inversion", "normal", SEED)
        given = {"vae": self.reference.vae, "measurement": measurement, **how}
        made, _, image = ProximalDreamSampler.execute(model, texts, self.nothing, latent, *settings, **given).args
        return self.reference.decoded(made), image.movedim(-1, 1)


# Inpainting


@dataclass(frozen=True)
class Hole:
    """An edit whose object lies in a box that is to be filled."""

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


def seam(pictures: Tensor, masks: Tensor) -> Tensor:
    """Mean jump between pixels on both sides of each hole's edge: pictures (B, 3, H, W), masks (B, H, W)."""
    jumps = []
    for dim in (-2, -1):
        crossing = masks.diff(dim=dim).abs()[:, None]
        jumps.append((pictures.diff(dim=dim).abs() * crossing).sum((1, 2, 3)) / crossing.sum((1, 2, 3)) / 3)
    return torch.stack(jumps).mean(0)


def holes() -> list[Hole]:
    """Colour and shape of every source changed once."""
    return [Hole(edit) for edit in edits(PICTURES // 2) if edit.attribute in ("colour", "shape")]


def filled_by_host(studio: Studio, way: str, pictures: Tensor, masks: Tensor, texts: Any) -> Tensor:
    """Inpainting as the host does it, with what lies outside the hole as the decoder returns it."""
    nodes, reference, image = host_nodes(), studio.reference, pictures.movedim(1, -1)
    if way == "VAEEncodeForInpaint":
        (latent,) = nodes.VAEEncodeForInpaint().encode(reference.vae, image, masks, grow_mask_by=6)
    else:
        (latent,) = nodes.SetLatentNoiseMask().set_mask(reference.latent(pictures), masks)
    (made,) = nodes.KSampler().sample(
        reference.model, SEED, HOST_STEPS, CFG, "ddim", "normal", texts, studio.nothing, latent
    )
    return reference.decoded(made)


class Mixing:
    """A denoiser that gives the guided estimate for both texts: TReg's data-consistency starts from it."""

    def __init__(self, denoise: Denoiser):
        self.denoise = denoise

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> Sequence[Tensor]:
        if len(names) < 2:
            return self.denoise(x, sigma, names)
        null, target = self.denoise(x, sigma, names)
        return [guided(null, target, CFG)] * 2


def filled_by_treg(studio: Studio, measurement: Measurement, observed: Tensor, texts: Any) -> Tensor:
    """Ours with text and data mixed before the fit."""
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
        conditionings={"positive": texts, "negative": studio.nothing},
        samples=samples,
        sigmas=host.schedule(studio.reference.model, "normal", STEPS),
        evaluations=2 * STEPS,
        seed=SEED,
    )
    return studio.reference.decoded({"samples": made})


def inpainted(studio: Studio, way: str, pictures: Tensor, masks: Tensor, texts: Any) -> dict[str, Tensor]:
    """Pictures by one way, by the names of the table's rows."""
    if way in ("VAEEncodeForInpaint", "SetLatentNoiseMask"):
        return {way: filled_by_host(studio, way, pictures, masks, texts)}
    measurement, observed = studio.measured(pictures, "inpaint", masks, simulate=False)
    if way == "TReg mixing":
        return {way: filled_by_treg(studio, measurement, observed, texts)}
    raw, image = studio.restored(measurement, observed, texts, **INPAINTING[way])
    return {f"ours, {way}": raw, f"ours, {way}, projected": image}


def inpainting(studio: Studio, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the inpainting table."""
    jobs = holes()[batch]
    masks = torch.from_numpy(np.stack([job.mask() for job in jobs])).float()
    pictures = in_process.pictures([job.edit.source for job in jobs])
    texts = studio.reference.conditioning([world.describe(job.edit.target) for job in jobs])
    made = inpainted(studio, way, pictures, masks, texts)
    return {name: _inpainting_row(studio, jobs, each, pictures, masks) for name, each in made.items()}


def _inpainting_row(studio: Studio, jobs: list[Hole], made: Tensor, pictures: Tensor, masks: Tensor) -> Figures:
    seen = studio.scorer.read(made)
    hits = {
        name: [float(s[name] == e.wanted) for s, e in zip(seen, (j.edit for j in jobs)) if e.attribute == name]
        for name in ("colour", "shape")
    }
    error = ((made - pictures).square().mean(1) * (1 - masks)).sum((1, 2)) / (1 - masks).sum((1, 2))
    return {
        **hits,
        "PSNR outside": (-10 * error.clamp(min=1e-10).log10()).tolist(),
        "seam": seam(made, masks).tolist(),
        "seam of the sources": seam(pictures, masks).tolist(),
    }


# Two texts in two holes


def two_texts(studio: Studio, name: str, batch: slice) -> dict[str, Figures]:
    """Both objects get new colours: by one text for each hole, or by one text for both."""
    rng = Random(SEED)
    scenes = [world.sample_scene(rng, clean=True, objects=2) for _ in range(PICTURES)]
    wanted, scenes = [_new_colours(rng, scene) for scene in scenes][batch], scenes[batch]
    made = in_process.pictures(wanted)
    if name != "real pictures":
        regions, encode = [_masks(scenes, side) for side in (0, 1)], studio.reference.conditioning
        told = [encode([world.describe(_decoy(scene, side)) for scene in wanted]) for side in (0, 1)]
        texts, union = MaskLocalizedGuidance.execute(
            studio.nothing, regions[0], told[0], 0.0, mask_2=regions[1], conditioning_2=told[1]
        ).args
        if name == "one text for both":
            texts = encode([world.describe(scene) for scene in wanted])
        measurement, observed = studio.measured(in_process.pictures(scenes), "inpaint", union, simulate=False)
        made = studio.restored(measurement, observed, texts, **TEMPLATE)[1]
    right = _right(studio, made, wanted)
    columns = {"left right": right[:, 0], "right right": right[:, 1], "both right": right.all(1).double()}
    return {name: {column: each.tolist() for column, each in columns.items()}}


def _new_colours(rng: Random, scene: world.Scene) -> world.Scene:
    taken = {scene.background, *(thing.colour for thing in scene.things)}
    colours = rng.sample([c for c in world.COLOURS if c not in taken], 2)
    return replace(scene, things=tuple(replace(thing, colour=c) for thing, c in zip(scene.things, colours)))


def _decoy(scene: world.Scene, side: int) -> world.Scene:
    """The scene with another colour for the object of the other side, which must not appear.

    The small model draws two objects only where a text names two.
    """
    taken = {scene.background, *(thing.colour for thing in scene.things)}
    other = replace(scene.things[1 - side], colour=next(c for c in world.COLOURS if c not in taken))
    return replace(scene, things=(scene.things[side], other) if side == 0 else (other, scene.things[side]))


def _alone(scene: world.Scene, side: int) -> world.Scene:
    return replace(scene, things=(scene.things[side],))


def _masks(scenes: list[world.Scene], side: int) -> Tensor:
    return torch.from_numpy(np.stack([box(world.object_mask(_alone(s, side))) for s in scenes])).float()


def _right(studio: Studio, pictures: Tensor, wanted: list[world.Scene]) -> Tensor:
    """(B, 2): whether the left and the right object have the colours wanted. The scorer names the left one's."""
    order = [sorted(scene.things, key=lambda thing: thing.x) for scene in wanted]
    seen = [studio.scorer.read(view) for view in (pictures, pictures.flip(-1))]
    return torch.tensor(
        [[seen[side][i]["colour"] == things[side].colour for side in (0, 1)] for i, things in enumerate(order)]
    ).double()


# Restoration

DAMAGES: dict[str, dict[str, Any]] = {
    "super-resolution, 4": {"operator": "super-resolution", "scale": 4},
    "super-resolution, 8": {"operator": "super-resolution", "scale": 8},
    "gaussian blur, sigma 2": {"operator": "gaussian blur", "kernel_size": 15, "sigma": 2.0},
    "motion blur, 15": {"operator": "motion blur", "kernel_size": 15, "angle": 30.0},
}
WAYS = ("observed", "both", "consistency only", "dps only")


def restoration(studio: Studio, damage: str, way: str, batch: slice) -> dict[str, Figures]:
    """Rows of the restoration table."""
    rng = Random(SEED + 1)
    scenes = [world.sample_scene(rng, clean=True, objects=1) for _ in range(PICTURES)][batch]
    pictures = in_process.pictures(scenes)
    measurement, observed = studio.measured(pictures, noise_std=NOISE_STD, **DAMAGES[damage])
    if way == "observed":
        made = {"observed": observed, "observed, projected": (measurement.projected(2 * observed - 1) + 1) / 2}
    else:
        texts = studio.reference.conditioning([world.describe(scene) for scene in scenes])
        steps = CONSISTENCY_STEPS if way == "consistency only" else STEPS
        raw, image = studio.restored(measurement, observed, texts, steps=steps, consistency=way)
        made = {f"ours, {way}": raw, f"ours, {way}, projected": image}
    return {name: _restoration_row(measurement, each, pictures) for name, each in made.items()}


def _restoration_row(measurement: Any, made: Tensor, pictures: Tensor) -> Figures:
    away = (measurement.operator.forward(2 * made - 1) - measurement.y).square().mean((1, 2, 3)).sqrt()
    return {"PSNR": in_process.psnr(made, pictures).tolist(), "|A x - y|": away.tolist()}


# All of it


Task = Callable[[Studio, slice], dict[str, Figures]]


def tasks() -> dict[str, dict[str, Task]]:
    """What makes the rows of each table, by table and task."""

    def fill(way: str) -> Task:
        return lambda studio, batch: inpainting(studio, way, batch)

    def both(name: str) -> Task:
        return lambda studio, batch: two_texts(studio, name, batch)

    def restore(damage: str, way: str) -> Task:
        return lambda studio, batch: restoration(studio, damage, way, batch)

    ways = (*INPAINTING, "TReg mixing", "VAEEncodeForInpaint", "SetLatentNoiseMask")
    texts = ("one text for each hole", "one text for both", "real pictures")
    return {
        "Inpainting": {way: fill(way) for way in ways},
        "Two texts in two holes": {name: both(name) for name in texts},
        **{f"Restoration: {damage}": {way: restore(damage, way) for way in WAYS} for damage in DAMAGES},
    }


def kept(title: str, name: str, batch: int) -> Path:
    """Where the figures of a batch are."""
    return WORK / f"{title}, {name}, {batch}.json".replace(" ", "_").replace(":", "")


def work(studio: Studio, batches: list[int], titles: list[str]) -> None:
    """Do what is missing of some batches of some tables."""
    for batch in batches:
        for title in titles:
            for name, task in tasks()[title].items():
                if not (path := kept(title, name, batch)).exists():
                    done = task(studio, slice(BATCH * batch, BATCH * (batch + 1)))
                    path.write_text(json.dumps(done) + "\n")
                    log.info("%s, %s, batch %d", title, name, batch)


def unpack(file: Path) -> None:
    """Take over what an earlier run has published."""
    found = json.loads(file.read_text()) if file.exists() else {}
    for name, done in found.items():
        if not (path := WORK / name).exists():
            path.write_text(json.dumps(done) + "\n")


def pack(file: Path) -> None:
    """Publish what is done, to four digits."""
    found = {path.name: _rounded(json.loads(path.read_text())) for path in sorted(WORK.glob("*.json"))}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(done, separators=(',', ':'))}" for name, done in found.items())
    file.write_text(f"{{\n{lines}\n}}\n")


def _rounded(done: dict[str, Figures]) -> dict[str, Figures]:
    return {
        row: {name: [float(f"{value:.4g}") for value in values] for name, values in columns.items()}
        for row, columns in done.items()
    }


def rows(title: str) -> Iterator[tuple[str, Figures]]:
    """The rows of a table, from all batches that are done."""
    for name in tasks()[title]:
        done = [
            json.loads(path.read_text()) for i in range(PICTURES // BATCH) if (path := kept(title, name, i)).exists()
        ]
        for row in done[0] if done else ():
            yield row, {column: sum((each[row][column] for each in done), []) for column in done[0][row]}


def means(title: str) -> dict[str, dict[str, float]]:
    """A table: the mean of each column, and how many pictures it is of."""
    return {
        name: {column: float(np.mean(values)) for column, values in row.items()}
        | {"pictures": max(map(len, row.values()))}
        for name, row in rows(title)
    }


def markdown(tables: dict[str, dict[str, dict[str, float]]]) -> str:
    """All tables as Markdown."""
    parts = []
    for title, table in tables.items():
        columns = [column for column in next(iter(table.values())) if column != "pictures"]
        head = " | ".join(columns).replace("|A x - y|", r"\|A x - y\|")
        lines = [f"| | {head} | pictures |", "|---" * (len(columns) + 2) + "|"]
        for name, row in table.items():
            lines.append(f"| {name} | {' | '.join(f'{row[c]:.3f}' for c in columns)} | {row['pictures']} |")
        parts.append(f"## {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def main() -> None:
    """Measure and write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = list(range(PICTURES // BATCH))
    parser.add_argument("--batches", nargs="*", type=int, default=every, choices=every, help="what to do of the work")
    parser.add_argument("--tables", nargs="*", default=list(tasks()), choices=list(tasks()), help="and which of them")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    for folder in (WORK, arguments.output):
        folder.mkdir(parents=True, exist_ok=True)
    unpack(arguments.output / "restoration.json")
    with torch.inference_mode():
        work(Studio(), arguments.batches, arguments.tables)
    pack(arguments.output / "restoration.json")
    tables = {title: found for title in tasks() if (found := means(title))}
    (arguments.output / "restoration.md").write_text(markdown(tables))


if __name__ == "__main__":
    main()

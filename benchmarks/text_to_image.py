"""Text to image by distillation: every method beside DDIM sampling, on the reference world.

    .host/venv/bin/python -m benchmarks.text_to_image            writes benchmarks/results/text_to_image.{json,md,png}

All methods generate images of the same held-out captions in the same number of optimizer steps, with the papers'
settings. A scorer network checks the attributes each caption names. A Fréchet distance on the scorer's features, the
mean saturation and the energy in high frequencies (both relative to real images) measure how natural images look.
Images are kept in benchmarks/work/, so an interrupted run resumes where it stopped; delete that folder to start over.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.method import Resources
from dreamsampler.guidance.distillation.objective import Direction, Objective, Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.prompts.descriptors import describe
from dreamsampler.nodes.sockets import ObjectiveSocket
from torch import Tensor

from tools.reference import in_process, world

from . import markdown
from .batches import Batch, made
from .editing import label
from .looks import NAMED, SEED, agreement, captions, looks
from .provenance import RESULTS, Results, work_folder
from .sheets import COLUMNS, sheet

log = logging.getLogger("dreamsampler.benchmarks")
BATCH, STEPS = 32, 1000
REAL_IMAGES, METHODS_TABLE = "real images", "methods"
ROWS: dict[str, dict[str, Any]] = {
    "ddim": {},
    "sds": {"method": "sds"},
    "nfsd": {"method": "nfsd"},
    "csd": {"method": "csd"},
    "vsd": {"method": "vsd"},
    "bridge": {"method": "bridge"},
    "bridge, last tenth": {"method": "bridge", "first_stage": 0.9},
    "full bridge": {"method": "full bridge", "ode_steps": 3},
}
PAPER_FID = {
    "ddim": 49.12, "sds": 86.02, "nfsd": 91.70, "csd": 89.96, "vsd": 59.22, "bridge": 67.89, "full bridge": 55.65,
}  # fmt: skip
"""Zero-shot COCO FID with Stable Diffusion (SDS-Bridge, table 3.1 and chapter 4)."""


def empty_latent(count: int) -> dict[str, Tensor]:
    """The LATENT to start from."""
    return {"samples": torch.zeros(count, 4, world.SIZE // 8, world.SIZE // 8)}


def described(name: str, prompt: str) -> tuple[str, str]:
    """Target and source prompt: descriptors of SDS artifacts (Bridge's paper); for nfsd low-quality images."""
    prompts = describe(prompt, "low quality" if name == "nfsd" else "sds artifacts")
    return (prompts.target if "bridge" in name else prompt), prompts.source


class Studio:
    """The reference model and every way to make images of scenes with it."""

    def __init__(self, steps: int):
        self.steps = steps

    @cached_property
    def reference(self) -> in_process.Reference:
        """The reference model, loaded when the first image is to be made."""
        return in_process.load()

    def images(self, name: str, scenes: list[world.Scene], seed: int) -> Tensor:
        """(B, 3, H, W) in [0, 1]."""
        if name != "ddim":
            return self.distilled(name, scenes, seed, {"steps": self.steps, **ROWS[name]})
        positive = self.reference.conditioning([world.describe(scene) for scene in scenes])
        negative, empty = self.reference.conditioning([""]), empty_latent(len(scenes))
        latent = self.reference.ksampled(positive, negative, empty, steps=30, cfg=4.0, seed=seed)
        return self.reference.decoded(latent)

    def distilled(self, name: str, scenes: list[world.Scene], seed: int, settings: dict[str, Any]) -> Tensor:
        """Images (B, 3, H, W) by Distillation Sampler, with the prompts that the method `name` needs."""
        target, source, negative = self.prompts(name, scenes)
        latent = self.reference.distilled(
            target, negative, empty_latent(len(scenes)), source=source, seed=seed, **settings
        )
        return self.reference.decoded(latent)

    def prompts(self, name: str, scenes: list[world.Scene]) -> tuple[Any, Any, Any]:
        """The CONDITIONINGs that the method `name` needs: target, source and negative."""
        pairs = [described(name, world.describe(scene)) for scene in scenes]
        target, source = (self.reference.conditioning(list(each)) for each in zip(*pairs, strict=True))
        return target, source, self.reference.conditioning([""])

    def watched(
        self, name: str, scenes: list[world.Scene], settings: dict[str, Any], watch: Callable[[Sample, Direction], None]
    ) -> Tensor:
        """Images (B, 3, H, W) by a method whose every step `watch` sees."""
        target, source, negative = self.prompts(name, scenes)

        def build(own: Any, resources: Resources) -> Objective:
            objective = METHODS[name].build(own, resources)

            def watching(prior: Prior, sample: Sample) -> Direction:
                direction = objective(prior, sample)
                watch(sample, direction)
                return direction

            return watching

        prompts = {"positive": target, "negative": negative, "source": source}
        socket = ObjectiveSocket(replace(METHODS[name], build=build), prompts)
        latent = self.reference.distilled(
            target, negative, empty_latent(len(scenes)), objective=socket, method="sds", seed=SEED, **settings
        )
        return self.reference.decoded(latent)

    def rescaled(self, multiplier: float) -> Studio:
        """The same with the model behind ComfyUI's RescaleCFG."""
        studio = copy(self)
        studio.reference = self.reference.rescaled(multiplier)
        return studio


def batches(name: str, scenes: list[world.Scene], studio: Studio, folder: Path) -> Iterator[Batch]:
    """All images of a method, in batches."""
    for start in range(0, len(scenes), BATCH):
        file = folder / f"{name.replace(' ', '_')}_{studio.steps}_{start:04}.npz"
        some = scenes[start : start + BATCH]
        yield file, len(some), partial(studio.images, name, some, SEED + start)


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown, with the FID of the papers beside them."""
    columns = [*NAMED, "frechet", "saturation", "high_frequencies", "seconds"]
    head = ["method", *(label(name).replace("_", " ") for name in columns), "FID in the paper"]
    return markdown.table(
        head,
        (
            [name, *(f"{row[c]:.2f}" if c in row else "" for c in columns), str(PAPER_FID.get(name, ""))]
            for name, row in rows.items()
        ),
    )


def report(results: Results) -> str:
    """The figures as Markdown, with their counts and commits."""
    note = "Seconds are those of the CPU for an image; `step_cost` compares methods in pairs."
    return f"{results.line(METHODS_TABLE)}\n\n{table(results.figures['methods'])}\n{note}\n"


def main() -> None:
    """Generate what is missing, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--methods", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    scenes, scorer = captions(arguments.prompts), in_process.load_scorer()
    studio, folder = Studio(arguments.steps), work_folder("text_to_image", arguments.output)
    shown = {REAL_IMAGES: in_process.render(scenes)}
    found = {REAL_IMAGES: agreement(scorer, shown[REAL_IMAGES], scenes) | looks(scorer, shown[REAL_IMAGES])}
    results = Results(arguments.output / "text_to_image.json")
    results.table(METHODS_TABLE, "images")
    results.measured(METHODS_TABLE, REAL_IMAGES, len(scenes))
    for name in arguments.methods:
        images, seconds, runs = made(batches(name, scenes, studio, folder))
        found[name] = agreement(scorer, images, scenes) | looks(scorer, images) | {"seconds": seconds}
        shown[name] = images[:COLUMNS]
        results.measured(METHODS_TABLE, name, len(scenes), runs)
        log.info("%s: %s", name, json.dumps(found[name]))
    results.figures = {"prompts": arguments.prompts, "steps": arguments.steps, "methods": found}
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")
    sheet((images[:COLUMNS] for images in shown.values()), results.path.with_suffix(".png"), before=list(shown))


if __name__ == "__main__":
    main()

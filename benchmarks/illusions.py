"""Illusions on the reference world: how often every view shows what its prompt says, by arrangement and method.

    .host/venv/bin/python -m benchmarks.illusions            writes benchmarks/results/illusions.{json,md,png}

Each case is a set of captions, one for every view, that differ in the shape only: views share their pixels, so they
must share their colors. A scorer network checks the attributes that each caption names. Several cases are optimized at
once, each on sheets of its own. Views are kept in benchmarks/work/, so an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

import torch
from dreamsampler.guidance.core.denoiser import NULL, SOURCE, TARGET
from dreamsampler.guidance.core.noise import item_seeds
from dreamsampler.guidance.distillation.compositions import ARRANGEMENTS, Arrangement, Look, conditionings_of_views
from dreamsampler.guidance.distillation.objectives import METHODS
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Scorer, attributes

from . import markdown
from .batches import Batch, made
from .editing import label
from .looks import NAMED, saturation
from .provenance import RESULTS, Results, work_folder
from .sheets import COLUMNS, sheet
from .text_to_image import described

log = logging.getLogger("dreamsampler.benchmarks")
SEED, STEPS, CASES = 41_000, 150, 16
ROWS = "methods"
ARRANGED = ("flip", "rotate 180", "rotation overlay")
COMPARED: dict[str, dict[str, Any]] = {
    "sds": {},
    "sds, guidance 30": {"guidance_scale": 30.0},
    "sds, guidance 7.5": {"guidance_scale": 7.5},
    "bridge": {},
    "bridge, last tenth": {"sds_stage": 0.9},
    "vsd": {},
}
"""Methods, and settings that differ from the node's."""


def captions(arrangement: Arrangement, cases: int) -> list[list[world.Scene]]:
    """The scenes that the views of each case should show."""
    rng = Random(SEED)
    found = []
    for _ in range(cases):
        scene = world.with_attribute(world.sample_scene(rng, clean=True, objects=1), "pattern", "plain")
        shapes = rng.sample(world.SHAPES, len(arrangement.views))
        found.append([world.with_attribute(scene, "shape", shape) for shape in shapes])
    return found


def side_by_side(arrangement: Arrangement, cases: int) -> Arrangement:
    """The same arrangement for several cases at once, each with sheets of its own."""

    def of(case: int, view: Callable[[Tensor, Look], Tensor]) -> Callable[[Tensor, Look], Tensor]:
        first = case * arrangement.sheets
        return lambda sheets, look: view(sheets[first : first + arrangement.sheets], look)

    views = [of(case, view) for case in range(cases) for view in arrangement.views]
    return Arrangement(cases * arrangement.sheets, views, arrangement.light, arrangement.cells)


class Studio:
    """The reference model, and the run of the node for many illusions at once."""

    @cached_property
    def reference(self) -> in_process.Reference:
        """The reference model, loaded when the first views are to be made."""
        reference = in_process.load()
        reference.run_autoencoder_in_bfloat16()
        return reference

    def views(
        self, arrangement: Arrangement, scenes: list[list[world.Scene]], method: str, steps: int, seed: int
    ) -> Tensor:
        """The views (cases V, 3, H, W) of all cases."""
        from dreamsampler.nodes import host
        from dreamsampler.nodes.overlay_illusion import SETTINGS
        from dreamsampler.nodes.runs.illusion import IllusionDistillation
        from dreamsampler.nodes.sockets import ObjectiveSocket

        name = method.partition(",")[0]
        pairs = [described(name, world.describe(scene)) for case in scenes for scene in case]
        prompted = ([self.reference.conditioning([text]) for text in each] for each in zip(*pairs, strict=True))
        targets, sources = prompted
        negatives = [self.reference.conditioning([""])] * len(targets)
        prompts = conditionings_of_views({TARGET: targets, NULL: negatives, SOURCE: sources})
        config = METHODS[name].config().updated({**SETTINGS, "steps": steps, **COMPARED[method]})
        run = IllusionDistillation(
            chosen=ObjectiveSocket(METHODS[name], prompts),
            config=config,
            seeds=item_seeds(seed, range(len(targets))),
            arrangement=side_by_side(arrangement, len(scenes)),
            size=world.SIZE,
            look=Look(seed, arrangement.light),
            shift=4,
            model=self.reference.model,
            vae=self.reference.vae,
        )
        cells = world.SIZE // 8
        host.run_in_sampler(
            run,
            model=self.reference.model,
            conditionings=prompts,
            samples=host.empty_latent(self.reference.model, len(targets), cells, cells),
            sigmas=host.full_range(self.reference.model),
            evaluations=None,
            seed=seed,
        )
        return run.result.views


def batches(
    name: str, method: str, scenes: list[list[world.Scene]], steps: int, size: int, studio: Studio, folder: Path
) -> Iterator[Batch]:
    """All views of a row, in batches of `size` cases."""
    for start in range(0, len(scenes), size):
        part = scenes[start : start + size]
        file = f"{name}_{method}_{steps}_{start:03}_{len(part)}.npz".replace(" ", "_").replace(",", "")
        make = partial(studio.views, ARRANGEMENTS[name], part, method, steps, SEED + start)
        yield folder / file, len(part), make


def figures(scorer: Scorer, views: Tensor, scenes: list[list[world.Scene]]) -> dict[str, float]:
    """The share of cases in which every view shows all that its prompt names, or the right shape, of single views in
    which one does, and of attributes."""
    wanted = [attributes(scene) for case in scenes for scene in case]
    hits = torch.tensor(
        [[seen[name] == right[name] for name in NAMED] for seen, right in zip(scorer.read(views), wanted, strict=True)]
    )
    real = in_process.render([scene for case in scenes for scene in case])
    by_case = hits.unflatten(0, (len(scenes), -1))
    return {
        "all_views": by_case.all((1, 2)).float().mean().item(),
        "all_shapes": by_case[..., NAMED.index("shape")].all(1).float().mean().item(),
        "views": hits.all(1).float().mean().item(),
        **{name: hits[:, i].float().mean().item() for i, name in enumerate(NAMED)},
        "saturation": saturation(views) / saturation(real),
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """The figures as Markdown."""
    columns = ["all_views", "all_shapes", "views", *NAMED, "saturation", "seconds"]
    head = ["arrangement: method", *(label(column).replace("_", " ") for column in columns)]
    return markdown.table(head, ([name, *(f"{row[column]:.2f}" for column in columns)] for name, row in rows.items()))


def report(results: Results) -> str:
    """The figures as Markdown, with their counts and commits."""
    note = (
        "all views: cases in which the scorer sees every attribute in every view. all shapes: cases in which it sees "
        "the right shape in every view. views: single views. saturation: relative to real images of the captions. "
        "seconds: of one CPU core per case."
    )
    return f"{results.line(ROWS)}\n\n{table(results.figures['methods'])}\n{note}\n"


def main() -> None:
    """Make what is missing, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--batch", type=int, default=4, help="cases optimized at once")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--arrangements", nargs="+", default=list(ARRANGED), choices=ARRANGEMENTS)
    parser.add_argument("--methods", nargs="+", default=list(COMPARED), choices=COMPARED)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    scorer, studio = in_process.load_scorer(), Studio()
    folder = work_folder("illusions", arguments.output)
    results = Results(arguments.output / "illusions.json")
    results.table(ROWS, "cases")
    found, shown = {}, {}
    for name in arguments.arrangements:
        scenes = captions(ARRANGEMENTS[name], arguments.cases)
        for method in arguments.methods:
            views, seconds, runs = made(batches(name, method, scenes, arguments.steps, arguments.batch, studio, folder))
            row = f"{name}: {method}"
            shown[row], found[row] = views[:COLUMNS], figures(scorer, views, scenes) | {"seconds": seconds}
            results.measured(ROWS, row, len(scenes), runs)
            log.info("%s: %s", row, found[row])
    results.figures = {"cases": arguments.cases, "steps": arguments.steps, "methods": found}
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")
    sheet(shown.values(), results.path.with_suffix(".png"), before=list(shown))


if __name__ == "__main__":
    main()

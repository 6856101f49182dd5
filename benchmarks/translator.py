"""Translators trained by LMC-SDS, SDS and DDS, on the reference world.

    .host/venv/bin/python -m benchmarks.translator        writes benchmarks/results/translator.{json,md,png}

One network per objective learns to turn a circle into a square, a triangle, a star or a heart, from the same images in
the same number of steps, with the paper's guidance of 15 (LMC-SDS, section 5.2), sds also with 100. "lmc, held to the
source" is the reference model's own translator. Edits of held-out circles are scored: how often the shape is right, and
color, background and pattern are kept; similarity to the source (SSIM, and PSNR outside the object); and the energy of
high frequencies relative to real images. Networks are kept in benchmarks/work/; delete them to train again.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from dreamsampler.guidance.networks.translation.storage import Translator
from dreamsampler.nodes import host
from dreamsampler.nodes.runs.translator_training import train
from kornia.metrics import ssim
from torch import Tensor

from tools.reference import in_process, translator, world
from tools.reference.scorer import Agreement, Scorer, attributes

from . import markdown
from .editing import Edit, label, psnr_outside
from .looks import high_frequencies
from .provenance import RESULTS, Results, stamp, stamped, work_folder
from .sheets import COLUMNS, sheet

log = logging.getLogger("dreamsampler.benchmarks")
HELD_OUT = 60_000
METHODS_TABLE, DECODED = "methods", "sources as the autoencoder returns them"
PAPER_RECIPE = replace(translator.RECIPE, source_weight=1.0)
RECIPES = {
    "lmc": PAPER_RECIPE,
    "lmc, held to the source": translator.RECIPE,
    "sds": replace(PAPER_RECIPE, method="sds"),
    "sds, 100": replace(PAPER_RECIPE, method="sds", guidance_scale=100.0),
    "dds": replace(PAPER_RECIPE, method="dds"),
}
PAPER = {"lmc": (0.178, 0.592), "sds, 100": (0.201, 0.482), "dds": (0.143, 0.333)}
"""LPIPS to the source and CLIP-R-precision of the paper's cats-to-others (LMC-SDS, table 1)."""
Row = dict[str, float]


def network_file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace(',', '').replace(' ', '_')}.safetensors"


def learned(name: str, reference: in_process.Reference, steps: int, folder: Path) -> Translator:
    """The translator of a recipe, trained unless it is the reference model's own or in the work folder."""
    files, file = host.TRANSLATORS, network_file(folder, name)
    if replace(RECIPES[name], steps=steps) == translator.RECIPE:
        return files.read_file(translator.TRANSLATOR)
    before = files.read_file(file) if file.exists() else None
    missing = steps - (before.about.steps if before else 0)
    if missing > 0:
        recipe = replace(RECIPES[name], steps=missing)
        job = translator.job(reference, translator.IMAGES)
        files.write(file, train(job, recipe, lambda made: files.write(file, made), before), torch.float16)
        stamp(file)
    return files.read_file(file)


def edits(count: int) -> list[Edit]:
    """Held-out circles, each edited into every target."""
    return [
        Edit(scene, "shape", world.with_attribute(scene, "shape", target))
        for scene in translator.scenes(count, HELD_OUT)
        for target in translator.TARGETS
    ]


def translated(made: Translator, reference: in_process.Reference, jobs: list[Edit]) -> tuple[Tensor, float]:
    """Images (B, 3, H, W) of all jobs, and the CPU milliseconds that the network takes for each."""
    sources = reference.latent(in_process.render([job.source for job in jobs]))["samples"]
    began = time.process_time()
    rows = [made(sources[i : i + 1], job.wanted) for i, job in enumerate(jobs)]
    each = (time.process_time() - began) / len(jobs)
    return reference.decoded({"samples": torch.cat(rows)}), 1000 * each


@torch.no_grad()
def figures(scorer: Scorer, images: Tensor, jobs: list[Edit]) -> Row:
    """Everything that is measured on the images of some jobs."""
    rates = Agreement.of(scorer, images, [attributes(job.target) for job in jobs]).rates
    sources = in_process.render([job.source for job in jobs])
    real = in_process.render([job.target for job in jobs])
    return {
        **{name: rates[name] for name in ("shape", "colour", "background", "pattern")},
        "SSIM to the source": ssim(images, sources, 7).mean().item(),
        "PSNR outside": float(np.mean(psnr_outside(images, sources, jobs))),
        "high frequencies": high_frequencies(images) / high_frequencies(real),
    }


def table(rows: dict[str, Row]) -> str:
    """The figures as Markdown, with those of the paper beside them."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = []
    for name, row in rows.items():
        paper = " / ".join(f"{value:.3f}" for value in PAPER.get(name, ()))
        lines.append([name, *(f"{row[column]:.3g}" if column in row else "" for column in columns), paper])
    return markdown.table(["", *map(label, columns), "LPIPS / R-precision in the paper"], lines)


def report(results: Results) -> str:
    """The figures as Markdown, with their counts and commits."""
    return f"{results.line(METHODS_TABLE)}\n\n{table(results.figures['methods'])}"


def main() -> None:
    """Train what is missing, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--steps", type=int, default=translator.RECIPE.steps)
    parser.add_argument("--count", type=int, default=64, help="held-out circles, each for every target")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    jobs, scorer = edits(arguments.count), in_process.load_scorer()
    folder = work_folder("translator", arguments.output)
    rows, shown = {}, {}
    results = Results(arguments.output / "translator.json")
    results.table(METHODS_TABLE, "edits")
    with torch.inference_mode():
        reference = in_process.load()
        sources = in_process.render([job.source for job in jobs])
        again = reference.decoded(reference.latent(sources))
        rows[DECODED], shown["sources"] = figures(scorer, again, jobs), sources
        results.measured(METHODS_TABLE, DECODED, len(jobs))
        for name in arguments.methods:
            images, milliseconds = translated(learned(name, reference, arguments.steps, folder), reference, jobs)
            rows[name], shown[name] = figures(scorer, images, jobs) | {"ms": milliseconds}, images
            file = network_file(folder, name)
            trained = [stamped(file)] if file.exists() else []  # the reference model's own was not trained here
            results.measured(METHODS_TABLE, name, len(jobs), [*trained, results.run])
            log.info("%s: %s", name, json.dumps(rows[name]))
    results.figures = {"images": len(jobs), "steps": arguments.steps, "methods": rows}
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")
    sheet((images[:COLUMNS] for images in shown.values()), results.path.with_suffix(".png"), before=list(shown))


if __name__ == "__main__":
    main()

"""Translators trained by LMC-SDS, SDS and DDS, on the reference world.

    .host/venv/bin/python -m benchmarks.translator        writes benchmarks/results/translator.{json,md,png}

One network for each objective learns to make a square, a triangle, a star or a heart of a circle, from the same
pictures in the same number of steps, with the paper's guidance of 15 (LMC-SDS, section 5.2), sds also with 100; "lmc,
held to the source" is the reference model's own translator. What they make of held-out circles is scored: how
often the shape is there, and colour, background and pattern still are; the likeness to the source (SSIM, and PSNR
outside the object); and the energy of high frequencies relative to real ones'. The networks are kept in
benchmarks/work/; delete them to train them again.
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

from .editing import Edit
from .text_to_image import high_frequencies, sheet

log = logging.getLogger("dreamsampler.benchmarks")
RESULTS = Path(__file__).with_name("results")
WORK = Path(__file__).with_name("work") / "translator"
HELD_OUT, SHOWN = 60_000, 12
PUBLISHED_RECIPE = replace(translator.RECIPE, source_weight=1.0)
RECIPES = {
    "lmc": PUBLISHED_RECIPE,
    "lmc, held to the source": translator.RECIPE,
    "sds": replace(PUBLISHED_RECIPE, method="sds"),
    "sds, 100": replace(PUBLISHED_RECIPE, method="sds", guidance_scale=100.0),
    "dds": replace(PUBLISHED_RECIPE, method="dds"),
}
PUBLISHED = {"lmc": (0.178, 0.592), "sds, 100": (0.201, 0.482), "dds": (0.143, 0.333)}
"""LPIPS to the source and CLIP-R-precision of the paper's cats-to-others (LMC-SDS, table 1)."""
Row = dict[str, float]


def learned(name: str, reference: in_process.Reference, steps: int) -> Translator:
    """The translator of a recipe, trained where it is neither the reference model's own nor in the work folder yet."""
    shelf, file = host.TRANSLATORS, WORK / f"{name.replace(',', '').replace(' ', '_')}.safetensors"
    if replace(RECIPES[name], steps=steps) == translator.RECIPE:
        return shelf.read_file(translator.TRANSLATOR)
    before = shelf.read_file(file) if file.exists() else None
    missing = steps - (before.about.steps if before else 0)
    if missing > 0:
        recipe = replace(RECIPES[name], steps=missing)
        job = translator.job(reference, translator.PICTURES)
        shelf.write(file, train(job, recipe, lambda made: shelf.write(file, made), before), torch.float16)
    return shelf.read_file(file)


def edits(count: int) -> list[Edit]:
    """Held-out circles, each to become each of the targets."""
    return [
        Edit(scene, "shape", world.with_attribute(scene, "shape", target))
        for scene in translator.scenes(count, HELD_OUT)
        for target in translator.TARGETS
    ]


def translated(made: Translator, reference: in_process.Reference, jobs: list[Edit]) -> tuple[Tensor, float]:
    """Pictures (B, 3, H, W) of all jobs, and the milliseconds that the network takes for each."""
    sources = reference.latent(in_process.pictures([job.source for job in jobs]))["samples"]
    began = time.perf_counter()
    rows = [made(sources[i : i + 1], job.wanted) for i, job in enumerate(jobs)]
    each = (time.perf_counter() - began) / len(jobs)
    return reference.decoded({"samples": torch.cat(rows)}), 1000 * each


@torch.no_grad()
def figures(scorer: Scorer, pictures: Tensor, jobs: list[Edit]) -> Row:
    """Everything that is measured on the pictures of some jobs."""
    rates = Agreement.of(scorer, pictures, [attributes(job.target) for job in jobs]).rates
    sources = in_process.pictures([job.source for job in jobs])
    kept = torch.from_numpy(np.stack([job.kept() for job in jobs]))
    errors = (pictures - sources).square().mean(1)
    psnr = [-10 * error[keep].mean().log10().item() for error, keep in zip(errors, kept)]
    real = in_process.pictures([job.target for job in jobs])
    return {
        **{name: rates[name] for name in ("shape", "colour", "background", "pattern")},
        "SSIM to the source": ssim(pictures, sources, 7).mean().item(),
        "PSNR outside": float(np.mean(psnr)),
        "high frequencies": high_frequencies(pictures) / high_frequencies(real),
    }


def table(rows: dict[str, Row]) -> str:
    """The figures as Markdown, with the published ones beside them."""
    columns = list(next(iter(rows.values())))
    lines = [f"| | {' | '.join(columns)} | published LPIPS / R-precision |", "|---" * (len(columns) + 2) + "|"]
    for name, row in rows.items():
        published = " / ".join(f"{value:.3f}" for value in PUBLISHED.get(name, ()))
        values = " | ".join(f"{row[column]:.3g}" for column in columns)
        lines.append(f"| {name} | {values} | {published} |")
    return "\n".join(lines) + "\n"


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
    rows, shown = {}, {}
    with torch.inference_mode():
        reference = in_process.load()
        sources = in_process.pictures([job.source for job in jobs])
        again = reference.decoded(reference.latent(sources))
        rows["sources as the autoencoder returns them"], shown["sources"] = figures(scorer, again, jobs), sources
        for name in arguments.methods:
            pictures, milliseconds = translated(learned(name, reference, arguments.steps), reference, jobs)
            rows[name], shown[name] = figures(scorer, pictures, jobs) | {"ms": milliseconds}, pictures
            log.info("%s: %s", name, json.dumps(rows[name]))
    arguments.output.mkdir(parents=True, exist_ok=True)
    found = {"pictures": len(jobs), "steps": arguments.steps, "methods": rows}
    (arguments.output / "translator.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.output / "translator.md").write_text(table(rows))
    sheet(shown, arguments.output / "translator.png", SHOWN)


if __name__ == "__main__":
    main()

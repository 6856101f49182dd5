"""Text to image by distillation: every method beside DDIM sampling, on the reference world.

    .host/venv/bin/python -m benchmarks.text_to_image            writes benchmarks/results/text_to_image.{json,md,png}
    .host/venv/bin/python -m benchmarks.text_to_image --renoise  writes benchmarks/results/renoise.{json,md}
    .host/venv/bin/python -m benchmarks.text_to_image --few      writes benchmarks/results/few_evaluations.{json,md}
    .host/venv/bin/python -m benchmarks.text_to_image --guidance writes benchmarks/results/guidance.{json,md}
    .host/venv/bin/python -m benchmarks.text_to_image --bridge   writes benchmarks/results/bridge_stages.{json,md}

All methods generate images of the same held-out captions in the same number of optimizer steps, with the papers'
settings. A scorer network checks the attributes each caption names. A Fréchet distance on the scorer's features, the
mean saturation and the energy in high frequencies (both relative to real images) measure how natural images look.
Images are kept in benchmarks/work/, so an interrupted run resumes where it stopped; delete that folder to start over.

With --renoise, the method dreamsampler alone generates 16 images in 100 steps with each kind of noise (DreamSampler,
Algorithm 2) at several guidance scales; with --few, sds, nfsd and sdi generate 16 images in 600 evaluations of the
model each; with --guidance, sds does at rising guidance scales, without and with ComfyUI's RescaleCFG; with --bridge,
bridge leaves more and more steps to its second stage. Rows already in the JSON are kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.method import Resources
from dreamsampler.guidance.distillation.objective import Direction, Objective, Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.prompts.descriptors import describe
from dreamsampler.nodes.sockets import ObjectiveSocket
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Agreement, Scorer, attributes

from .editing import EvaluationCounter, label
from .images import save
from .provenance import RESULTS, Results, Run, stamp, stamped

log = logging.getLogger("dreamsampler.benchmarks")
WORK = Path(__file__).with_name("work") / "text_to_image"
SEED, BATCH, STEPS, REAL = 31_000, 32, 1000, 4096
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


def captions(count: int) -> list[world.Scene]:
    """The scenes to generate."""
    rng = Random(SEED)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(count)]


@cache
def real_images() -> Tensor:
    """Images (REAL, 3, H, W) of other scenes."""
    rng = Random(SEED + 1)
    return in_process.render([world.sample_scene(rng, clean=True, objects=1) for _ in range(REAL)])


def empty_latent(count: int) -> dict[str, Tensor]:
    """The LATENT to start from."""
    return {"samples": torch.zeros(count, 4, world.SIZE // 8, world.SIZE // 8)}


class Studio:
    """The reference model and every way to make images of scenes with it."""

    def __init__(self, steps: int):
        self.reference, self.steps = in_process.load(), steps

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
        pairs = [self.described(name, world.describe(scene)) for scene in scenes]
        target, source = (self.reference.conditioning(list(each)) for each in zip(*pairs, strict=True))
        return target, source, self.reference.conditioning([""])

    @staticmethod
    def described(name: str, prompt: str) -> tuple[str, str]:
        """Target and source prompt: descriptors of SDS artifacts (Bridge's paper); for nfsd low-quality images."""
        prompts = describe(prompt, "low quality" if name == "nfsd" else "sds artifacts")
        return (prompts.target if "bridge" in name else prompt), prompts.source

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

    def renoised(self, scenes: list[world.Scene], settings: dict[str, Any]) -> tuple[Tensor, float]:
        """Images (B, 3, H, W) by dreamsampler, and the largest standard deviation of the noise that it adds."""
        sizes: list[float] = []
        settings = {"steps": self.steps, **settings}
        images = self.watched("dreamsampler", scenes, settings, lambda sample, _: sizes.append(sample.eps.std().item()))
        return images, max(sizes)

    def rescaled(self, multiplier: float) -> Studio:
        """The same with the model behind ComfyUI's RescaleCFG."""
        studio = copy(self)
        studio.reference = self.reference.rescaled(multiplier)
        return studio


def generated(
    name: str, scenes: list[world.Scene], steps: int, studio: list[Studio]
) -> tuple[Tensor, float, list[Run]]:
    """All images of a method, the seconds each took, and the runs that made them; made unless in the work folder."""
    batches, seconds, runs = [], [], []
    for start in range(0, len(scenes), BATCH):
        file = WORK / f"{name.replace(' ', '_')}_{steps}_{start:04}.npz"
        if not file.exists():
            if not studio:
                studio.append(Studio(steps))
            began = time.perf_counter()
            made = studio[0].images(name, scenes[start : start + BATCH], SEED + start)
            each = (time.perf_counter() - began) / len(made)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, images=(made * 255).round().byte().numpy(), seconds=each)
            stamp(file)
            log.info("%s %d: %.2f s per image", name, start, each)
        found = np.load(file)
        batches.append(torch.from_numpy(found["images"]).float() / 255)
        seconds.append(float(found["seconds"]))
        runs.append(stamped(file))
    return torch.cat(batches), float(np.median(seconds)), runs


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two sets of features (N, D) taken as Gaussians (Heusel et al., 2017)."""
    a, b = a.double(), b.double()
    product = torch.linalg.eigvals(a.T.cov() @ b.T.cov()).real.clamp_min(0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * product).item()


def saturation(images: Tensor) -> float:
    """Mean of (max - min) / max over the channels."""
    top = images.amax(1)
    return ((top - images.amin(1)) / top.clamp_min(1e-3)).mean().item()


def high_frequencies(images: Tensor) -> float:
    """Mean energy above half the Nyquist frequency, in either direction."""
    spectrum = torch.fft.rfft2(images - images.mean((-2, -1), keepdim=True), norm="ortho").abs().square()
    rows = torch.fft.fftfreq(images.shape[-2]).abs()[:, None] > 0.25
    columns = torch.fft.rfftfreq(images.shape[-1])[None] > 0.25
    return spectrum[..., rows | columns].mean().item()


@torch.no_grad()
def figures(scorer: Scorer, images: Tensor, scenes: list[world.Scene], real: Tensor) -> dict[str, Any]:
    """Everything that is measured on a method's images."""
    rates = Agreement.of(scorer, images, [attributes(scene) for scene in scenes]).rates
    return {
        **{name: rates[name] for name in ("colour", "shape", "background", "pattern")},
        "frechet": frechet(scorer.features(images * 2 - 1), scorer.features(real * 2 - 1)),
        "saturation": saturation(images) / saturation(real),
        "high_frequencies": high_frequencies(images) / high_frequencies(real),
    }


def sheet(rows: dict[str, Tensor], path: Path, columns: int = 12) -> None:
    """An image with a row for each method, all of the same captions, with the method's name before it."""
    cells = torch.cat([torch.cat(list(images[:columns]), 2) for images in rows.values()], 1)
    whole = Image.fromarray((cells.movedim(0, -1) * 255).round().byte().numpy())
    font = ImageFont.load_default(15)
    margin = math.ceil(max(map(font.getlength, rows))) + 16
    named = Image.new("RGB", (margin + whole.width, whole.height), "white")
    named.paste(whole, (margin, 0))
    draw = ImageDraw.Draw(named)
    for row, name in enumerate(rows):
        draw.text((margin - 8, (row + 0.5) * world.SIZE), name, "black", font, anchor="rm")
    save(named, path)


def table(results: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown, with the FID of the papers beside them."""
    columns = [
        "colour", "shape", "background", "pattern", "frechet", "saturation", "high_frequencies", "seconds"
    ]  # fmt: skip
    head = "| method | " + " | ".join(label(c).replace("_", " ") for c in columns) + " | FID in the paper |"
    lines = [head, "|---" * (len(columns) + 2) + "|"]
    for name, row in results.items():
        values = " | ".join(f"{row[c]:.2f}" if c in row else "" for c in columns)
        lines.append(f"| {name} | {values} | {PAPER_FID.get(name, '')} |")
    note = "Seconds per image were measured beside other work; `step_cost` compares methods in pairs."
    return "\n".join([*lines, "", note]) + "\n"


def report(results: Results) -> str:
    """The figures as Markdown, with their counts and commits."""
    return f"{results.line(METHODS_TABLE)}\n\n{table(results.figures['methods'])}"


NOISES: dict[str, dict[str, Any]] = {
    "guided (the paper)": {"renoise": "guided", "eta": 0.0},
    "unconditional": {"renoise": "unconditional", "eta": 0.0},
    "unconditional, `eta` 1 (the default)": {"renoise": "unconditional", "eta": 1.0},
    "fresh": {"noise_policy": "fresh"},
}
GUIDANCES = (7.5, 30.0)
FEW_IMAGES, RENOISED_STEPS = 16, 100
RENOISE_TABLE = "noise of dreamsampler"


def measure_renoising(folder: Path) -> None:
    """Every kind of noise at every guidance scale; what the prompt names, and how large the noise becomes."""
    studio = Studio(RENOISED_STEPS)

    def measured(scenes: list[world.Scene], settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        images, size = studio.renoised(scenes, settings)
        return images, {"largest noise": size}

    note = "The largest noise is the largest standard deviation that a step adds; the model expects 1."
    measure_variants(folder / "renoise.json", RENOISE_TABLE, at_guidances(NOISES, GUIDANCES), measured, note)


FEW_EVALUATIONS = "methods at 600 model evaluations"
AT_600: dict[str, dict[str, Any]] = {
    "sds": {"method": "sds", "steps": 300, "learning_rate": 1 / 30},
    "nfsd": {"method": "nfsd", "steps": 200, "learning_rate": 1 / 20},
    "sdi": {"method": "sdi"},
}
"""sds and nfsd in as many steps as 600 evaluations allow, at rates that lead as far as their own in 1000 steps."""
PARTS_OF_SDI: dict[str, dict[str, Any]] = {
    "sdi, inverted at guidance 0": {"method": "sdi", "inversion_guidance_scale": 0.0},
    "sdi, fresh noise": {"method": "sdi", "noise_policy": "fresh", "steps": 300, "learning_rate": 1 / 30},
}
"""sdi without what the paper adds to it, at its guidance scale: a negative inversion, and any inversion."""


def measure_few_evaluations(folder: Path) -> None:
    """Methods in 600 evaluations of the model, at every guidance scale."""
    studio = Studio(0)
    scorer = in_process.load_scorer()

    def measured(scenes: list[world.Scene], settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        with EvaluationCounter(studio.reference.model.model.diffusion_model) as counter:
            images = studio.distilled(settings["method"], scenes, SEED, settings)
        return images, {**looks(scorer, images, scenes), "evaluations": counter.items / len(scenes)}

    note = "Saturation and high frequencies are those of real images at 1. Evaluations are of the model, for an image."
    variants = at_guidances(AT_600, GUIDANCES) | at_guidances(PARTS_OF_SDI, GUIDANCES[:1])
    measure_variants(folder / "few_evaluations.json", FEW_EVALUATIONS, variants, measured, note)


GUIDANCE_TABLE = "sds at 600 model evaluations"
RESCALED = {"as it is": 0.0, "RescaleCFG 0.7": 0.7, "RescaleCFG 1": 1.0}
RISING = (7.5, 30.0, 100.0)


def measure_guidance(folder: Path) -> None:
    """sds at rising guidance scales, without and with the standard deviation of guided estimates brought back."""
    studio, scorer = Studio(0), in_process.load_scorer()

    def measured(scenes: list[world.Scene], settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        settings = dict(settings)
        multiplier = settings.pop("multiplier")
        own = studio.rescaled(multiplier) if multiplier else studio
        images = own.distilled("sds", scenes, SEED, {**AT_600["sds"], **settings})
        return images, looks(scorer, images, scenes)

    note = (
        "RescaleCFG (Lin et al., 2023, eq. 15 and 16) brings the standard deviation of the guided estimate back to "
        "that of the prompt's own by the share named. Saturation and high frequencies are those of real images at 1."
    )
    variants = at_guidances({name: {"multiplier": share} for name, share in RESCALED.items()}, RISING)
    measure_variants(folder / "guidance.json", GUIDANCE_TABLE, variants, measured, note)


BRIDGE_TABLE = "share of steps in the second stage"
SECOND_STAGES = (0.0, 0.05, 0.1, 0.25, 0.5)


def measure_bridge(folder: Path) -> None:
    """bridge in 300 steps with a longer and longer second stage, and how much its gradients agree."""
    studio, scorer = Studio(0), in_process.load_scorer()

    def measured(scenes: list[world.Scene], settings: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        last: deque[Tensor] = deque(maxlen=WATCHED)
        images = studio.watched("bridge", scenes, settings, lambda _, direction: last.append(direction.gradient))
        gradients = torch.stack(list(last))
        one_way = gradients.mean(0).abs().mean() / gradients.square().mean(0).sqrt().mean()
        return images, {**looks(scorer, images, scenes), "one way": one_way.item()}

    note = (
        f"One way: the mean of the last {WATCHED} gradients of a latent cell over their root mean square, "
        f"{(2 / math.pi / WATCHED) ** 0.5:.2f} for noise and 1 for gradients that are all the same; Adam moves a cell "
        "by this share of the learning rate. Saturation and high frequencies are those of real images at 1."
    )
    loop = {"steps": 300, "learning_rate": 1 / 30}
    variants = {f"{share:.0%} | 40, then 25": {**loop, "first_stage": 1 - share} for share in SECOND_STAGES}
    measure_variants(folder / "bridge_stages.json", BRIDGE_TABLE, variants, measured, note)


WATCHED = 15
"""Steps at the end of a run whose gradients are compared."""


def looks(scorer: Scorer, images: Tensor, scenes: list[world.Scene]) -> dict[str, float]:
    """How natural images look."""
    seen = figures(scorer, images, scenes, real_images())
    return {name: seen[name] for name in ("frechet", "saturation", "high_frequencies")}


Measured = Callable[[list[world.Scene], dict[str, Any]], tuple[Tensor, dict[str, float]]]
"""Makes the images of scenes with settings of the node, and measures what is particular to a table."""


def measure_variants(
    path: Path, title: str, variants: dict[str, dict[str, Any]], measured: Measured, note: str
) -> None:
    """A row for each variant: what the prompt names, what `measured` adds, and the time."""
    results = Results(path, resume=True)
    results.table(title, "images")
    found, scenes, scorer = results.figures, captions(FEW_IMAGES), in_process.load_scorer()
    for key, settings in variants.items():
        if key in found:
            continue
        began = time.process_time()
        with torch.inference_mode():
            images, more = measured(scenes, settings)
            seconds = time.process_time() - began
            rates = Agreement.of(scorer, images, [attributes(scene) for scene in scenes]).rates
        row = {each: rates[each] for each in ("colour", "shape", "background", "pattern")}
        found[key] = {**row, **more, "CPU seconds": seconds}
        results.measured(title, key, len(scenes))
        results.write()
        log.info("%s: %s", key, json.dumps(found[key]))
    results.figures = {key: found[key] for key in variants}
    results.write()
    path.with_suffix(".md").write_text(variants_report(results, title, note), "utf-8")


def at_guidances(variants: dict[str, dict[str, Any]], guidances: Sequence[float]) -> dict[str, dict[str, Any]]:
    """The settings of every row, by the first columns of the table: a variant and a guidance scale."""
    return {
        f"{name} | {guidance:g}": {**settings, "guidance_scale": guidance}
        for guidance in guidances
        for name, settings in variants.items()
    }


def variants_report(results: Results, title: str, note: str) -> str:
    """The figures as Markdown."""
    columns = list(next(iter(results.figures.values())))
    names = [label(each).replace("_", " ") for each in columns]
    lines = [f"| {title} | guidance | {' | '.join(names)} |", "|---" * (len(columns) + 2) + "|"]
    for key, row in results.figures.items():
        lines.append(f"| {key} | " + " | ".join(f"{row[c]:.2f}" for c in columns) + " |")
    return "\n".join([results.line(title), "", *lines, "", note]) + "\n"


def main() -> None:
    """Generate what is missing, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--methods", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--renoise", action="store_true", help="measure the noise of dreamsampler instead")
    parser.add_argument("--few", action="store_true", help="measure methods at 600 model evaluations instead")
    parser.add_argument("--guidance", action="store_true", help="measure sds at rising guidance scales instead")
    parser.add_argument("--bridge", action="store_true", help="measure bridge by the length of its stages instead")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    others = {
        "renoise": measure_renoising,
        "few": measure_few_evaluations,
        "guidance": measure_guidance,
        "bridge": measure_bridge,
    }
    chosen = [measure for name, measure in others.items() if getattr(arguments, name)]
    for measure in chosen:
        measure(arguments.output)
    if chosen:
        return
    scenes, scorer, studio = captions(arguments.prompts), in_process.load_scorer(), []
    real = real_images()
    true = in_process.render(scenes)
    results = Results(arguments.output / "text_to_image.json")
    results.table(METHODS_TABLE, "images")
    found, rows = {REAL_IMAGES: figures(scorer, true, scenes, real)}, {REAL_IMAGES: true}
    results.measured(METHODS_TABLE, REAL_IMAGES, len(scenes))
    for name in arguments.methods:
        with torch.inference_mode():
            images, seconds, runs = generated(name, scenes, arguments.steps, studio)
        rows[name] = images
        found[name] = figures(scorer, images, scenes, real) | {"seconds": seconds}
        results.measured(METHODS_TABLE, name, len(scenes), runs)
        log.info("%s: %s", name, json.dumps(found[name]))
    results.figures = {"prompts": arguments.prompts, "steps": arguments.steps, "methods": found}
    results.write()
    results.path.with_suffix(".md").write_text(report(results), "utf-8")
    sheet(rows, results.path.with_suffix(".png"))


if __name__ == "__main__":
    main()

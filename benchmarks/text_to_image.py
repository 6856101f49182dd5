"""Text to image by distillation: every method against sampling, on the reference world.

    .host/venv/bin/python -m benchmarks.text_to_image            writes benchmarks/results/text_to_image.{json,md,png}

All methods draw the same held-out captions in the same number of optimiser steps, with the published settings. The
scorer says which asked attributes a picture shows; a Fréchet distance on its features, the mean saturation and the
energy in high frequencies, both relative to real pictures, say how natural the pictures are. Pictures are kept in
benchmarks/work/, so a run that was cut goes on where it stopped; delete that folder to start over.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from dreamsampler.guidance.prompts.descriptors import describe
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Agreement, Scorer, attributes

log = logging.getLogger("dreamsampler.benchmarks")
RESULTS = Path(__file__).with_name("results")
WORK = Path(__file__).with_name("work") / "text_to_image"
SEED, BATCH, STEPS, REAL = 31_000, 32, 1000, 4096
BAD = "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
"""What NFSD calls bad pictures (Katzir et al., 2023)."""
METHODS: dict[str, dict[str, Any]] = {
    "ddim": {},
    "sds": {"method": "sds"},
    "nfsd": {"method": "nfsd"},
    "csd": {"method": "csd"},
    "vsd": {"method": "vsd"},
    "bridge": {"method": "bridge"},
    "bridge, last tenth": {"method": "bridge", "first_stage": 0.9},
    "full bridge": {"method": "full bridge", "ode_steps": 3},
}
PUBLISHED = {
    "ddim": 49.12, "sds": 86.02, "nfsd": 91.70, "csd": 89.96, "vsd": 59.22, "bridge": 67.89, "full bridge": 55.65,
}  # fmt: skip
"""Zero-shot COCO FID with Stable Diffusion (SDS-Bridge, table 3.1 and chapter 4)."""


def captions(count: int) -> list[world.Scene]:
    """The scenes to draw."""
    rng = Random(SEED)
    return [world.sample_scene(rng, clean=True, objects=1) for _ in range(count)]


class Studio:
    """The reference model and every way to make pictures of scenes with it."""

    def __init__(self, steps: int):
        self.reference, self.steps = in_process.load(), steps

    def pictures(self, name: str, scenes: list[world.Scene], seed: int) -> Tensor:
        """(B, 3, H, W) in [0, 1]."""
        texts = [world.describe(scene) for scene in scenes]
        negative = self.reference.conditioning([""])
        empty = {"samples": torch.zeros(len(scenes), 4, world.SIZE // 8, world.SIZE // 8)}
        if name == "ddim":
            positive = self.reference.conditioning(texts)
            latent = self.reference.ksampled(positive, negative, empty, steps=30, cfg=4.0, seed=seed)
        else:
            pairs = [self.described(name, text) for text in texts]
            target, source = (self.reference.conditioning(list(each)) for each in zip(*pairs))
            latent = self.reference.distilled(
                target, negative, empty, source=source, seed=seed, steps=self.steps, **METHODS[name]
            )
        return self.reference.decoded(latent)

    @staticmethod
    def described(name: str, text: str) -> tuple[str, str]:
        """Target and source text: Bridge's published descriptors of SDS artifacts; for NFSD bad pictures as such."""
        texts = describe(text, "sds artifacts")
        if name == "nfsd":
            return text, BAD
        return (texts.target if "bridge" in name else text), texts.source


def drawn(name: str, scenes: list[world.Scene], steps: int, studio: list[Studio]) -> tuple[Tensor, float]:
    """All pictures of a method and the seconds each took; made where they are not in the work folder yet."""
    rows, seconds = [], []
    for start in range(0, len(scenes), BATCH):
        file = WORK / f"{name.replace(' ', '_')}_{steps}_{start:04}.npz"
        if not file.exists():
            if not studio:
                studio.append(Studio(steps))
            began = time.perf_counter()
            made = studio[0].pictures(name, scenes[start : start + BATCH], SEED + start)
            each = (time.perf_counter() - began) / len(made)
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, pictures=(made * 255).round().byte().numpy(), seconds=each)
            log.info("%s %d: %.2f s a picture", name, start, each)
        found = np.load(file)
        rows.append(torch.from_numpy(found["pictures"]).float() / 255)
        seconds.append(float(found["seconds"]))
    return torch.cat(rows), float(np.median(seconds))


def frechet(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of two sets of features (N, D) taken as Gaussians (Heusel et al., 2017)."""
    a, b = a.double(), b.double()
    product = torch.linalg.eigvals(a.T.cov() @ b.T.cov()).real.clamp_min(0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + a.T.cov().trace() + b.T.cov().trace() - 2 * product).item()


def saturation(pictures: Tensor) -> float:
    """Mean of (max - min) / max over the channels."""
    top = pictures.amax(1)
    return ((top - pictures.amin(1)) / top.clamp_min(1e-3)).mean().item()


def high_frequencies(pictures: Tensor) -> float:
    """Mean energy above half the Nyquist frequency, in either direction."""
    spectrum = torch.fft.rfft2(pictures - pictures.mean((-2, -1), keepdim=True), norm="ortho").abs().square()
    rows = torch.fft.fftfreq(pictures.shape[-2]).abs()[:, None] > 0.25
    columns = torch.fft.rfftfreq(pictures.shape[-1])[None] > 0.25
    return spectrum[..., rows | columns].mean().item()


@torch.no_grad()
def figures(scorer: Scorer, pictures: Tensor, scenes: list[world.Scene], real: Tensor) -> dict[str, Any]:
    """Everything that is measured on a method's pictures."""
    rates = Agreement.of(scorer, pictures, [attributes(scene) for scene in scenes]).rates
    return {
        **{name: rates[name] for name in ("colour", "shape", "background", "pattern")},
        "frechet": frechet(scorer.features(pictures * 2 - 1), scorer.features(real * 2 - 1)),
        "saturation": saturation(pictures) / saturation(real),
        "high_frequencies": high_frequencies(pictures) / high_frequencies(real),
    }


def sheet(rows: dict[str, Tensor], path: Path, columns: int = 12) -> None:
    """A picture of pictures: a row of the same captions for each method, with its name before it."""
    cells = torch.cat([torch.cat(list(pictures[:columns]), 2) for pictures in rows.values()], 1)
    whole = Image.fromarray((cells.movedim(0, -1) * 255).round().byte().numpy())
    font = ImageFont.load_default(15)
    margin = math.ceil(max(map(font.getlength, rows))) + 16
    named = Image.new("RGB", (margin + whole.width, whole.height), "white")
    named.paste(whole, (margin, 0))
    draw = ImageDraw.Draw(named)
    for row, name in enumerate(rows):
        draw.text((margin - 8, (row + 0.5) * world.SIZE), name, "black", font, anchor="rm")
    named.save(path, optimize=True)


def table(results: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown, with the published FID beside them."""
    columns = [
        "colour", "shape", "background", "pattern", "frechet", "saturation", "high_frequencies", "seconds"
    ]  # fmt: skip
    head = "| method | " + " | ".join(c.replace("_", " ") for c in columns) + " | published FID |"
    lines = [head, "|---" * (len(columns) + 2) + "|"]
    for name, row in results.items():
        values = " | ".join(f"{row[c]:.2f}" if c in row else "" for c in columns)
        lines.append(f"| {name} | {values} | {PUBLISHED.get(name, '')} |")
    note = "Seconds a picture are as they came, beside other work; `distillation_cost` compares them in pairs."
    return "\n".join([*lines, "", note]) + "\n"


def main() -> None:
    """Draw what is missing, measure, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    scenes, scorer, studio = captions(arguments.prompts), in_process.load_scorer(), []
    rng = Random(SEED + 1)
    real = in_process.pictures([world.sample_scene(rng, clean=True, objects=1) for _ in range(REAL)])
    true = in_process.pictures(scenes)
    results, rows = {"real pictures": figures(scorer, true, scenes, real)}, {"real pictures": true}
    for name in arguments.methods:
        with torch.inference_mode():
            pictures, seconds = drawn(name, scenes, arguments.steps, studio)
        rows[name] = pictures
        results[name] = figures(scorer, pictures, scenes, real) | {"seconds": seconds}
        log.info("%s: %s", name, json.dumps(results[name]))
    arguments.output.mkdir(parents=True, exist_ok=True)
    found = {"prompts": arguments.prompts, "steps": arguments.steps, "methods": results}
    (arguments.output / "text_to_image.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.output / "text_to_image.md").write_text(table(results))
    sheet(rows, arguments.output / "text_to_image.png")


if __name__ == "__main__":
    main()

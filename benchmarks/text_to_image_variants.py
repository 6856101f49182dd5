"""Text to image by distillation with one thing changed: noise, number of evaluations, guidance scale, stages of bridge.

    .host/venv/bin/python -m benchmarks.text_to_image_variants noise      writes benchmarks/results/renoise.{json,md}
    .host/venv/bin/python -m benchmarks.text_to_image_variants few        ... few_evaluations.{json,md}
    .host/venv/bin/python -m benchmarks.text_to_image_variants guidance   ... guidance.{json,md}
    .host/venv/bin/python -m benchmarks.text_to_image_variants bridge     ... bridge_stages.{json,md}

Without a name, all four. Captions and figures are those of `text_to_image`.

- noise: dreamsampler in 100 steps with each kind of noise (DreamSampler, Algorithm 2) at several guidance scales.
- few: sds, nfsd and sdi in 600 evaluations of the model each.
- guidance: sds in 600 evaluations at rising guidance scales, without and with ComfyUI's RescaleCFG.
- bridge: bridge in 300 steps, of which it leaves more and more to its second stage.

The Fréchet distance of so few images is far from 0 even for real ones: the row "real images" is what can be reached.
CPU seconds are those of all images of a row. Rows of as many images already in the JSON are kept.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tools.reference import in_process, world

from . import markdown
from .editing import EvaluationCounter, label
from .looks import SEED, agreement, captions, looks
from .provenance import RESULTS, Results
from .text_to_image import REAL_IMAGES, Studio

log = logging.getLogger("dreamsampler.benchmarks")
GUIDANCES = (7.5, 30.0)
LIKE_REAL = "Saturation and high frequencies are those of real images at 1."
Settings = dict[str, Any]
Make = Callable[[Studio, list[world.Scene], Settings], tuple[Tensor, dict[str, float]]]
"""Makes the images (B, 3, H, W) of scenes with settings of the node, and measures what is particular to a table."""


@dataclass(frozen=True)
class Part:
    """A table: its file without suffix, its title, the settings of its rows, how a row is made, and a note below it.

    The name of a row fills the first two columns: what is changed, and the guidance scale.
    """

    file: str
    title: str
    variants: dict[str, Settings]
    make: Make
    note: str


def at_guidances(variants: dict[str, Settings], guidances: Sequence[float]) -> dict[str, Settings]:
    """The settings of every row: a variant and a guidance scale."""
    return {
        f"{name} | {guidance:g}": {**settings, "guidance_scale": guidance}
        for guidance in guidances
        for name, settings in variants.items()
    }


# Noise

NOISES: dict[str, Settings] = {
    "guided (the paper)": {"renoise": "guided", "eta": 0.0},
    "unconditional": {"renoise": "unconditional", "eta": 0.0},
    "unconditional, `eta` 1 (the default)": {"renoise": "unconditional", "eta": 1.0},
    "fresh": {"noise_policy": "fresh"},
}


def renoised(studio: Studio, scenes: list[world.Scene], settings: Settings) -> tuple[Tensor, dict[str, float]]:
    """Images by dreamsampler, and the largest standard deviation of the noise that it adds."""
    sizes: list[float] = []
    loop = {"steps": 100, **settings}
    images = studio.watched("dreamsampler", scenes, loop, lambda sample, _: sizes.append(sample.eps.std().item()))
    return images, {"largest noise": max(sizes)}


NOISE = Part(
    "renoise", "noise of dreamsampler", at_guidances(NOISES, GUIDANCES), renoised,
    f"The largest noise is the largest standard deviation that a step adds; the model expects 1. {LIKE_REAL}",
)  # fmt: skip


# Few evaluations

AT_600: dict[str, Settings] = {
    "sds": {"method": "sds", "steps": 300, "learning_rate": 1 / 30},
    "nfsd": {"method": "nfsd", "steps": 200, "learning_rate": 1 / 20},
    "sdi": {"method": "sdi"},
}
"""sds and nfsd in as many steps as 600 evaluations allow, at rates that lead as far as their own in 1000 steps."""
PARTS_OF_SDI: dict[str, Settings] = {
    "sdi, inverted at guidance 0": {"method": "sdi", "inversion_guidance_scale": 0.0},
    "sdi, fresh noise": {"method": "sdi", "noise_policy": "fresh", "steps": 300, "learning_rate": 1 / 30},
}
"""sdi without what the paper adds to it, at its guidance scale: a negative inversion, and any inversion."""


def counted(studio: Studio, scenes: list[world.Scene], settings: Settings) -> tuple[Tensor, dict[str, float]]:
    """Images by a method, and the evaluations of the model for each."""
    with EvaluationCounter(studio.reference.model.model.diffusion_model) as counter:
        images = studio.distilled(settings["method"], scenes, SEED, settings)
    return images, {"evaluations": counter.items / len(scenes)}


FEW = Part(
    "few_evaluations", "methods at 600 model evaluations",
    at_guidances(AT_600, GUIDANCES) | at_guidances(PARTS_OF_SDI, GUIDANCES[:1]), counted,
    f"{LIKE_REAL} Evaluations are of the model, for an image.",
)  # fmt: skip


# Guidance

RESCALED = {"as it is": 0.0, "RescaleCFG 0.7": 0.7, "RescaleCFG 1": 1.0}
RISING = (7.5, 30.0, 100.0)


def guided(studio: Studio, scenes: list[world.Scene], settings: Settings) -> tuple[Tensor, dict[str, float]]:
    """Images by sds, with the standard deviation of guided estimates brought back by a share."""
    own = studio.rescaled(share) if (share := settings["multiplier"]) else studio
    loop = {**AT_600["sds"], "guidance_scale": settings["guidance_scale"]}
    return own.distilled("sds", scenes, SEED, loop), {}


GUIDANCE = Part(
    "guidance", "sds at 600 model evaluations",
    at_guidances({name: {"multiplier": share} for name, share in RESCALED.items()}, RISING), guided,
    "RescaleCFG (Lin et al., 2023, eq. 15 and 16) brings the standard deviation of the guided estimate back to that of "
    f"the prompt's own by the share named. {LIKE_REAL}",
)  # fmt: skip


# Bridge

SECOND_STAGES = (0.0, 0.05, 0.1, 0.25, 0.5)
WATCHED = 15
"""Steps at the end of a run whose gradients are compared."""


def bridged(studio: Studio, scenes: list[world.Scene], settings: Settings) -> tuple[Tensor, dict[str, float]]:
    """Images by bridge, and how much its last gradients agree."""
    last: deque[Tensor] = deque(maxlen=WATCHED)
    images = studio.watched("bridge", scenes, settings, lambda _, direction: last.append(direction.gradient))
    gradients = torch.stack(list(last))
    one_way = gradients.mean(0).abs().mean() / gradients.square().mean(0).sqrt().mean()
    return images, {"one way": one_way.item()}


BRIDGE = Part(
    "bridge_stages", "share of steps in the second stage",
    {
        f"{share:.0%} | 40, then 25": {"steps": 300, "learning_rate": 1 / 30, "first_stage": 1 - share}
        for share in SECOND_STAGES
    },
    bridged,
    f"One way: the mean of the last {WATCHED} gradients of a latent cell over their root mean square, "
    f"{(2 / math.pi / WATCHED) ** 0.5:.2f} for noise and 1 for gradients that are all the same; Adam moves a cell by "
    f"this share of the learning rate. {LIKE_REAL}",
)  # fmt: skip


# Tables

PARTS = {"noise": NOISE, "few": FEW, "guidance": GUIDANCE, "bridge": BRIDGE}


def measure(part: Part, studio: Studio, prompts: int, output: Path) -> None:
    """A row for real images and for each variant that the file lacks: agreement, looks, and the time of its images."""
    results = Results(output / f"{part.file}.json", resume=True)
    results.table(part.title, "images")
    found, scenes, scorer = results.figures, captions(prompts), in_process.load_scorer()

    def row(key: str, images: Tensor, more: dict[str, float]) -> None:
        found[key] = {**agreement(scorer, images, scenes), **looks(scorer, images), **more}
        results.measured(part.title, key, len(scenes))
        log.info("%s: %s", key, json.dumps(found[key]))

    row(f"{REAL_IMAGES} | ", in_process.render(scenes), {})
    for key, settings in part.variants.items():
        if key in found and results.count(part.title, key) == len(scenes):
            continue
        began = time.process_time()
        with torch.inference_mode():
            images, more = part.make(studio, scenes, settings)
        row(key, images, {**more, "CPU seconds": time.process_time() - began})
        results.write()
    results.figures = {key: found[key] for key in (f"{REAL_IMAGES} | ", *part.variants)}
    results.write()
    results.path.with_suffix(".md").write_text(report(results, part), "utf-8")


def report(results: Results, part: Part) -> str:
    """The figures as Markdown, with their counts and commits."""
    columns = list(dict.fromkeys(name for row in results.figures.values() for name in row))
    head = [part.title, "guidance", *(label(name).replace("_", " ") for name in columns)]
    rows = [
        [*key.split(" | "), *(f"{row[name]:.2f}" if name in row else "" for name in columns)]
        for key, row in results.figures.items()
    ]
    return f"{results.line(part.title)}\n\n{markdown.table(head, rows)}\n{part.note}\n"


def main() -> None:
    """Measure what is missing, write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--prompts", type=int, default=16, help="images of each row (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"There is no {', '.join(sorted(unknown))}. Choose from {', '.join(PARTS)}.")
    studio = Studio(0)
    for name in arguments.parts or PARTS:
        measure(PARTS[name], studio, arguments.prompts, arguments.output)


if __name__ == "__main__":
    main()

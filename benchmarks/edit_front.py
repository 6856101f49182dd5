"""Edits by Proximal DreamSampler against ComfyUI's img2img: accuracy, and similarity outside the edited region.

    .host/venv/bin/python -m benchmarks.edit_front            writes benchmarks/results/edit_front.{json,md,png}

Points already in the JSON are kept, so an interrupted run resumes where it stopped; delete the file to start over.

Held-out sources of the reference world are edited in one attribute each: color or shape of the object, background or
pattern. A scorer network checks for the target attribute; PSNR is measured outside the edited region. Prompts either
describe the whole target image or name only the edit (as in the paper). Both methods get equally many model calls.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from dreamsampler.guidance.editing.proximal import GammaSchedule

from tools.reference import in_process

from .editing import SEED, Edit, Point, Setting, edits, measured, measured_points, report
from .images import save_figure
from .provenance import RESULTS

log = logging.getLogger("dreamsampler.benchmarks")
STEPS, CFG, BATCH = 50, 4.0, 32
GAMMAS = (0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
DENOISE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PROMPTS = ("full", "object only")
PANELS = {"full": "full prompt", "object only": "prompt names only the edit"}
PROXIMAL: dict[str, GammaSchedule] = {"proximal, alpha_bar": "alpha_bar", "proximal, constant": "constant"}
IMG2IMG = "img2img"


class Bench:
    """The reference model, the edits and every way to make them."""

    def __init__(self, jobs: list[Edit]):
        self.reference, self.scorer, self.jobs = in_process.load(), in_process.load_scorer(), jobs

    def run(self, method: str, strength: float, prompt: str, edit: Callable[[Any, Any, dict], dict]) -> Point:
        """All jobs, in batches, by `edit(positive, negative, latent)`."""
        made = []
        for start in range(0, len(self.jobs), BATCH):
            jobs = self.jobs[start : start + BATCH]
            positive = self.reference.conditioning([e.prompt(prompt) for e in jobs])
            negative = self.reference.conditioning([""])
            latent = self.reference.latent(in_process.render([e.source for e in jobs]))
            made.append(self.reference.decoded(edit(positive, negative, latent)))
        point = measured(method, strength, prompt, self.jobs, torch.cat(made), self.scorer)
        log.info("%s %g, %s prompt: accuracy %.3f, %.2f dB", method, strength, prompt, point.accuracy, point.psnr)
        return point

    def proximal(self, method: str, gamma: float, prompt: str) -> Point:
        """Our node."""
        schedule = PROXIMAL[method]

        def edit(positive: Any, negative: Any, latent: dict) -> dict:
            return self.reference.edited(positive, negative, latent, steps=STEPS, gamma=gamma, gamma_schedule=schedule)

        return self.run(method, gamma, prompt, edit)

    def img2img(self, denoise: float, prompt: str) -> Point:
        """ComfyUI's KSampler with as many model calls: 3 * STEPS, two per step."""

        def edit(positive: Any, negative: Any, latent: dict) -> dict:
            steps = 3 * STEPS // 2
            return self.reference.ksampled(positive, negative, latent, steps=steps, cfg=CFG, seed=SEED, denoise=denoise)

        return self.run(IMG2IMG, denoise, prompt, edit)

    def point(self, method: str, strength: float, prompt: str) -> Point:
        """One setting."""
        if method == IMG2IMG:
            return self.img2img(strength, prompt)
        return self.proximal(method, strength, prompt)


def settings() -> list[Setting]:
    """Every (method, strength, prompt) of the table, in its order."""
    rows = [("proximal, alpha_bar", 0.0, "full")]
    for prompt in PROMPTS:
        rows += [(method, gamma, prompt) for method in PROXIMAL for gamma in GAMMAS]
        rows += [(IMG2IMG, denoise, prompt) for denoise in DENOISE]
    return rows


def plot(points: list[Point], path: Path) -> None:
    """Accuracy against what is kept, a panel for each kind of prompt."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(PROMPTS), figsize=(11, 4.6), sharey=True)
    for panel, prompt in zip(panels, PROMPTS, strict=True):
        for method, color, marker in (
            ("proximal, alpha_bar", "tab:blue", "o"),
            ("proximal, constant", "tab:cyan", "s"),
            (IMG2IMG, "tab:orange", "^"),
        ):
            chosen = [p for p in points if p.method == method and p.prompt == prompt]
            panel.plot([p.accuracy for p in chosen], [p.psnr for p in chosen], marker=marker, color=color, label=method)
            for p in chosen:
                panel.annotate(
                    f"{p.strength:g}", (p.accuracy, p.psnr), xytext=(4, 4), textcoords="offset points", fontsize=7
                )
        panel.axhline(points[0].psnr, color="gray", linestyle=":", label="gamma 0")
        panel.set(title=PANELS[prompt], xlabel="accuracy", xlim=(-0.03, 1.04))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("PSNR outside, dB")
    panels[0].legend()
    figure.tight_layout()
    save_figure(figure, path)


def main() -> None:
    """Measure, write and print."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sources", type=int, default=64, help="held-out images; each is edited in every attribute")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    with torch.inference_mode():
        bench, path = Bench(edits(arguments.sources)), arguments.output / "edit_front.json"
        points = measured_points(settings(), arguments.sources, path, lambda setting: bench.point(*setting))
    path.with_suffix(".md").write_text(report(points, path), "utf-8")
    plot(points, path.with_suffix(".png"))


if __name__ == "__main__":
    main()

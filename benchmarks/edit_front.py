"""Edits by Proximal DreamSampler against ComfyUI's img2img: accuracy, and similarity outside the edited region.

    .host/venv/bin/python -m benchmarks.edit_front            writes benchmarks/results/edit_front.{json,md,png}

Points already in the JSON are kept, so an interrupted run resumes where it stopped; delete the file to start over.

Held-out sources of the reference world are edited in one attribute each: color or shape of the object, background or
pattern. A scorer network checks for the target attribute; PSNR is measured outside the edited region. Prompts either
describe the whole target image or name only the edit (as in the paper). Both methods get equally many model calls.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dreamsampler.guidance.editing.proximal import GammaSchedule
from torch import Tensor

from .editing import SEED, Batch, Bench, Line, Point, Setting, measure_front, plot_front

STEPS, CFG = 50, 4.0
GAMMAS = (0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
DENOISE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PROMPTS = ("full", "object only")
PANELS = {"full": "full prompt", "object only": "prompt names only the edit"}
PROXIMAL: dict[str, GammaSchedule] = {"proximal, alpha_bar": "alpha_bar", "proximal, constant": "constant"}
IMG2IMG = "img2img"
LOOKS = {
    "proximal, alpha_bar": ("tab:blue", "o"),
    "proximal, constant": ("tab:cyan", "s"),
    IMG2IMG: ("tab:orange", "^"),
}
"""Colors and markers of the plot."""


def point(bench: Bench, setting: Setting) -> Point:
    """One setting. Both methods make 3 * STEPS model calls per image."""
    method, strength, _ = setting

    def proximal(batch: Batch) -> dict[str, Tensor]:
        schedule = PROXIMAL[method]
        return bench.reference.edited(
            batch.target, batch.nothing, batch.latent, steps=STEPS, gamma=strength, gamma_schedule=schedule
        )

    def img2img(batch: Batch) -> dict[str, Tensor]:
        return bench.reference.ksampled(
            batch.target, batch.nothing, batch.latent, steps=3 * STEPS // 2, cfg=CFG, seed=SEED, denoise=strength
        )

    return bench.measure(setting, img2img if method == IMG2IMG else proximal)


def settings() -> list[Setting]:
    """Every (method, strength, prompt) of the table, in its order."""
    rows = [("proximal, alpha_bar", 0.0, "full")]
    for prompt in PROMPTS:
        rows += [(method, gamma, prompt) for method in PROXIMAL for gamma in GAMMAS]
        rows += [(IMG2IMG, denoise, prompt) for denoise in DENOISE]
    return rows


def plot(points: list[Point], path: Path) -> None:
    """Accuracy against what is kept, a panel for each kind of prompt."""

    def line(method: str, prompt: str, color: str, marker: str) -> Line:
        return Line(method, [p for p in points if (p.method, p.prompt) == (method, prompt)], color, marker)

    panels = {PANELS[prompt]: [line(method, prompt, *look) for method, look in LOOKS.items()] for prompt in PROMPTS}
    plot_front(panels, path, width=5.5, kept=points[0].psnr)


def main() -> None:
    """Measure, write and print."""
    measure_front(__doc__ or "", "edit_front", 64, settings(), Bench, lambda bench: partial(point, bench), plot)


if __name__ == "__main__":
    main()

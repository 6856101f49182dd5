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

from .editing import SEED, Batch, Bench, Point, Setting, measure_front
from .images import save_figure

STEPS, CFG = 50, 4.0
GAMMAS = (0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
DENOISE = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PROMPTS = ("full", "object only")
PANELS = {"full": "full prompt", "object only": "prompt names only the edit"}
PROXIMAL: dict[str, GammaSchedule] = {"proximal, alpha_bar": "alpha_bar", "proximal, constant": "constant"}
IMG2IMG = "img2img"


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
    measure_front(__doc__ or "", "edit_front", 64, settings(), Bench, lambda bench: partial(point, bench), plot)


if __name__ == "__main__":
    main()

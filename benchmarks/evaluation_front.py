"""Edits at equal numbers of model evaluations: accuracy, and similarity outside, with and without a found region.

    .host/venv/bin/python -m benchmarks.evaluation_front      writes benchmarks/results/evaluation_front.{json,md,png}

Held-out images of the reference world are edited in one attribute each, by every method that edits in 150 evaluations
or fewer. Steps are chosen to stay within each number; "found" adds the search of a region, which costs 24 of them, and
"half" inverts by fixed points in half the steps. With "source" the negative prompt describes the source, else it is
empty. The rows named by steps invert and sample without the target prompt. Prompts describe the whole images ("full")
or only what changes. Points already in the JSON are kept; delete the file to start over.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dreamsampler.nodes.proximal_dreamsampler import ProximalDreamSampler
from dreamsampler.nodes.runs.edit import Inversion
from dreamsampler.nodes.runs.region import STEPS as SEARCH_STEPS
from torch import Tensor

from .editing import SEED, Batch, Bench, Line, Point, Setting, at_equal_accuracy, measure_front, plot_front

BUDGETS = (30, 60, 100, 150)
SEARCH = 2 * SEARCH_STEPS
CFG = 4.0
PER_STEP = {"flowedit": 4, "dvrf": 4, "flowalign": 3}
"""Model evaluations of a step."""
INVERSIONS: dict[str, Inversion] = {
    "ddim": "ddim",
    "fixed point": "fixed point",
    "half": "fixed point, half the steps",
}
FAMILIES = {
    "proximal, ddim": ("tab:gray", "o"),
    "proximal, half": ("tab:blue", "o"),
    "proximal, half, found": ("tab:green", "o"),
    "proximal, half, source, found": ("tab:cyan", "o"),
    "flowedit": ("tab:orange", "s"),
    "flowedit, found": ("tab:olive", "s"),
    "flowalign": ("tab:purple", "^"),
    "dvrf": ("tab:pink", "v"),
    "chord": ("tab:brown", "*"),
    "img2img": ("tab:red", "D"),
}
"""Colors and markers of the plot."""


def cost(method: str, steps: int) -> int:
    """Model evaluations per image of a method, without those of a search."""
    if method.startswith("proximal"):
        inversion = {"ddim": steps, "fixed point": steps + 1, "half": steps // 2 + 2}
        return inversion[method.split(", ")[1]] + 2 * steps
    return PER_STEP.get(method.split(", ")[0], 2) * steps


def steps_within(method: str, budget: int) -> int:
    """The most steps of a method that stay within a number of evaluations."""
    left = budget - SEARCH * method.endswith("found")
    return max(n for n in range(1, budget + 1) if cost(method, n) <= left)


def point(bench: Bench, setting: Setting) -> Point:
    """One setting. The name of its method ends with a number of evaluations, or of steps."""
    name, strength, _ = setting
    method, number = name.rsplit(", ", 1)
    steps = steps_within(method, int(number.removesuffix(" evaluations"))) if "eval" in number else int(number[:-6])
    region = "find" if method.endswith("found") else "off"
    model, kind = bench.reference.model, method.split(", ")[0]

    def proximal(batch: Batch) -> dict[str, Tensor]:
        negative = batch.source if "source" in method else batch.nothing
        return ProximalDreamSampler.execute(
            model, batch.target, negative, batch.latent, steps=steps, gamma=strength, gamma_schedule="alpha_bar",
            eta=0.0, renoise="unconditional", start_from="inversion", scheduler="normal", seed=SEED, region=region,
            inversion=INVERSIONS[method.split(", ")[1]],
        ).args[0]  # fmt: skip

    def distilled(batch: Batch) -> dict[str, Tensor]:
        return bench.reference.distilled(
            batch.target, batch.nothing, batch.latent, source=batch.source, method=kind, seed=SEED, region=region,
            **({} if kind == "chord" else {"steps": steps}),
        )  # fmt: skip

    def img2img(batch: Batch) -> dict[str, Tensor]:
        return bench.reference.ksampled(
            batch.target, batch.nothing, batch.latent, steps=steps, cfg=CFG, seed=SEED, denoise=strength
        )

    return bench.measure(setting, {"proximal": proximal, "img2img": img2img}.get(kind, distilled))


FULL: dict[str, dict[int, tuple[float, ...]]] = {
    "proximal, ddim": {30: (2.0,), 60: (1.0, 2.0), 100: (1.0,), 150: (0.5, 1.0)},
    "proximal, half": {30: (2.0, 4.0), 60: (2.0,), 100: (1.0, 2.0), 150: (1.0,)},
    "proximal, half, found": {60: (2.0, 4.0), 100: (2.0, 4.0), 150: (1.0, 2.0)},
    "proximal, half, source, found": {60: (2.0, 4.0), 100: (2.0,)},
    "flowedit": {60: (0.0,), 150: (0.0,)},
    "flowedit, found": {60: (0.0,), 150: (0.0,)},
    "flowalign": {60: (0.0,), 100: (0.0,)},
    "dvrf": {150: (0.0,)},
    "img2img": {60: (0.6, 0.8), 150: (0.6, 0.8)},
}
PART: dict[str, dict[int, tuple[float, ...]]] = {
    "proximal, ddim": {60: (2.0,), 150: (0.5, 1.0)},
    "proximal, half, found": {60: (4.0,), 100: (2.0,)},
    "flowedit": {60: (0.0,)},
}
"""Strengths by method and number of evaluations, with full prompts and with prompts that name only what changes."""


def settings() -> list[Setting]:
    """Every setting of the table, in its order."""
    rows = [(f"proximal, {inversion}, {steps} steps", 0.0, "full") for steps in (10, 20) for inversion in INVERSIONS]
    for prompt, methods in (("full", FULL), ("object only", PART)):
        for method, by_budget in methods.items():
            for budget, strengths in by_budget.items():
                rows += [(f"{method}, {budget} evaluations", strength, prompt) for strength in strengths]
    return [*rows, ("chord, 4 evaluations", 0.0, "full")]


def below(bench: Bench, points: list[Point], path: Path) -> str:
    """What is written below the table: of each method and number of evaluations the edits of about equal accuracy."""
    edited = [p for p in points if p.method.endswith("evaluations")]
    return at_equal_accuracy(edited, lambda p: f"{p.method}, {p.prompt}")


def plot(points: list[Point], path: Path) -> None:
    """Accuracy against what is kept, a panel for each number of evaluations."""

    def line(name: str, budget: int) -> Line:
        names = f"{name}, {budget} evaluations", "chord, 4 evaluations" if name == "chord" else ""
        return Line(name, [p for p in points if p.method in names and p.prompt == "full"], *FAMILIES[name])

    panels = {f"{budget} evaluations": [line(name, budget) for name in FAMILIES] for budget in BUDGETS}
    plot_front(panels, path, width=3.5)


def main() -> None:
    """Measure, write and print."""
    doc, measure = __doc__ or "", lambda bench: partial(point, bench)
    measure_front(doc, "evaluation_front", 32, settings(), Bench, measure, plot, below)


if __name__ == "__main__":
    main()

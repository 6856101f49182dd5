"""Edits in a region that the model finds itself: accuracy, and similarity outside, against no mask and the true one.

    .host/venv/bin/python -m benchmarks.region_front          writes benchmarks/results/region_front.{json,md,png}

Held-out images of the reference world are edited in one attribute each by Proximal DreamSampler, whose prompts describe
the whole images. Find Edit Region takes 12 steps, 24 model evaluations, and an edit of 20 steps 60. The true mask is
that of the object before and after, or everything else. Points already in the JSON are kept, so an interrupted run
resumes where it stopped; delete the file to start over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from dreamsampler.nodes.find_edit_region import FindEditRegion
from torch import Tensor

from tools.reference import world

from . import markdown
from .editing import (
    ATTRIBUTES,
    SEED,
    Batch,
    Bench,
    Edit,
    Line,
    Point,
    Setting,
    at_equal_accuracy,
    label,
    measure_front,
    plot_front,
)
from .provenance import Results

STEPS, SEARCH_STEPS, SOFTNESS = 20, 12, 0.08
GAMMAS = (0.5, 1.0, 2.0, 4.0)
THRESHOLDS = {"found at 0.2": 0.2, "found at 0.3": 0.3, "found at 0.55": 0.55}
METHODS = ("no mask", *THRESHOLDS, "true mask", "no mask, 50 steps")
COLORS = ("tab:gray", "tab:blue", "tab:cyan", "tab:purple", "tab:green", "tab:orange")
OVERLAPS = "overlaps"


class RegionBench(Bench):
    """The edits, and the masks of each method."""

    def __init__(self, jobs: list[Edit]):
        super().__init__(jobs)
        self.masks = {"true mask": torch.from_numpy(np.stack([true_region(job) for job in jobs])).float()}
        self.masks |= {name: self.found(threshold) for name, threshold in THRESHOLDS.items()}

    def found(self, threshold: float) -> Tensor:
        """The masks of Find Edit Region for all jobs."""
        find, masks = FindEditRegion.execute, []
        for batch in self.batches():
            settings = SEARCH_STEPS, threshold, SOFTNESS, SEED
            masks.append(find(self.reference.model, batch.target, batch.source, batch.latent, *settings).args[0])
        return torch.cat(masks)

    def point(self, setting: Setting) -> Point:
        """All jobs by one setting. The search is not counted."""
        method, gamma, _ = setting
        steps, masks = 50 if method.endswith("50 steps") else STEPS, self.masks.get(method)

        def edit(batch: Batch) -> dict[str, Tensor]:
            masked: dict[str, Any] = {} if masks is None else {"noise_mask": masks[batch.part, None]}
            return self.reference.edited(
                batch.target, batch.nothing, {**batch.latent, **masked}, steps=steps, gamma=gamma
            )

        return self.measure(setting, edit)

    def overlap(self, method: str) -> dict[str, float]:
        """The intersection over union of found and true regions, by attribute."""
        found, true = self.masks[method] > 0.5, self.masks["true mask"] > 0.5
        shares = (found & true).sum((1, 2)) / (found | true).sum((1, 2))
        return {
            name: round(shares[[job.attribute == name for job in self.jobs]].mean().item(), 3) for name in ATTRIBUTES
        }


def true_region(job: Edit) -> np.ndarray:
    """(SIZE, SIZE) bool: the object before and after, or the background."""
    thing = np.maximum(world.object_mask(job.source), world.object_mask(job.target)) > 0.5
    return ~thing if job.attribute in ("background", "pattern") else thing


def below(bench: RegionBench, points: list[Point], path: Path) -> str:
    """What is written below the table: the edits of about equal accuracy, and how far the masks overlap."""
    return at_equal_accuracy(points, lambda p: p.method) + overlaps(bench, path)


def overlaps(bench: RegionBench, path: Path) -> str:
    """The overlap for each threshold, from `path` or measured, as Markdown."""
    results = Results(path, resume=True)
    if OVERLAPS not in results.figures:
        results.table(OVERLAPS, "edits")
        results.figures[OVERLAPS] = {name: bench.overlap(name) for name in THRESHOLDS}
        for name in THRESHOLDS:
            results.measured(OVERLAPS, name, len(bench.jobs))
        results.write()
    shares: dict[str, dict[str, float]] = results.figures[OVERLAPS]
    rows = ([name, *(f"{each[a]:.2f}" for a in ATTRIBUTES)] for name, each in shares.items())
    about = f"Intersection over union of the found and the true region. {results.line(OVERLAPS)}"
    return f"\n{about}\n\n{markdown.table(['mask', *map(label, ATTRIBUTES)], rows)}"


def plot(points: list[Point], path: Path) -> None:
    """Accuracy against what is kept."""
    lines = [
        Line(method, [p for p in points if p.method == method], color)
        for method, color in zip(METHODS, COLORS, strict=True)
    ]
    plot_front({"": lines}, path, width=6.5)


def main() -> None:
    """Measure, write and print."""
    settings: list[Setting] = [(method, gamma, "full") for method in METHODS for gamma in GAMMAS]
    measure_front(__doc__ or "", "region_front", 16, settings, RegionBench, lambda bench: bench.point, plot, below)


if __name__ == "__main__":
    main()

"""Edits of held-out images in one attribute each: accuracy, and similarity outside the edited region.

Shared by the editing benchmarks. A point is one setting of one method. Points are saved as soon as they are measured,
so an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import argparse
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
import torch
from kornia.metrics import ssim
from PIL import Image, ImageFilter
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Scorer

from . import markdown
from .images import save_figure
from .provenance import RESULTS, Results

log = logging.getLogger("dreamsampler.benchmarks")
SEED, BATCH = 77_000, 32
ATTRIBUTES = {"colour": world.COLORS, "background": world.COLORS, "pattern": world.PATTERNS, "shape": world.SHAPES}
POINTS = "points"
Setting = tuple[str, float, str]
"""A method, its strength and the kind of prompt it gets."""


@dataclass(frozen=True)
class Edit:
    """A source scene, the attribute to change and the scene that would be a perfect edit."""

    source: world.Scene
    attribute: str
    target: world.Scene

    @property
    def wanted(self) -> str:
        """The value the scorer must see."""
        return world.attribute_of(self.target, self.attribute)

    def prompt(self, kind: str) -> str:
        """The target prompt: the whole image ("full"), or only the edited part."""
        return self._described(self.target, kind)

    def source_prompt(self, kind: str) -> str:
        """The source prompt, in the words of the target prompt."""
        return self._described(self.source, kind)

    def _described(self, scene: world.Scene, kind: str) -> str:
        if kind == "full":
            return world.describe(scene)
        part = world.describe_background if self.attribute in ("background", "pattern") else world.describe_object
        return part(scene)

    def kept(self) -> np.ndarray:
        """Where the image must not change: (SIZE, SIZE) bool, 3 pixels clear of the edited region."""
        if self.attribute in ("background", "pattern"):
            return ~_grown(world.object_mask(self.source) < 0.5)
        return ~_grown(np.maximum(world.object_mask(self.source), world.object_mask(self.target)) > 0.5)


def _grown(region: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(region.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(7))) > 127


def edits(sources: int) -> list[Edit]:
    """Every attribute of every source changed once, at random, to another value."""
    rng = Random(SEED)
    made = []
    for _ in range(sources):
        source = world.sample_scene(rng, clean=True, objects=1)
        for attribute, values in ATTRIBUTES.items():
            taken = {source.things[0].color, source.background, source.things[0].shape, source.pattern}
            value = rng.choice([v for v in values if v not in taken])
            made.append(Edit(source, attribute, world.with_attribute(source, attribute, value)))
    return made


@dataclass(frozen=True)
class Point:
    """One setting of one method: the accuracy of its edits, and the PSNR outside them, both also by attribute.

    `structure` is the mean structural similarity (SSIM) outside the edits, in [-1, 1]. `evaluations` of the model and
    `seconds` of one CPU core are those of an edit of one image, without its encoding and decoding.
    """

    method: str
    strength: float
    prompt: str
    accuracy: float
    psnr: float
    by_attribute: dict[str, tuple[float, float]]
    structure: float = math.nan
    evaluations: float = math.nan
    seconds: float = math.nan


@dataclass(frozen=True)
class Batch:
    """Some of the edits: their place among all, prompts as CONDITIONINGs, and the encoded sources as a LATENT."""

    part: slice
    target: Any
    source: Any
    nothing: Any
    latent: dict[str, Tensor]


class Bench:
    """The reference model and the edits to make with it."""

    def __init__(self, jobs: list[Edit]):
        self.reference, self.scorer, self.jobs = in_process.load(), in_process.load_scorer(), jobs
        sources = in_process.render([job.source for job in jobs])
        self._parts = [slice(start, start + BATCH) for start in range(0, len(jobs), BATCH)]
        self._latents = [self.reference.latent(sources[part]) for part in self._parts]

    def batches(self, prompt: str = "full") -> list[Batch]:
        """All edits, a batch at a time."""
        made = []
        for part, latent in zip(self._parts, self._latents, strict=True):
            target = self.reference.conditioning([job.prompt(prompt) for job in self.jobs[part]])
            source = self.reference.conditioning([job.source_prompt(prompt) for job in self.jobs[part]])
            made.append(Batch(part, target, source, self.reference.conditioning([""]), latent))
        return made

    def measure(self, setting: Setting, edit: Callable[[Batch], dict[str, Tensor]]) -> Point:
        """All edits by `edit`, which returns edited LATENTs."""
        batches = self.batches(setting[2])
        with EvaluationCounter(self.reference.model.model.diffusion_model) as counter:
            start = time.process_time()
            edited = [edit(batch) for batch in batches]
            seconds = time.process_time() - start
        images = torch.cat([self.reference.decoded(latent) for latent in edited])
        cost = counter.items / len(self.jobs), seconds / len(self.jobs)
        point = measured(setting, self.jobs, images, self.scorer, cost)
        log.info("%s: accuracy %.3f, %.2f dB, %.4g evaluations", row_name(setting), point.accuracy, point.psnr, cost[0])
        return point


AnyBench = TypeVar("AnyBench", bound=Bench)


def measure_front(
    doc: str,
    name: str,
    sources: int,
    settings: list[Setting],
    bench_of: Callable[[list[Edit]], AnyBench],
    point_of: Callable[[AnyBench], Callable[[Setting], Point]],
    plot: Callable[[list[Point], Path], None],
    more: Callable[[AnyBench, list[Point], Path], str] = lambda bench, points, path: "",
) -> None:
    """The command of a benchmark: measure what its JSON lacks, and write its table and plot.

    `sources` is the number of images without the option --sources; each is edited in every attribute. `more` may
    measure more into the JSON, and returns what to write below the table.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sources", type=int, default=sources, help="held-out images; each is edited in every attribute"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{name}.json"
    with torch.inference_mode():
        bench = bench_of(edits(arguments.sources))
        points = measured_points(settings, {"sources": arguments.sources}, path, point_of(bench))
        below = more(bench, points, path)
    path.with_suffix(".md").write_text(report(points, path) + below, "utf-8")
    plot(points, path.with_suffix(".png"))


class EvaluationCounter:
    """Counts the items that a network is called with, while it is open."""

    def __init__(self, network: torch.nn.Module):
        self.items, self._network = 0, network

    def __enter__(self) -> EvaluationCounter:
        self._hook = self._network.register_forward_pre_hook(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _count(self, _: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.items += len(inputs[0])


def measured(
    setting: Setting, jobs: list[Edit], images: Tensor, scorer: Scorer, cost: tuple[float, float] = (math.nan, math.nan)
) -> Point:
    """Score a batch of edited images; `cost` is evaluations and seconds per image."""
    hits = [seen[e.attribute] == e.wanted for seen, e in zip(scorer.read(images), jobs, strict=True)]
    sources = in_process.render([e.source for e in jobs])
    likeness, psnr = ssim(images, sources, 7).mean(1), psnr_outside(images, sources, jobs)
    structure = [each[torch.from_numpy(e.kept())].mean().item() for each, e in zip(likeness, jobs, strict=True)]
    by_attribute = {}
    for name in ATTRIBUTES:
        rows = [(h, p) for h, p, e in zip(hits, psnr, jobs, strict=True) if e.attribute == name]
        by_attribute[name] = tuple(float(np.mean(column)) for column in zip(*rows, strict=True))
    accuracy, kept_psnr, kept_structure = (float(np.mean(column)) for column in (hits, psnr, structure))
    return Point(*setting, accuracy, kept_psnr, by_attribute, kept_structure, *cost)


def psnr_outside(images: Tensor, sources: Tensor, jobs: list[Edit]) -> list[float]:
    """The PSNR in dB of each edited image (B, 3, H, W) to its source, where an edit keeps it."""
    errors = (images - sources).square().mean(1)
    kept = (torch.from_numpy(job.kept()) for job in jobs)
    return [-10 * error[keep].mean().log10().item() for error, keep in zip(errors, kept, strict=True)]


def measured_points(
    settings: Iterable[Setting], case: dict[str, int], path: Path, measure: Callable[[Setting], Point]
) -> list[Point]:
    """A point for every setting, in order: those that an earlier run of the same case left in `path`, and new ones.

    A case is the number of "sources", and what else all points have in common, such as "steps".
    """
    results = Results(path, resume=True)
    results.begin(case)
    results.table(POINTS, "edits")
    points = {(p.method, p.strength, p.prompt): p for p in (Point(**p) for p in results.figures.get(POINTS, ()))}
    wanted = list(settings)
    for setting in wanted:
        if setting not in points:
            points[setting] = measure(setting)
            results.figures[POINTS] = [_kept(p) for p in points.values()]
            results.measured(POINTS, row_name(setting), case["sources"] * len(ATTRIBUTES))
            results.write()
    return [points[setting] for setting in wanted]


def row_name(setting: Setting) -> str:
    """A setting in one line."""
    method, strength, prompt = setting
    return f"{method}, {strength:g}, {prompt}"


def _kept(point: Point) -> dict[str, Any]:
    return {name: value for name, value in asdict(point).items() if not isinstance(value, float) or value == value}


def label(attribute: str) -> str:
    """An attribute of the reference world as tables spell it."""
    return "color" if attribute == "colour" else attribute


def table(points: list[Point]) -> str:
    """The points as Markdown."""
    costs = {"evaluations": ".0f", "seconds": ".2f"}
    optional = {name: form for name, form in {"structure": ".3f", **costs}.items() if _known(points, name)}
    titles = {"structure": "SSIM outside", "seconds": "CPU seconds"}
    head = ["method", "strength", "prompt", "accuracy", "PSNR outside", *(titles.get(name, name) for name in optional)]
    rows = []
    for p in points:
        more = [format(getattr(p, name), form) for name, form in optional.items()]
        each = [f"{accuracy:.2f} / {psnr:.1f}" for accuracy, psnr in (p.by_attribute[n] for n in ATTRIBUTES)]
        rows.append([p.method, f"{p.strength:g}", p.prompt, f"{p.accuracy:.3f}", f"{p.psnr:.2f}", *more, *each])
    return markdown.table([*head, *map(label, ATTRIBUTES)], rows)


def _known(points: list[Point], name: str) -> bool:
    return not any(math.isnan(getattr(p, name)) for p in points)


WANTED = 0.9
"""The accuracy at which methods are compared."""


def nearest(points: Iterable[Point]) -> Point:
    """The point whose accuracy is nearest to `WANTED`; of several the one that keeps most."""
    return min(points, key=lambda p: (round(abs(p.accuracy - WANTED), 6), -p.psnr))


def at_equal_accuracy(points: list[Point], group: Callable[[Point], str]) -> str:
    """The nearest point of each group."""
    groups: dict[str, list[Point]] = {}
    for p in points:
        groups.setdefault(group(p), []).append(p)
    rule = f"The strength whose accuracy is nearest to {WANTED:g}; of several the one that keeps most:"
    return f"\n{rule}\n\n{table([nearest(each) for each in groups.values()])}"


@dataclass(frozen=True)
class Line:
    """Points to connect in a plot: the edits of a method."""

    label: str
    points: list[Point]
    color: Any
    marker: str = "o"


def plot_front(panels: dict[str, list[Line]], path: Path, *, width: float, kept: float | None = None) -> None:
    """Plot accuracy against what is kept, a panel for each title, with the strength beside each point that has one.

    `width` is that of a panel in inches, and `kept` what the autoencoder alone keeps, in dB.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(panels), figsize=(width * len(panels), 4.6), sharex=True, sharey=True, squeeze=False
    )
    for panel, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for line in lines:
            x, y = [p.accuracy for p in line.points], [p.psnr for p in line.points]
            panel.plot(x, y, line.marker, linestyle="-", color=line.color, markersize=5, label=line.label)
            for p in (each for each in line.points if each.strength or len(line.points) > 1):
                place = (p.accuracy, p.psnr)
                panel.annotate(f"{p.strength:g}", place, xytext=(4, 4), textcoords="offset points", fontsize=7)
        if kept is not None:
            panel.axhline(kept, color="gray", linestyle=":", label="gamma 0")
        panel.set(title=title, xlabel="accuracy")
        panel.grid(alpha=0.3)
    axes[0, 0].set_ylabel("PSNR outside, dB")
    axes[0, 0].legend(fontsize=7)
    figure.tight_layout()
    save_figure(figure, path)


def report(points: list[Point], path: Path) -> str:
    """The points of a result file as Markdown, with their counts and commits."""
    note = "The last columns are accuracy and PSNR outside, in dB, by attribute."
    return f"{Results(path, resume=True).line(POINTS)}\n\n{table(points)}\n{note}\n"

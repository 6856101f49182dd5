"""Edits of held-out images in one attribute each: accuracy, and similarity outside the edited region.

Shared by the editing benchmarks. A point is one setting of one method. Points are saved as soon as they are measured,
so an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from kornia.metrics import ssim
from PIL import Image, ImageFilter
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Scorer

from .provenance import Results

SEED = 77_000
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
        if kind == "full":
            return world.describe(self.target)
        part = world.describe_background if self.attribute in ("background", "pattern") else world.describe_object
        return part(self.target)

    def prompts(self) -> tuple[str, str]:
        """Full target and source prompts."""
        return world.describe(self.target), world.describe(self.source)

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

    `structure` is the mean structural similarity (SSIM) outside the edits, in [-1, 1].
    """

    method: str
    strength: float
    prompt: str
    accuracy: float
    psnr: float
    by_attribute: dict[str, tuple[float, float]]
    structure: float = math.nan


def measured(method: str, strength: float, prompt: str, jobs: list[Edit], images: Tensor, scorer: Scorer) -> Point:
    """Score a batch of edited images."""
    hits = [seen[e.attribute] == e.wanted for seen, e in zip(scorer.read(images), jobs, strict=True)]
    sources = in_process.render([e.source for e in jobs])
    errors, likeness = (images - sources).square().mean(1), ssim(images, sources, 7).mean(1)
    kept = torch.from_numpy(np.stack([e.kept() for e in jobs]))
    psnr = [-10 * error[keep].mean().log10().item() for error, keep in zip(errors, kept, strict=True)]
    structure = [each[keep].mean().item() for each, keep in zip(likeness, kept, strict=True)]
    by_attribute = {}
    for name in ATTRIBUTES:
        rows = [(h, p) for h, p, e in zip(hits, psnr, jobs, strict=True) if e.attribute == name]
        by_attribute[name] = tuple(float(np.mean(column)) for column in zip(*rows, strict=True))
    accuracy, kept_psnr, kept_structure = (float(np.mean(column)) for column in (hits, psnr, structure))
    return Point(method, strength, prompt, accuracy, kept_psnr, by_attribute, kept_structure)


def measured_points(
    settings: Iterable[Setting], sources: int, path: Path, measure: Callable[[Setting], Point]
) -> list[Point]:
    """A point for every setting, in order: those an earlier run with as many sources left in `path`, and new ones."""
    results, edits_of_each = Results(path, resume=True), sources * len(ATTRIBUTES)
    known = _points(results.figures, sources)
    table = results.table(POINTS, "edits")
    table.rows = {name: row for name, row in table.rows.items() if known}  # none of another number of sources
    points = {(p.method, p.strength, p.prompt): p for p in known}
    wanted = list(settings)
    for setting in wanted:
        if setting not in points:
            points[setting] = measure(setting)
            results.figures = {"sources": sources, "points": [_kept(p) for p in points.values()]}
            results.measured(POINTS, row_name(setting), edits_of_each)
            results.write()
    return [points[setting] for setting in wanted]


def row_name(setting: Setting) -> str:
    """A setting in one line."""
    method, strength, prompt = setting
    return f"{method}, {strength:g}, {prompt}"


def _points(figures: dict[str, Any], sources: int) -> list[Point]:
    return [Point(**p) for p in figures["points"]] if figures.get("sources") == sources else []


def _kept(point: Point) -> dict[str, Any]:
    return {name: value for name, value in asdict(point).items() if name != "structure" or not math.isnan(value)}


def label(attribute: str) -> str:
    """An attribute of the reference world as tables spell it."""
    return "color" if attribute == "colour" else attribute


def table(points: list[Point]) -> str:
    """The points as Markdown."""
    with_structure = not any(math.isnan(p.structure) for p in points)
    head = ["method", "strength", "prompt", "accuracy", "PSNR outside", *(["SSIM outside"] if with_structure else [])]
    rows = [[*head, *map(label, ATTRIBUTES)], ["---"] * (len(head) + len(ATTRIBUTES))]
    for p in points:
        structure = [f"{p.structure:.3f}"] if with_structure else []
        each = [f"{accuracy:.2f} / {psnr:.1f}" for accuracy, psnr in (p.by_attribute[n] for n in ATTRIBUTES)]
        rows.append([p.method, f"{p.strength:g}", p.prompt, f"{p.accuracy:.3f}", f"{p.psnr:.2f}", *structure, *each])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def report(points: list[Point], path: Path) -> str:
    """The points of a result file as Markdown, with their counts and commits."""
    note = "The last columns are accuracy and PSNR outside, in dB, by attribute."
    return f"{Results(path, resume=True).line(POINTS)}\n\n{table(points)}\n{note}\n"

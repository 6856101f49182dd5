"""Edits of held-out pictures in one attribute each: how often the target is there, and how well the rest is kept.

What the benchmarks of editing share. A point is one setting of one method; points are kept in a file as soon as they
are measured, so that a run that was cut goes on where it stopped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from kornia.metrics import ssim
from PIL import Image, ImageFilter
from torch import Tensor

from tools.reference import in_process, world
from tools.reference.scorer import Scorer

SEED = 77_000
ATTRIBUTES = {"colour": world.COLOURS, "background": world.COLOURS, "pattern": world.PATTERNS, "shape": world.SHAPES}
Setting = tuple[str, float, str]
"""A method, its strength and the kind of text it gets."""


@dataclass(frozen=True)
class Edit:
    """A source scene, the attribute to change and the scene that would be a perfect edit."""

    source: world.Scene
    attribute: str
    target: world.Scene

    @property
    def wanted(self) -> str:
        """The value the scorer must see."""
        place = self.target if self.attribute in ("background", "pattern") else self.target.things[0]
        return getattr(place, self.attribute)

    def text(self, kind: str) -> str:
        """The target text: all of the picture, or only the edited part."""
        if kind == "full":
            return world.describe(self.target)
        part = world.describe_background if self.attribute in ("background", "pattern") else world.describe_object
        return part(self.target)

    def texts(self) -> tuple[str, str]:
        """Full descriptions of the target and of the source."""
        return world.describe(self.target), world.describe(self.source)

    def kept(self) -> np.ndarray:
        """Where the picture must not change: (SIZE, SIZE) bool, 3 pixels clear of the edited region."""
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
            taken = {source.things[0].colour, source.background, source.things[0].shape, source.pattern}
            value = rng.choice([v for v in values if v not in taken])
            made.append(Edit(source, attribute, world.with_attribute(source, attribute, value)))
    return made


@dataclass(frozen=True)
class Point:
    """One setting of one method: how often the target is there and the PSNR of what stays, also by attribute.

    `structure` is the mean structural similarity (SSIM) of what stays, in [-1, 1].
    """

    method: str
    strength: float
    text: str
    accuracy: float
    psnr: float
    by_attribute: dict[str, tuple[float, float]]
    structure: float = math.nan


def measured(method: str, strength: float, text: str, jobs: list[Edit], pictures: Tensor, scorer: Scorer) -> Point:
    """Score a batch of edited pictures."""
    hits = [seen[e.attribute] == e.wanted for seen, e in zip(scorer.read(pictures), jobs)]
    sources = in_process.pictures([e.source for e in jobs])
    errors, likeness = (pictures - sources).square().mean(1), ssim(pictures, sources, 7).mean(1)
    kept = torch.from_numpy(np.stack([e.kept() for e in jobs]))
    psnr = [-10 * error[keep].mean().log10().item() for error, keep in zip(errors, kept)]
    structure = [each[keep].mean().item() for each, keep in zip(likeness, kept)]
    by_attribute = {}
    for name in ATTRIBUTES:
        rows = [(h, p) for h, p, e in zip(hits, psnr, jobs) if e.attribute == name]
        by_attribute[name] = tuple(float(np.mean(column)) for column in zip(*rows))
    accuracy, kept_psnr, kept_structure = (float(np.mean(column)) for column in (hits, psnr, structure))
    return Point(method, strength, text, accuracy, kept_psnr, by_attribute, kept_structure)


def measured_points(
    settings: Iterable[Setting], sources: int, path: Path, measure: Callable[[Setting], Point]
) -> list[Point]:
    """A point for every setting, in order: those an earlier run with as many sources left in `path`, and new ones."""
    points = {(p.method, p.strength, p.text): p for p in _read(path, sources)}
    wanted = list(settings)
    for setting in wanted:
        if setting not in points:
            points[setting] = measure(setting)
            kept = {"sources": sources, "points": [asdict(p) for p in points.values()]}
            path.write_text(json.dumps(kept, indent=1) + "\n")
    return [points[setting] for setting in wanted]


def _read(path: Path, sources: int) -> list[Point]:
    if not path.exists() or (found := json.loads(path.read_text()))["sources"] != sources:
        return []
    return [Point(**p) for p in found["points"]]


def table(points: list[Point]) -> str:
    """The points as Markdown."""
    with_structure = not any(math.isnan(p.structure) for p in points)
    head = ["method", "strength", "text", "accuracy", "PSNR kept", *(["SSIM kept"] if with_structure else [])]
    rows = [[*head, *ATTRIBUTES], ["---"] * (len(head) + len(ATTRIBUTES))]
    for p in points:
        structure = [f"{p.structure:.3f}"] if with_structure else []
        each = [f"{accuracy:.2f} / {psnr:.1f}" for accuracy, psnr in (p.by_attribute[n] for n in ATTRIBUTES)]
        rows.append([p.method, f"{p.strength:g}", p.text, f"{p.accuracy:.3f}", f"{p.psnr:.2f}", *structure, *each])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)

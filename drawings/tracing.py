"""Fitting drawings to pictures, path by path where they are most wrong (LIVE; the first stage of VectorFusion)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.optim import Optimizer

from ..guidance.restoration.measurement import Measurement
from ..svg.raster.flattening import flatten
from ..svg.raster.rasterizer import Rasterizer, rasterize
from .drawing import Drawing, cubics_of, grouped, rasterized
from .initialization import Centres, Paths, component_centres, sparse_centres
from .losses import data_loss, udf_weight, xing
from .optimizer import TRACING, LearningRates
from .styles import ArtStyle, Canvas, side_of

SIDE = 240.0
"""Pixels of the canvas that LIVE's lengths and rates are published for."""
COARSE = 0.25
"""Pixels by which the outlines may be off that distances are measured to, which count by tens of pixels."""
PLACES: dict[str, Callable[[Tensor, Tensor, int, torch.Generator], Centres]] = {
    "component-wise": component_centres,
    "sparse": sparse_centres,
}
"""Where new paths start, from the drawing's picture and the target."""
ANYWHERE = "anywhere"
"""The other way: all paths at once, wherever they fall."""


@dataclass(frozen=True)
class Tracing:
    """How a picture is traced.

    Paths come in `groups`, each followed by `steps` of fitting all of them; `places` names one of `PLACES`, or
    `ANYWHERE`. With `near_outlines` pixels near outlines
    count more (the UDF weight); `crossing` weighs the self-intersection loss.
    """

    groups: int = 8
    steps: int = 500
    places: str = "component-wise"
    near_outlines: bool = True
    crossing: float = 0.01
    rates: LearningRates = TRACING


@dataclass(frozen=True)
class Fit:
    """A step of a fit: the pictures (B, 3, H, W) before it, the loss of each (B,), and the drawings after it."""

    index: int
    pictures: Tensor
    loss: Tensor
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class Tracer:
    """Fits drawings to `targets` (B, 3, H, W) in [0, 1]. Must not run in `torch.inference_mode`.

    With a `measurement`, whose back-projection the targets are, drawings are fitted to look like it once they are
    measured.
    """

    targets: Tensor
    how: Tracing
    rasterizer: Rasterizer = rasterize
    measurement: Measurement | None = None

    def traced(self, style: ArtStyle, count: int, generators: Sequence[torch.Generator]) -> Iterator[Fit]:
        """New drawings of `count` paths each, as they grow; one random generator for each."""
        sizes = group_sizes(count, self.how.groups if grows(style, self.how) else 1)
        drawings = self._started(style, sizes[0], generators)
        optimizer = self.how.rates.adam(grouped(drawings))
        for n, size in enumerate(sizes):
            if n:
                self._grow(drawings, style, size, generators, optimizer)
            yield from self._fits(drawings, optimizer, n * self.how.steps)

    def fitted(self, drawings: Sequence[Drawing]) -> Iterator[Fit]:
        """Given drawings, moved in place."""
        return self._fits(drawings, self.how.rates.adam(grouped(drawings)), 0)

    def _fits(self, drawings: Sequence[Drawing], optimizer: Optimizer, done: int) -> Iterator[Fit]:
        rates = self.how.rates.scaled(self._scale)
        for index in range(self.how.steps):
            with torch.enable_grad():
                pictures = rasterized(drawings, self.rasterizer)
                loss = self._loss(drawings, pictures)
                crossing = sum((xing(cubics_of(drawing)) for drawing in drawings), start=loss.new_zeros(()))
            rates.set(optimizer, index / self.how.steps)
            optimizer.zero_grad()
            (loss.sum() + self.how.crossing * crossing).backward()
            optimizer.step()
            for drawing in drawings:
                drawing.constrain()
            yield Fit(done + index, pictures.detach(), loss.detach(), drawings)

    def _started(self, style: ArtStyle, count: int, generators: Sequence[torch.Generator]) -> list[Drawing]:
        if not grows(style, self.how):
            return [style.start(count, self._canvas, generator, self.targets) for generator in generators]
        paths = self._most_wrong(torch.ones_like(self.targets), style, count, generators)
        return [style.drawing(found, self._canvas, self.targets) for found in paths]

    def _grow(
        self,
        drawings: Sequence[Drawing],
        style: ArtStyle,
        count: int,
        generators: Sequence[torch.Generator],
        optimizer: Optimizer,
    ) -> None:
        with torch.no_grad():
            pictures = rasterized(drawings, self.rasterizer)
        for drawing, paths in zip(drawings, self._most_wrong(pictures, style, count, generators)):
            drawing.append(paths, optimizer)

    def _most_wrong(
        self, pictures: Tensor, style: ArtStyle, count: int, generators: Sequence[torch.Generator]
    ) -> list[Paths]:
        """Paths for each target where the pictures are most unlike it."""
        assert style.at is not None
        found = []
        for picture, target, generator in zip(self._seen(pictures), self.targets, generators):
            centres = PLACES[self.how.places](picture, target, count, generator)
            places = Centres(centres.points.cpu(), centres.colors.cpu(), self._resolved)
            found.append(style.at(places, self._canvas, generator))
        return found

    @cached_property
    def _resolved(self) -> float:
        """The radius of a disc of as many pixels as a measured value averages."""
        return 0.0 if self.measurement is None else math.sqrt(self.measurement.operator.averaged / math.pi)

    def _loss(self, drawings: Sequence[Drawing], pictures: Tensor) -> Tensor:
        if self.measurement is None:
            return data_loss(pictures, self.targets, self._outline_weights(drawings))
        error = self.measurement.operator.forward(2 * pictures - 1) - self.measurement.y
        return (error / 2).square().flatten(1).mean(1)

    def _seen(self, pictures: Tensor) -> Tensor:
        """Pictures as the targets show them."""
        if self.measurement is None:
            return pictures
        operator = self.measurement.operator
        return (operator.back_projected(operator.forward(2 * pictures - 1)) + 1) / 2

    def _outline_weights(self, drawings: Sequence[Drawing]) -> Tensor | None:
        if not self.how.near_outlines:
            return None
        edges = [flatten(cubics_of(drawing).detach(), COARSE).edges for drawing in drawings]
        return torch.stack([udf_weight(found, *self._canvas, reach=10 * self._scale) for found in edges])

    @property
    def _canvas(self) -> Canvas:
        return self.targets.shape[-2], self.targets.shape[-1]

    @property
    def _scale(self) -> float:
        return side_of(self._canvas) / SIDE


def grows(style: ArtStyle, how: Tracing) -> bool:
    """Whether paths come in groups, each where it is missed."""
    return style.at is not None and how.places != ANYWHERE


def group_sizes(count: int, groups: int) -> list[int]:
    """`count` paths in that many groups, or fewer, whose sizes differ by one at most."""
    groups = max(min(groups, count), 1)
    return [count * (n + 1) // groups - count * n // groups for n in range(groups)]

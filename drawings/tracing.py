"""Tracing: fit drawings to images. They start as the regions of the image, or paths are added where the error is
largest (LIVE; VectorFusion's first stage)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.optim import Optimizer

from ..guidance.restoration.measurement import Measurement
from ..svg.raster.flattening import flatten
from ..svg.raster.rasterizer import Rasterizer, rasterize
from ..svg.raster.threads import one_thread
from .drawing import Drawing, parameter_groups, render
from .initialization import Canvas, Centers, Paths, canvas_side, component_centers, sparse_centers
from .losses import data_loss, kinks, udf_weight, xing
from .optimizer import TRACING, LearningRates
from .styles import ArtStyle

LIVE_SIDE = 240.0
"""Side in pixels of LIVE's canvas, which its lengths and learning rates are for."""
UDF_TOLERANCE = 0.25
"""Flattening tolerance in pixels of the outlines that the UDF weight measures distances to; it changes over tens of
pixels."""
PLACEMENTS: dict[str, Callable[[Tensor, Tensor, int, torch.Generator], Centers]] = {
    "component-wise": component_centers,
    "sparse": sparse_centers,
}
"""How the centers of new paths are found: from the rendered image, the target, their number, a random generator."""
ANYWHERE = "anywhere"
"""A further placement: all paths start at once, at random positions."""
TRACE = "trace"
"""A further placement: all paths start at once, as the regions of the image."""
ENLARGED = 2
"""By how much small images are enlarged to find their regions: more gives more curves, which follow noise."""


@dataclass(frozen=True)
class TracingSettings:
    """How images are traced. The defaults are LIVE's.

    Attributes:
        groups: The number of groups in which paths are added.
        steps: Optimizer steps after each group, for all paths so far.
        placement: A key of `PLACEMENTS`, `ANYWHERE` or `TRACE`.
        udf_weighting: Whether pixels near outlines count more (LIVE's UDF loss).
        xing_weight: Weight of the self-intersection loss.
        kink_weight: Weight of the loss that keeps smooth joins smooth.
        rates: Learning rates on LIVE's canvas.
    """

    groups: int = 8
    steps: int = 500
    placement: str = "component-wise"
    udf_weighting: bool = True
    xing_weight: float = 0.01
    kink_weight: float = 0.0
    rates: LearningRates = TRACING


FROM_REGIONS = TracingSettings(
    1, 50, TRACE, udf_weighting=False, xing_weight=0.0, kink_weight=1e-3, rates=replace(TRACING, points=0.1)
)
"""Drawings that start as the regions of their image: their outlines cross nothing, and stay smooth where they are. A
tenth of LIVE's rate of points costs 0.5 dB and leaves no spikes where an image is noisy."""


@dataclass(frozen=True)
class TracingStep:
    """One optimizer step.

    Attributes:
        index: The number of the step, from 0.
        images: The images (B, 3, H, W) in [0, 1] before the step.
        losses: The error (B,) of each image before the step, without the self-intersection loss.
        drawings: The drawings after the step.
    """

    index: int
    images: Tensor
    losses: Tensor
    drawings: Sequence[Drawing]


@dataclass(frozen=True)
class Tracer:
    """Fits drawings to images. Must not run in `torch.inference_mode`.

    Attributes:
        targets: Images (B, 3, H, W) in [0, 1]; with a measurement, its back-projection.
        settings: How they are traced.
        rasterizer: Renders the drawings.
        measurement: If given, drawings are fitted to match it: their images are measured and compared with its y.
        alphas: The images' alpha (B, H, W) in [0, 1], which `TRACE` leaves empty where it is 0; None if opaque.
    """

    targets: Tensor
    settings: TracingSettings
    rasterizer: Rasterizer = rasterize
    measurement: Measurement | None = None
    alphas: Tensor | None = None

    def trace(self, style: ArtStyle, count: int, generators: Sequence[torch.Generator]) -> Iterator[TracingStep]:
        """Make new drawings of `count` paths each, with one random generator per drawing; `started` with `TRACE`."""
        if self.settings.placement == TRACE:
            yield from self.fit(self.started(style, count))
            return
        sizes = group_sizes(count, self.settings.groups if adds_in_groups(style, self.settings) else 1)
        drawings = self._initial_drawings(style, sizes[0], generators)
        optimizer = self.settings.rates.adam(parameter_groups(drawings))
        for n, size in enumerate(sizes):
            if n:
                self._add_paths(drawings, style, size, generators, optimizer)
            yield from self._optimize(drawings, optimizer, n * self.settings.steps)

    def started(self, style: ArtStyle, count: int, canvas: Canvas | None = None) -> list[Drawing]:
        """The images as drawings of at most `count` paths each, of a style that can be traced, before any step.

        Images smaller than `canvas` are enlarged to find their regions: to it, at most to `ENLARGED` times their size.
        Raises ValueError for an image in which nothing is found.
        """
        size = self._canvas if canvas is None else tracing_size(canvas, self._canvas, ENLARGED)
        targets = interpolate(self.targets, size, mode="bilinear")
        alphas = [None] * len(targets)
        if self.alphas is not None:
            alphas = interpolate(self.alphas[:, None], size, mode="bilinear")[:, 0]
        drawings = [style.traced_drawing(target, count, alpha) for target, alpha in zip(targets, alphas)]
        for number, drawing in enumerate(drawings, start=1):
            if not drawing.parameters:
                raise ValueError(
                    f"Nothing was found to trace in image {number}: it has one color, or is transparent everywhere. "
                    "Connect another image."
                )
        return drawings if size == self._canvas else [drawing.on_canvas(*self._canvas) for drawing in drawings]

    def fit(self, drawings: Sequence[Drawing]) -> Iterator[TracingStep]:
        """Fit given drawings, one per target, in place."""
        return self._optimize(drawings, self.settings.rates.adam(parameter_groups(drawings)), 0)

    def _optimize(self, drawings: Sequence[Drawing], optimizer: Optimizer, first: int) -> Iterator[TracingStep]:
        rates = self.settings.rates.scaled(self._scale)
        for index in range(self.settings.steps):
            rates.set(optimizer, index / self.settings.steps)
            with one_thread(self.targets.device):
                images, losses = self._step(drawings, optimizer)
            yield TracingStep(first + index, images.detach(), losses.detach(), drawings)

    def _step(self, drawings: Sequence[Drawing], optimizer: Optimizer) -> tuple[Tensor, Tensor]:
        """Change drawings by one step; their images and losses before it."""
        with torch.enable_grad():
            images = render(drawings, self.rasterizer)
            losses = self._losses(drawings, images)
            loss = losses.sum() + sum(self._shape_losses(drawing) for drawing in drawings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for drawing in drawings:
            drawing.constrain()
        return images, losses

    def _initial_drawings(self, style: ArtStyle, count: int, generators: Sequence[torch.Generator]) -> list[Drawing]:
        if not adds_in_groups(style, self.settings):
            return [style.random_drawing(count, self._canvas, generator, self.targets) for generator in generators]
        white = torch.ones_like(self.targets)
        new_paths = self._paths_at_errors(white, style, count, generators)
        return [style.drawing(paths, self._canvas, self.targets) for paths in new_paths]

    def _add_paths(
        self,
        drawings: Sequence[Drawing],
        style: ArtStyle,
        count: int,
        generators: Sequence[torch.Generator],
        optimizer: Optimizer,
    ) -> None:
        with torch.no_grad():
            images = render(drawings, self.rasterizer)
        for drawing, paths in zip(drawings, self._paths_at_errors(images, style, count, generators)):
            drawing.append(paths, optimizer)

    def _paths_at_errors(
        self, images: Tensor, style: ArtStyle, count: int, generators: Sequence[torch.Generator]
    ) -> list[Paths]:
        """For each target, new paths where the image differs from it."""
        assert style.paths_at is not None
        new_paths = []
        for image, target, generator in zip(self._back_projected(images), self.targets, generators):
            centers = PLACEMENTS[self.settings.placement](image, target, count, generator)
            centers = Centers(centers.points.cpu(), centers.colors.cpu(), self._min_radius)
            new_paths.append(style.paths_at(centers, self._canvas, generator))
        return new_paths

    @cached_property
    def _min_radius(self) -> float:
        """The radius in pixels of a disc with as many pixels as one measured value averages: pi r^2 = averaged."""
        return 0.0 if self.measurement is None else math.sqrt(self.measurement.operator.averaged / math.pi)

    def _losses(self, drawings: Sequence[Drawing], images: Tensor) -> Tensor:
        if self.measurement is None:
            return data_loss(images, self.targets, self._outline_weights(drawings))
        return (self.measurement.residual(2 * images - 1) / 2).square().flatten(1).mean(1)

    def _shape_losses(self, drawing: Drawing) -> Tensor:
        loss = drawing.points.new_zeros(())
        if self.settings.xing_weight:
            loss = loss + self.settings.xing_weight * xing(drawing.cubics())
        if self.settings.kink_weight:
            loss = loss + self.settings.kink_weight * kinks(drawing.smooth_joins())
        return loss

    def _back_projected(self, images: Tensor) -> Tensor:
        """Images as they compare with the targets: measured and back-projected if the targets are."""
        if self.measurement is None:
            return images
        operator = self.measurement.operator
        return (operator.back_projected(operator.forward(2 * images - 1)) + 1) / 2

    def _outline_weights(self, drawings: Sequence[Drawing]) -> Tensor | None:
        if not self.settings.udf_weighting:
            return None
        edges = [flatten(drawing.cubics().detach(), UDF_TOLERANCE).edges for drawing in drawings]
        return torch.stack([udf_weight(each, *self._canvas, reach=10 * self._scale) for each in edges])

    @property
    def _canvas(self) -> Canvas:
        return self.targets.shape[-2], self.targets.shape[-1]

    @property
    def _scale(self) -> float:
        return canvas_side(self._canvas) / LIVE_SIDE


def tracing_size(canvas: Canvas, image: Canvas, times: float = 1.0) -> Canvas:
    """The size for an image to be drawn on a canvas: the canvas, or where that is larger than `times` the image, a
    smaller size of its proportions.

    A drawing of sharp shapes is compared with an image at the image's own size: an enlarged image has soft edges, which
    only wrong shapes can match.
    """
    factor = min(1.0, times * canvas_side(image) / canvas_side(canvas))
    height, width = (max(round(side * factor), 1) for side in canvas)
    return height, width


def adds_in_groups(style: ArtStyle, settings: TracingSettings) -> bool:
    """Whether paths are added in groups where the error is largest; otherwise all start at once."""
    return style.paths_at is not None and settings.placement in PLACEMENTS


def group_sizes(count: int, groups: int) -> list[int]:
    """Divide `count` paths into `groups` groups, or `count` if that is less; sizes differ by at most 1."""
    groups = max(min(groups, count), 1)
    return [count * (n + 1) // groups - count * n // groups for n in range(groups)]

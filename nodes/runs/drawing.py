"""The runs of SVG Optimizer: make the initial drawings, and distill them inside the host's sampler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...drawings.augmentation import Augmentation
from ...drawings.drawing import Drawing, DrawingBatch
from ...drawings.initialization import Canvas
from ...drawings.loss_terms import SaturationTerm, XingTerm
from ...drawings.optimizer import LearningRates
from ...drawings.reinitialization import reinitialization_due, reinitialize_dead
from ...drawings.selection import Selection
from ...drawings.styles import ArtStyle
from ...drawings.tasks import RestorationWeights, Task, learning_rates
from ...drawings.tracing import TRACE, Tracer, TracingSettings, adds_in_groups, group_sizes
from ...guidance.core.noise import MAX_SEED, SeededNoise
from ...guidance.distillation.loop import Descent, Plan
from ...guidance.distillation.regularizers import Loss, MeasurementTerm, PixelTerm, clean_estimate_weight
from ...guidance.restoration.measurement import Measurement
from ...svg.document import Document
from ...svg.raster.rasterizer import Rasterizer, rasterize
from .. import host
from .distillation import Distillation

SEED_OFFSET = 0x5E_ED_0F_DA_BB_1E
"""XORed with a seed, so that path initialization and augmentation do not reuse the noise stream."""


def drawing_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One random generator per drawing, for its paths and views."""
    return [torch.Generator().manual_seed((seed ^ SEED_OFFSET) % MAX_SEED) for seed in seeds]


class Moving(NamedTuple):
    """What changes in a drawing that is given: see `drawings.drawing.Drawing`."""

    optimized: frozenset[str]
    selected: Selection


@dataclass(frozen=True)
class Initialization:
    """How drawings start: as `documents` or as `count` paths of a style, traced to `targets` if there are any.

    `targets` are images (B, 3, H, W) in [0, 1], of the size of the canvas or smaller; with a `measurement`, its
    back-projection. `alphas` (B, H, W) are the images' alpha, `moving` says what changes in each of the documents.
    """

    style: ArtStyle
    count: int
    documents: Sequence[Document] | None
    moving: Sequence[Moving]
    targets: Tensor | None
    alphas: Tensor | None
    measurement: Measurement | None
    tracing: TracingSettings
    canvas: Canvas
    device: torch.device
    rasterizer: Rasterizer = rasterize

    @property
    def steps(self) -> int:
        """The number of tracing steps."""
        if self.targets is None:
            return 0
        in_groups = not self.documents and adds_in_groups(self.style, self.tracing)
        return self.tracing.steps * (len(group_sizes(self.count, self.tracing.groups)) if in_groups else 1)

    def run(
        self,
        generators: Sequence[torch.Generator],
        preview: Callable[[int, Tensor], None],
        remember: Callable[[Sequence[Drawing]], None],
    ) -> Sequence[Drawing]:
        """Make one drawing per random generator. `remember` gets the drawings so far, whenever they change."""
        drawings: Sequence[Drawing] = []
        if self.documents or self.targets is None:
            drawings = [self._untraced(n, generator) for n, generator in enumerate(generators)]
            remember(drawings)
        if self.targets is None:
            return drawings
        with host.gradients():
            targets = host.ordinary(self.targets.to(self.device))
            measurement = None if self.measurement is None else self.measurement.to(targets)
            alphas = None if self.alphas is None else host.ordinary(self.alphas.to(targets))
            tracer = Tracer(targets, self.tracing, self.rasterizer, measurement, alphas)
            if not drawings and self.tracing.placement == TRACE:
                drawings = tracer.started(self.style, self.count, self.canvas)
                remember(drawings)
            steps = tracer.fit(drawings) if drawings else tracer.trace(self.style, self.count, generators)
            for step in steps:
                drawings = step.drawings
                remember(drawings)
                preview(step.index + 1, step.images[0])
            if self._fitted_at != self.canvas:
                drawings = [drawing.on_canvas(*self.canvas) for drawing in drawings]
                remember(drawings)
        return drawings

    @property
    def _fitted_at(self) -> Canvas:
        """The canvas on which drawings are fitted to the targets."""
        return self.canvas if self.targets is None else (self.targets.shape[-2], self.targets.shape[-1])

    def _untraced(self, n: int, generator: torch.Generator) -> Drawing:
        with host.gradients():
            like = torch.empty(0, device=self.device)
            if self.documents:
                n = n % len(self.documents)
                moving = self.moving[n]._asdict()
                return Drawing(self.documents[n], *self._fitted_at, like, **moving)
            return self.style.random_drawing(self.count, self._fitted_at, generator, like)


@dataclass(frozen=True, kw_only=True)
class DrawingDistillation(Distillation):
    """The distillation of a batch of drawings, which it changes in place.

    `reference` (B or 1, ...) is in the host's scale. `crossing_weight` is the weight of the self-intersection loss,
    `pixel_weight` that of the distance of pixels to their clean estimate, 1 as much as that of the latent.
    `learning_rate_factor` multiplies all learning rates, `from_regions` says that the drawings started as the regions
    of images, and `preview(step, image)` shows an image (3, H, W) in [0, 1].
    """

    task: Task
    style: ArtStyle
    drawings: Sequence[Drawing] = ()
    reference: Tensor | None = None
    measurement: Measurement | None = None
    weights: RestorationWeights
    crossing_weight: float = 0.0
    pixel_weight: float = 0.0
    learning_rate_factor: float = 1.0
    views: Callable[[], Augmentation] | None = None
    canvas: Canvas
    rasterizer: Rasterizer = rasterize
    generators: Sequence[torch.Generator]
    from_regions: bool = False
    model: Any
    vae: Any
    preview: Callable[[int, Tensor], None] = lambda step, image: None

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, host.autoencoder(self.vae, self.model, run) as autoencoder:
            batch = DrawingBatch(self.drawings, autoencoder.encode, self.views, self.rasterizer)
            rates = learning_rates(self.task, self.style, self.canvas, self.from_regions)
            rates = rates.times(self.learning_rate_factor)
            optimizer, noise = rates.adam(batch.parameter_groups), SeededNoise(self.seeds)
            objective = self.objective(run, noise, self._reference(run, batch))
            plan, losses = self._plan(run, rates, optimizer), self._losses(run, batch, autoencoder)
            for step in self.steps(run, batch, objective, noise, plan=plan, losses=losses):
                self.preview(step.index + 1, batch.images[0])
                self._reinitialize(step.index, optimizer)
        return (run.latent,)

    def _plan(self, run: host.Run, rates: LearningRates, optimizer: torch.optim.Optimizer) -> Plan:
        loop = self.config.loop
        plan = loop.plan(run.prior, run.latent)
        descent = Descent(optimizer, lambda step: rates.set(optimizer, step / loop.steps))
        weight = plan.weight
        if self.measurement is not None:
            weight = clean_estimate_weight(self.weights.sds, run.latent[0].numel())
        return dataclasses.replace(plan, descent=lambda _: descent, weight=weight)

    def _losses(self, run: host.Run, batch: DrawingBatch, autoencoder: host.HostAutoencoder) -> list[Loss]:
        losses: list[Loss] = []
        if self.crossing_weight and self.task != "edit":
            losses.append(XingTerm(batch, self.crossing_weight))
        if self.style.saturation_weight and self.task in ("draw", "refine"):
            losses.append(SaturationTerm(batch, self.style.saturation_weight))
        if self.measurement is not None:
            measurement = self.measurement.to(batch.images)
            losses.append(MeasurementTerm(batch, measurement, run.prior.path, self.weights.data))
        if self.pixel_weight:
            unit = self.weights.sds if self.measurement is not None else run.latent[0].numel() / 2
            weight = unit * self.pixel_weight
            losses.append(PixelTerm(lambda: batch.seen, autoencoder.decode, run.prior.path, weight))
        return losses

    def _reference(self, run: host.Run, batch: DrawingBatch) -> Tensor | None:
        """The latent that the objective compares with, by default that of the initial drawings."""
        if "reference" not in self.chosen.method.needs:
            return None
        if self.reference is not None:
            return run.to_model_scale(self.reference)
        with torch.no_grad():
            return batch.encode(batch.images)

    def _reinitialize(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Reinitialize dead paths, if it is time to."""
        of_equal_paths = self.task in ("draw", "refine") and not self.from_regions
        if of_equal_paths and reinitialization_due(step, self.config.loop.steps):
            for drawing, generator in zip(self.drawings, self.generators, strict=True):
                reinitialize_dead(drawing, self.style, self.canvas, generator, optimizer)

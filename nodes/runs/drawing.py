"""What SVG Optimizer does: how its drawings begin, and how they are distilled inside the host's sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...drawings.augmentation import Augmentation
from ...drawings.drawing import Drawing, Drawings
from ...drawings.loss_terms import CalmColors, Crossing, Fidelity, pull_to_estimate
from ...drawings.optimizer import LearningRates
from ...drawings.styles import ART_STYLES, ArtStyle, Canvas
from ...drawings.tasks import Task, Terms, rates_of, renews
from ...drawings.tracing import Tracer, Tracing, group_sizes, grows
from ...guidance.core.noise import MAX_SEED, SeededNoise
from ...guidance.distillation.optimize import Descent, Plan
from ...guidance.distillation.regularizers import Loss
from ...guidance.restoration.measurement import Measurement
from ...svg.document import Document
from .. import host
from .distillation import Distillation

SHUFFLE = 0x5E_ED_0F_DA_BB_1E
"""Keeps where paths start and how they are viewed apart from the noise of the same seed."""


def generators_of(seeds: Sequence[int]) -> list[torch.Generator]:
    """Random numbers for the drawings, one stream for each."""
    return [torch.Generator().manual_seed((seed ^ SHUFFLE) % MAX_SEED) for seed in seeds]


@dataclass(frozen=True)
class Beginning:
    """How drawings begin: as `documents`, as paths anywhere, and fitted to `targets` (B, 3, H, W) if there are any.

    With a `measurement` the targets are its back-projection.
    """

    style: ArtStyle
    count: int
    documents: Sequence[Document] | None
    targets: Tensor | None
    measurement: Measurement | None
    tracing: Tracing
    canvas: Canvas
    device: torch.device

    @property
    def steps(self) -> int:
        """How many steps of fitting it takes."""
        if self.targets is None:
            return 0
        grown = not self.documents and grows(self.style, self.tracing)
        return self.tracing.steps * (len(group_sizes(self.count, self.tracing.groups)) if grown else 1)

    def drawings(
        self, generators: Sequence[torch.Generator], show: host.Previews, hold: Callable[[Sequence[Drawing]], None]
    ) -> Sequence[Drawing]:
        """One drawing for each random generator; `hold` is given those that there are so far."""
        drawings: Sequence[Drawing] = []
        if self.documents or self.targets is None:
            drawings = [self._first(n, generator) for n, generator in enumerate(generators)]
            hold(drawings)
        if self.targets is None:
            return drawings
        with host.gradients():
            targets = host.ordinary(self.targets.to(self.device))
            measurement = None if self.measurement is None else self.measurement.to(targets)
            tracer = Tracer(targets, self.tracing, measurement=measurement)
            fits = tracer.fitted(drawings) if drawings else tracer.traced(self.style, self.count, generators)
            for fit in fits:
                drawings = fit.drawings
                hold(drawings)
                show(fit.index + 1, fit.pictures[0])
        return drawings

    def _first(self, n: int, generator: torch.Generator) -> Drawing:
        with host.gradients():
            like = torch.empty(0, device=self.device)
            if self.documents:
                return Drawing(self.documents[n % len(self.documents)], *self.canvas, like)
            return self.style.start(self.count, self.canvas, generator, like)


@dataclass(frozen=True)
class DrawingDistillation(Distillation):
    """The distillation of a batch of drawings, which it changes in place.

    `reference` (B or 1, ...) is in the host's scale. `crossing` is the weight of the self-intersection loss, `pace`
    multiplies all learning rates, `show(step, image)` previews.
    """

    task: Task = "draw"
    style: ArtStyle = ART_STYLES["iconography"]
    drawings: Sequence[Drawing] = ()
    reference: Tensor | None = None
    measurement: Measurement | None = None
    terms: Terms = Terms(1.0, 0.0)
    crossing: float = 0.0
    pace: float = 1.0
    views: Callable[[], Augmentation] | None = None
    canvas: Canvas = (0, 0)
    generators: Sequence[torch.Generator] = ()
    model: Any = None
    vae: Any = None
    show: Callable[[int, Tensor], None] = lambda step, image: None

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, host.autoencoder(self.vae, self.model, run) as autoencoder:
            made = Drawings(self.drawings, autoencoder.encode, self.views)
            rates = rates_of(self.task, self.style, self.canvas).faster(self.pace)
            optimizer, noise = rates.adam(made.groups), SeededNoise(self.seeds)
            objective = self.objective(run, noise, self._reference(run, made))
            plan, losses = self._plan(run, rates, optimizer), self._losses(run, made)
            for step in self.steps(run, made, objective, noise, plan=plan, losses=losses):
                self.show(step.index + 1, made.pictures[0])
                self._renew(step.index, optimizer)
        return (run.latent,)

    def _plan(self, run: host.Run, rates: LearningRates, optimizer: torch.optim.Optimizer) -> Plan:
        loop = self.config.loop
        plan = loop.plan(run.prior, run.latent)
        descent = Descent(optimizer, lambda step: rates.set(optimizer, step / loop.steps))
        weight = plan.weight
        if self.measurement is not None:
            weight = pull_to_estimate(self.terms.sds, run.latent[0].numel())
        return dataclasses.replace(plan, descent=lambda _: descent, weight=weight)

    def _losses(self, run: host.Run, made: Drawings) -> list[Loss]:
        losses: list[Loss] = []
        if self.crossing and self.task != "edit":
            losses.append(Crossing(made, self.crossing))
        if self.style.saturation and self.task in ("draw", "refine"):
            losses.append(CalmColors(made, self.style.saturation))
        if self.measurement is not None:
            measurement = self.measurement.to(made.pictures)
            losses.append(Fidelity(made, measurement, run.prior.path, self.terms.data))
        return losses

    def _reference(self, run: host.Run, made: Drawings) -> Tensor | None:
        """What the objective compares with: by default the drawings as they begin."""
        if "reference" not in self.chosen.method.needs:
            return None
        if self.reference is not None:
            return run.to_model_scale(self.reference)
        with torch.no_grad():
            return made.encoded(made.pictures)

    def _renew(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        if self.task in ("draw", "refine") and renews(step, self.config.loop.steps):
            for drawing, generator in zip(self.drawings, self.generators):
                self.style.renew(drawing, self.canvas, generator, optimizer)

"""The run of Splat Optimizer: distill views of a scene inside the host's sampler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...guidance.core.denoiser import TARGET, numbered
from ...guidance.core.noise import SeededNoise
from ...guidance.core.prior import Prior
from ...guidance.distillation.compositions import per_view
from ...guidance.distillation.loop import Descent, Plan
from ...guidance.distillation.objective import Direction, Objective, Sample
from ...guidance.distillation.regularizers import Loss, MeasurementTerm, PixelTerm, clean_estimate_weight
from ...guidance.restoration.measurement import Measurement
from ...scenes.cameras import SIDES, Draw, seen_side
from ...scenes.fitting import relocation_due
from ...scenes.losses import SparsityTerm
from ...scenes.optimizer import LearningRates, TrainableScene, set_rates
from ...scenes.views import SceneViews
from ...splats.renderers import Renderer
from .. import host
from .distillation import Distillation


@dataclass(frozen=True)
class Restoration:
    """What a scene is restored from, with the weights of eq. 10 and 11 (DreamSampler, supplement 4.1)."""

    measurement: Measurement
    sds_weight: float
    data_weight: float


@dataclass(frozen=True)
class ViewMeasurements:
    """The measurement of the views of a step, each by its own camera."""

    views: SceneViews
    measurement: Measurement

    def residual(self, images: Tensor) -> Tensor:
        """What keeps images (V, 3, H, W) in [-1, 1] from agreeing with the measurement."""
        measured = [self.measurement.of_item(look.index).to(images) for look in self.views.looks]
        return torch.cat([each.residual(image[None]) for each, image in zip(measured, images, strict=True)])


@dataclass(frozen=True)
class FromEachView:
    """An objective that compares with a `reference` of the current views, from which `build` makes it at each step."""

    build: Callable[[Tensor], Objective]
    reference: Callable[[], Tensor]

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        return self.build(self.reference())(prior, sample)


@dataclass(frozen=True, kw_only=True)
class SceneDistillation(Distillation):
    """The distillation of a scene, which it changes in place.

    `draw` gives the looks of a step, as many as there are `seeds`; `generator` draws new places of transparent splats,
    which move if `relocates`. With `prompts_by_side`, conditionings are `numbered` by the place of a side in `SIDES`.
    `preview(step, image)` shows an image (3, H, W) in [0, 1].
    """

    trainable: TrainableScene
    rates: LearningRates
    draw: Draw
    renderer: Renderer
    generator: torch.Generator
    relocates: bool
    prompts_by_side: bool
    restoration: Restoration | None
    pixel_weight: float
    model: Any
    vae: Any
    preview: Callable[[int, Tensor], None]

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        with run.with_gradients() as run, host.autoencoder(self.vae, self.model, run) as autoencoder:
            views = SceneViews(self.trainable, autoencoder.encode, self.draw, self.renderer)
            optimizer, noise = self.trainable.adam(self.rates), SeededNoise(self.seeds)
            plan, objective = self._plan(run, optimizer), self._objective_of(run, views, noise)
            losses = self._losses(run, views, autoencoder)
            for step in self.steps(self._by_side(run, views), views, objective, noise, plan=plan, losses=losses):
                self.preview(step.index + 1, views.images[0])
                if self.relocates and relocation_due(step.index, plan.steps):
                    self.trainable.relocate(optimizer, self.generator)
        return (run.latent,)

    def _plan(self, run: host.Run, optimizer: torch.optim.Adam) -> Plan:
        plan = self.config.loop.plan(run.prior, run.latent)
        descent = Descent(optimizer, lambda step: set_rates(optimizer, self.rates, step / plan.steps))
        weight = plan.weight
        if self.restoration is not None:
            weight = clean_estimate_weight(self.restoration.sds_weight, run.latent[0].numel())
        return dataclasses.replace(plan, descent=lambda _: descent, weight=weight)

    def _by_side(self, run: host.Run, views: SceneViews) -> host.Run:
        """The run, whose denoiser gives each view the prompts of the side that it shows."""
        if not self.prompts_by_side:
            return run
        denoise = per_view(run.prior.denoise, lambda: _sides(views))
        return dataclasses.replace(run, prior=dataclasses.replace(run.prior, denoise=denoise))

    def _objective_of(self, run: host.Run, views: SceneViews, noise: SeededNoise) -> Objective:
        """The objective; where it compares with a source, that is the scene as it was, seen by the same cameras."""

        def targets() -> list[str]:
            return [numbered(TARGET, side) for side in _sides(views)]

        if "reference" not in self.chosen.method.needs:
            return self.objective(run, noise, None, targets if self.prompts_by_side else None)
        before = self.trainable.scene().map(lambda values: values.detach().clone())

        @torch.no_grad()
        def reference() -> Tensor:
            return views.encode(views.of(before))

        return FromEachView(lambda latent: self.objective(run, noise, latent), reference)

    def _losses(self, run: host.Run, views: SceneViews, autoencoder: host.HostAutoencoder) -> list[Loss]:
        losses: list[Loss] = [SparsityTerm(self.trainable)] if self.relocates else []
        path, restoration = run.prior.path, self.restoration
        unit = run.latent[0].numel() / 2 if restoration is None else restoration.sds_weight
        if restoration is not None:
            measured = ViewMeasurements(views, restoration.measurement)
            losses.append(MeasurementTerm(views, measured, path, restoration.data_weight))
        if self.pixel_weight:
            losses.append(PixelTerm(lambda: views.images, autoencoder.decode, path, unit * self.pixel_weight))
        return losses


def _sides(views: SceneViews) -> list[int]:
    """What the views of a step show, as places in `SIDES`."""
    return [SIDES.index(seen_side(look.camera)) for look in views.looks]

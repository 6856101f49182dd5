"""The run of a restoration by Proximal DreamSampler: sampling constrained by a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core.denoiser import NULL, Denoiser
from ...guidance.core.noise import SeededNoise
from ...guidance.core.path import NoisePath
from ...guidance.editing.proximal import ProximalSettings, ProximalStep
from ...guidance.restoration.decoupled import decoupled_restore, known_cells
from ...guidance.restoration.few_steps import LevelFit, few_step_restore
from ...guidance.restoration.measurement import DataConsistency, Measurement
from ...guidance.restoration.operators import Operator
from ...guidance.restoration.proximal import (
    DataSteps,
    MeasurementGradient,
    fill_with_noise,
    gradient_scale,
    proximal_restore,
)
from .. import host
from .edit import Inversion, StartFrom, invert, walk_down

REFIT_FROM, REFIT_EVERY = 0.2, 3
"""An operator that is not fully known is refitted from this alpha_bar, every so many steps."""
Consistency = Literal["both", "consistency only", "dps only", "ding", "few steps"]


@dataclass(frozen=True)
class Restoration:
    """The restoration of one batch, by Algorithm 4 of DreamSampler or without gradients.

    `notes` collects messages, and `operators` what became of the measurement's operator.
    """

    settings: ProximalSettings
    start_from: StartFrom
    seeds: list[int]
    model: Any
    vae: Any
    measurement: Measurement
    consistency: Consistency
    data_steps: DataSteps
    dps_weight: float
    inversion: Inversion = "ddim"
    notes: list[str] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        noise, hole = SeededNoise(self.seeds), self._hole(run)
        if self.start_from == "inversion" and self._takes_gradients(run):  # which may come minutes later
            host.check_gradients(run, NULL)
        start = self._prepare(run, noise, hole)
        with host.autoencoder(self.vae, self.model, run) as autoencoder:
            measurement = self.measurement.started().to(torch.empty(0, device=self.vae.device))
            length = gradient_scale(run.latent.shape[-2:].numel(), run.levels)
            data = DataConsistency(measurement, autoencoder, dps_weight=self.dps_weight * length)
            restored = walk_down(run, self._walk(run, autoencoder, data, start, noise, hole), self.start_from)
            self.operators.append(data.measurement.operator)
            return restored, start

    @property
    def fitted(self) -> Measurement:
        """The measurement, after the run with the operator that was fitted if it was not fully known."""
        return replace(self.measurement, operator=self.operators[-1]) if self.operators else self.measurement

    def _walk(
        self,
        run: host.Run,
        autoencoder: host.HostAutoencoder,
        data: DataConsistency,
        start: Tensor,
        noise: SeededNoise,
        hole: Tensor | None,
    ) -> Iterator[ProximalStep]:
        """The steps down from `start`."""
        denoise, path, settings, region = run.prior.denoise, run.prior.path, self.settings, self._region(run, hole)
        if self.consistency == "ding" and hole is not None:
            known = known_cells(data.measurement, autoencoder, hole)
            return decoupled_restore(
                denoise, path, start, run.sigmas, known=known, settings=settings, noise=noise, region=region
            )
        refits = Refits(data, path)
        if self.consistency == "few steps":
            fit_at = refits.within(host.data_fit(data, DataConsistency.fit_at, self.notes))
            return few_step_restore(
                denoise, path, start, run.sigmas, fit=fit_at, settings=settings, noise=noise, region=region
            )
        gradient = host.PosteriorGradient(run, autoencoder, data, NULL, self.notes)
        fit = host.data_fit(data, DataConsistency.fit, self.notes)
        return proximal_restore(
            refits.before(denoise),
            path,
            start,
            run.sigmas,
            settings=settings,
            noise=noise,
            region=region,
            data_steps=self.data_steps,
            fit=_fit_unless(lambda: gradient.available, fit) if self.consistency == "dps only" else fit,
            gradient=None if self.consistency == "consistency only" else refits.during(gradient),
            last_gradient=self._last_gradient,
        )

    def _takes_gradients(self, run: host.Run) -> bool:
        """Whether any step needs a gradient."""
        steps = ((index, run.levels) for index in range(run.levels - (not self._last_gradient)))
        return self.consistency in ("both", "dps only") and any(step not in self.data_steps for step in steps)

    @property
    def _last_gradient(self) -> bool:
        """Whether the last step may be a gradient step: in DPS alone, and where no fit is better (docs/figures.md)."""
        return self.consistency == "dps only" or self.measurement.operator.hole is not None

    def _hole(self, run: host.Run) -> Tensor | None:
        """The hole of the measurement at the size of the latent: (B or 1, 1, [1,] h, w)."""
        hole = self.measurement.operator.hole
        if hole is None:
            return None
        cells = F.interpolate(hole, run.latent.shape[-2:], mode="area")
        return cells.reshape(len(cells), 1, *(1,) * (run.latent.ndim - 4), *cells.shape[-2:]).to(run.latent)

    def _region(self, run: host.Run, hole: Tensor | None) -> Tensor | float:
        """Where the prompt applies."""
        if run.mask is not None:
            return run.mask
        return 1.0 if hole is None else hole

    def _prepare(self, run: host.Run, noise: SeededNoise, hole: Tensor | None) -> Tensor:
        """The state at the highest level: noise, or the inverted image with noise in the hole."""
        path, sigma = run.prior.path, run.sigmas[0]
        if self.start_from == "noise":
            return path.noised(run.latent, noise.like(run.latent), sigma)
        (x,) = invert(run, self.inversion, all_states=False)
        return x if hole is None else fill_with_noise(hole, x, noise.like(x), path, sigma)


class Refits:
    """Refits what is not known of a measurement's operator to some of the clean estimates that pass.

    One of `REFIT_EVERY` is taken, from the alpha_bar `REFIT_FROM`: at higher noise levels they show too little.
    """

    def __init__(self, data: DataConsistency, path: NoisePath):
        self._data, self._path, self._seen = data, path, 0

    def during(self, gradient: MeasurementGradient) -> MeasurementGradient:
        """A gradient, whose estimates are passed."""

        def watched(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
            z0_hat, pull = gradient(x, sigma)
            self._pass(z0_hat, self._path.alpha_bar(sigma))
            return z0_hat, pull

        return watched

    def before(self, denoise: Denoiser) -> Denoiser:
        """A denoiser, whose estimates under the unconditional prompt are passed."""

        def watched(x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
            estimates = denoise(x, sigma, names)
            self._pass(estimates[0], self._path.alpha_bar(sigma))
            return estimates

        return watched

    def within(self, fit_at: LevelFit) -> LevelFit:
        """A fit, whose estimates are passed before they are fitted."""

        def watched(z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
            self._pass(z0_hat, alpha_bar)
            return fit_at(z0_hat, alpha_bar)

        return watched

    def _pass(self, z0_hat: Tensor, alpha_bar: Tensor) -> None:
        if self._data.measurement.operator.known or alpha_bar < REFIT_FROM:
            return
        if self._seen % REFIT_EVERY == 0:
            self._data.refit(z0_hat)
        self._seen += 1


def _fit_unless(available: Callable[[], bool], fit: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Fits estimates only once gradient steps are no longer `available`."""
    return lambda z0_hat: z0_hat if available() else fit(z0_hat)

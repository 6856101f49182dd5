"""The run of a restoration by Proximal DreamSampler: sampling constrained by a measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core.noise import SeededNoise
from ...guidance.editing.proximal import ProximalSettings, ProximalStep
from ...guidance.restoration.decoupled import decoupled_restore, known_cells
from ...guidance.restoration.few_steps import few_step_restore
from ...guidance.restoration.measurement import DataConsistency, Measurement
from ...guidance.restoration.proximal import DataSteps, fill_with_noise, gradient_scale, proximal_restore
from .. import host
from .edit import Inversion, StartFrom, invert, walk_down

Consistency = Literal["both", "consistency only", "dps only", "ding", "few steps"]


@dataclass(frozen=True)
class Restoration:
    """The restoration of one batch, by Algorithm 4 of DreamSampler or without gradients. `notes` collects messages."""

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

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        noise, hole = SeededNoise(self.seeds), self._hole(run)
        if self.start_from == "inversion" and self._takes_gradients(run):  # which may come minutes later
            host.check_gradients(run, "negative")
        start = self._prepare(run, noise, hole)
        with host.autoencoder(self.vae, self.model, run) as autoencoder:
            walk = self._walk(run, autoencoder, start, noise, hole)
            return walk_down(run, walk, self.start_from), start

    def _walk(
        self, run: host.Run, autoencoder: host.HostAutoencoder, start: Tensor, noise: SeededNoise, hole: Tensor | None
    ) -> Iterator[ProximalStep]:
        """The steps down from `start`."""
        denoise, path, settings, region = run.prior.denoise, run.prior.path, self.settings, self._region(run, hole)
        measurement = self.measurement.to(torch.empty(0, device=self.vae.device))
        if self.consistency == "ding" and hole is not None:
            known = known_cells(measurement, autoencoder, hole)
            return decoupled_restore(
                denoise, path, start, run.sigmas, known=known, settings=settings, noise=noise, region=region
            )
        length = gradient_scale(run.latent.shape[-2:].numel(), run.levels)
        data = DataConsistency(measurement, autoencoder, dps_weight=self.dps_weight * length)
        if self.consistency == "few steps":
            fit_at = host.data_fit(data, DataConsistency.fit_at, self.notes)
            return few_step_restore(
                denoise, path, start, run.sigmas, fit=fit_at, settings=settings, noise=noise, region=region
            )
        gradient = host.PosteriorGradient(run, autoencoder, data, "negative", self.notes)
        fit = host.data_fit(data, DataConsistency.fit, self.notes)
        return proximal_restore(
            denoise,
            path,
            start,
            run.sigmas,
            settings=settings,
            noise=noise,
            region=region,
            data_steps=self.data_steps,
            fit=_fit_unless(lambda: gradient.available, fit) if self.consistency == "dps only" else fit,
            gradient=None if self.consistency == "consistency only" else gradient,
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


def _fit_unless(available: Callable[[], bool], fit: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Fits estimates only once gradient steps are no longer `available`."""
    return lambda z0_hat: z0_hat if available() else fit(z0_hat)

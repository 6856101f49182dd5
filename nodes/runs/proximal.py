"""What Proximal DreamSampler runs inside the host's sampling: an edit, or the restoration of a measured picture."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ...guidance.core.ddim import ddim_inversion
from ...guidance.core.ddpm import noised_states, residuals
from ...guidance.core.noise import SeededNoise
from ...guidance.editing.proximal import Kept, ProximalSettings, ProximalStep, proximal_edit
from ...guidance.restoration.measurement import DataConsistency, Measurement
from ...guidance.restoration.proximal import DataSteps, measured_edit, with_noise_in
from .. import host

StartFrom = Literal["inversion", "noise", "stochastic inversion"]
Consistency = Literal["both", "consistency only", "dps only"]


@dataclass(frozen=True)
class Edit:
    """The whole edit of one batch: up by inversion, or straight to noise, and down with the text."""

    settings: ProximalSettings
    start_from: StartFrom
    seeds: list[int]
    notes: Sequence[str] = ()

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        noise = SeededNoise(self.seeds)
        states, left_out = self._beginning(run, noise)
        start = states[0]
        walk = proximal_edit(
            run.prior.denoise,
            run.prior.path,
            start,
            run.sigmas,
            settings=self.settings,
            noise=noise,
            kept=None if run.mask is None else Kept(run.mask, states),
            residuals=left_out,
        )
        return _last_state(run, walk, self.start_from), start

    def _beginning(self, run: host.Run, noise: SeededNoise) -> tuple[list[Tensor], list[Tensor] | None]:
        """The source's states from the highest level down, and the residuals between them if they are replayed."""
        if self.start_from == "inversion":
            return inverted(run, all_states=run.mask is not None), None
        if self.start_from == "noise":
            return self._noised(run, noise), None
        states = noised_states(run.prior.path, run.latent, run.sigmas, noise)
        return states, self._residuals(run, states)

    def _residuals(self, run: host.Run, states: list[Tensor]) -> list[Tensor]:
        found = []
        for done, step in enumerate(residuals(run.prior.denoise, run.prior.path, states, run.sigmas)):
            run.progress(done, step.z0_hat, states[done])
            found.append(step.value)
        return found

    def _noised(self, run: host.Run, noise: SeededNoise) -> list[Tensor]:
        """The source's states made with one draw of noise."""
        eps = noise.like(run.latent)
        levels = run.sigmas if run.mask is not None else run.sigmas[:1]
        return [run.prior.path.noised(run.latent, eps, sigma) for sigma in levels]


@dataclass(frozen=True)
class Restoration:
    """The whole restoration of one batch (Algorithm 4); `notes` tells the user of what had to be left out."""

    settings: ProximalSettings
    start_from: StartFrom
    seeds: list[int]
    model: Any
    vae: Any
    measurement: Measurement
    consistency: Consistency
    data_steps: DataSteps
    dps_weight: float
    notes: list[str] = field(default_factory=list)

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        noise, hole = SeededNoise(self.seeds), self._hole(run)
        start = self._beginning(run, noise, hole)
        with host.autoencoder(self.vae, self.model, run) as autoencoder:
            measurement = self.measurement.to(torch.empty(0, device=self.vae.device))
            data = DataConsistency(measurement, autoencoder, dps_weight=self.dps_weight)
            gradient = host.PosteriorGradient(run, autoencoder, data, "negative", self.notes)
            fit = host.data_fit(data, self.notes)
            walk = measured_edit(
                run.prior.denoise,
                run.prior.path,
                start,
                run.sigmas,
                settings=self.settings,
                noise=noise,
                region=self._region(run, hole),
                data_steps=self.data_steps,
                explaining=_unless(lambda: gradient.possible, fit) if self.consistency == "dps only" else fit,
                gradient=None if self.consistency == "consistency only" else gradient,
            )
            return _last_state(run, walk, self.start_from), start

    def _hole(self, run: host.Run) -> Tensor | None:
        """What the measurement did not see, over the latent (B or 1, 1, [1,] h, w)."""
        hole = self.measurement.operator.hole
        if hole is None:
            return None
        cells = F.interpolate(hole, run.latent.shape[-2:], mode="area")
        return cells.reshape(len(cells), 1, *(1,) * (run.latent.ndim - 4), *cells.shape[-2:]).to(run.latent)

    def _region(self, run: host.Run, hole: Tensor | None) -> Tensor | float:
        """Where the text acts."""
        if run.mask is not None:
            return run.mask
        return 1.0 if hole is None else hole

    def _beginning(self, run: host.Run, noise: SeededNoise, hole: Tensor | None) -> Tensor:
        """The state at the highest level: noise where nothing is known, the inverted picture elsewhere."""
        path, sigma = run.prior.path, run.sigmas[0]
        if self.start_from == "noise":
            return path.noised(run.latent, noise.like(run.latent), sigma)
        (x,) = inverted(run, all_states=False)
        return x if hole is None else with_noise_in(hole, x, noise.like(x), path, sigma)


def _unless(possible: Callable[[], bool], fit: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The fit for estimates that something else holds to the measurement as long as that is possible."""
    return lambda z0_hat: z0_hat if possible() else fit(z0_hat)


def _last_state(run: host.Run, walk: Iterator[ProximalStep], start_from: StartFrom) -> Tensor:
    """Where a walk down ends, shown step by step after those of the way up, if there was one."""
    x, before = run.latent, 0 if start_from == "noise" else run.levels
    for done, step in enumerate(walk):
        if not step.x.isfinite().all():
            raise ValueError(
                f"The picture became NaN or infinite at step {done + 1} of {run.levels} (sigma = "
                f"{run.sigmas[done].item():.4g}). Load the model in a wider type (bf16 or fp32 instead of fp16), or "
                "lower gamma, and with a measurement dps_weight."
            )
        run.progress(before + done, step.z_bar, step.x)
        x = step.x
    return x


def inverted(run: host.Run, *, all_states: bool) -> list[Tensor]:
    """The source's states by DDIM inversion, from the highest level down to the clean latent; or the highest alone."""
    states = deque([run.latent], maxlen=None if all_states else 1)
    for done, step in enumerate(ddim_inversion(run.prior.denoise, run.prior.path, run.latent, run.sigmas)):
        run.progress(done, step.z0_hat, step.x)
        states.appendleft(step.x)
    return list(states)

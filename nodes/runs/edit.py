"""The run of an edit by Proximal DreamSampler: up by inversion, down with the prompt."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from ...guidance.core.ddim import ddim_inversion
from ...guidance.core.ddpm import noised_states, residuals
from ...guidance.core.noise import SeededNoise
from ...guidance.editing.proximal import Kept, ProximalSettings, ProximalStep, proximal_edit
from .. import host

StartFrom = Literal["inversion", "noise", "stochastic inversion"]


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
        return walk_down(run, walk, self.start_from), start

    def _beginning(self, run: host.Run, noise: SeededNoise) -> tuple[list[Tensor], list[Tensor] | None]:
        """The source's states from the highest level down, and the residuals between them if they are replayed."""
        if self.start_from == "inversion":
            return invert(run, all_states=run.mask is not None), None
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


def walk_down(run: host.Run, walk: Iterator[ProximalStep], start_from: StartFrom) -> Tensor:
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


def invert(run: host.Run, *, all_states: bool) -> list[Tensor]:
    """The source's states by DDIM inversion, from the highest level down to the clean latent; or the highest alone."""
    states = deque([run.latent], maxlen=None if all_states else 1)
    for done, step in enumerate(ddim_inversion(run.prior.denoise, run.prior.path, run.latent, run.sigmas)):
        run.progress(done, step.z0_hat, step.x)
        states.appendleft(step.x)
    return list(states)

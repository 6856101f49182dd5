"""The run of an edit by Proximal DreamSampler: up by inversion, down with the prompt."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from torch import Tensor

from ...guidance.core.ddpm import ddpm_invert, noised_states
from ...guidance.core.inversion import InversionStep, ddim_invert, fixed_point_invert
from ...guidance.core.noise import SeededNoise
from ...guidance.editing.proximal import KeptRegion, ProximalSettings, ProximalStep, proximal_edit
from .. import host

StartFrom = Literal["inversion", "noise", "stochastic inversion"]
Inversion = Literal["ddim", "fixed point", "fixed point, half the steps"]
"""How a source is inverted: by DDIM as in the paper, or so that sampling leads back to it in few steps."""
INVERSIONS: dict[Inversion, Callable[..., Iterator[InversionStep]]] = {
    "ddim": ddim_invert,
    "fixed point": fixed_point_invert,
    "fixed point, half the steps": partial(fixed_point_invert, every=2),
}


@dataclass(frozen=True)
class Edit:
    """The edit of one batch: up by inversion, or straight to noise, and down with the prompt.

    `notes` collects sentences for the user.
    """

    settings: ProximalSettings
    start_from: StartFrom
    seeds: list[int]
    inversion: Inversion = "ddim"
    notes: list[str] = field(default_factory=list)

    def __call__(self, run: host.Run) -> tuple[Tensor, ...]:
        noise = SeededNoise(self.seeds)
        states, residuals = self._prepare(run, noise)
        start = states[0]
        walk = proximal_edit(
            run.prior.denoise,
            run.prior.path,
            start,
            run.sigmas,
            settings=self.settings,
            noise=noise,
            kept=None if run.mask is None else KeptRegion(run.mask, states),
            residuals=residuals,
        )
        return walk_down(run, walk, self.start_from), start

    def _prepare(self, run: host.Run, noise: SeededNoise) -> tuple[list[Tensor], list[Tensor] | None]:
        """The source's states from the highest level down, and for stochastic inversion the residuals to replay."""
        if self.start_from == "inversion":
            return invert(run, self.inversion, all_states=run.mask is not None), None
        if self.start_from == "noise":
            return self._noised_states(run, noise), None
        states = noised_states(run.prior.path, run.latent, run.sigmas, noise)
        return states, self._invert_stochastically(run, states)

    def _invert_stochastically(self, run: host.Run, states: list[Tensor]) -> list[Tensor]:
        """The residual of each step between independently noised states."""
        found = []
        for done, step in enumerate(ddpm_invert(run.prior.denoise, run.prior.path, states, run.sigmas)):
            run.progress(done, step.z0_hat, states[done])
            found.append(step.value)
        return found

    def _noised_states(self, run: host.Run, noise: SeededNoise) -> list[Tensor]:
        """The source at every level that is used, noised with a single draw."""
        eps = noise.like(run.latent)
        levels = run.sigmas if run.mask is not None else run.sigmas[:1]
        return [run.prior.path.noised(run.latent, eps, sigma) for sigma in levels]


def walk_down(run: host.Run, walk: Iterator[ProximalStep], start_from: StartFrom) -> Tensor:
    """Take all steps of a walk, and return the last state. Raises ValueError where it becomes NaN or infinite.

    The progress of these steps comes after that of the inversion, if there was one.
    """
    x, inversion_steps = run.latent, 0 if start_from == "noise" else run.levels
    for index, step in enumerate(walk):
        if not step.x.isfinite().all():
            raise ValueError(
                f"The latent became NaN or infinite at step {index + 1} of {run.levels} (sigma = "
                f"{run.sigmas[index].item():.4g}). Load the model in a wider type (bf16 or fp32 instead of fp16), or "
                "lower gamma or, with a measurement, dps_weight."
            )
        run.progress(inversion_steps + index, step.z_bar, step.x)
        x = step.x
    return x


def invert(run: host.Run, inversion: Inversion, *, all_states: bool) -> list[Tensor]:
    """Invert the source without a prompt: its states from the highest level down to clean, or only the highest."""
    states = deque([run.latent], maxlen=None if all_states else 1)
    walk = INVERSIONS[inversion](run.prior.denoise, run.prior.path, run.latent, run.sigmas)
    for done, step in enumerate(walk):
        run.progress(done, step.z0_hat, step.x)
        states.appendleft(step.x)
    return list(states)

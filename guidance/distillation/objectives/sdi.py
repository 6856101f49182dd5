"""Score distillation on noise that DDIM inversion finds (SDI), and along the probability flow (PFD)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...core.ddim import ddim_sample
from ...core.denoiser import GuidedDenoiser
from ...core.prior import Prior
from ..method import LoopSettings, Method, register
from ..objective import Direction, Sample


@dataclass(frozen=True)
class FlowDistillation:
    """The noise between a state and the image that it becomes, minus the noise that was added.

        (z_t - a psi) / b - eps,    psi = z_t carried down to 0 by `steps` DDIM steps at `guidance_scale`

    With one step psi is the guided posterior mean, and this is the gradient of SDS. `steps` model calls of 2.
    """

    guidance_scale: float
    steps: int

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        x, levels = sample.noised(prior.path), prior.levels_below(sample.t, self.steps)
        psi = ddim_sample(GuidedDenoiser(prior.denoise, self.guidance_scale), prior.path, x, levels, "guided")
        eps_hat = prior.path.eps_hat(x, psi, sample.sigma)
        return Direction(eps_hat - sample.eps, eps_hat)


@dataclass(frozen=True)
class SDISettings:
    """The guidance scale of the paper (Lukoianov et al., 2024)."""

    guidance_scale: float = 7.5


@dataclass(frozen=True)
class PFDSettings:
    """SDI's guidance scale; `ode_steps` DDIM steps down, and as many up (the loop's `inversion_steps`)."""

    guidance_scale: float = 7.5
    ode_steps: int = 3


LOOP = LoopSettings(
    steps=50,
    learning_rate=0.05,
    optimizer="adam",
    weighting="uniform",
    time_schedule="descending",
    noise_policy="inverted",
    eta=0.3,
    inversion_steps=5,
)
"""The paper's times and noise; the rest is ours, for images in 600 model evaluations. So is the start at the empty
latent: inverted from noise, the image hides the prompt."""

register(
    Method("sdi", lambda s, _: FlowDistillation(s.guidance_scale, 1), SDISettings(), LOOP, from_zeros=True, order=14)
)
register(
    Method(
        "pfd",
        lambda s, _: FlowDistillation(s.guidance_scale, s.ode_steps),
        PFDSettings(),
        replace(LOOP, inversion_steps=PFDSettings().ode_steps),
        from_zeros=True,
        order=15,
    )
)

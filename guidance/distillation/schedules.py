"""What each step of a distillation draws: its time, its noise and its learning rate.

`progress` runs from 0 at the first step to 1 after the last. Times are in [0, 1], 0 clean and 1 pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from ..core.ddim import fresh_share, mix_noise
from ..core.denoiser import GUIDED, GuidedDenoiser
from ..core.inversion import ddim_invert
from ..core.noise import SeededNoise
from ..core.path import per_item
from ..core.prior import Prior

# Times


class TimeSchedule(Protocol):
    """The times (B,) of one step, drawn from `noise` where they are random."""

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor: ...


@dataclass(frozen=True)
class Uniform:
    """t ~ U(t_min, t_max) at every step (DreamFusion)."""

    t_min: float
    t_max: float

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor:
        return self.t_min + (self.t_max - self.t_min) * noise.uniform()


@dataclass(frozen=True)
class Annealed:
    """t ~ U(t_min, T), where T falls from t_max to t_min: layout first, then more and more detail."""

    t_min: float
    t_max: float

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor:
        top = self.t_max - (self.t_max - self.t_min) * progress
        return self.t_min + (top - self.t_min) * noise.uniform()


@dataclass(frozen=True)
class Descending:
    """t falls evenly from t_max, as in sampling, and stops one step above t_min (DreamSampler, Algorithm 2)."""

    t_min: float
    t_max: float

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor:
        return torch.full((len(noise),), self.time(progress))

    def time(self, progress: float) -> float:
        """The time of a step, the same for every item."""
        return self.t_max - (self.t_max - self.t_min) * progress


TIME_SCHEDULES: dict[str, Callable[[float, float], TimeSchedule]] = {
    "uniform": Uniform,
    "annealed": Annealed,
    "descending": Descending,
}

# Noise


@dataclass(frozen=True)
class PreviousStep:
    """The step before: its levels `sigma` (B,), the noise `eps` it added and the model's prediction `eps_hat`."""

    sigma: Tensor
    eps: Tensor
    eps_hat: Tensor


class NoisePolicy(Protocol):
    """Where the noise of a step comes from.

    Called with the prior, the clean latent z (B, ...), its times and noise levels (B,), the random numbers and the
    previous step, which is None at the first.
    """

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
    ) -> Tensor: ...


def fresh(
    prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
) -> Tensor:
    """A new draw at every step (DreamFusion)."""
    return noise.like(z)


def fixed(
    prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
) -> Tensor:
    """The first step's draw for the whole run: less variance, and results that depend on the seed."""
    return noise.like(z) if previous is None else previous.eps


@dataclass(frozen=True)
class Given:
    """The noise `eps` (B, ...) in every step."""

    eps: Tensor

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
    ) -> Tensor:
        return self.eps


@dataclass(frozen=True)
class Estimated:
    """The model's noise prediction at the previous step, mixed with fresh noise (DreamSampler, Algorithm 2).

    `eta` in [0, 1] is 0 for DDIM; 1 adds as much fresh noise as the posterior between the two levels has.
    """

    eta: float = 0.0

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
    ) -> Tensor:
        if previous is None:
            return noise.like(z)
        new = noise.like(z) if self.eta > 0 else None
        share = fresh_share(prior.path, previous.sigma, sigma, self.eta)
        return mix_noise(previous.eps_hat, new, per_item(share, z))


@dataclass(frozen=True)
class Inverted:
    """The noise that DDIM inversion finds in the image itself (SDI: Lukoianov et al., 2024).

    The image is inverted to time t in `steps` DDIM steps under the target prompt with `guidance_scale`. The paper's is
    negative: content that the prompt requires and the image lacks counts as noise. `eta` in [0, 1] is the share of
    fresh noise.
    """

    steps: int
    guidance_scale: float
    eta: float = 0.0

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
    ) -> Tensor:
        climb = GuidedDenoiser(prior.denoise, self.guidance_scale)
        *_, top = ddim_invert(climb, prior.path, z, prior.levels_below(t, self.steps), GUIDED)
        new = noise.like(z) if self.eta > 0 else None
        return mix_noise(prior.path.eps_hat(top.x, z, sigma), new, z.new_tensor(self.eta))


NOISE_POLICIES: dict[str, Callable[[float, int, float], NoisePolicy]] = {
    "fresh": lambda eta, steps, scale: fresh,
    "fixed": lambda eta, steps, scale: fixed,
    "estimated": lambda eta, steps, scale: Estimated(eta),
    "inverted": lambda eta, steps, scale: Inverted(steps, scale, eta),
}
"""By name; each takes the share of fresh noise `eta`, the number of inversion steps and the inversion's guidance."""

# Learning rates


def constant(progress: float) -> float:
    """The same learning rate throughout."""
    return 1.0


def cosine(progress: float, final: float = 0.0, share: float = 1.0) -> float:
    """Half a cosine from 1 down to `final` over the first `share` of the steps, then constant."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress / share)))


def warm_up(progress: float) -> float:
    """Linear from 0 to 1 over the first tenth of the steps, then constant."""
    return min(1.0, progress / 0.1)


LEARNING_RATES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "warm-up": warm_up,
    "cosine to 0.03": partial(cosine, final=0.03, share=0.6),
    "cosine to 0.8": partial(cosine, final=0.8),
}
"""The factor on the learning rate, by progress. The last two are LMC-SDS's: for images from scratch, optimized at 0.03
of the rate after 300 of 500 steps, and for edits."""

FLOW_TIME = "flow time"
"""The learning-rate schedule under which SGD integrates an ODE: each step's rate is the flow time it covers."""


def flow_time_rates(prior: Prior, t_min: float, t_max: float, steps: int, like: Tensor) -> list[float]:
    """How much flow time b / (a + b) each of `steps` descending steps from `t_max` to `t_min` covers."""
    return (-_flow_times(prior, t_min, t_max, steps, like).diff()).tolist()


def flow_times(prior: Prior, t_min: float, t_max: float, steps: int, like: Tensor) -> list[float]:
    """The flow times b / (a + b), `steps` + 1, between `steps` descending steps from `t_max` to `t_min`."""
    return _flow_times(prior, t_min, t_max, steps, like).tolist()


def _flow_times(prior: Prior, t_min: float, t_max: float, steps: int, like: Tensor) -> Tensor:
    t = like.new_tensor([t_max - (t_max - t_min) * (step / steps) for step in range(steps + 1)])
    return prior.path.flow_time(prior.sigma_at(t))


HUMP = "hump"
"""The learning-rate schedule of DVRF's code: rates that add up to the learning rate, however many steps there are."""


def hump_shares(steps: int) -> list[float]:
    """The share of each step in the whole way: 0 at first, most at 7/8 of the run, then a little less."""
    # The density of Beta(10, 8), scaled to 1 at its peak 9/16, plus a line. 50 steps use the first 50/77 of the curve,
    # from 0 to just beyond the peak.
    x = [50 / 77 * step / steps for step in range(steps)]
    peak = (9 / 16) ** 9 * (7 / 16) ** 7
    heights = [0.375 * each**9 * (1 - each) ** 7 / peak + 0.25 * each for each in x]
    total = sum(heights)
    return [height / total for height in heights] if steps > 1 else [1.0] * steps

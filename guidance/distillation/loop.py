"""The loop of all distillation methods: draw t and eps, noise g(theta), compute the gradient G, step theta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.noise import SeededNoise
from ..core.path import NoisePath
from ..core.prior import Prior
from .generators import Generator
from .objective import Direction, Objective, Sample, Weighting
from .regularizers import Loss, Regularizer
from .schedules import NoisePolicy, PreviousStep, TimeSchedule

OPTIMIZERS: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    "adam": lambda theta: torch.optim.Adam(theta, betas=(0.9, 0.99), eps=1e-15),
    "adamw": lambda theta: torch.optim.AdamW(theta, betas=(0.9, 0.99), eps=1e-15),
    "sgd": lambda theta: torch.optim.SGD(theta, lr=1e-3),
}
"""Betas and eps of SDS-Bridge's 2D experiments; the loop sets the learning rate."""


@dataclass(frozen=True)
class Descent:
    """An optimizer of a generator's parameters; `set_rates` sets its learning rates for the step with an index."""

    optimizer: torch.optim.Optimizer
    set_rates: Callable[[int], None]


def descent_at_rates(name: str, rates: Sequence[float]) -> Callable[[Generator], Descent]:
    """Descent by one of `OPTIMIZERS`; `rates` holds the learning rate of each step, the same for all parameters."""

    def descent(generator: Generator) -> Descent:
        optimizer = OPTIMIZERS[name](generator.parameters)

        def set_rates(step: int) -> None:
            for group in optimizer.param_groups:
                group["lr"] = rates[step]

        return Descent(optimizer, set_rates)

    return descent


@dataclass(frozen=True)
class Plan:
    """How a distillation runs: number of steps, descent, time schedule, noise policy and weighting.

    `n_avg` is the number of noises over which each step averages the objective's gradient.
    """

    steps: int
    descent: Callable[[Generator], Descent]
    times: TimeSchedule
    noise: NoisePolicy
    weight: Weighting
    n_avg: int = 1


@dataclass(frozen=True)
class Step:
    """What a step did, before the parameters changed.

    `z` (B, ...) is the clean latent, `t` (B,) the times, `gradient_norm` (B,) the norm of each item's gradient on z.
    """

    index: int
    t: Tensor
    z: Tensor
    gradient_norm: Tensor


class NonFiniteGradientError(ArithmeticError):
    """The gradient of step `index`, at times `t` (B,), has NaN or infinite values."""

    def __init__(self, index: int, t: Tensor):
        super().__init__(f"The gradient of step {index} at t = {t.tolist()} is not finite.")
        self.index, self.t = index, t


def optimize(
    prior: Prior,
    generator: Generator,
    objective: Objective,
    *,
    plan: Plan,
    noise: SeededNoise,
    regularizers: Sequence[Regularizer] = (),
    losses: Sequence[Loss] = (),
) -> Iterator[Step]:
    """Optimize the parameters of a generator by an objective's gradient (DreamSampler, Algorithm 2, general form).

    The gradient `w(t) G + regularizers` on the latent is passed on to the parameters through the generator, never
    through the denoiser; `losses` act on the parameters directly. With several noises per step, G is the mean over
    them, one after another: memory is that of one. Do not run it in `torch.inference_mode`.

    Yields:
        Each step after it was taken.

    Raises:
        NonFiniteGradientError: a gradient or loss is NaN or infinite; the parameters are those of the last finite step.
    """
    descent = plan.descent(generator)
    previous: list[PreviousStep | None] = [None] * plan.n_avg
    for index in range(plan.steps):
        progress = index / plan.steps
        with torch.enable_grad():
            latent = generator()
        z = latent.detach().clone()
        t = plan.times(progress, noise).to(z)
        sigma = prior.sigma_at(t)
        with torch.no_grad():
            draws = [plan.noise(prior, z, t, sigma, noise, before) for before in previous]
            samples = [Sample(z, eps, t, sigma, progress) for eps in draws]
            directions = [objective(prior, sample) for sample in samples]
            field = _mean(directions, prior.path, sigma)
            gradient = sum((pull(z) for pull in regularizers), plan.weight(field, prior.path, sigma))
        norm = gradient.flatten(1).norm(dim=1)
        with torch.enable_grad():
            seen = replace(samples[0], z0_hat=z - field.pull_at(prior.path, sigma))
            others = [loss(seen) for loss in losses]
        if not all(value.isfinite().all() for value in (norm, *others)):
            raise NonFiniteGradientError(index, t)
        descent.set_rates(index)
        descent.optimizer.zero_grad()
        # A loss may not depend on any parameter, such as the self-intersection of paths with fixed points.
        others = [value for value in others if value.requires_grad]
        torch.autograd.backward([latent, *others], [gradient, *(None for _ in others)])
        descent.optimizer.step()
        generator.constrain()
        previous = [PreviousStep(sigma, eps, each.eps_hat) for eps, each in zip(draws, directions, strict=True)]
        yield Step(index, t, z, norm)


def _mean(directions: Sequence[Direction], path: NoisePath, sigma: Tensor) -> Direction:
    """The mean over several noises at the same levels (B,)."""
    if len(directions) == 1:
        return directions[0]
    columns = zip(*((each.gradient, each.eps_hat, each.pull_at(path, sigma)) for each in directions), strict=True)
    return Direction(*(torch.stack(column).mean(0) for column in columns))

"""The one loop of every distillation method: draw t, make eps, noise g(theta), ask for G, step theta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.noise import SeededNoise
from ..core.prior import Prior
from .generators import Generator
from .objective import Objective, Sample, Weight, weighted
from .regularizers import Loss, Regularizer
from .schedules import NoisePolicy, PreviousStep, TimeSchedule

OPTIMIZERS: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    "adam": lambda theta: torch.optim.Adam(theta, betas=(0.9, 0.99), eps=1e-15),
    "adamw": lambda theta: torch.optim.AdamW(theta, betas=(0.9, 0.99), eps=1e-15),
    "sgd": lambda theta: torch.optim.SGD(theta, lr=1e-3),
}
"""Betas and eps of the published 2D experiments (SDS-Bridge); the loop sets the learning rate."""


@dataclass(frozen=True)
class Descent:
    """An optimiser of a generator's parameters; `set_rates` gives it the learning rates of a step, by its index."""

    optimizer: torch.optim.Optimizer
    set_rates: Callable[[int], None]


def at_rates(name: str, rates: Sequence[float]) -> Callable[[Generator], Descent]:
    """Descent by one of `OPTIMIZERS` with the same rate for all parameters, which `rates` holds for each step."""

    def descent(generator: Generator) -> Descent:
        optimizer = OPTIMIZERS[name](generator.parameters)

        def set_rates(step: int) -> None:
            for group in optimizer.param_groups:
                group["lr"] = rates[step]

        return Descent(optimizer, set_rates)

    return descent


@dataclass(frozen=True)
class Plan:
    """How a distillation goes: how long, by which steps of the parameters, when, with which noise and weight."""

    steps: int
    descent: Callable[[Generator], Descent]
    times: TimeSchedule
    noise: NoisePolicy
    weight: Weight


@dataclass(frozen=True)
class Step:
    """What one step saw and did, before the parameters moved.

    `z` (B, ...) is the clean latent; `t` and the norm of the gradient on it, for each item, are (B,).
    """

    index: int
    t: Tensor
    z: Tensor
    gradient_norm: Tensor


class NonFiniteGradient(ArithmeticError):
    """A gradient with NaN or infinity in it: step `index`, times `t` (B,)."""

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
    """Descend `w(t) G + sum of regularisers` through the generator, never through the denoiser, and the `losses`.

    Yields each step after it was taken. Must not run in `torch.inference_mode`. Raises NonFiniteGradient, with the
    parameters as the last finite step left them.
    """
    descent, previous = plan.descent(generator), None
    for index in range(plan.steps):
        progress = index / plan.steps
        with torch.enable_grad():
            latent = generator()
        z = latent.detach().clone()
        t = plan.times(progress, noise).to(z)
        sigma = prior.sigma_at(t)
        with torch.no_grad():
            eps = plan.noise(prior, z, t, sigma, noise, previous)
            sample = Sample(z, eps, t, sigma, progress)
            direction = objective(prior, sample)
            gradient = weighted(direction.gradient, plan.weight, prior.path, sigma)
            gradient = sum((pull(z) for pull in regularizers), gradient)
        norm = gradient.flatten(1).norm(dim=1)
        with torch.enable_grad():
            others = [loss(sample) for loss in losses]
        if not all(value.isfinite().all() for value in (norm, *others)):
            raise NonFiniteGradient(index, t)
        descent.set_rates(index)
        descent.optimizer.zero_grad()
        torch.autograd.backward([latent, *others], [gradient, *(None for _ in others)])
        descent.optimizer.step()
        generator.constrain()
        previous = PreviousStep(sigma, eps, direction.eps_hat)
        yield Step(index, t, z, norm)

"""The one loop of every distillation method: draw t, make eps, noise g(theta), ask for G, step theta."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .generators import Generator
from .noise import NoisePolicy, Past, SeededNoise
from .objectives.base import Objective, Sample, Weight, weighted
from .prior import Prior
from .regularizers import Regularizer
from .schedules import TimeSchedule

OPTIMIZERS: dict[str, Callable[[Sequence[Tensor]], torch.optim.Optimizer]] = {
    "adam": lambda theta: torch.optim.Adam(theta, betas=(0.9, 0.99), eps=1e-15),
    "adamw": lambda theta: torch.optim.AdamW(theta, betas=(0.9, 0.99), eps=1e-15),
    "sgd": lambda theta: torch.optim.SGD(theta, lr=1e-3),
}
"""Betas and eps of the published 2D experiments (SDS-Bridge); the loop sets the learning rate."""


@dataclass(frozen=True)
class Plan:
    """How a distillation goes: when, with which noise and weight, and by which steps of the parameters.

    `learning_rates` holds one rate for each step, and so says how many there are.
    """

    learning_rates: Sequence[float]
    optimizer: str
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


def optimise(
    prior: Prior,
    generator: Generator,
    objective: Objective,
    *,
    plan: Plan,
    noise: SeededNoise,
    regularizers: Sequence[Regularizer] = (),
) -> Iterator[Step]:
    """Descend `w(t) G + sum of regularisers` through the generator, never through the denoiser.

    Yields each step after it was taken. Must not run in `torch.inference_mode`. Raises NonFiniteGradient, with the
    parameters as the last finite step left them.
    """
    optimizer = OPTIMIZERS[plan.optimizer](generator.parameters)
    past = None
    for index, rate in enumerate(plan.learning_rates):
        progress = index / len(plan.learning_rates)
        with torch.enable_grad():
            latent = generator()
        z = latent.detach().clone()
        t = plan.times(progress, noise).to(z)
        sigma = prior.sigma_at(t)
        with torch.no_grad():
            eps = plan.noise(prior, z, t, sigma, noise, past)
            direction = objective(prior, Sample(z, eps, t, sigma, progress))
            gradient = weighted(direction.gradient, plan.weight, prior.path, sigma)
            gradient = sum((pull(z) for pull in regularizers), gradient)
        norm = gradient.flatten(1).norm(dim=1)
        if not norm.isfinite().all():
            raise NonFiniteGradient(index, t)
        _descend(optimizer, rate, latent, gradient)
        generator.constrain()
        past = Past(sigma, eps, direction.eps_hat)
        yield Step(index, t, z, norm)


def _descend(optimizer: torch.optim.Optimizer, rate: float, latent: Tensor, gradient: Tensor) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    latent.backward(gradient)
    optimizer.step()

"""DreamSampler's Algorithm 2 in closed form: its gradient, its noise, and the terms of a measurement."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from dreamsampler.guidance.core.ddim import ddim_step
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.generators import Latent, Pixels
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import LoopSettings
from dreamsampler.guidance.distillation.objective import WEIGHTS, Direction, Sample
from dreamsampler.guidance.distillation.objectives.dreamsampler import LOOP, DreamSampler
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.regularizers import (
    MeasurementTerm,
    PixelTerm,
    beside_data,
    clean_estimate_weight,
)
from dreamsampler.guidance.editing.proximal import Renoise
from dreamsampler.guidance.restoration.measurement import Measurement
from dreamsampler.guidance.restoration.operators import GaussianBlur, SuperResolution
from support.field_oracle import field_prior, natural
from support.noise_paths import BOTH_PATHS
from support.oracle import MixtureDenoiser, gaussian, prior
from support.tensors import assert_close, normal
from torch import Tensor

NULL, TARGET = (0.2, 1.5), (2.0, 0.25)
"""Mean and variance of the model's Gaussian for the unconditional and the target prompt."""
GAUSSIANS = {"negative": gaussian([NULL[0]], [NULL[1]]), "positive": gaussian([TARGET[0]], [TARGET[1]])}
SCALE = 3.0


def levels(path: NoisePath, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """a and b by the definition of a path."""
    return (torch.ones_like(sigma), sigma) if path is SCALED else (1 - sigma, sigma)


def predictions(x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The noise predictions of both Gaussians, b (x - a m) / (a^2 v + b^2), the second with guidance."""
    null, target = (b * (x - a * mean) / (a * a * variance + b * b) for mean, variance in (NULL, TARGET))
    return null, null + SCALE * (target - null)


@BOTH_PATHS
@pytest.mark.parametrize("renoise", ["unconditional", "guided"])
def test_gradient_and_noise_in_closed_form(renoise, path):
    model = prior(GAUSSIANS, path)
    z, eps = normal(3, 4), normal(3, 4, seed=1)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    sigma = model.sigma_at(t)
    direction = DreamSampler(SCALE, renoise)(model, Sample(z, eps, t, sigma, progress=0.0))
    a, b = (each[:, None] for each in levels(path, sigma))
    null, guided = predictions(a * z + b * eps, a, b)
    assert_close(direction.gradient, guided - eps)
    assert_close(direction.eps_hat, guided if renoise == "guided" else null)
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == [2]


def sampled(model: Prior, settings: LoopSettings, renoise: Renoise, start: Tensor) -> list[Tensor]:
    """The latents of each step of Algorithm 2, and the last one."""
    generator, objective = Latent(start), DreamSampler(SCALE, renoise)
    walk = optimize(model, generator, objective, plan=settings.plan(model, start), noise=SeededNoise([5, 6]))
    return [*(step.z for step in walk), generator().detach()]


@BOTH_PATHS
@pytest.mark.parametrize("renoise", ["unconditional", "guided"])
def test_with_closed_form_steps_it_is_a_ddim_sampler(renoise, path):
    """At rate 1 and weight snr, z is the guided clean estimate (eq. 14 of a latent); eq. 6 then noises it again."""
    settings = replace(LOOP, eta=0.0, steps=6, weighting="snr", optimizer="sgd", learning_rate=1.0)
    model, start = prior(GAUSSIANS, path), normal(2, 4, seed=1)
    made = sampled(model, settings, renoise, start)

    eps = SeededNoise([5, 6]).like(start)
    z = start
    times = [settings.t_max - (settings.t_max - settings.t_min) * step / 6 for step in range(6)]
    for step, t in enumerate(times):
        assert_close(made[step], z)
        sigma = model.sigma_at(torch.tensor(t).double())  # schedules are in float32
        a, b = levels(path, sigma)
        x = ddim_step(path, z, eps, sigma)
        null, guided = predictions(x, a, b)
        z, eps = (x - b * guided) / a, guided if renoise == "guided" else null
    assert_close(made[-1], z)


def test_guided_noise_grows_and_unconditional_noise_does_not():
    """Why "unconditional" is the default: handed on, the guided prediction feeds its own excess back."""
    model, start = prior(GAUSSIANS), normal(2, 400, seed=1)
    sizes = {}
    for renoise in get_args(Renoise):
        generator = Latent(start)
        settings = replace(LOOP, eta=0.0, steps=60, learning_rate=0.02)
        eps: list[Tensor] = []

        def objective(prior, sample, renoise=renoise, eps=eps):
            eps.append(sample.eps)
            return DreamSampler(30.0, renoise)(prior, sample)

        for _ in optimize(model, generator, objective, plan=settings.plan(model, start), noise=SeededNoise([5, 6])):
            pass
        sizes[renoise] = max(each.std().item() for each in eps)
    assert sizes["unconditional"] < 2 and sizes["guided"] > 3


# Measurements (eq. 21; eq. 10 and 11 of the appendix). The autoencoder is linear: E(x) = 2 x, D(z) = z / 2.

SIDE = 16


def world(path: NoisePath) -> Prior:
    return field_prior({name: natural(3, SIDE) for name in ("negative", "positive")}, path)


def images(count: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def encode(pixels: Tensor) -> Tensor:
    return 2 * (2 * pixels - 1)


def decode(latents: Tensor) -> Tensor:
    return latents / 2


@BOTH_PATHS
def test_a_step_descends_the_papers_energy(path):
    """(1 - gamma) (|E(g) - z0|^2 + 0.7 |g - D(z0)|^2) + 3 gamma |y - A g|^2 times n / 2, by autograd."""
    model, start, operator = world(path), images(), SuperResolution(SIDE, SIDE, 2)
    y = operator.forward(2 * images(seed=9) - 1)
    settings = LoopSettings(steps=1, learning_rate=1e-3, optimizer="sgd", weighting="snr", t_min=0.2, t_max=0.8)
    plan, generator = settings.plan(model, start), Pixels(start, encode)
    n = encode(start)[0].numel()
    losses = [
        MeasurementTerm(generator, Measurement(operator, y), path, 3 * n / 2),
        PixelTerm(lambda: generator.images, decode, path, 0.7 * n / 2),
    ]
    plan, seen = replace(plan, weight=beside_data(plan.weight)), []

    def sds(prior, sample):
        seen.append(sample)
        return SDS(2.0)(prior, sample)

    (step,) = optimize(model, generator, sds, plan=plan, noise=SeededNoise([0, 1]), losses=losses)

    (sample,) = seen
    null, target = model.denoise(sample.noised(path), sample.sigma, ("negative", "positive"))
    z0_hat = null + 2 * (target - null)
    theta = start.clone().requires_grad_()
    gamma = path.alpha_bar(sample.sigma)

    def mean(error: Tensor) -> Tensor:
        return error.square().flatten(1).mean(1)

    distillation = mean(encode(theta) - z0_hat) + 0.7 * mean(2 * theta - 1 - decode(z0_hat).clamp(-1, 1))
    data = mean(operator.forward(2 * theta - 1) - y)
    (n / 2 * ((1 - gamma) * distillation + 3 * gamma * data)).sum().backward()
    assert theta.grad is not None
    assert_close(generator.images.detach(), (start - 1e-3 * theta.grad).clamp(0, 1))
    assert step.t.unique().numel() == 2


@BOTH_PATHS
def test_weights_beside_data_are_those_of_eq_21(path):
    sigma = torch.tensor([0.2, 0.7, 0.95], dtype=torch.float64)
    gradient = normal(3, 4, 2, 2)
    n = gradient[0].numel()
    direction = Direction(gradient, torch.zeros_like(gradient))
    ours = beside_data(WEIGHTS["snr"])(direction, path, sigma)
    assert_close(ours * 2 * 2.4 / n, clean_estimate_weight(2.4, n)(direction, path, sigma))


@BOTH_PATHS
def test_a_measurement_restores_what_the_prior_alone_cannot(path):
    """Known smooth fields, blurred: beside the measurement the error falls well below that without it."""
    model, operator = world(path), GaussianBlur(SIDE, SIDE, 9, 1.5)
    truth = (0.25 * natural(3, SIDE).sample(4, torch.Generator().manual_seed(3)) + 1) / 2
    truth = truth.clamp(0, 1)
    measurement = Measurement(operator, operator.forward(2 * truth - 1))
    start = ((operator.back_projected(measurement.y) + 1) / 2).clamp(0, 1)
    errors = []
    for weight in (0.0, 4.0):
        settings = replace(LOOP, steps=60, weighting="snr")
        generator = Pixels(start, lambda pixels: 4 * (2 * pixels - 1))
        plan = settings.plan(model, start)
        plan = replace(plan, weight=beside_data(plan.weight))
        term = MeasurementTerm(generator, measurement, path, weight * truth[0].numel() / 2)
        noise = SeededNoise(range(4))
        for _ in optimize(model, generator, DreamSampler(1.0, "guided"), plan=plan, noise=noise, losses=[term]):
            pass
        errors.append((generator.images.detach() - truth).square().mean().item())
    assert errors[1] < 0.5 * errors[0]

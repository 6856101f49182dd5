"""Interval score matching, compared with its formula in plain floats, the exact probability flow and the bridge."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath
from dreamsampler.guidance.distillation.generators import Latent
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import LoopSettings
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives.bridge import PromptBridge
from dreamsampler.guidance.distillation.objectives.ism import ISM
from support.noise_paths import BOTH_PATHS
from support.oracle import MixtureDenoiser, assert_halving, prior
from support.plain_floats import GENERATING, NULL, TARGET, ddim_step, weights
from support.tensors import normal
from torch import Tensor

S, INTERVAL, STEPS = 7.5, 0.05, 5
TIMES = (0.03125, 0.0625, 0.5, 0.875)
"""The first two are below twice the interval, where s is t / 2. All are exact in float32, as the loop's times."""


def eps_hat(distribution: tuple[float, float], x: float, a: float, b: float) -> float:
    """E[eps | a z0 + b eps = x] for a Gaussian."""
    mean, variance = distribution
    return b * (x - a * mean) / (a * a * variance + b * b)


def earlier(t: float, interval: float) -> float:
    """The earlier time s of the interval."""
    return max(t - interval, t / 2)


def gradient_from(path: NoisePath, t: float, s: float, x_s: float, scale: float = S) -> float:
    """The ISM gradient, given x_s."""
    at_s, at_t = weights(path, s), weights(path, t)
    noise = eps_hat(NULL, x_s, *at_s)
    x_t = ddim_step(x_s, noise, at_s, at_t)
    null, target = (eps_hat(distribution, x_t, *at_t) for distribution in (NULL, TARGET))
    return null + scale * (target - null) - noise


def gradient_by_hand(path: NoisePath, z: float, t: float) -> float:
    """The ISM gradient in plain floats. Each of the `STEPS` inversion steps predicts at the level it starts from."""
    s = earlier(t, INTERVAL)
    levels = [weights(path, s * (i + 1) / STEPS) for i in range(STEPS)]
    x = levels[0][0] * z  # the first step predicts at the clean image, as if it were at the lowest level
    x += levels[0][1] * eps_hat(NULL, x, *levels[0])
    for here, there in zip(levels, levels[1:]):
        x = ddim_step(x, eps_hat(NULL, x, *here), here, there)
    return gradient_from(path, t, s, x)


def flow_state(path: NoisePath, z: float, t: float) -> float:
    """The state at time t of the exact probability flow, which preserves the standard score of a Gaussian."""
    (a, b), (mean, variance) = weights(path, t), NULL
    return a * mean + math.sqrt((a * a * variance + b * b) / variance) * (z - mean)


def random_sample(path: NoisePath, t: tuple[float, ...] = TIMES) -> Sample:
    """A latent of three values for each time. ISM must not depend on its noise."""
    z, eps = normal(2, len(t), 3, seed=4)
    times = torch.tensor(t, dtype=torch.float64)
    return Sample(z, eps, times, prior(GENERATING, path).sigma_at(times), 0.0)


def for_each_value(sample: Sample, gradient) -> Tensor:
    """`gradient(z, t)` for each value."""
    rows = zip(sample.z.tolist(), sample.t.tolist())
    return torch.tensor([[gradient(z, t) for z in row] for row, t in rows], dtype=torch.float64)


@BOTH_PATHS
def test_gradient_matches_the_formula(path):
    sample = random_sample(path)
    direction = ISM(S, INTERVAL, STEPS)(prior(GENERATING, path), sample)
    expected_gradient = for_each_value(sample, lambda z, t: gradient_by_hand(path, z, t))
    torch.testing.assert_close(direction.gradient, expected_gradient, rtol=1e-10, atol=1e-10)


@BOTH_PATHS
@pytest.mark.parametrize("t", TIMES)
def test_loop_converges_to_the_zero_of_the_gradient(path, t):
    # Between Gaussians the gradient is affine: slope z + offset.
    offset = gradient_by_hand(path, 0.0, t)
    slope = gradient_by_hand(path, 1.0, t) - offset
    assert slope > 0
    model, generator = prior(GENERATING, path), Latent(torch.tensor([[-1.0], [3.0]], dtype=torch.float64))
    loop = LoopSettings(steps=60, learning_rate=0.4 / slope, optimizer="sgd", weighting="uniform", t_min=t, t_max=t)
    plan = loop.plan(model, generator())
    for _ in optimize(model, generator, ISM(S, INTERVAL, STEPS), plan=plan, noise=SeededNoise([0, 1])):
        pass
    fixed_point = torch.full((2, 1), -offset / slope, dtype=torch.float64)
    torch.testing.assert_close(generator().detach(), fixed_point, rtol=0, atol=1e-9)


@BOTH_PATHS
def test_inversion_converges_to_the_probability_flow(path):
    sample = random_sample(path)

    def exact(z: float, t: float) -> float:
        s = earlier(t, INTERVAL)
        return gradient_from(path, t, s, flow_state(path, z, s))

    flow = for_each_value(sample, exact)
    errors = [
        (ISM(S, INTERVAL, steps)(prior(GENERATING, path), sample).gradient - flow).abs().max().item()
        for steps in (200, 400, 800)
    ]
    assert_halving(errors, 0.01)


@BOTH_PATHS
def test_zero_interval_is_the_bridge_from_the_unconditional_prompt_at_the_inverted_state(path):
    sample, model = random_sample(path), prior({**GENERATING, "source": GENERATING["negative"]}, path)
    x_t = for_each_value(sample, lambda z, t: flow_state(path, z, t))
    a, b = path.a(sample.sigma)[:, None], path.b(sample.sigma)[:, None]
    inverted = Sample(sample.z, (x_t - a * sample.z) / b, sample.t, sample.sigma, 0.0)
    bridge = PromptBridge(S)(model, inverted).gradient
    errors = [(ISM(S, 1e-9, steps)(model, sample).gradient - bridge).abs().max().item() for steps in (200, 400, 800)]
    assert_halving(errors, 0.01)


@BOTH_PATHS
def test_batch_items_have_their_own_times(path):
    together, model, ism = random_sample(path), prior(GENERATING, path), ISM(S, INTERVAL, STEPS)
    gradients = ism(model, together).gradient
    for i in range(len(TIMES)):
        item = slice(i, i + 1)
        alone = Sample(together.z[item], together.eps[item], together.t[item], together.sigma[item], 0.0)
        torch.testing.assert_close(gradients[item], ism(model, alone).gradient, rtol=1e-12, atol=1e-12)


def test_noise_has_no_effect():
    sample, model, ism = random_sample(SCALED), prior(GENERATING), ISM(S, INTERVAL, STEPS)
    other = Sample(sample.z, -sample.eps, sample.t, sample.sigma, 0.0)
    assert torch.equal(ism(model, sample).gradient, ism(model, other).gradient)


def test_cost_is_the_inversion_plus_one_guided_call():
    model = prior(GENERATING)
    ISM(S, INTERVAL, STEPS)(model, random_sample(SCALED))
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == [1] * (STEPS + 1) + [2]

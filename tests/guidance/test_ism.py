"""Interval score matching against the formula in plain numbers, the exact probability flow, and the bridge."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.distillation.generators import Latent
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import LoopSettings
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives.bridge import PromptBridge
from dreamsampler.guidance.distillation.objectives.ism import ISM
from support.oracle import MixtureDenoiser, gaussian, prior
from torch import Tensor

NULL, TARGET = (0.2, 1.5), (2.0, 0.25)
"""Mean and variance of the Gaussian that the model knows without a prompt, and with the target prompt."""
BELIEFS = {"negative": gaussian(*([x] for x in NULL)), "positive": gaussian(*([x] for x in TARGET))}
BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
S, INTERVAL, STEPS = 7.5, 0.05, 5
TIMES = (0.03125, 0.0625, 0.5, 0.875)
"""Two below twice the interval, where s is half of t. All are exact in float32, in which the loop draws times."""


def weights(path: NoisePath, t: float) -> tuple[float, float]:
    """a and b at a time of the oracle's clock."""
    sigma = 14 * t * math.expm1(4 * t) / math.expm1(4)
    return (1.0, sigma) if path is SCALED else (1 / (1 + sigma), sigma / (1 + sigma))


def eps_hat(belief: tuple[float, float], x: float, a: float, b: float) -> float:
    """E[eps | a z0 + b eps = x] for a Gaussian."""
    mean, variance = belief
    return b * (x - a * mean) / (a * a * variance + b * b)


def before(t: float, interval: float) -> float:
    """The time s."""
    return max(t - interval, t / 2)


def stepped(x: float, noise: float, here: tuple[float, float], there: tuple[float, float]) -> float:
    """A DDIM step with a noise prediction between two pairs of weights."""
    (a, b), (a_next, b_next) = here, there
    return a_next * (x - b * noise) / a + b_next * noise


def gradient_from(path: NoisePath, t: float, s: float, x_s: float, scale: float = S) -> float:
    """The formula, once x_s is known."""
    at_s, at_t = weights(path, s), weights(path, t)
    noise = eps_hat(NULL, x_s, *at_s)
    x_t = stepped(x_s, noise, at_s, at_t)
    null, target = (eps_hat(belief, x_t, *at_t) for belief in (NULL, TARGET))
    return null + scale * (target - null) - noise


def by_hand(path: NoisePath, z: float, t: float) -> float:
    """The gradient in plain numbers, with an inversion in `STEPS` steps that ask at the level they start from."""
    s = before(t, INTERVAL)
    levels = [weights(path, s * (i + 1) / STEPS) for i in range(STEPS)]
    x = levels[0][0] * z  # the first step asks for the clean image at the lowest level
    x += levels[0][1] * eps_hat(NULL, x, *levels[0])
    for here, there in zip(levels, levels[1:]):
        x = stepped(x, eps_hat(NULL, x, *here), here, there)
    return gradient_from(path, t, s, x)


def carried(path: NoisePath, z: float, t: float) -> float:
    """The image at time t of the exact probability flow, which keeps the standard score of a Gaussian."""
    (a, b), (mean, variance) = weights(path, t), NULL
    return a * mean + math.sqrt((a * a * variance + b * b) / variance) * (z - mean)


def drawn(path: NoisePath, t: tuple[float, ...] = TIMES) -> Sample:
    """An image of three values for each time, with noise that no result may depend on."""
    generator = torch.Generator().manual_seed(4)
    z, eps = torch.randn(2, len(t), 3, generator=generator, dtype=torch.float64)
    times = torch.tensor(t, dtype=torch.float64)
    return Sample(z, eps, times, prior(BELIEFS, path).sigma_at(times), 0.0)


def expected(sample: Sample, gradient) -> Tensor:
    """`gradient(z, t)` of every value."""
    rows = zip(sample.z.tolist(), sample.t.tolist())
    return torch.tensor([[gradient(z, t) for z in row] for row, t in rows], dtype=torch.float64)


def assert_halving(errors: list[float], largest: float) -> None:
    """Twice the steps, half the error: DDIM is of first order."""
    print("errors:", [f"{error:.2e}" for error in errors])
    assert errors[-1] < largest
    for coarse, fine in zip(errors, errors[1:]):
        assert 1.8 < coarse / fine < 2.2


@BOTH_PATHS
def test_the_formula_in_plain_numbers(path):
    sample = drawn(path)
    answer = ISM(S, INTERVAL, STEPS)(prior(BELIEFS, path), sample)
    hand = expected(sample, lambda z, t: by_hand(path, z, t))
    torch.testing.assert_close(answer.gradient, hand, rtol=1e-10, atol=1e-10)


@BOTH_PATHS
@pytest.mark.parametrize("t", TIMES)
def test_the_loop_ends_where_the_formula_is_at_rest(path, t):
    # Between Gaussians the gradient is affine in z, slope z + offset.
    offset = by_hand(path, 0.0, t)
    slope = by_hand(path, 1.0, t) - offset
    assert slope > 0
    here, generator = prior(BELIEFS, path), Latent(torch.tensor([[-1.0], [3.0]], dtype=torch.float64))
    loop = LoopSettings(steps=60, learning_rate=0.4 / slope, optimizer="sgd", weighting="uniform", t_min=t, t_max=t)
    plan = loop.plan(here, generator())
    for _ in optimize(here, generator, ISM(S, INTERVAL, STEPS), plan=plan, noise=SeededNoise([0, 1])):
        pass
    rest = torch.full((2, 1), -offset / slope, dtype=torch.float64)
    torch.testing.assert_close(generator().detach(), rest, rtol=0, atol=1e-9)


@BOTH_PATHS
def test_many_steps_follow_the_probability_flow(path):
    sample = drawn(path)

    def exact(z: float, t: float) -> float:
        s = before(t, INTERVAL)
        return gradient_from(path, t, s, carried(path, z, s))

    flow = expected(sample, exact)
    errors = [
        (ISM(S, INTERVAL, steps)(prior(BELIEFS, path), sample).gradient - flow).abs().max().item()
        for steps in (200, 400, 800)
    ]
    assert_halving(errors, 0.01)


@BOTH_PATHS
def test_without_an_interval_it_is_the_bridge_from_no_prompt_at_the_inverted_state(path):
    sample, here = drawn(path), prior({**BELIEFS, "source": BELIEFS["negative"]}, path)
    x_t = expected(sample, lambda z, t: carried(path, z, t))
    a, b = path.a(sample.sigma)[:, None], path.b(sample.sigma)[:, None]
    inverted = Sample(sample.z, (x_t - a * sample.z) / b, sample.t, sample.sigma, 0.0)
    bridge = PromptBridge(S)(here, inverted).gradient
    errors = [(ISM(S, 1e-9, steps)(here, sample).gradient - bridge).abs().max().item() for steps in (200, 400, 800)]
    assert_halving(errors, 0.01)


@BOTH_PATHS
def test_each_image_of_a_batch_has_its_own_time(path):
    together, here, ism = drawn(path), prior(BELIEFS, path), ISM(S, INTERVAL, STEPS)
    gradients = ism(here, together).gradient
    for i in range(len(TIMES)):
        item = slice(i, i + 1)
        alone = Sample(together.z[item], together.eps[item], together.t[item], together.sigma[item], 0.0)
        torch.testing.assert_close(gradients[item], ism(here, alone).gradient, rtol=1e-12, atol=1e-12)


def test_the_noise_has_no_effect():
    sample, here, ism = drawn(SCALED), prior(BELIEFS), ISM(S, INTERVAL, STEPS)
    other = Sample(sample.z, -sample.eps, sample.t, sample.sigma, 0.0)
    assert torch.equal(ism(here, sample).gradient, ism(here, other).gradient)


def test_it_costs_the_inversion_and_one_guided_call():
    here = prior(BELIEFS)
    ISM(S, INTERVAL, STEPS)(here, drawn(SCALED))
    assert isinstance(here.denoise, MixtureDenoiser) and here.denoise.batches == [1] * (STEPS + 1) + [2]

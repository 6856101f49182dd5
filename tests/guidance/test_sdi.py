"""SDI, compared with its formula in plain floats and with the exact probability flow."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.method import Resources
from dreamsampler.guidance.distillation.objective import Direction, Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.sds import SDS
from support.noise_paths import BOTH_PATHS
from support.oracle import TWO_TEXTS, MixtureDenoiser, prior
from support.plain_floats import GENERATING, NULL, TARGET, Weights, ddim_step, weights
from support.tensors import normal
from torch import Tensor

S, UP, STEPS = 7.5, -7.5, 5
"""The paper's guidance scales, of the gradient and of the inversion, and the steps of the inversion."""
TIMES = (0.0625, 0.5, 0.875)
"""Exact in float32, as the loop's times."""


def guided(x: float, at: Weights, scale: float) -> float:
    """E[eps | a z0 + b eps = x] of the two Gaussians, with guidance."""
    a, b = at
    null, target = (b * (x - a * mean) / (a * a * variance + b * b) for mean, variance in (NULL, TARGET))
    return null + scale * (target - null)


def levels_to(path: NoisePath, t: float, steps: int) -> list[Weights]:
    """The levels of `steps` equal steps of time up to t."""
    return [weights(path, t * (i + 1) / steps) for i in range(steps)]


def inverted(path: NoisePath, z: float, t: float, steps: int, scale: float) -> float:
    """The image at time t. Each step predicts at the level it starts from, the first at the clean image."""
    levels = levels_to(path, t, steps)
    x = levels[0][0] * z
    x += levels[0][1] * guided(x, levels[0], scale)
    for here, there in zip(levels, levels[1:]):
        x = ddim_step(x, guided(x, here, scale), here, there)
    return x


def gradient_by_hand(path: NoisePath, z: float, t: float, *, scale: float, up: float) -> float:
    """eps_hat^s(x) - (x - a z) / b."""
    a, b = weights(path, t)
    x = inverted(path, z, t, STEPS, up)
    return guided(x, (a, b), scale) - (x - a * z) / b


def flow_state(path: NoisePath, z: float, t: float) -> float:
    """The state at time t of the target's exact flow, which preserves the standard score of a Gaussian."""
    (a, b), (mean, variance) = weights(path, t), TARGET
    return a * mean + math.sqrt((a * a * variance + b * b) / variance) * (z - mean)


def direction(model: Prior, z: Tensor, times: Tensor, steps: int, scale: float, up: float) -> Direction:
    """What the method, with its own noise, makes of latents (B, D) at `times` (B,)."""
    method, noise, sigma = METHODS["sdi"], SeededNoise(range(len(z))), model.sigma_at(times)
    settings = {"guidance_scale": scale, "inversion_guidance_scale": up, "inversion_steps": steps, "eta": 0.0}
    config = method.config().updated(settings)
    eps = config.loop.plan(model, z).noise(model, z, times, sigma, noise, None)
    return method.build(config.own, Resources(noise))(model, Sample(z, eps, times, sigma, 0.0))


def latents() -> tuple[Tensor, Tensor]:
    """Three values for each time, and the times."""
    return normal(1, len(TIMES), 3, seed=4)[0], torch.tensor(TIMES, dtype=torch.float64)


def for_each_value(z: Tensor, gradient) -> Tensor:
    """`gradient(z, t)` for each value."""
    return torch.tensor([[gradient(x, t) for x in row] for row, t in zip(z.tolist(), TIMES)], dtype=torch.float64)


@BOTH_PATHS
@pytest.mark.parametrize(("scale", "up"), [(S, UP), (1.0, 1.0), (30.0, 0.0)])
def test_gradient_matches_the_formula(scale: float, up: float, path: NoisePath):
    z, times = latents()
    made = direction(prior(GENERATING, path), z, times, STEPS, scale, up)
    expected = for_each_value(z, lambda x, t: gradient_by_hand(path, x, t, scale=scale, up=up))
    torch.testing.assert_close(made.gradient, expected, rtol=1e-9, atol=1e-9)


@BOTH_PATHS
def test_gradient_converges_to_that_on_the_exact_flow(path: NoisePath):
    # On the target's own flow, its posterior mean a v (x - a m) / (a^2 v + b^2) + m is not z: what remains of the
    # gradient is a / b times the difference. It is 0 at z = m alone.
    z, times = latents()

    def exact(x: float, t: float) -> float:
        (a, b), (mean, variance), state = weights(path, t), TARGET, flow_state(path, x, t)
        return a / b * (x - mean - a * variance * (state - a * mean) / (a * a * variance + b * b))

    model, flow = prior(GENERATING, path), for_each_value(z, exact)
    errors = [
        (direction(model, z, times, steps, 1.0, 1.0).gradient - flow).abs().max().item() for steps in (200, 400, 800)
    ]
    print("errors:", errors)
    assert errors[-1] < 0.05
    for coarse, fine in zip(errors, errors[1:]):
        assert 1.8 < coarse / fine < 2.2, "DDIM is first order: doubling the steps halves the error"


@BOTH_PATHS
def test_gradient_vanishes_at_the_mean_of_the_target(path: NoisePath):
    z, (_, times) = torch.full((len(TIMES), 3), TARGET[0], dtype=torch.float64), latents()
    gradient = direction(prior(GENERATING, path), z, times, STEPS, 1.0, 1.0).gradient
    torch.testing.assert_close(gradient, torch.zeros_like(z), rtol=0, atol=1e-12)


@BOTH_PATHS
def test_it_is_sds_with_inverted_noise(path: NoisePath):
    model, z = prior(TWO_TEXTS, path), normal(1, 3, 2, seed=6)[0]
    times = torch.tensor(TIMES, dtype=torch.float64)
    sigma, config = model.sigma_at(times), METHODS["sds"].config().updated({"noise_policy": "inverted"})
    eps = config.loop.plan(model, z).noise(model, z, times, sigma, SeededNoise(range(3)), None)
    sds = SDS(S)(model, Sample(z, eps, times, sigma, 0.0))
    assert torch.equal(direction(model, z, times, 10, S, UP).gradient, sds.gradient)


def test_batch_items_have_their_own_times():
    (z, times), model = latents(), prior(GENERATING)
    together = direction(model, z, times, STEPS, S, UP).gradient
    for i in range(len(TIMES)):
        alone = direction(model, z[i : i + 1], times[i : i + 1], STEPS, S, UP).gradient
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


def test_cost_is_the_inversion_plus_one_guided_call():
    (z, times), model = latents(), prior(GENERATING)
    direction(model, z, times, STEPS, S, UP)
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == [2] * (STEPS + 1)

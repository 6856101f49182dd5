"""SDI and PFD, compared with their formula in plain floats and with the exact probability flow."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.method import Resources
from dreamsampler.guidance.distillation.objective import Direction, Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.sds import SDS
from support.noise_paths import BOTH_PATHS
from support.oracle import TWO_TEXTS, MixtureDenoiser, gaussian, prior
from support.tensors import normal
from torch import Tensor

NULL, TARGET = (0.2, 1.5), (2.0, 0.25)
"""Mean and variance of the model's Gaussian for the unconditional and the target prompt."""
DISTRIBUTIONS = {"negative": gaussian(*([x] for x in NULL)), "positive": gaussian(*([x] for x in TARGET))}
S, UP, STEPS = 7.5, -7.5, 5
"""The paper's guidance scales, of the gradient and of the inversion, and the steps of the inversion."""
TIMES = (0.0625, 0.5, 0.875)
"""Exact in float32, as the loop's times."""
Weights = tuple[float, float]
"""a and b at a noise level."""


def weights(path: NoisePath, t: float) -> Weights:
    """a and b at a time of the oracle's clock."""
    sigma = 14 * t * math.expm1(4 * t) / math.expm1(4)
    return (1.0, sigma) if path is SCALED else (1 / (1 + sigma), sigma / (1 + sigma))


def guided(x: float, at: Weights, scale: float) -> float:
    """E[eps | a z0 + b eps = x] of the two Gaussians, with guidance."""
    a, b = at
    null, target = (b * (x - a * mean) / (a * a * variance + b * b) for mean, variance in (NULL, TARGET))
    return null + scale * (target - null)


def ddim_step(x: float, noise: float, here: Weights, there: Weights) -> float:
    """A DDIM step from the weights (a, b) `here` to those `there`."""
    (a, b), (a_next, b_next) = here, there
    return a_next * (x - b * noise) / a + b_next * noise


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


def sampled(path: NoisePath, x: float, t: float, steps: int, scale: float) -> float:
    """The image that the state x at time t becomes."""
    levels = [*levels_to(path, t, steps)[::-1], (1.0, 0.0)]
    for here, there in zip(levels, levels[1:]):
        x = ddim_step(x, guided(x, here, scale), here, there)
    return x


def gradient_by_hand(path: NoisePath, z: float, t: float, *, down: int, scale: float = S, up: float = UP) -> float:
    """(x - a psi) / b - (x - a z) / b."""
    a, b = weights(path, t)
    x = inverted(path, z, t, STEPS, up)
    return (x - a * sampled(path, x, t, down, scale)) / b - (x - a * z) / b


def flow_state(path: NoisePath, z: float, t: float) -> float:
    """The state at time t of the target's exact flow, which preserves the standard score of a Gaussian."""
    (a, b), (mean, variance) = weights(path, t), TARGET
    return a * mean + math.sqrt((a * a * variance + b * b) / variance) * (z - mean)


def direction(model: Prior, method: str, z: Tensor, times: Tensor, steps: int, scale: float, up: float) -> Direction:
    """What the method, with its own noise, makes of latents (B, D) at `times` (B,)."""
    widgets = {"guidance_scale": scale, "inversion_guidance_scale": up, "ode_steps": steps, "inversion_steps": steps}
    own = METHODS[method].config()
    config = own.updated({name: value for name, value in widgets.items() if own.has(name)} | {"eta": 0.0})
    sigma, noise = model.sigma_at(times), SeededNoise(range(len(z)))
    eps = config.loop.plan(model, z).noise(model, z, times, sigma, noise, None)
    return METHODS[method].build(config.own, Resources(noise))(model, Sample(z, eps, times, sigma, 0.0))


def latents() -> tuple[Tensor, Tensor]:
    """Three values for each time, and the times."""
    return normal(1, len(TIMES), 3, seed=4)[0], torch.tensor(TIMES, dtype=torch.float64)


def for_each_value(z: Tensor, gradient) -> Tensor:
    """`gradient(z, t)` for each value."""
    return torch.tensor([[gradient(x, t) for x in row] for row, t in zip(z.tolist(), TIMES)], dtype=torch.float64)


def assert_halving(errors: list[float], limit: float) -> None:
    """DDIM is first order: doubling the steps halves the error."""
    print("errors:", [f"{error:.2e}" for error in errors])
    assert errors[-1] < limit
    for coarse, fine in zip(errors, errors[1:]):
        assert 1.8 < coarse / fine < 2.2


@BOTH_PATHS
@pytest.mark.parametrize(("method", "down"), [("sdi", 1), ("pfd", STEPS)])
@pytest.mark.parametrize(("scale", "up"), [(S, UP), (1.0, 1.0), (30.0, 0.0)])
def test_gradient_matches_the_formula(method: str, down: int, scale: float, up: float, path: NoisePath):
    z, times = latents()
    made = direction(prior(DISTRIBUTIONS, path), method, z, times, STEPS, scale, up)
    expected = for_each_value(z, lambda x, t: gradient_by_hand(path, x, t, down=down, scale=scale, up=up))
    torch.testing.assert_close(made.gradient, expected, rtol=1e-9, atol=1e-9)


@BOTH_PATHS
def test_sdi_converges_to_sds_on_the_exact_flow(path: NoisePath):
    # On the target's own flow, its posterior mean a v (x - a m) / (a^2 v + b^2) + m is not z: what remains of the
    # gradient is a / b times the difference.
    z, times = latents()

    def exact(x: float, t: float) -> float:
        (a, b), (mean, variance), state = weights(path, t), TARGET, flow_state(path, x, t)
        return a / b * (x - mean - a * variance * (state - a * mean) / (a * a * variance + b * b))

    flow = for_each_value(z, exact)
    model = prior(DISTRIBUTIONS, path)
    errors = [
        (direction(model, "sdi", z, times, steps, 1.0, 1.0).gradient - flow).abs().max().item()
        for steps in (200, 400, 800)
    ]
    assert_halving(errors, 0.05)


@BOTH_PATHS
def test_pfd_vanishes_where_the_image_is_on_the_targets_own_flow(path: NoisePath):
    z, times = latents()
    model = prior(DISTRIBUTIONS, path)
    errors = [
        direction(model, "pfd", z, times, steps, 1.0, 1.0).gradient.abs().max().item() for steps in (200, 400, 800)
    ]
    assert_halving(errors, 0.05)


@BOTH_PATHS
def test_pfd_of_one_step_is_sdi_of_one_step(path: NoisePath):
    model, z = prior(TWO_TEXTS, path), normal(1, 3, 2, seed=6)[0]
    times = torch.tensor(TIMES, dtype=torch.float64)
    one, other = (direction(model, method, z, times, 1, S, UP) for method in ("sdi", "pfd"))
    assert torch.equal(one.gradient, other.gradient) and torch.equal(one.eps_hat, other.eps_hat)


@BOTH_PATHS
def test_sdi_is_sds_with_inverted_noise(path: NoisePath):
    model, z = prior(TWO_TEXTS, path), normal(1, 3, 2, seed=6)[0]
    times = torch.tensor(TIMES, dtype=torch.float64)
    sigma, config = model.sigma_at(times), METHODS["sds"].config().updated({"noise_policy": "inverted"})
    eps = config.loop.plan(model, z).noise(model, z, times, sigma, SeededNoise(range(3)), None)
    sds = SDS(S)(model, Sample(z, eps, times, sigma, 0.0))
    sdi = direction(model, "sdi", z, times, 10, S, UP)
    torch.testing.assert_close(sdi.gradient, sds.gradient, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("method", ["sdi", "pfd"])
def test_batch_items_have_their_own_times(method: str):
    (z, times), model = latents(), prior(DISTRIBUTIONS)
    together = direction(model, method, z, times, STEPS, S, UP).gradient
    for i in range(len(TIMES)):
        alone = direction(model, method, z[i : i + 1], times[i : i + 1], STEPS, S, UP).gradient
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("method", "calls"), [("sdi", STEPS + 1), ("pfd", 2 * STEPS)])
def test_cost(method: str, calls: int):
    (z, times), model = latents(), prior(DISTRIBUTIONS)
    direction(model, method, z, times, STEPS, S, UP)
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == [2] * calls

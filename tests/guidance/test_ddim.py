"""DDIM sampling and stochastic sampling, against Gaussians in closed form."""

import math

import pytest
import torch
from dreamsampler.guidance.core.ddim import ddim_step, fresh_share, mix_noise
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import NoisePath
from support.noise_paths import BOTH_PATHS, schedule
from support.oracle import MixtureDenoiser, gaussian
from support.tensors import generator, normal


def initial_noise(path: NoisePath, count: int, sigma: torch.Tensor) -> torch.Tensor:
    """Pure noise at a noise level. Both paths get the same draw."""
    noise = torch.randn(count, 2, generator=generator(1), dtype=torch.float64)
    return path.noised(torch.zeros_like(noise), noise, sigma)


def sample_ddim(denoise, path: NoisePath, x: torch.Tensor, sigmas: torch.Tensor, eta: float = 0.0) -> torch.Tensor:
    """DDIM from `x` to the clean latent."""
    random = generator(4)
    for sigma, sigma_next in zip(sigmas, sigmas[1:]):
        (z0,) = denoise(x, sigma, ("negative",))
        fresh = torch.randn(x.shape, generator=random, dtype=x.dtype)
        eps = mix_noise(path.eps_hat(x, z0, sigma), fresh, fresh_share(path, sigma, sigma_next, eta))
        x = ddim_step(path, z0, eps, sigma_next)
    return x


@BOTH_PATHS
def test_first_order_convergence_to_the_probability_flow(path: NoisePath):
    # For one Gaussian the probability-flow ODE has a closed-form solution: the standardized state does not change.
    prior = gaussian([0.5, -1.0], [0.25, 2.0])
    denoise = MixtureDenoiser({"negative": prior}, path)
    mean, variance = prior.means[0], prior.variances[0]
    results, counts = [], (50, 100, 200, 400)
    for steps in counts:
        sigmas = schedule(path, steps)
        results.append(sample_ddim(denoise, path, initial_noise(path, 64, sigmas[0]), sigmas))
    x, a, b = initial_noise(path, 64, sigmas[0]), path.a(sigmas[0]), path.b(sigmas[0])
    exact = mean + variance.sqrt() * (x - a * mean) / (a**2 * variance + b**2).sqrt()
    errors = [(result - exact).abs().max().item() for result in results]
    orders = [math.log2(before / after) for before, after in zip(errors, errors[1:])]
    print(f"DDIM error at {counts} steps on the {path.name} path: {errors}, orders {orders}")
    assert all(0.9 < order < 1.1 for order in orders)
    # Richardson extrapolation of the last two results.
    torch.testing.assert_close(2 * results[-1] - results[-2], exact, rtol=0, atol=2e-3)


@BOTH_PATHS
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_stochastic_sampling_preserves_the_marginals(path: NoisePath, eta: float):
    prior = gaussian([0.5, -1.0], [0.25, 2.0])
    denoise = MixtureDenoiser({"negative": prior}, path)
    sigmas = schedule(path, 200)
    z0 = prior.sample(20000, generator(0))
    x = path.noised(z0, normal(*z0.shape, seed=1), sigmas[0])
    z = sample_ddim(denoise, path, x, sigmas, eta)
    torch.testing.assert_close(z.mean(0), prior.means[0], rtol=0, atol=0.04)
    torch.testing.assert_close(z.var(0), prior.variances[0], rtol=0.05, atol=0)


@BOTH_PATHS
def test_eta_1_samples_the_exact_posterior_between_two_noise_levels(path: NoisePath):
    # r = a_t / a_s, V = b_t^2 - r^2 b_s^2: mean (r b_s^2 / b_t^2) x_t + (a_s V / b_t^2) z0, variance V b_s^2 / b_t^2.
    t, s = torch.tensor(0.8, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    x, z0 = (torch.tensor([[v]], dtype=torch.float64) for v in (1.3, -0.4))
    r = path.a(t) / path.a(s)
    v = path.b(t) ** 2 - r**2 * path.b(s) ** 2
    mean = (r * path.b(s) ** 2 * x + path.a(s) * v * z0) / path.b(t) ** 2
    deviation = (v * path.b(s) ** 2 / path.b(t) ** 2).sqrt()
    share = fresh_share(path, t, s, 1.0)
    for fresh in (-1.0, 0.0, 2.0):
        eps = mix_noise(path.eps_hat(x, z0, t), torch.tensor([[fresh]], dtype=torch.float64), share)
        torch.testing.assert_close(ddim_step(path, z0, eps, s), mean + deviation * fresh, rtol=1e-12, atol=1e-12)


def test_noise_of_an_item_is_independent_of_its_batch():
    x = torch.zeros(3, 4, 5)
    together, alone = SeededNoise([7, 8, 9]), SeededNoise([8])
    for _ in range(2):
        torch.testing.assert_close(together.like(x)[1:2], alone.like(x[:1]), rtol=0, atol=0)

"""The DDPM posterior on any path, and edit-friendly DDPM inversion."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.core.ddpm import ddpm_invert, noised_states, posterior
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath
from dreamsampler.guidance.editing.proximal import ProximalSettings, proximal_edit
from support.noise_paths import BOTH_PATHS, schedule
from support.oracle import TWO_TEXTS, MixtureDenoiser, levels
from support.tensors import generator
from torch import Tensor


@BOTH_PATHS
def test_posterior_matches_conditioning_the_joint_gaussian(path):
    # x_t = r x_s + sqrt(V) e: regress x_s, with mean a_s z0 and variance b_s^2, on x_t.
    sigma, after = schedule(path, 20)[torch.tensor([3, 7])]
    a_t, a_s, b_t, b_s = path.a(sigma), path.a(after), path.b(sigma), path.b(after)
    z0 = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    x = torch.tensor([[1.1, 0.4]], dtype=torch.float64)
    covariance = a_t / a_s * b_s**2
    mean = a_s * z0 + covariance / b_t**2 * (x - a_t * z0)
    deviation = (b_s**2 - covariance**2 / b_t**2).sqrt()
    result = posterior(path, x, z0, sigma, after)
    torch.testing.assert_close(result.mean, mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(result.deviation, deviation, rtol=1e-10, atol=1e-10)


def test_posterior_matches_ddpm_equation_7():
    # DDPM, eq. 7: (sqrt(A_s) beta x0 + sqrt(alpha) (1 - A_s) z_t) / (1 - A_t), variance beta (1 - A_s) / (1 - A_t).
    sigma, after = levels(20)[torch.tensor([5, 6])]
    now, before = 1 / (1 + sigma**2), 1 / (1 + after**2)
    alpha = now / before
    z0, z_t = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[0.7]], dtype=torch.float64)
    mean = (before.sqrt() * (1 - alpha) * z0 + alpha.sqrt() * (1 - before) * z_t) / (1 - now)
    variance = (1 - before) / (1 - now) * (1 - alpha)
    result = posterior(SCALED, z_t / now.sqrt(), z0, sigma, after)
    torch.testing.assert_close(result.mean, mean / before.sqrt(), rtol=1e-10, atol=0)
    torch.testing.assert_close(result.deviation, (variance / before).sqrt(), rtol=1e-10, atol=0)


def source_latents() -> Tensor:
    return TWO_TEXTS["negative"].sample(6, generator(1))


def edit(path: NoisePath, z0: Tensor, gamma: float, skip: int = 0, mixtures=TWO_TEXTS) -> tuple[Tensor, list[Tensor]]:
    """Invert without a prompt, then sample towards the target prompt with weight `gamma`: the result and the states."""
    denoise, sigmas = MixtureDenoiser(mixtures, path), schedule(path, 20)[skip:]
    noise = SeededNoise(range(len(z0)))
    states = noised_states(path, z0, sigmas, noise)
    residuals = [r.value for r in ddpm_invert(denoise, path, states, sigmas)]
    settings = ProximalSettings(gamma=gamma, gamma_schedule="constant")
    steps = list(proximal_edit(denoise, path, states[0], sigmas, settings=settings, noise=noise, residuals=residuals))
    for step, state in zip(steps, states[1:]):
        if gamma == 0:
            torch.testing.assert_close(step.x, state, rtol=0, atol=1e-9)
    return steps[-1].x, states


@BOTH_PATHS
@pytest.mark.parametrize("skip", [0, 7, 19])
def test_sampling_with_the_same_prompt_returns_the_source(path, skip):
    z0 = source_latents()
    restored, _ = edit(path, z0, gamma=0.0, skip=skip)
    error = (restored - z0).abs().max().item()
    print(f"stochastic round trip, {path.name}, skip {skip}: {error:.1e}")
    assert error < 1e-9
    same_prompts = {**TWO_TEXTS, "positive": TWO_TEXTS["negative"]}
    assert (edit(path, z0, gamma=3.0, skip=skip, mixtures=same_prompts)[0] - z0).abs().max() < 1e-9


@BOTH_PATHS
def test_skipping_more_steps_keeps_more_of_the_source(path):
    z0 = source_latents()
    target = (TWO_TEXTS["positive"].weights[:, None] * TWO_TEXTS["positive"].means).sum(0)
    edits = [edit(path, z0, gamma=1.0, skip=skip)[0] for skip in (0, 10, 17)]
    distances = [(z - target).norm(dim=1).mean().item() for z in (*edits, z0)]
    assert distances[0] < 0.6 * distances[3]
    changes = [(z - z0).norm(dim=1).mean().item() for z in edits]
    assert changes[0] > changes[1] > changes[2]


def test_states_have_independent_noise():
    z0 = torch.zeros(1, 50_000, dtype=torch.float64)
    states = noised_states(SCALED, z0, torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), SeededNoise([0]))
    assert torch.equal(states[2], z0)
    assert states[0].std().item() == pytest.approx(2.0, rel=0.02)
    assert states[1].std().item() == pytest.approx(1.0, rel=0.02)
    correlation = (states[0] * states[1]).mean() / (states[0].std() * states[1].std())
    assert abs(correlation.item()) < 4 / 50_000**0.5

"""The DDPM posterior on any path, and edit-friendly DDPM inversion."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.core.ddpm import ddpm_invert, noised_states, posterior
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.editing.proximal import ProximalSettings, proximal_edit
from support.oracle import TWO_TEXTS, MixtureDenoiser, levels, matched
from torch import Tensor

BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)


def schedule(path: NoisePath, steps: int = 20) -> Tensor:
    return levels(steps) if path is SCALED else matched(levels(steps))


@BOTH_PATHS
def test_posterior_is_that_of_the_joint_gaussian(path):
    # x_t = r x_s + sqrt(V) e: regress x_s, of mean a_s z0 and variance b_s^2, on x_t.
    sigma, after = schedule(path)[torch.tensor([3, 7])]
    a_t, a_s, b_t, b_s = path.a(sigma), path.a(after), path.b(sigma), path.b(after)
    z0 = torch.tensor([[0.3, -1.0]], dtype=torch.float64)
    x = torch.tensor([[1.1, 0.4]], dtype=torch.float64)
    covariance = a_t / a_s * b_s**2
    mean = a_s * z0 + covariance / b_t**2 * (x - a_t * z0)
    deviation = (b_s**2 - covariance**2 / b_t**2).sqrt()
    found = posterior(path, x, z0, sigma, after)
    torch.testing.assert_close(found.mean, mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.deviation, deviation, rtol=1e-10, atol=1e-10)


def test_posterior_is_ddpms_equation_7():
    # DDPM, eq. 7: (sqrt(A_s) beta x0 + sqrt(alpha) (1 - A_s) z_t) / (1 - A_t), variance beta (1 - A_s) / (1 - A_t).
    sigma, after = levels(20)[torch.tensor([5, 6])]
    now, before = 1 / (1 + sigma**2), 1 / (1 + after**2)
    alpha = now / before
    z0, z_t = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[0.7]], dtype=torch.float64)
    mean = (before.sqrt() * (1 - alpha) * z0 + alpha.sqrt() * (1 - before) * z_t) / (1 - now)
    variance = (1 - before) / (1 - now) * (1 - alpha)
    found = posterior(SCALED, z_t / now.sqrt(), z0, sigma, after)
    torch.testing.assert_close(found.mean, mean / before.sqrt(), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.deviation, (variance / before).sqrt(), rtol=1e-10, atol=0)


def sources() -> Tensor:
    return TWO_TEXTS["negative"].sample(6, torch.Generator().manual_seed(1))


def edited(path: NoisePath, z0: Tensor, gamma: float, skip: int = 0, texts=TWO_TEXTS) -> tuple[Tensor, list[Tensor]]:
    """Invert under the unconditional prompt and replay with weight `gamma` of the target: the result and the states."""
    denoise, sigmas = MixtureDenoiser(texts, path), schedule(path)[skip:]
    noise = SeededNoise(range(len(z0)))
    states = noised_states(path, z0, sigmas, noise)
    found = [r.value for r in ddpm_invert(denoise, path, states, sigmas)]
    settings = ProximalSettings(gamma=gamma, gamma_schedule="constant")
    walk = list(proximal_edit(denoise, path, states[0], sigmas, settings=settings, noise=noise, residuals=found))
    for step, state in zip(walk, states[1:]):
        if gamma == 0:
            torch.testing.assert_close(step.x, state, rtol=0, atol=1e-9)
    return walk[-1].x, states


@BOTH_PATHS
@pytest.mark.parametrize("skip", [0, 7, 19])
def test_replay_with_the_same_prompt_returns_the_source(path, skip):
    z0 = sources()
    back, _ = edited(path, z0, gamma=0.0, skip=skip)
    error = (back - z0).abs().max().item()
    print(f"stochastic inversion and replay, {path.name}, skip {skip}: {error:.1e}")
    assert error < 1e-9
    same_text = {**TWO_TEXTS, "positive": TWO_TEXTS["negative"]}
    assert (edited(path, z0, gamma=3.0, skip=skip, texts=same_text)[0] - z0).abs().max() < 1e-9


@BOTH_PATHS
def test_replay_moves_towards_another_prompt_and_skipping_keeps_more(path):
    z0 = sources()
    target = (TWO_TEXTS["positive"].weights[:, None] * TWO_TEXTS["positive"].means).sum(0)
    moved = [edited(path, z0, gamma=1.0, skip=skip)[0] for skip in (0, 10, 17)]
    near = [(z - target).norm(dim=1).mean().item() for z in (*moved, z0)]
    assert near[0] < 0.6 * near[3]
    kept = [(z - z0).norm(dim=1).mean().item() for z in moved]
    assert kept[0] > kept[1] > kept[2]


def test_states_carry_independent_noise():
    z0 = torch.zeros(1, 50_000, dtype=torch.float64)
    states = noised_states(SCALED, z0, torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), SeededNoise([0]))
    assert torch.equal(states[2], z0)
    assert states[0].std().item() == pytest.approx(2.0, rel=0.02)
    assert states[1].std().item() == pytest.approx(1.0, rel=0.02)
    correlation = (states[0] * states[1]).mean() / (states[0].std() * states[1].std())
    assert abs(correlation.item()) < 4 / 50_000**0.5

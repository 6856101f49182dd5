"""The two noise paths and their conversions."""

import pytest
import torch
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath, flow_path
from support.tensors import normal


@pytest.mark.parametrize("path", [SCALED, FLOW, flow_path(8.0)], ids=lambda p: p.name)
@pytest.mark.parametrize("per_item", [False, True], ids=["scalar", "per item"])
def test_eps_hat_recovers_the_noise(path: NoisePath, per_item: bool):
    z0, eps = normal(2, 3, 4, 5, 6)
    sigma = torch.tensor([0.1, 0.5, 0.9] if per_item else 0.7, dtype=torch.float64)
    x = path.noised(z0, eps, sigma)
    torch.testing.assert_close(path.eps_hat(x, z0, sigma), eps, rtol=1e-12, atol=1e-12)


def test_alpha_bar_matches_stable_diffusion():
    # SD's schedule: alpha_bar from the betas, sigma as ComfyUI computes it.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    alpha_bar = (1 - betas).cumprod(0)
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    torch.testing.assert_close(SCALED.alpha_bar(sigma), alpha_bar, rtol=1e-12, atol=0)


def test_alpha_bar_of_flow_noise_levels():
    sigma = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.9, 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(FLOW.alpha_bar(sigma), expected)


def test_flow_from_louder_noise_has_that_noise():
    path, one = flow_path(8.0), torch.ones(1, dtype=torch.float64)
    half = torch.tensor(0.5, dtype=torch.float64)
    assert path.noised(one, 3 * one, half).item() == 0.5 * 1 + 0.5 * 8 * 3
    assert path.alpha_bar(half).item() == pytest.approx(1 / 65)
    assert flow_path(1.0) is FLOW and path.name != FLOW.name

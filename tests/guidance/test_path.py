"""The noising paths and the conversions between them."""

import pytest
import torch
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath


@pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda p: p.name)
@pytest.mark.parametrize("per_item", [False, True], ids=["scalar", "per item"])
def test_eps_hat_undoes_noised(path: NoisePath, per_item: bool):
    generator = torch.Generator().manual_seed(0)
    z0, eps = (torch.randn(3, 4, 5, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    sigma = torch.tensor([0.1, 0.5, 0.9] if per_item else 0.7, dtype=torch.float64)
    x = path.noised(z0, eps, sigma)
    torch.testing.assert_close(path.eps_hat(x, z0, sigma), eps, rtol=1e-12, atol=1e-12)


def test_alpha_bar_is_the_papers():
    # SD's schedule: alpha_bar from the betas, sigma as the host derives it.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64).square()
    alpha_bar = (1 - betas).cumprod(0)
    sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
    torch.testing.assert_close(SCALED.alpha_bar(sigma), alpha_bar, rtol=1e-12, atol=0)


def test_flow_levels_have_the_signal_to_noise_of_their_alpha_bar():
    sigma = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([1.0, 0.9, 0.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(FLOW.alpha_bar(sigma), expected)

"""The public API of the subpackages, used as in the documentation."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import pytest
import torch
from dreamsampler.guidance.core import (
    NULL,
    TARGET,
    NoisePath,
    Prior,
    SeededNoise,
    ddim_invert,
    ddim_sample,
)
from dreamsampler.guidance.distillation import METHODS, Latent, Resources, optimize
from dreamsampler.guidance.editing import ProximalSettings, proximal_edit
from support.noise_paths import BOTH_PATHS, clock, schedule
from torch import Tensor

MEANS = {"negative": 0.0, "positive": 2.0, "source": -1.0}
VARIANCE = 0.25


class Gaussians:
    """A model with latents N(mean, VARIANCE) for each prompt: E[z0 | x] = m + a S (x - a m) / (a^2 S + b^2)."""

    def __init__(self, path: NoisePath):
        self.path = path

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        a, b = (level(sigma).reshape(-1, *(1,) * (x.ndim - 1)) for level in (self.path.a, self.path.b))
        gain = a * VARIANCE / (a**2 * VARIANCE + b**2)
        return [MEANS[name] + gain * (x - a * MEANS[name]) for name in names]

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        return [self(x, sigma, prompts) for x, prompts in zip(xs, names, strict=True)]


SOURCE = torch.tensor([[0.4, -0.3, 0.1]], dtype=torch.float64)


@BOTH_PATHS
def test_invert_and_edit(path: NoisePath):
    """With gamma 1 and guided re-noising, the edit is DDIM with the target prompt.

    The probability flow preserves a Gaussian's standard score, so the latent moves by the difference of the means.
    """
    denoise = Gaussians(path)
    sigmas = schedule(path, 800)
    *_, top = ddim_invert(denoise, path, SOURCE, sigmas)
    sampled = ddim_sample(denoise, path, top.x, sigmas, NULL)
    torch.testing.assert_close(sampled, SOURCE, rtol=0, atol=0.02)

    settings = ProximalSettings(gamma=1.0, gamma_schedule="constant", renoise="guided")
    *_, last = proximal_edit(denoise, path, top.x, sigmas, settings=settings, noise=SeededNoise([0]))
    # At the highest level the distribution of x, N(a m, a^2 S + b^2), still depends slightly on the prompt.
    a, b = path.a(sigmas[0]), path.b(sigmas[0])
    shift = 2.0 * (1 - (a**2 * VARIANCE / (a**2 * VARIANCE + b**2)).sqrt())
    torch.testing.assert_close(last.x, SOURCE + shift, rtol=0, atol=0.02)


@BOTH_PATHS
def test_distill_with_a_registered_method(path: NoisePath):
    """DDS between Gaussians of equal variance converges when the latent has moved by the difference of the means."""
    method, noise = METHODS["dds"], SeededNoise([0])
    config = method.config(from_image=True).updated({"steps": 300, "learning_rate": 0.5, "guidance_scale": 1.0})
    objective = method.build(config.own, Resources(noise, reference=SOURCE))
    latent, prior = Latent(SOURCE), Prior(Gaussians(path), path, clock(path))
    for _ in optimize(prior, latent, objective, plan=config.loop.plan(prior, SOURCE), noise=noise):
        pass
    torch.testing.assert_close(latent().detach(), SOURCE + MEANS[TARGET] - MEANS["source"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("subpackage", ["core", "prompts", "networks", "editing", "restoration", "distillation"])
def test_subpackages_export_the_names_in_all(subpackage: str):
    module = importlib.import_module(f"dreamsampler.guidance.{subpackage}")
    assert module.__doc__ and all(hasattr(module, name) for name in module.__all__)

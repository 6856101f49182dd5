"""Posterior distillation sampling: its coefficients, and its gradient as the difference of stochastic latents."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.pds import PDS, STEP, coefficients
from support.noise_paths import BOTH_PATHS
from support.oracle import MixtureDenoiser, gaussian
from support.tensors import normal
from torch import Tensor

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHA_BARS = torch.cumprod(1 - BETAS, 0)
"""Stable Diffusion's alpha_bar."""
DISTRIBUTIONS = {
    "negative": gaussian([0.2, -0.5], [1.5, 0.7]),
    "positive": gaussian([1.0, 2.0], [0.3, 0.2]),
    "source": gaussian([-1.0, 0.4], [0.5, 2.0]),
}
POSTERIORS = ("official", "as printed", "exact")


def stable_diffusion(path: NoisePath = SCALED) -> Prior:
    """A prior with Stable Diffusion's noise levels, interpolated logarithmically as in ComfyUI."""
    log_sigmas = ((1 - ALPHA_BARS) / ALPHA_BARS).sqrt().log()

    def sigma_at(t: Tensor) -> Tensor:
        position = t.double() / STEP
        low = position.floor().long().clamp(0, 998)
        sigma = torch.lerp(log_sigmas[low], log_sigmas[low + 1], position - low).exp()
        return sigma if path is SCALED else sigma / (1 + sigma)

    return Prior(MixtureDenoiser(DISTRIBUTIONS, path), path, sigma_at)


def times(*indices: int) -> Tensor:
    return torch.tensor(indices, dtype=torch.float64) * STEP


@BOTH_PATHS
def test_coefficients_of_the_official_code(path):
    result = coefficients(stable_diffusion(path), times(20, 100, 300, 500, 700, 900), "official")
    psi = torch.tensor([1.695, 0.318, 0.080, 0.032, 0.0145, 0.0062], dtype=torch.float64)
    chi = torch.tensor([0.237, 0.116, 0.084, 0.082, 0.090, 0.103], dtype=torch.float64)
    print("official psi", [f"{x:.4f}" for x in result.psi], "chi", [f"{x:.4f}" for x in result.chi])
    assert ((result.psi - psi).abs() <= torch.tensor([5e-4, 5e-4, 5e-4, 5e-4, 5e-5, 5e-5])).all()
    assert ((result.chi - chi).abs() <= 5e-4).all()


def test_coefficients_as_printed():
    result = coefficients(stable_diffusion(), times(20, 100, 300, 500, 700, 900), "as printed")
    psi = torch.tensor([0.28, 1.36, 3.31, 3.57, 2.38, 1.03], dtype=torch.float64)
    print("as printed psi", [f"{x:.3f}" for x in result.psi])
    assert ((result.psi - psi).abs() <= 5e-3).all()


def test_exact_posterior_has_no_identity_term():
    t = torch.linspace(0.02, 0.98, 200, dtype=torch.float64)
    assert coefficients(stable_diffusion(), t, "exact").psi.abs().max() < 1e-10


CLOCKS = {
    "flow": Prior(MixtureDenoiser(DISTRIBUTIONS, FLOW), FLOW, lambda t: t),
    "flow, shift 3": Prior(MixtureDenoiser(DISTRIBUTIONS, FLOW), FLOW, lambda t: 3 * t / (1 + 2 * t)),
    "EDM": Prior(MixtureDenoiser(DISTRIBUTIONS, SCALED), SCALED, lambda t: 0.002 * (80 / 0.002) ** t),
}
"""Priors whose times have other noise levels than Stable Diffusion's."""


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("name", CLOCKS)
def test_random_times_of_any_clock_have_the_papers_mean(name, posterior):
    t = torch.linspace(0, 1, 100001, dtype=torch.float64)
    expected = coefficients(stable_diffusion(), t, posterior)
    result = coefficients(CLOCKS[name], t, posterior)
    print(name, posterior, "psi", result.psi.mean() / expected.psi.mean(), "chi", result.chi.mean())
    assert result.chi.mean().item() == pytest.approx(expected.chi.mean().item(), rel=0.01)
    assert result.psi.mean().item() == pytest.approx(expected.psi.mean().item(), rel=0.02, abs=1e-10)


def test_a_clock_of_twice_the_speed_counts_twice():
    model = stable_diffusion()
    fast = Prior(model.denoise, SCALED, lambda t: model.sigma_at((2 * t).clamp(max=1)))
    t = times(100, 200, 300)
    expected, result = coefficients(model, 2 * t, "official"), coefficients(fast, t, "official")
    torch.testing.assert_close(result.psi, 2 * expected.psi)
    torch.testing.assert_close(result.chi, 2 * expected.chi)


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("name", CLOCKS)
def test_the_gradient_is_finite_at_both_ends(name, posterior):
    z, eps, reference = normal(3, 2, 2, seed=0)
    t = torch.tensor([1.0, 0.0], dtype=torch.float64).clamp(min=1e-6)
    sample = Sample(z, eps, t, CLOCKS[name].sigma_at(t), 0.0)
    direction = PDS(Delta(reference, 7.5, 7.5), posterior, identity_weight=1.0)(CLOCKS[name], sample)
    assert direction.gradient.isfinite().all()


def random_sample(path: NoisePath) -> Sample:
    z, eps = normal(2, 3, 2, seed=0)
    t = times(60, 411, 903)
    return Sample(z, eps, t, stable_diffusion(path).sigma_at(t), 0.0)


def reference_latent() -> Tensor:
    return normal(3, 2, seed=1)


def eps_hat(distribution, z: Tensor, index: int, eps: Tensor) -> Tensor:
    """E[eps | z_t] for a Gaussian, in variance-preserving variables."""
    a, b = ALPHA_BARS[index].sqrt(), (1 - ALPHA_BARS[index]).sqrt()
    mean, variance = distribution.means[0], distribution.variances[0]
    return b * (a * z + b * eps - a * mean) / (a**2 * variance + b**2)


def stochastic_latent(z: Tensor, index: int, eps: Tensor, eps_before: Tensor, prompt: str, posterior: str) -> Tensor:
    """z_tilde = (x_{t-1} - mu(x_t, eps_hat)) / sigma_t of PDS, section 3, for each variant of the posterior."""
    null, conditional = (eps_hat(DISTRIBUTIONS[name], z, index, eps) for name in ("negative", prompt))
    guided = null + 7.5 * (conditional - null)
    now, one = ALPHA_BARS[index], ALPHA_BARS[index - 1]
    before = ALPHA_BARS[index - 2] if posterior == "official" else one
    beta = BETAS[index]
    x_t = now.sqrt() * z + (1 - now).sqrt() * eps
    x_before = before.sqrt() * z + (1 - before).sqrt() * eps_before
    x0 = (x_t - (1 - now).sqrt() * guided) / now.sqrt()
    kept = now if posterior == "as printed" else 1 - beta
    mean = (before.sqrt() * beta * x0 + kept.sqrt() * (1 - before) * x_t) / (1 - now)
    return (x_before - mean) / ((1 - before) / (1 - now) * beta).sqrt()


@BOTH_PATHS
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_gradient_is_the_difference_of_two_stochastic_latents(path, posterior):
    sample, reference = random_sample(path), reference_latent()
    eps_before = normal(3, 2, seed=2)
    rows = []
    for i, index in enumerate((60, 411, 903)):
        edited, source = (
            stochastic_latent(z[i], index, sample.eps[i], eps_before[i], prompt, posterior)
            for z, prompt in ((sample.z, "positive"), (reference, "source"))
        )
        rows.append(edited - source)
    direction = PDS(Delta(reference, 7.5, 7.5), posterior, identity_weight=1.0)(stable_diffusion(path), sample)
    torch.testing.assert_close(direction.gradient, torch.stack(rows), rtol=1e-8, atol=1e-8)


def test_exact_pds_is_weighted_dds():
    sample, delta, model = random_sample(SCALED), Delta(reference_latent(), 7.5, 7.5), stable_diffusion()
    chi = coefficients(model, sample.t, "exact").chi
    dds = DDS(delta)(model, sample).gradient
    torch.testing.assert_close(PDS(delta, "exact", 1.0)(model, sample).gradient, chi[:, None] * dds)


def test_identity_weight_scales_the_pull_towards_the_source():
    sample, delta, model = random_sample(SCALED), Delta(reference_latent(), 7.5, 7.5), stable_diffusion()
    none, one, two = (PDS(delta, "official", weight)(model, sample).gradient for weight in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - none)
    psi = coefficients(model, sample.t, "official").psi
    torch.testing.assert_close(one - none, psi[:, None] * (sample.z - delta.reference))


def test_a_step_costs_one_model_call_with_four_predictions():
    model = stable_diffusion()
    PDS(Delta(reference_latent(), 7.5, 7.5), "official", 1.0)(model, random_sample(SCALED))
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == [4]

"""Posterior distillation: its coefficients, and its gradient against the paper's two stochastic latents."""

from __future__ import annotations

import pytest
import torch
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.pds import PDS, STEP, coefficients
from support.oracle import MixtureDenoiser, gaussian
from torch import Tensor

BETAS = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
ALPHA_BARS = torch.cumprod(1 - BETAS, 0)
"""Stable Diffusion's alpha_bar."""
BELIEFS = {
    "negative": gaussian([0.2, -0.5], [1.5, 0.7]),
    "positive": gaussian([1.0, 2.0], [0.3, 0.2]),
    "source": gaussian([-1.0, 0.4], [0.5, 2.0]),
}
POSTERIORS = ("official", "as printed", "exact")


def sd(path: NoisePath = SCALED) -> Prior:
    """A prior with Stable Diffusion's noise levels, interpolated in the logarithm as the host does it."""
    log_sigmas = ((1 - ALPHA_BARS) / ALPHA_BARS).sqrt().log()

    def sigma_at(t: Tensor) -> Tensor:
        place = t.double() / STEP
        low = place.floor().long().clamp(0, 998)
        sigma = torch.lerp(log_sigmas[low], log_sigmas[low + 1], place - low).exp()
        return sigma if path is SCALED else sigma / (1 + sigma)

    return Prior(MixtureDenoiser(BELIEFS, path), path, sigma_at)


def times(*indices: int) -> Tensor:
    return torch.tensor(indices, dtype=torch.float64) * STEP


@pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
def test_the_coefficients_of_the_authors_code(path):
    found = coefficients(sd(path), times(20, 100, 300, 500, 700, 900), "official")
    psi = torch.tensor([1.695, 0.318, 0.080, 0.032, 0.0145, 0.0062], dtype=torch.float64)
    chi = torch.tensor([0.237, 0.116, 0.084, 0.082, 0.090, 0.103], dtype=torch.float64)
    print("official psi", [f"{x:.4f}" for x in found.psi], "chi", [f"{x:.4f}" for x in found.chi])
    assert ((found.psi - psi).abs() <= torch.tensor([5e-4, 5e-4, 5e-4, 5e-4, 5e-5, 5e-5])).all()
    assert ((found.chi - chi).abs() <= 5e-4).all()


def test_the_coefficients_as_printed():
    found = coefficients(sd(), times(20, 100, 300, 500, 700, 900), "as printed")
    psi = torch.tensor([0.28, 1.36, 3.31, 3.57, 2.38, 1.03], dtype=torch.float64)
    print("as printed psi", [f"{x:.3f}" for x in found.psi])
    assert ((found.psi - psi).abs() <= 5e-3).all()


def test_the_exact_posterior_has_no_identity_term():
    t = torch.linspace(0.02, 0.98, 200, dtype=torch.float64)
    assert coefficients(sd(), t, "exact").psi.abs().max() < 1e-10


def drawn(path: NoisePath) -> Sample:
    z, eps = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = times(60, 411, 903)
    return Sample(z, eps, t, sd(path).sigma_at(t), 0.0)


def reference() -> Tensor:
    return torch.randn(3, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def eps_hat(belief, z: Tensor, index: int, eps: Tensor) -> Tensor:
    """E[eps | z_t] of a Gaussian, variance-preserving."""
    a, b = ALPHA_BARS[index].sqrt(), (1 - ALPHA_BARS[index]).sqrt()
    mean, variance = belief.means[0], belief.variances[0]
    return b * (a * z + b * eps - a * mean) / (a**2 * variance + b**2)


def stochastic_latent(z: Tensor, index: int, eps: Tensor, eps_before: Tensor, text: str, posterior: str) -> Tensor:
    """z_tilde = (x_{t-1} - mu(x_t, eps_hat)) / sigma_t of PDS, section 3, with the choices of each variant."""
    null, conditional = (eps_hat(BELIEFS[name], z, index, eps) for name in ("negative", text))
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


@pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
@pytest.mark.parametrize("posterior", POSTERIORS)
def test_two_stochastic_latents_differ_by_the_gradient(path, posterior):
    sample, ref = drawn(path), reference()
    eps_before = torch.randn(3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rows = []
    for i, index in enumerate((60, 411, 903)):
        mine, source = (
            stochastic_latent(z[i], index, sample.eps[i], eps_before[i], text, posterior)
            for z, text in ((sample.z, "positive"), (ref, "source"))
        )
        rows.append(mine - source)
    answer = PDS(Delta(ref, 7.5, 7.5), posterior, identity_weight=1.0)(sd(path), sample)
    torch.testing.assert_close(answer.gradient, torch.stack(rows), rtol=1e-8, atol=1e-8)


def test_exact_pds_is_weighted_dds():
    sample, delta, here = drawn(SCALED), Delta(reference(), 7.5, 7.5), sd()
    chi = coefficients(here, sample.t, "exact").chi
    dds = DDS(delta)(here, sample).gradient
    torch.testing.assert_close(PDS(delta, "exact", 1.0)(here, sample).gradient, chi[:, None] * dds)


def test_identity_weight_scales_the_pull_to_the_source():
    sample, delta, here = drawn(SCALED), Delta(reference(), 7.5, 7.5), sd()
    none, one, two = (PDS(delta, "official", weight)(here, sample).gradient for weight in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - none)
    psi = coefficients(here, sample.t, "official").psi
    torch.testing.assert_close(one - none, psi[:, None] * (sample.z - delta.reference))


def test_one_call_of_four():
    here = sd()
    PDS(Delta(reference(), 7.5, 7.5), "official", 1.0)(here, drawn(SCALED))
    assert isinstance(here.denoise, MixtureDenoiser) and here.denoise.batches == [4]

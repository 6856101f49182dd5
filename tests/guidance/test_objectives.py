"""Every distillation gradient against its formula, written out for Gaussians."""

from __future__ import annotations

import math

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.distillation.objective import WEIGHTS, Objective, Sample, apply_weight
from dreamsampler.guidance.distillation.objectives.bridge import FullBridge, PromptBridge, Stages
from dreamsampler.guidance.distillation.objectives.csd import CSD
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.flow import FlowDelta
from dreamsampler.guidance.distillation.objectives.nfsd import NFSD
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.objectives.vsd import VSD
from support.oracle import TWO_TEXTS, MixtureDenoiser, gaussian, prior
from torch import Tensor

NULL, TARGET, SOURCE = (
    gaussian([0.2, -0.5], [1.5, 0.7]),
    gaussian([1.0, 2.0], [0.3, 0.2]),
    gaussian([-1, 0.4], [0.5, 2]),
)
BELIEFS = {"negative": NULL, "positive": TARGET, "source": SOURCE}
BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
S, W = 7.5, 25.0


def drawn(path: NoisePath, t: tuple[float, ...] = (0.1, 0.5, 0.9), progress: float = 0.0) -> Sample:
    """One image with noise for each of the given times."""
    generator = torch.Generator().manual_seed(len(t))
    z, eps = torch.randn(2, len(t), 2, generator=generator, dtype=torch.float64)
    times = torch.tensor(t, dtype=torch.float64)
    return Sample(z, eps, times, prior(BELIEFS, path).sigma_at(times), progress)


def eps_hat(belief, path: NoisePath, sample: Sample, z: Tensor | None = None, eps: Tensor | None = None) -> Tensor:
    """E[eps | z_t] of a Gaussian: b (z_t - a m) / (a^2 S + b^2), by conditioning the joint normal of eps and z_t."""
    z, eps = sample.z if z is None else z, sample.eps if eps is None else eps
    rows = []
    for i, sigma in enumerate(sample.sigma.tolist()):
        a, b = (1, sigma) if path is SCALED else (1 - sigma, sigma)
        z_t = a * z[i] + b * eps[i]
        rows.append(b * (z_t - a * belief.means[0]) / (a * a * belief.variances[0] + b * b))
    return torch.stack(rows)


def same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@BOTH_PATHS
def test_sds(path):
    sample = drawn(path)
    null, target = (eps_hat(belief, path, sample) for belief in (NULL, TARGET))
    answer = SDS(S)(prior(BELIEFS, path), sample)
    same(answer.gradient, null + S * (target - null) - sample.eps)
    same(answer.eps_hat, null + S * (target - null))


@BOTH_PATHS
def test_nfsd_moves_away_from_bad_images_only_at_high_noise(path):
    sample = drawn(path, (0.1, 0.19, 0.2, 0.9))
    null, target, bad = (eps_hat(belief, path, sample) for belief in (NULL, TARGET, SOURCE))
    domain = torch.cat([null[:2], null[2:] - bad[2:]])
    same(NFSD(S)(prior(BELIEFS, path), sample).gradient, domain + S * (target - null))


@BOTH_PATHS
@pytest.mark.parametrize("progress, w2", [(0.0, 30.0), (0.125, 22.5), (0.4, 6.0), (0.5, 0.0), (0.9, 0.0)])
def test_csd_anneals_the_source_prompt_over_the_first_half(path, progress, w2):
    sample = drawn(path, progress=progress)
    null, target, source = (eps_hat(belief, path, sample) for belief in (NULL, TARGET, SOURCE))
    answer = CSD(S, 30.0)(prior(BELIEFS, path), sample)
    same(answer.gradient, S * (target - null) + w2 * (null - source))


@BOTH_PATHS
def test_bridge_between_prompts(path):
    sample = drawn(path)
    target, source = (eps_hat(belief, path, sample) for belief in (TARGET, SOURCE))
    same(PromptBridge(W)(prior(BELIEFS, path), sample).gradient, W * (target - source))


def test_bridge_has_two_stages():
    stages = Stages(SDS(S), PromptBridge(W), share=0.5)
    before, after = drawn(SCALED, progress=0.499), drawn(SCALED, progress=0.5)
    here = prior(BELIEFS)
    same(stages(here, before).gradient, SDS(S)(here, before).gradient)
    same(stages(here, after).gradient, PromptBridge(W)(here, after).gradient)


@BOTH_PATHS
def test_full_bridge_follows_the_probability_flow_up_and_down(path):
    # Between Gaussians the flow is affine: standard scores are kept. DDIM is of first order, so the error halves.
    beliefs = {**BELIEFS, "negative": TARGET}
    sample = drawn(path, (0.3, 0.6, 0.95))
    score = (sample.z - SOURCE.means[0]) / SOURCE.variances[0].sqrt()

    def reached(sigma: float) -> tuple[Tensor, Tensor]:
        """Standard deviations of source and target at a level, in units of a."""
        b_over_a = sigma if path is SCALED else sigma / (1 - sigma)
        return (SOURCE.variances[0] + b_over_a**2).sqrt(), (TARGET.variances[0] + b_over_a**2).sqrt()

    rows = []
    for i, sigma in enumerate(sample.sigma.tolist()):
        source, target = reached(sigma)
        x = SOURCE.means[0] + source * score[i]
        rows.append(TARGET.means[0] + TARGET.variances[0].sqrt() * (x - TARGET.means[0]) / target)
    exact = sample.z - torch.stack(rows)
    errors = [
        (FullBridge(1.0, steps)(prior(beliefs, path), sample).gradient - exact).abs().max().item()
        for steps in (200, 400, 800)
    ]
    print("full bridge, error at 200, 400, 800 steps:", [f"{e:.4f}" for e in errors])
    assert errors[2] < 0.02
    for coarse, fine in zip(errors, errors[1:]):
        assert 1.7 < coarse / fine < 2.3


def reference(count: int) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@BOTH_PATHS
def test_dds(path):
    sample, ref = drawn(path), reference(3)
    null, target = (eps_hat(belief, path, sample) for belief in (NULL, TARGET))
    null_ref, source = (eps_hat(belief, path, sample, z=ref) for belief in (NULL, SOURCE))
    expected = (null + S * (target - null)) - (null_ref + 3.0 * (source - null_ref))
    same(DDS(Delta(ref, S, 3.0))(prior(BELIEFS, path), sample).gradient, expected)


@BOTH_PATHS
def test_dds_is_zero_between_equal_images_and_prompts(path):
    sample = drawn(path)
    answer = DDS(Delta(sample.z, S, S))(prior({**BELIEFS, "source": TARGET}, path), sample)
    assert not answer.gradient.any()


def velocities(path: NoisePath, sample: Sample, ref: Tensor, shift: float) -> Tensor:
    """v_hat_tgt - v_hat_src at the two states of DVRF's eq. 6 in flow units, under guidance S and 3."""
    rows = []
    for i, sigma in enumerate(sample.sigma.tolist()):
        time = sigma if path is FLOW else sigma / (1 + sigma)
        noise = sample.eps[i]
        x_src = (1 - time) * ref[i] + time * noise
        x_tgt = (1 - time) * sample.z[i] + time * noise + shift * time * (sample.z[i] - ref[i])

        def velocity(belief, x, time=time):
            gain = (1 - time) * belief.variances[0] / ((1 - time) ** 2 * belief.variances[0] + time**2)
            clean = belief.means[0] + gain * (x - (1 - time) * belief.means[0])
            return (x - clean) / time

        v_src = velocity(NULL, x_src) + 3.0 * (velocity(SOURCE, x_src) - velocity(NULL, x_src))
        v_tgt = velocity(NULL, x_tgt) + S * (velocity(TARGET, x_tgt) - velocity(NULL, x_tgt))
        rows.append(v_tgt - v_src)
    return torch.stack(rows)


@BOTH_PATHS
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_flow_delta_on_both_families(path, shift):
    sample, ref = drawn(path), reference(3)
    expected = velocities(path, sample, ref, shift) + (1 - shift) * (sample.z - ref)
    answer = FlowDelta(Delta(ref, S, 3.0), lambda _: shift)(prior(BELIEFS, path), sample)
    same(answer.gradient, expected)


@BOTH_PATHS
def test_without_shift_flow_delta_is_dds(path):
    sample, ref = drawn(path), reference(3)
    delta, here = Delta(ref, S, 3.0), prior(BELIEFS, path)
    a, b = path.a(sample.sigma)[:, None], path.b(sample.sigma)[:, None]
    dds = DDS(delta)(here, sample).gradient * (a + b) / a
    same(FlowDelta(delta, lambda _: 0.0)(here, sample).gradient, dds)


def test_full_shift_is_a_flowedit_step():
    sample, ref = drawn(FLOW), reference(3)
    answer = FlowDelta(Delta(ref, S, 3.0), lambda _: 1.0)(prior(BELIEFS, FLOW), sample)
    same(sample.z - 0.02 * answer.gradient, sample.z - 0.02 * velocities(FLOW, sample, ref, 1.0))


def test_dvrf_shift_follows_the_progress():
    ref, here = reference(3), prior(BELIEFS, FLOW)
    growing = FlowDelta(Delta(ref, S, 3.0), lambda done: done)
    sample = drawn(FLOW, progress=0.7)
    same(growing(here, sample).gradient, FlowDelta(Delta(ref, S, 3.0), lambda _: 0.7)(here, sample).gradient)


class FixedParticles:
    """A trainable denoiser that does not learn: its distribution is SOURCE. Records what it is trained on."""

    def __init__(self, path: NoisePath):
        self.path, self.shown = path, []

    def __call__(self, x, sigma, names):
        assert names == ("positive",)
        return [SOURCE.posterior_mean(x, self.path.a(sigma), self.path.b(sigma))]

    def fit(self, x, sigma, eps):
        self.shown.append((x, sigma, eps))


@BOTH_PATHS
def test_vsd_and_what_it_trains_on(path):
    sample, particles = drawn(path), FixedParticles(path)
    null, target, phi = (eps_hat(belief, path, sample) for belief in (NULL, TARGET, SOURCE))
    answer = VSD(S, particles, SeededNoise([1, 2, 3]))(prior(BELIEFS, path), sample)
    same(answer.gradient, null + S * (target - null) - phi)
    ((x, sigma, eps),) = particles.shown
    same((x - path.b(sigma)[:, None] * eps) / path.a(sigma)[:, None], sample.z)
    assert len(set(sigma.tolist()) | set(sample.sigma.tolist())) == 6


def test_csd_without_source_is_the_dominant_term_of_sds():
    sample, here = drawn(SCALED), prior(BELIEFS)
    null = eps_hat(NULL, SCALED, sample)
    sds = SDS(S)(here, sample).gradient
    same(CSD(S, 0.0)(here, sample).gradient, sds - (null - sample.eps))


def test_bridge_from_the_unconditional_prompt_is_the_classifier_term():
    sample, here = drawn(SCALED), prior({**BELIEFS, "source": NULL})
    same(PromptBridge(S)(here, sample).gradient, CSD(S, 0.0)(here, sample).gradient)


@pytest.mark.parametrize(
    "objective, calls",
    [
        (SDS(S), [2]),
        (NFSD(S), [3]),
        (CSD(S, S), [3]),
        (PromptBridge(W), [2]),
        (DDS(Delta(reference(3), S, S)), [4]),
        (FlowDelta(Delta(reference(3), S, S), lambda _: 1.0), [4]),
        (FullBridge(S, 5), [1] * 5 + [2] * 5),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_predictions_at_one_level_share_a_call(objective: Objective, calls: list[int]):
    here = prior(BELIEFS)
    objective(here, drawn(SCALED))
    assert isinstance(here.denoise, MixtureDenoiser) and here.denoise.batches == calls


@BOTH_PATHS
def test_weights(path):
    sample = drawn(path)
    sigma = sample.sigma
    snr = 1 / sigma**2 if path is SCALED else ((1 - sigma) / sigma) ** 2
    same(WEIGHTS["1-alpha_bar"](path, sigma), 1 - snr / (1 + snr))
    same(WEIGHTS["uniform"](path, sigma), torch.ones_like(sigma))
    same(WEIGHTS["snr"](path, sigma), snr**-0.5)


@BOTH_PATHS
def test_snr_weight_makes_sds_the_distance_to_the_clean_estimate(path):
    # DreamSampler, eq. 10 with its square put right: |z - z0_hat|^2 = (1 - alpha_bar) / alpha_bar |eps - eps_hat|^2.
    sample, here = drawn(path), prior(BELIEFS, path)
    (z0_hat,) = here.denoise(sample.noised(path), sample.sigma, ["positive"])
    gradient = apply_weight(SDS(1.0)(here, sample).gradient, WEIGHTS["snr"], path, sample.sigma)
    same(gradient, sample.z - z0_hat)


def gauss_hermite(order: int = 80) -> tuple[Tensor, Tensor]:
    """Nodes and weights that integrate against the standard normal density."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    return torch.from_numpy(nodes), torch.from_numpy(weights / math.sqrt(2 * math.pi))


def expected_sds(here, z: Tensor, t: float) -> Tensor:
    """E over eps of SDS at one image z (2,), by quadrature in both dimensions."""
    nodes, weights = gauss_hermite()
    eps = torch.cartesian_prod(nodes, nodes)
    times = torch.full((len(eps),), t, dtype=torch.float64)
    sample = Sample(z.expand_as(eps), eps, times, here.sigma_at(times), 0.0)
    return (torch.cartesian_prod(weights, weights).prod(1)[:, None] * SDS(1.0)(here, sample).gradient).sum(0)


@BOTH_PATHS
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_sds_vanishes_in_expectation_at_the_mean_and_nowhere_else(path, t):
    here = prior(BELIEFS, path)
    mean = TARGET.means[0]
    assert expected_sds(here, mean, t).abs().max() < 1e-10
    assert expected_sds(here, mean + torch.tensor([0.1, 0.0]), t)[0] > 1e-4


def test_sds_vanishes_in_expectation_over_the_data():
    # eps_hat is the mean of eps given z_t, so over samples of the model the residual averages to 0.
    here, count = prior(TWO_TEXTS), 200_000
    generator = torch.Generator().manual_seed(3)
    z = TWO_TEXTS["positive"].sample(count, generator)
    eps = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    t = torch.full((count,), 0.4, dtype=torch.float64)
    residual = SDS(1.0)(here, Sample(z, eps, t, here.sigma_at(t), 0.0)).gradient
    assert (residual.mean(0).abs() < 4 * residual.std(0) / math.sqrt(count)).all()

"""Distillation gradients, compared with their formulas for Gaussians."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.distillation.ending import PlainSampling
from dreamsampler.guidance.distillation.method import METHODS, Resources
from dreamsampler.guidance.distillation.objective import WEIGHTS, Direction, Objective, Sample
from dreamsampler.guidance.distillation.objectives.bridge import FullBridge, PromptBridge, Stages
from dreamsampler.guidance.distillation.objectives.csd import CSD
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.dreamsampler import DreamSampler
from dreamsampler.guidance.distillation.objectives.flow import FlowDelta
from dreamsampler.guidance.distillation.objectives.ism import ISM
from dreamsampler.guidance.distillation.objectives.nfsd import NFSD
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.objectives.vsd import VSD
from support.noise_paths import BOTH_PATHS
from support.oracle import TWO_TEXTS, MixtureDenoiser, gaussian, prior
from support.tensors import assert_close, generator, normal
from torch import Tensor

NULL, TARGET, SOURCE = (
    gaussian([0.2, -0.5], [1.5, 0.7]),
    gaussian([1.0, 2.0], [0.3, 0.2]),
    gaussian([-1, 0.4], [0.5, 2]),
)
DISTRIBUTIONS = {"negative": NULL, "positive": TARGET, "source": SOURCE}
S, W = 7.5, 25.0


def random_sample(path: NoisePath, t: tuple[float, ...] = (0.1, 0.5, 0.9), progress: float = 0.0) -> Sample:
    """A random latent and noise for each time."""
    z, eps = normal(2, len(t), 2, seed=len(t))
    times = torch.tensor(t, dtype=torch.float64)
    return Sample(z, eps, times, prior(DISTRIBUTIONS, path).sigma_at(times), progress)


def eps_hat(
    distribution, path: NoisePath, sample: Sample, z: Tensor | None = None, eps: Tensor | None = None
) -> Tensor:
    """E[eps | z_t] for a Gaussian: b (z_t - a m) / (a^2 S + b^2), from the joint distribution of eps and z_t."""
    z = sample.z if z is None else z
    eps = sample.eps if eps is None else eps
    rows = []
    for i, sigma in enumerate(sample.sigma.tolist()):
        a, b = (1, sigma) if path is SCALED else (1 - sigma, sigma)
        z_t = a * z[i] + b * eps[i]
        rows.append(b * (z_t - a * distribution.means[0]) / (a * a * distribution.variances[0] + b * b))
    return torch.stack(rows)


@BOTH_PATHS
def test_sds(path):
    sample = random_sample(path)
    null, target = (eps_hat(distribution, path, sample) for distribution in (NULL, TARGET))
    direction = SDS(S)(prior(DISTRIBUTIONS, path), sample)
    assert_close(direction.gradient, null + S * (target - null) - sample.eps)
    assert_close(direction.eps_hat, null + S * (target - null))


@BOTH_PATHS
def test_nfsd_moves_away_from_low_quality_only_at_high_noise(path):
    sample = random_sample(path, (0.1, 0.19, 0.2, 0.9))
    null, target, low_quality = (eps_hat(distribution, path, sample) for distribution in (NULL, TARGET, SOURCE))
    domain = torch.cat([null[:2], null[2:] - low_quality[2:]])
    assert_close(NFSD(S)(prior(DISTRIBUTIONS, path), sample).gradient, domain + S * (target - null))


@BOTH_PATHS
@pytest.mark.parametrize("progress, w2", [(0.0, 30.0), (0.125, 22.5), (0.4, 6.0), (0.5, 0.0), (0.9, 0.0)])
def test_csd_anneals_the_source_weight_over_the_first_half(path, progress, w2):
    sample = random_sample(path, progress=progress)
    null, target, source = (eps_hat(distribution, path, sample) for distribution in (NULL, TARGET, SOURCE))
    direction = CSD(S, 30.0)(prior(DISTRIBUTIONS, path), sample)
    assert_close(direction.gradient, S * (target - null) + w2 * (null - source))


@BOTH_PATHS
def test_bridge_between_prompts(path):
    sample = random_sample(path)
    target, source = (eps_hat(distribution, path, sample) for distribution in (TARGET, SOURCE))
    assert_close(PromptBridge(W)(prior(DISTRIBUTIONS, path), sample).gradient, W * (target - source))


def test_bridge_starts_with_an_sds_stage():
    stages = Stages(SDS(S), PromptBridge(W), share=0.5)
    before, after = random_sample(SCALED, progress=0.499), random_sample(SCALED, progress=0.5)
    model = prior(DISTRIBUTIONS)
    assert_close(stages(model, before).gradient, SDS(S)(model, before).gradient)
    assert_close(stages(model, after).gradient, PromptBridge(W)(model, after).gradient)


@BOTH_PATHS
def test_full_bridge_follows_the_probability_flow_up_and_down(path):
    # Between Gaussians the flow is affine and preserves standard scores. DDIM is first order, so the error halves.
    distributions = {**DISTRIBUTIONS, "negative": TARGET}
    sample = random_sample(path, (0.3, 0.6, 0.95))
    score = (sample.z - SOURCE.means[0]) / SOURCE.variances[0].sqrt()

    def deviations_at(sigma: float) -> tuple[Tensor, Tensor]:
        """Standard deviations of source and target at a noise level, in units of a."""
        b_over_a = sigma if path is SCALED else sigma / (1 - sigma)
        return (SOURCE.variances[0] + b_over_a**2).sqrt(), (TARGET.variances[0] + b_over_a**2).sqrt()

    rows = []
    for i, sigma in enumerate(sample.sigma.tolist()):
        source, target = deviations_at(sigma)
        x = SOURCE.means[0] + source * score[i]
        rows.append(TARGET.means[0] + TARGET.variances[0].sqrt() * (x - TARGET.means[0]) / target)
    exact = sample.z - torch.stack(rows)
    errors = [
        (FullBridge(1.0, steps)(prior(distributions, path), sample).gradient - exact).abs().max().item()
        for steps in (200, 400, 800)
    ]
    print("full bridge, error at 200, 400, 800 steps:", [f"{e:.4f}" for e in errors])
    assert errors[2] < 0.02
    for coarse, fine in zip(errors, errors[1:]):
        assert 1.7 < coarse / fine < 2.3


def reference_latent(count: int) -> Tensor:
    return normal(count, 2, seed=9)


@BOTH_PATHS
def test_dds(path):
    sample, reference = random_sample(path), reference_latent(3)
    null, target = (eps_hat(distribution, path, sample) for distribution in (NULL, TARGET))
    null_ref, source = (eps_hat(distribution, path, sample, z=reference) for distribution in (NULL, SOURCE))
    expected = (null + S * (target - null)) - (null_ref + 3.0 * (source - null_ref))
    assert_close(DDS(Delta(reference, S, 3.0))(prior(DISTRIBUTIONS, path), sample).gradient, expected)


@BOTH_PATHS
def test_dds_is_zero_for_equal_images_and_prompts(path):
    sample = random_sample(path)
    direction = DDS(Delta(sample.z, S, S))(prior({**DISTRIBUTIONS, "source": TARGET}, path), sample)
    assert not direction.gradient.any()


def velocities(path: NoisePath, sample: Sample, reference: Tensor, shift: float) -> Tensor:
    """v_hat_tgt - v_hat_src at the two states of DVRF, eq. 6, in flow units, with guidance scales S and 3."""
    rows = []
    for i, sigma in enumerate(sample.sigma.tolist()):
        time = sigma if path is FLOW else sigma / (1 + sigma)
        noise = sample.eps[i]
        x_src = (1 - time) * reference[i] + time * noise
        x_tgt = (1 - time) * sample.z[i] + time * noise + shift * time * (sample.z[i] - reference[i])

        def velocity(distribution, x, time=time):
            gain = (1 - time) * distribution.variances[0] / ((1 - time) ** 2 * distribution.variances[0] + time**2)
            clean = distribution.means[0] + gain * (x - (1 - time) * distribution.means[0])
            return (x - clean) / time

        v_src = velocity(NULL, x_src) + 3.0 * (velocity(SOURCE, x_src) - velocity(NULL, x_src))
        v_tgt = velocity(NULL, x_tgt) + S * (velocity(TARGET, x_tgt) - velocity(NULL, x_tgt))
        rows.append(v_tgt - v_src)
    return torch.stack(rows)


@BOTH_PATHS
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_flow_delta(path, shift):
    sample, reference = random_sample(path), reference_latent(3)
    expected = velocities(path, sample, reference, shift) + (1 - shift) * (sample.z - reference)
    direction = FlowDelta(Delta(reference, S, 3.0), lambda _: shift)(prior(DISTRIBUTIONS, path), sample)
    assert_close(direction.gradient, expected)


@BOTH_PATHS
def test_flow_delta_without_shift_is_dds(path):
    sample, reference = random_sample(path), reference_latent(3)
    delta, model = Delta(reference, S, 3.0), prior(DISTRIBUTIONS, path)
    a, b = path.a(sample.sigma)[:, None], path.b(sample.sigma)[:, None]
    dds = DDS(delta)(model, sample).gradient * (a + b) / a
    assert_close(FlowDelta(delta, lambda _: 0.0)(model, sample).gradient, dds)


def test_flow_delta_with_full_shift_is_a_flowedit_step():
    sample, reference = random_sample(FLOW), reference_latent(3)
    direction = FlowDelta(Delta(reference, S, 3.0), lambda _: 1.0)(prior(DISTRIBUTIONS, FLOW), sample)
    assert_close(sample.z - 0.02 * direction.gradient, sample.z - 0.02 * velocities(FLOW, sample, reference, 1.0))


def test_dvrf_shift_grows_with_progress():
    reference, model = reference_latent(3), prior(DISTRIBUTIONS, FLOW)
    growing = FlowDelta(Delta(reference, S, 3.0), lambda done: done)
    sample = random_sample(FLOW, progress=0.7)
    assert_close(
        growing(model, sample).gradient, FlowDelta(Delta(reference, S, 3.0), lambda _: 0.7)(model, sample).gradient
    )


@BOTH_PATHS
@pytest.mark.parametrize("progress", [0.0, 0.7])
def test_a_constant_shift_of_dvrf_is_the_same_in_every_step(path, progress):
    sample, reference, model = random_sample(path, progress=progress), reference_latent(3), prior(DISTRIBUTIONS, path)

    def gradient(name: str, **settings: float | None) -> Tensor:
        config = METHODS[name].config().updated({"guidance_scale": S, "source_guidance_scale": 3.0, **settings})
        resources = Resources(SeededNoise([1]), reference)
        return METHODS[name].build(config.own, resources)(model, sample).gradient

    a, b = path.a(sample.sigma)[:, None], path.b(sample.sigma)[:, None]
    assert_close(gradient("dvrf", shift=0.0), gradient("dds") * (a + b) / a)
    assert_close(gradient("dvrf", shift=1.0), gradient("flowedit"))
    assert_close(gradient("dvrf"), gradient("dvrf", shift=progress))


class FixedParticles:
    """A trainable denoiser that always predicts SOURCE, and records its training samples."""

    def __init__(self, path: NoisePath):
        self.path, self.training_samples = path, []

    def __call__(self, x, sigma, names):
        assert names == ("positive",)
        return [SOURCE.posterior_mean(x, self.path.a(sigma), self.path.b(sigma))]

    def fit(self, x, sigma, eps):
        self.training_samples.append((x, sigma, eps))


@BOTH_PATHS
def test_vsd_gradient_and_training_samples(path):
    sample, particles = random_sample(path), FixedParticles(path)
    null, target, phi = (eps_hat(distribution, path, sample) for distribution in (NULL, TARGET, SOURCE))
    direction = VSD(S, particles, SeededNoise([1, 2, 3]))(prior(DISTRIBUTIONS, path), sample)
    assert_close(direction.gradient, null + S * (target - null) - phi)
    ((x, sigma, eps),) = particles.training_samples
    assert_close((x - path.b(sigma)[:, None] * eps) / path.a(sigma)[:, None], sample.z)
    assert len(set(sigma.tolist()) | set(sample.sigma.tolist())) == 6


def test_csd_without_source_is_the_dominant_term_of_sds():
    sample, model = random_sample(SCALED), prior(DISTRIBUTIONS)
    null = eps_hat(NULL, SCALED, sample)
    sds = SDS(S)(model, sample).gradient
    assert_close(CSD(S, 0.0)(model, sample).gradient, sds - (null - sample.eps))


def test_bridge_from_the_unconditional_prompt_is_csd_without_source():
    sample, model = random_sample(SCALED), prior({**DISTRIBUTIONS, "source": NULL})
    assert_close(PromptBridge(S)(model, sample).gradient, CSD(S, 0.0)(model, sample).gradient)


@pytest.mark.parametrize(
    "objective, calls",
    [
        (SDS(S), [2]),
        (NFSD(S), [3]),
        (CSD(S, S), [3]),
        (PromptBridge(W), [2]),
        (DDS(Delta(reference_latent(3), S, S)), [4]),
        (FlowDelta(Delta(reference_latent(3), S, S), lambda _: 1.0), [4]),
        (FullBridge(S, 5), [1] * 5 + [2] * 5),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_predictions_at_one_noise_level_share_a_model_call(objective: Objective, calls: list[int]):
    model = prior(DISTRIBUTIONS)
    objective(model, random_sample(SCALED))
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == calls


@BOTH_PATHS
def test_weights(path):
    sample = random_sample(path)
    sigma = sample.sigma
    snr = 1 / sigma**2 if path is SCALED else ((1 - sigma) / sigma) ** 2
    z = sample.z

    def weighted(name: str, gradient: Tensor) -> Tensor:
        return WEIGHTS[name](Direction(gradient, sample.eps), path, sigma)

    assert_close(weighted("1-alpha_bar", z), (1 - snr / (1 + snr))[:, None] * z)
    assert_close(weighted("uniform", z), z)
    assert_close(weighted("snr", z), snr[:, None] ** -0.5 * z)
    normalized = weighted("normalized", z * sigma[:, None])
    assert_close(normalized.square().mean(1), torch.ones_like(sigma))
    assert_close(normalized / normalized[:, :1], z / z[:, :1])
    assert not weighted("normalized", torch.zeros_like(z)).any()


@BOTH_PATHS
def test_sds_with_snr_weight_is_the_distance_to_the_clean_estimate(path):
    # DreamSampler, eq. 10, with the square corrected: |z - z0_hat|^2 = (1 - alpha_bar) / alpha_bar |eps - eps_hat|^2.
    sample, model = random_sample(path), prior(DISTRIBUTIONS, path)
    (z0_hat,) = model.denoise(sample.noised(path), sample.sigma, ["positive"])
    gradient = WEIGHTS["snr"](SDS(1.0)(model, sample), path, sample.sigma)
    assert_close(gradient, sample.z - z0_hat)


def gauss_hermite(order: int = 80) -> tuple[Tensor, Tensor]:
    """Nodes and weights for integrals against the standard normal density."""
    import numpy as np

    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    return torch.from_numpy(nodes), torch.from_numpy(weights / math.sqrt(2 * math.pi))


def expected_sds(model, z: Tensor, t: float) -> Tensor:
    """The expectation over eps of the SDS gradient at a latent z (2,), by quadrature in both dimensions."""
    nodes, weights = gauss_hermite()
    eps = torch.cartesian_prod(nodes, nodes)
    times = torch.full((len(eps),), t, dtype=torch.float64)
    sample = Sample(z.expand_as(eps), eps, times, model.sigma_at(times), 0.0)
    return (torch.cartesian_prod(weights, weights).prod(1)[:, None] * SDS(1.0)(model, sample).gradient).sum(0)


@BOTH_PATHS
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_expected_sds_gradient_is_zero_only_at_the_mean(path, t):
    model = prior(DISTRIBUTIONS, path)
    mean = TARGET.means[0]
    assert expected_sds(model, mean, t).abs().max() < 1e-10
    assert expected_sds(model, mean + torch.tensor([0.1, 0.0]), t)[0] > 1e-4


def test_sds_gradient_averages_to_zero_over_the_data():
    # eps_hat is the mean of eps given z_t, so the residual averages to 0 over samples from the model.
    model, count = prior(TWO_TEXTS), 200_000
    random = generator(3)
    z = TWO_TEXTS["positive"].sample(count, random)
    eps = torch.randn(count, 2, generator=random, dtype=torch.float64)
    t = torch.full((count,), 0.4, dtype=torch.float64)
    residual = SDS(1.0)(model, Sample(z, eps, t, model.sigma_at(t), 0.0)).gradient
    assert (residual.mean(0).abs() < 4 * residual.std(0) / math.sqrt(count)).all()


class OwnRule(MixtureDenoiser):
    """A denoiser with a rule of guidance of its own: the prompt's estimate, moved by the unconditional one."""

    def guided(self, x, sigma, scale, names=("negative", "positive")):
        null, target = self(x, sigma, names)
        return null, scale * target + 0.1 * null


AT_ONE: dict[str, tuple[Objective, list[int], list[int]]] = {
    "sds": (SDS(1.0), [2], [1]),
    "dreamsampler, guided": (DreamSampler(1.0, "guided"), [2], [1]),
    "dreamsampler": (DreamSampler(1.0, "unconditional"), [2], [2]),
    "vsd": (VSD(1.0, FixedParticles(SCALED), SeededNoise([1, 2, 3])), [2], [1]),
    "ism": (ISM(1.0, 0.05, 2), [1, 1, 1, 2], [1, 1, 1, 1]),
    "full bridge": (FullBridge(1.0, 2), [1, 1, 2, 2], [1, 1, 1, 1]),
    "ending": (PlainSampling(1.0), [2], [1]),
}
"""Objectives at guidance 1, and the sizes of their calls with a rule of guidance, and without."""


@pytest.mark.parametrize("case", AT_ONE)
def test_at_guidance_1_the_target_alone_is_evaluated(case: str):
    """Plain guidance, asked as a rule that needs both predictions, gives the same; another rule still acts."""
    objective, both, alone = AT_ONE[case]
    sample = random_sample(SCALED)

    class Plain(OwnRule):
        def guided(self, x, sigma, scale, names=("negative", "positive")):
            null, target = self(x, sigma, names)
            return null, null + scale * (target - null)

    def asked(kind: type[MixtureDenoiser]) -> tuple[Direction, list[int]]:
        model = replace(prior(DISTRIBUTIONS), denoise=kind(DISTRIBUTIONS, SCALED))
        assert isinstance(model.denoise, MixtureDenoiser)
        return objective(model, sample), model.denoise.batches

    (own, own_calls), (plain, plain_calls), (ruled, ruled_calls) = map(asked, (MixtureDenoiser, Plain, OwnRule))
    assert own_calls == alone and plain_calls == ruled_calls == both
    assert_close(own.gradient, plain.gradient)
    assert_close(own.eps_hat, plain.eps_hat)
    assert (ruled.gradient - own.gradient).abs().max() > 1e-3

"""The distillation loop: fixed points of the methods, schedules, noise policies and generators."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.distillation.generators import Latent, Pixels
from dreamsampler.guidance.distillation.loop import NonFiniteGradientError, Plan, descent_at_rates, optimize
from dreamsampler.guidance.distillation.method import LoopSettings, Resources
from dreamsampler.guidance.distillation.objective import WEIGHTS, Direction
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.bridge import FullBridge, PromptBridge
from dreamsampler.guidance.distillation.objectives.csd import CSD
from dreamsampler.guidance.distillation.objectives.dds import DDS
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.flow import FlowDelta
from dreamsampler.guidance.distillation.objectives.nfsd import NFSD
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.distillation.objectives.vsd import VSD
from dreamsampler.guidance.distillation.regularizers import L2ToSource
from dreamsampler.guidance.distillation.schedules import (
    NOISE_POLICIES,
    Annealed,
    Descending,
    Estimated,
    Inverted,
    PreviousStep,
    Uniform,
    cosine,
    fixed,
    fresh,
    warm_up,
)
from support.noise_paths import BOTH_PATHS
from support.oracle import Mixture, gaussian, prior
from support.tensors import normal
from torch import Tensor

NULL, TARGET, SOURCE = gaussian([0.0], [1.0]), gaussian([2.0], [0.25]), gaussian([-1.0], [4.0])
DISTRIBUTIONS = {"negative": NULL, "positive": TARGET, "source": SOURCE}
"""They broadcast over latents of any width: each value is an independent Gaussian."""
SAMPLES = 4000


def run(
    objective, start: Tensor, *, path=SCALED, distributions=DISTRIBUTIONS, regularizers=(), seed=0, **settings
) -> Tensor:
    """The latents (B, D) after an optimization with these settings."""
    loop = LoopSettings(**{"optimizer": "sgd", "weighting": "uniform", **settings})
    model, generator = prior(distributions, path), Latent(start)
    noise = SeededNoise([seed + i for i in range(len(start))])
    plan = loop.plan(model, start)
    for _ in optimize(model, generator, objective, plan=plan, noise=noise, regularizers=regularizers):
        pass
    return generator().detach()


AT_T_HALF = {"t_min": 0.5, "t_max": 0.5, "steps": 400, "learning_rate": 0.4, "learning_rate_schedule": "cosine"}
SIGMA = prior(DISTRIBUTIONS).sigma_at(torch.tensor(0.5, dtype=torch.float64)).item()


def slope(distribution: Mixture) -> float:
    """The k in E[eps_hat] = k (z - m) for a Gaussian at t = 0.5: a b / (a^2 S + b^2)."""
    return SIGMA / (distribution.variances.item() + SIGMA**2)


def equilibrium(*terms: tuple[float, Mixture]) -> float:
    """The z where sum w k (z - m) = 0."""
    slopes = [(weight * slope(distribution), distribution.means.item()) for weight, distribution in terms]
    return sum(k * m for k, m in slopes) / sum(k for k, _ in slopes)


REFERENCE = torch.tensor([[0.7]], dtype=torch.float64)
REFERENCE_NOISE = slope(SOURCE) * (0.7 - SOURCE.means.item())
FIXED_POINTS = {
    "sds": (SDS(1.0), equilibrium((1, TARGET))),
    "sds, guided": (SDS(3.0), equilibrium((-2, NULL), (3, TARGET))),
    "nfsd": (NFSD(3.0, switch=0.9), equilibrium((-2, NULL), (3, TARGET))),
    "nfsd, noisy": (NFSD(3.0, switch=0.1), equilibrium((-2, NULL), (3, TARGET), (-1, SOURCE))),
    "csd": (CSD(3.0, 2.0, anneal=1e9), equilibrium((3, TARGET), (-1, NULL), (-2, SOURCE))),
    "bridge": (PromptBridge(1.0), equilibrium((1, TARGET), (-1, SOURCE))),
    "dds": (DDS(Delta(REFERENCE, 1.0, 1.0)), TARGET.means.item() + REFERENCE_NOISE / slope(TARGET)),
}


@pytest.mark.parametrize("name", FIXED_POINTS)
def test_fixed_points(name):
    objective, expected = FIXED_POINTS[name]
    final = run(objective, torch.zeros(1, SAMPLES, dtype=torch.float64), **AT_T_HALF)
    error = final.std().item() / math.sqrt(SAMPLES)
    assert error < 0.02
    assert abs(final.mean().item() - expected) < 4 * error + 1e-3


def test_fixed_point_of_full_bridge():
    # Inversion keeps the source's standard score, x = m1 + r1 (z - m1) / s1, and sampling the target's:
    # z' = m2 + s2 (x - m2) / r2.
    distributions = {**DISTRIBUTIONS, "negative": TARGET}
    final = run(
        FullBridge(1.0, 800), torch.zeros(1, 1, dtype=torch.float64), distributions=distributions,
        t_min=0.9, t_max=0.9, steps=15, learning_rate=1.0,
    )  # fmt: skip
    sigma = prior(DISTRIBUTIONS).sigma_at(torch.tensor(0.9)).item()
    (m1, s1, r1), (m2, s2, r2) = (
        (b.means.item(), b.variances.sqrt().item(), (b.variances + sigma**2).sqrt().item()) for b in (SOURCE, TARGET)
    )
    gain = s2 * r1 / (s1 * r2)
    fixed_point = (m2 + s2 / r2 * (m1 - m2) - gain * m1) / (1 - gain)
    assert abs(final.item() - fixed_point) < 5e-3


class GaussianParticles:
    """A trainable denoiser that fits a Gaussian to the particles exactly."""

    def __init__(self, path: NoisePath):
        self.path, self.distribution = path, NULL

    def __call__(self, x, sigma, names):
        return [self.distribution.posterior_mean(x, self.path.a(sigma), self.path.b(sigma))]

    def fit(self, x, sigma, eps):
        z = (x - self.path.b(sigma)[:, None] * eps) / self.path.a(sigma)[:, None]
        self.distribution = gaussian([z.mean().item()], [z.var().item()])


@BOTH_PATHS
def test_vsd_converges_to_the_target_distribution(path):
    start = normal(1, SAMPLES, seed=0)
    vsd = VSD(1.0, GaussianParticles(path), SeededNoise([9000]))
    final = run(vsd, start, path=path, steps=600, learning_rate=0.1, learning_rate_schedule="cosine")
    assert abs(final.mean().item() - 2.0) < 0.02
    assert abs(final.std().item() - 0.5) < 0.02


TWO_MODES = {
    "positive": Mixture(
        torch.tensor([0.6, 0.4], dtype=torch.float64),
        torch.tensor([[-1.5], [1.5]], dtype=torch.float64),
        torch.tensor([[0.2], [0.2]], dtype=torch.float64),
    )
}
TWO_MODES["negative"] = TWO_MODES["positive"]
PARTICLES = 64


def particles() -> Tensor:
    return normal(PARTICLES, 1, seed=4)


def covers_both_modes(name: str, final: Tensor) -> bool:
    """Whether the particles have about the right proportions and spread in both modes."""
    right, distance = (final > 0).double().mean().item(), final.abs()
    mean, width = distance.mean().item(), distance.std().item()
    print(f"{name}: {right:.2f} of 64 particles right, |z| = {mean:.2f} +- {width:.2f}")
    return 0.2 < right < 0.65 and abs(mean - 1.5) < 0.15 and 0.3 < width < 0.6


class SmallNetwork:
    """A trainable denoiser: a small noise-predicting network, trained like a LoRA."""

    def __init__(self, path: NoisePath):
        self.path = path
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = [torch.nn.Linear(5, 64), torch.nn.SiLU(), torch.nn.Linear(64, 64), torch.nn.SiLU()]
            self.net = torch.nn.Sequential(*layers, torch.nn.Linear(64, 1)).double()
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=3e-3)

    def eps(self, x: Tensor, sigma: Tensor) -> Tensor:
        log = sigma.log()[:, None]
        unit = x / (1 + sigma[:, None] ** 2).sqrt()
        return self.net(torch.cat([unit, log, log.sin(), log.cos(), unit * log], 1))

    def __call__(self, x, sigma, names):
        return [x - sigma[:, None] * self.eps(x, sigma)]

    def fit(self, x, sigma, eps):
        with torch.enable_grad():
            for _ in range(4):
                self.optimizer.zero_grad()
                (self.eps(x, sigma) - eps).square().mean().backward()
                self.optimizer.step()


PROLIFICDREAMER = {
    "steps": 1000,
    "learning_rate": 0.03,
    "optimizer": "adam",
    "learning_rate_schedule": "cosine",
    "weighting": "1-alpha_bar",
}


def test_sds_collapses_to_one_mode():
    final = run(SDS(1.0), particles(), distributions=TWO_MODES, **PROLIFICDREAMER)
    assert not covers_both_modes("SDS", final)
    assert (final < 0).all() and final.std() < 0.15


def test_vsd_covers_both_modes():
    vsd = VSD(1.0, SmallNetwork(SCALED), SeededNoise(range(500, 500 + PARTICLES)))
    assert covers_both_modes("VSD", run(vsd, particles(), distributions=TWO_MODES, **PROLIFICDREAMER))


def test_dreamsampler_covers_both_modes():
    final = run(
        SDS(1.0), particles(), distributions=TWO_MODES, steps=100, learning_rate=1.0, weighting="snr",
        time_schedule="descending", noise_policy="estimated", t_min=0.0, t_max=0.98,
    )  # fmt: skip
    assert covers_both_modes("DreamSampler", final)


@BOTH_PATHS
def test_sds_with_snr_weight_and_estimated_noise_is_ddim(path):
    # With w = b / a, an SGD step at learning rate 1 sets z to z0_hat; the next state a z0_hat + b eps_hat is DDIM's.
    model, steps = prior(TWO_MODES, path), 30
    start = particles()
    final = run(
        SDS(1.0), start, distributions=TWO_MODES, path=path, steps=steps, learning_rate=1.0, weighting="snr",
        time_schedule="descending", noise_policy="estimated", t_min=0.0, t_max=0.9,
    )  # fmt: skip
    times = 0.9 * (1 - torch.arange(steps + 1, dtype=torch.float64) / steps)
    sigmas = model.sigma_at(times.float().double())
    x = path.noised(start, SeededNoise(range(PARTICLES)).like(start), sigmas[0])
    for sigma, after in zip(sigmas, sigmas[1:]):
        a, b, a_after, b_after = path.a(sigma), path.b(sigma), path.a(after), path.b(after)
        z0 = TWO_MODES["positive"].posterior_mean(x, a, b)
        x = a_after * z0 + b_after * (x - a * z0) / b
    torch.testing.assert_close(final, x, rtol=1e-8, atol=1e-8)


def test_eta_mixes_fresh_noise_as_in_ddim():
    # DDIM, eq. 16: sigma = eta sqrt((1 - A_s) / (1 - A_t)) sqrt(1 - A_t / A_s), out of 1 - A_s at the new level.
    model, z = prior(TWO_MODES), torch.zeros(2, 1, dtype=torch.float64)
    before, after = torch.tensor([[3.0, 2.0], [1.0, 0.5]], dtype=torch.float64)
    past = PreviousStep(before, z, torch.tensor([[0.7], [-1.1]], dtype=torch.float64))
    mixed = Estimated(0.6)(model, z, before, after, SeededNoise([1, 2]), past)
    new = SeededNoise([1, 2]).like(z)
    for i in range(2):
        a_t, a_s = 1 / (1 + before[i] ** 2), 1 / (1 + after[i] ** 2)
        sigma = 0.6 * torch.sqrt((1 - a_s) / (1 - a_t)) * torch.sqrt(1 - a_t / a_s)
        expected = (torch.sqrt(1 - a_s - sigma**2) * past.eps_hat[i] + sigma * new[i]) / torch.sqrt(1 - a_s)
        torch.testing.assert_close(mixed[i], expected, rtol=1e-12, atol=1e-12)
    unmixed = Estimated(0.0)(model, z, before, after, SeededNoise([1, 2]), past)
    assert torch.equal(unmixed, past.eps_hat)


def test_fresh_and_fixed_noise():
    model, z, t = prior(TWO_MODES), torch.zeros(2, 1, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    noise = SeededNoise([1, 2])
    first = fresh(model, z, t, t, noise, None)
    past = PreviousStep(t, first, first + 1)
    assert not torch.equal(first, fresh(model, z, t, t, noise, past))
    assert torch.equal(first, fixed(model, z, t, t, noise, past))
    assert torch.equal(first, fixed(model, z, t, t, SeededNoise([1, 2]), None))


@BOTH_PATHS
def test_inverted_noise_is_the_exact_inversion(path):
    distributions = {"negative": TARGET, "positive": TARGET}
    model = prior(distributions, path)
    z = torch.tensor([[1.5], [2.4]], dtype=torch.float64)
    t = torch.tensor([0.4, 0.9], dtype=torch.float64)
    sigma = model.sigma_at(t)
    eps = Inverted(800, -7.5)(model, z, t, sigma, SeededNoise([0, 0]), None)
    # The probability flow keeps a Gaussian's standard score: z_t = a m + sqrt(a^2 S + b^2) (z - m) / sqrt(S).
    a, b = path.a(sigma)[:, None], path.b(sigma)[:, None]
    x = a * 2.0 + (a**2 * 0.25 + b**2).sqrt() * (z - 2.0) / 0.5
    torch.testing.assert_close(eps, (x - a * z) / b, rtol=0, atol=0.02)


def test_inverted_noise_uses_a_negative_guidance_scale():
    # One step from the clean image: eps = (1 - s) eps_hat(0) + s eps_hat(y) at the lowest level, with s = -7.5.
    model = prior(DISTRIBUTIONS)
    z, t = torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
    sigma = model.sigma_at(t)
    null, target = (sigma * (z - b.means) / (b.variances + sigma**2) for b in (NULL, TARGET))
    eps = Inverted(1, -7.5)(model, z, t, sigma, SeededNoise([0]), None)
    torch.testing.assert_close(eps, 8.5 * null - 7.5 * target, rtol=1e-10, atol=0)


@BOTH_PATHS
def test_flowedit_moves_a_source_point_to_the_target_point(path):
    # With point distributions the ODE is d' = (d - (m_tgt - m_src)) / s, which Euler solves exactly: d = m_tgt - m_src.
    points = {name: gaussian([m], [1e-12]) for name, m in (("negative", 0.3), ("positive", 2.0), ("source", -1.0))}
    z_ref = torch.tensor([[-1.0], [-0.4]], dtype=torch.float64)
    s = METHODS["flowedit"].loop
    delta = Delta(z_ref, 1.0, 1.0)
    final = run(
        FlowDelta(delta, lambda _: 1.0), z_ref, path=path, distributions=points, steps=s.steps,
        learning_rate=s.learning_rate, learning_rate_schedule=s.learning_rate_schedule,
        time_schedule=s.time_schedule, t_min=s.t_min, t_max=s.t_max,
    )  # fmt: skip
    torch.testing.assert_close(final, z_ref + 3.0, rtol=0, atol=1e-6)


def test_l2_to_source():
    # SDS's k (z - m) balances 2 w (z - z_src): equal slopes meet halfway.
    source = torch.full((1, SAMPLES), -1.0, dtype=torch.float64)
    pull = L2ToSource(source, slope(TARGET) / 2)
    final = run(SDS(1.0), torch.zeros(1, SAMPLES, dtype=torch.float64), regularizers=[pull], **AT_T_HALF)
    assert abs(final.mean().item() - 0.5) < 0.01


def test_weights_scale_the_gradient():
    start = torch.zeros(3, 1, dtype=torch.float64)
    steps = [run(SDS(1.0), start, steps=1, weighting=name, t_min=0.5, t_max=0.5, learning_rate=1.0) for name in WEIGHTS]
    alpha_bar = 1 / (1 + SIGMA**2)
    torch.testing.assert_close(steps[0], steps[1] * (1 - alpha_bar), rtol=1e-6, atol=0)
    torch.testing.assert_close(steps[2], steps[1] * SIGMA, rtol=1e-6, atol=0)
    torch.testing.assert_close(steps[3].abs(), torch.ones_like(start), rtol=1e-6, atol=0)


def test_time_schedules():
    noise = SeededNoise(range(500))
    for progress, top in ((0.0, 0.9), (0.5, 0.5), (0.9, 0.18)):
        uniform, annealed = Uniform(0.1, 0.9)(progress, noise), Annealed(0.1, 0.9)(progress, noise)
        assert uniform.min() < 0.12 and uniform.max() > 0.88 and uniform.min() >= 0.1 and uniform.max() <= 0.9
        assert 0.1 <= annealed.min() and annealed.max() <= top + 1e-6 and annealed.max() > 0.1 + 0.95 * (top - 0.1)
    falling = [Descending(0.1, 0.9)(i / 4, SeededNoise([0, 1])).tolist() for i in range(4)]
    assert falling == [[pytest.approx(t)] * 2 for t in (0.9, 0.7, 0.5, 0.3)]


def test_learning_rates():
    like = torch.zeros((), dtype=torch.float64)
    flow = prior(TWO_MODES, FLOW)
    flow_time = LoopSettings(steps=10, learning_rate=1.0, learning_rate_schedule="flow time", t_min=0.0, t_max=0.7)
    rates = flow_time.learning_rates(flow, like)
    assert sum(rates) == pytest.approx(flow.sigma_at(torch.tensor(0.7, dtype=torch.float64)).item())
    assert all(rate > 0 for rate in rates)
    four_steps = LoopSettings(steps=4, learning_rate=2.0, learning_rate_schedule="cosine")
    rates = four_steps.learning_rates(flow, like)
    assert rates == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)])
    assert [warm_up(x) for x in (0.0, 0.05, 0.1, 0.7)] == pytest.approx([0.0, 0.5, 1.0, 1.0])
    assert cosine(1.0, final=0.03) == pytest.approx(0.03)


def test_learning_rates_of_dvrf_are_those_of_its_code():
    like = torch.zeros((), dtype=torch.float64)
    rates = METHODS["dvrf"].loop.learning_rates(prior(TWO_MODES, FLOW), like)
    # The code on SD3, whose noise levels are shifted by 3; 0.0362 is its last interval of 50, over 1.6.
    interval = 0.036232252314235616
    beta = [((i / 77) / (9 / 16)) ** 9 * ((1 - i / 77) / (7 / 16)) ** 7 for i in range(50)]
    expected = [2.2 * ((interval / 1.6 - interval / 4) * beta[i] + interval / 4 * i / 77) for i in range(50)]
    assert rates == pytest.approx(expected, rel=0.004, abs=1e-12)  # 0.84 is the rounded sum
    assert max(rates) == rates[44] == pytest.approx(0.041, abs=5e-4)


@pytest.mark.parametrize("steps", [1, 2, 33, 1000])
def test_rates_of_a_hump_add_up_to_the_learning_rate(steps: int):
    settings = LoopSettings(steps=steps, learning_rate=0.7, learning_rate_schedule="hump")
    rates = settings.learning_rates(prior(TWO_MODES, FLOW), torch.zeros(()))
    assert sum(rates) == pytest.approx(0.7)
    assert min(rates) >= 0


def test_batch_items_are_independent():
    start = torch.tensor([[0.1, 0.2], [0.5, -1.0], [2.0, 0.3]], dtype=torch.float64)
    distributions = {name: gaussian([1.0, m], [0.5, 0.1]) for name, m in (("negative", 0.0), ("positive", 1.0))}
    settings = {"steps": 20, "optimizer": "adamw", "weighting": "1-alpha_bar"}
    together = run(SDS(7.5), start, distributions=distributions, seed=10, **settings)
    for i in range(3):
        alone = run(SDS(7.5), start[i : i + 1], distributions=distributions, seed=10 + i, **settings)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


def test_mask_keeps_the_rest_exactly():
    start = torch.tensor([[0.1, 0.2], [0.5, -1.0]], dtype=torch.float64)
    generator = Latent(start, mask=torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    model = prior({"negative": gaussian([0.0, 0.0], [1.0, 1.0]), "positive": gaussian([2.0, 2.0], [1.0, 1.0])})
    plan = LoopSettings(steps=20).plan(model, start)
    for _ in optimize(model, generator, SDS(7.5), plan=plan, noise=SeededNoise([0, 1])):
        pass
    assert torch.equal(generator()[:, 1], start[:, 1])
    assert (generator()[:, 0] - start[:, 0]).abs().min() > 0.05


def test_kept_part_can_differ_from_the_start():
    start, kept = torch.ones(1, 3, dtype=torch.float64), torch.full((1, 3), -1.0, dtype=torch.float64)
    generator = Latent(start, mask=torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64), kept=kept)
    assert generator().tolist() == [[1.0, 0.0, -1.0]]
    assert generator.parameters[0].tolist() == start.tolist()
    pixels = Pixels(start, lambda image: 2 * image, torch.zeros(1, 3, dtype=torch.float64), kept)
    assert pixels().tolist() == [[-2.0, -2.0, -2.0]]


def test_pixels_get_gradients_through_the_encoder_and_stay_in_range():
    matrix = normal(3, 12, seed=0)
    start = torch.full((2, 3, 2, 2), 0.5, dtype=torch.float64)
    generator = Pixels(start, lambda image: image.flatten(1) @ matrix.T)
    target = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)

    def pull_to_target(prior, sample):
        return Direction(sample.z - target, sample.eps)

    model = prior(TWO_MODES)
    plan = Plan(1, descent_at_rates("sgd", [0.05]), Uniform(0.1, 0.9), fresh, WEIGHTS["uniform"])
    expected = start - 0.05 * ((generator().detach() - target) @ matrix).reshape(start.shape)
    for _ in optimize(model, generator, pull_to_target, plan=plan, noise=SeededNoise([0, 1])):
        pass
    torch.testing.assert_close(generator.images, expected)
    large_step = Plan(1, descent_at_rates("sgd", [100.0]), Uniform(0.1, 0.9), fresh, WEIGHTS["uniform"])
    for _ in optimize(model, generator, pull_to_target, plan=large_step, noise=SeededNoise([0, 1])):
        pass
    assert set(generator.images.flatten().tolist()) <= {0.0, 1.0}


def test_non_finite_gradient_raises_before_the_parameters_change():
    start = torch.zeros(2, 1, dtype=torch.float64)

    def nan_in_second_half(prior, sample):
        gradient = torch.ones_like(sample.z)
        if sample.progress >= 0.5:
            gradient[1] = float("nan")
        return Direction(gradient, sample.eps)

    generator = Latent(start)
    plan = Plan(4, descent_at_rates("sgd", [0.25] * 4), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    with pytest.raises(NonFiniteGradientError, match=r"step 2 at t = \[0\.4") as caught:
        for _ in optimize(prior(TWO_MODES), generator, nan_in_second_half, plan=plan, noise=SeededNoise([0, 1])):
            pass
    assert caught.value.index == 2
    assert generator().tolist() == [[-0.5], [-0.5]]


def test_step_reports_the_gradient_norm():
    start = torch.zeros(2, 3, dtype=torch.float64)

    def constant_gradient(prior, sample):
        return Direction(torch.tensor([[3.0, 0.0, 4.0], [1.0, 0.0, 0.0]], dtype=torch.float64), sample.eps)

    plan = Plan(1, descent_at_rates("sgd", [0.5]), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    (step,) = optimize(prior(TWO_MODES), Latent(start), constant_gradient, plan=plan, noise=SeededNoise([0, 1]))
    assert step.gradient_norm.tolist() == [5.0, 1.0]
    assert torch.equal(step.z, start)


def test_losses_add_to_the_gradient():
    """One SGD step by hand, with a loss that depends on the sample's time."""
    start = torch.tensor([[0.5, -1.0], [2.0, 0.25]], dtype=torch.float64)
    generator = Latent(start)

    def constant_gradient(prior, sample):
        return Direction(torch.ones_like(sample.z), sample.eps)

    def cubic_loss(sample):
        return (sample.t[0] * generator().pow(3)).sum()

    plan = Plan(1, descent_at_rates("sgd", [0.1]), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    noise = SeededNoise([0, 1])
    (step,) = optimize(prior(TWO_MODES), generator, constant_gradient, plan=plan, noise=noise, losses=[cubic_loss])
    expected = start - 0.1 * (1 + 3 * step.t[0] * start.square())
    torch.testing.assert_close(generator().detach(), expected)


def test_non_finite_loss_raises_before_the_parameters_change():
    generator = Latent(torch.ones(1, 2, dtype=torch.float64))
    plan = Plan(2, descent_at_rates("sgd", [0.1] * 2), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    steps = optimize(
        prior(TWO_MODES),
        generator,
        SDS(1.0),
        plan=plan,
        noise=SeededNoise([0]),
        losses=[lambda sample: (generator() * torch.inf).sum()],
    )
    with pytest.raises(NonFiniteGradientError):
        next(steps)
    assert generator().tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "lmc"])  # lmc needs images: test_lmc
def test_every_method_runs_with_the_papers_settings(name):
    method = METHODS[name]
    start = torch.full((2, 1), 0.3, dtype=torch.float64)
    resources = Resources(SeededNoise([5, 6]), start, particles=lambda rank, rate: GaussianParticles(SCALED))
    objective = method.build(method.settings, resources)
    model = prior(DISTRIBUTIONS)
    plan = method.loop.plan(model, start)
    assert plan.steps == method.loop.steps
    short = dataclasses.replace(plan, steps=min(plan.steps, 12))
    generator = Latent(start)
    for _ in optimize(model, generator, objective, plan=short, noise=SeededNoise([0, 1])):
        pass
    assert generator().isfinite().all() and not torch.equal(generator(), start)


@pytest.mark.parametrize("name", NOISE_POLICIES)
def test_every_noise_policy_runs(name):
    final = run(SDS(2.0), torch.zeros(2, 1, dtype=torch.float64), steps=5, noise_policy=name)
    assert final.isfinite().all()


def test_both_paths_give_the_same_result():
    start = normal(4, 1, seed=2)
    final = [run(PromptBridge(2.0), start, path=path, steps=50, learning_rate=0.05) for path in (SCALED, FLOW)]
    torch.testing.assert_close(final[0], final[1], rtol=1e-9, atol=1e-9)

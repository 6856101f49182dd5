"""The distillation loop: where methods converge, and its schedules, noise policies and generators."""

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
from support.oracle import Mixture, gaussian, prior
from torch import Tensor

NULL, TARGET, SOURCE = gaussian([0.0], [1.0]), gaussian([2.0], [0.25]), gaussian([-1.0], [4.0])
BELIEFS = {"negative": NULL, "positive": TARGET, "source": SOURCE}
"""Broadcast over latents of any width: each cell is an independent Gaussian."""
BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
CELLS = 4000


def run(objective, start: Tensor, *, path=SCALED, beliefs=BELIEFS, regularizers=(), seed=0, **settings) -> Tensor:
    """Optimize a batch of latents (B, D) with these settings and return where it ends."""
    loop = LoopSettings(**{"optimizer": "sgd", "weighting": "uniform", **settings})
    here, generator = prior(beliefs, path), Latent(start)
    noise = SeededNoise([seed + i for i in range(len(start))])
    how = loop.plan(here, start)
    for _ in optimize(here, generator, objective, plan=how, noise=noise, regularizers=regularizers):
        pass
    return generator().detach()


AT_HALF = {"t_min": 0.5, "t_max": 0.5, "steps": 400, "learning_rate": 0.4, "learning_rate_schedule": "cosine"}
SIGMA = prior(BELIEFS).sigma_at(torch.tensor(0.5, dtype=torch.float64)).item()


def slope(belief: Mixture) -> float:
    """k of E[eps_hat] = k (z - m) for a Gaussian at t = 0.5: a b / (a^2 S + b^2)."""
    return SIGMA / (belief.variances.item() + SIGMA**2)


def balance(*pulls: tuple[float, Mixture]) -> float:
    """The z at which sum w k (z - m) is 0."""
    slopes = [(weight * slope(belief), belief.means.item()) for weight, belief in pulls]
    return sum(k * m for k, m in slopes) / sum(k for k, _ in slopes)


REFERENCE = torch.tensor([[0.7]], dtype=torch.float64)
OFFSET = slope(SOURCE) * (0.7 - SOURCE.means.item())
FIXED_POINTS = {
    "sds": (SDS(1.0), balance((1, TARGET))),
    "sds, guided": (SDS(3.0), balance((-2, NULL), (3, TARGET))),
    "nfsd": (NFSD(3.0, switch=0.9), balance((-2, NULL), (3, TARGET))),
    "nfsd, noisy": (NFSD(3.0, switch=0.1), balance((-2, NULL), (3, TARGET), (-1, SOURCE))),
    "csd": (CSD(3.0, 2.0, anneal=1e9), balance((3, TARGET), (-1, NULL), (-2, SOURCE))),
    "bridge": (PromptBridge(1.0), balance((1, TARGET), (-1, SOURCE))),
    "dds": (DDS(Delta(REFERENCE, 1.0, 1.0)), TARGET.means.item() + OFFSET / slope(TARGET)),
}


@pytest.mark.parametrize("name", FIXED_POINTS)
def test_the_fixed_point_of_each_method(name):
    objective, expected = FIXED_POINTS[name]
    ends = run(objective, torch.zeros(1, CELLS, dtype=torch.float64), **AT_HALF)
    error = ends.std().item() / math.sqrt(CELLS)
    assert error < 0.02
    assert abs(ends.mean().item() - expected) < 4 * error + 1e-3


def test_the_fixed_point_of_full_bridge():
    # Up, the source's standard score stays: x = m1 + r1 (z - m1) / s1; down, the target's: z' = m2 + s2 (x - m2) / r2.
    beliefs = {**BELIEFS, "negative": TARGET}
    ends = run(
        FullBridge(1.0, 800), torch.zeros(1, 1, dtype=torch.float64), beliefs=beliefs,
        t_min=0.9, t_max=0.9, steps=15, learning_rate=1.0,
    )  # fmt: skip
    sigma = prior(BELIEFS).sigma_at(torch.tensor(0.9)).item()
    (m1, s1, r1), (m2, s2, r2) = (
        (b.means.item(), b.variances.sqrt().item(), (b.variances + sigma**2).sqrt().item()) for b in (SOURCE, TARGET)
    )
    gain = s2 * r1 / (s1 * r2)
    rest = (m2 + s2 / r2 * (m1 - m2) - gain * m1) / (1 - gain)
    assert abs(ends.item() - rest) < 5e-3


class GaussianParticles:
    """The ideal trainable model of Gaussian particles: each fit is exact."""

    def __init__(self, path: NoisePath):
        self.path, self.belief = path, NULL

    def __call__(self, x, sigma, names):
        return [self.belief.posterior_mean(x, self.path.a(sigma), self.path.b(sigma))]

    def fit(self, x, sigma, eps):
        z = (x - self.path.b(sigma)[:, None] * eps) / self.path.a(sigma)[:, None]
        self.belief = gaussian([z.mean().item()], [z.var().item()])


@BOTH_PATHS
def test_vsd_converges_to_the_target_distribution(path):
    start = torch.randn(1, CELLS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vsd = VSD(1.0, GaussianParticles(path), SeededNoise([9000]))
    ends = run(vsd, start, path=path, steps=600, learning_rate=0.1, learning_rate_schedule="cosine")
    assert abs(ends.mean().item() - 2.0) < 0.02
    assert abs(ends.std().item() - 0.5) < 0.02


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
    return torch.randn(PARTICLES, 1, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def covers_both_modes(name: str, ends: Tensor) -> bool:
    """Whether the particles cover both modes in about the right numbers and with their width."""
    right, distance = (ends > 0).double().mean().item(), ends.abs()
    mean, width = distance.mean().item(), distance.std().item()
    print(f"{name}: {right:.2f} of 64 particles right, |z| = {mean:.2f} +- {width:.2f}")
    return 0.2 < right < 0.65 and abs(mean - 1.5) < 0.15 and 0.3 < width < 0.6


class SmallNetwork:
    """A trainable denoiser: a small noise-predicting network, trained as a LoRA would be."""

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


LIKE_PROLIFICDREAMER = {
    "steps": 1000,
    "learning_rate": 0.03,
    "optimizer": "adam",
    "learning_rate_schedule": "cosine",
    "weighting": "1-alpha_bar",
}


def test_sds_collapses():
    ends = run(SDS(1.0), particles(), beliefs=TWO_MODES, **LIKE_PROLIFICDREAMER)
    assert not covers_both_modes("SDS", ends)
    assert (ends < 0).all() and ends.std() < 0.15


def test_vsd_does_not_collapse():
    vsd = VSD(1.0, SmallNetwork(SCALED), SeededNoise(range(500, 500 + PARTICLES)))
    assert covers_both_modes("VSD", run(vsd, particles(), beliefs=TWO_MODES, **LIKE_PROLIFICDREAMER))


def test_dreamsampler_does_not_collapse():
    ends = run(
        SDS(1.0), particles(), beliefs=TWO_MODES, steps=100, learning_rate=1.0, weighting="snr",
        time_schedule="descending", noise_policy="estimated", t_min=0.0, t_max=0.98,
    )  # fmt: skip
    assert covers_both_modes("DreamSampler", ends)


@BOTH_PATHS
def test_exact_minimization_with_estimated_noise_is_ddim(path):
    # With w = b / a a step of SGD at rate 1 puts z on z0_hat; the next state is a z0_hat + b eps_hat: DDIM.
    here, steps = prior(TWO_MODES, path), 30
    start = particles()
    ends = run(
        SDS(1.0), start, beliefs=TWO_MODES, path=path, steps=steps, learning_rate=1.0, weighting="snr",
        time_schedule="descending", noise_policy="estimated", t_min=0.0, t_max=0.9,
    )  # fmt: skip
    times = 0.9 * (1 - torch.arange(steps + 1, dtype=torch.float64) / steps)
    sigmas = here.sigma_at(times.float().double())
    x = path.noised(start, SeededNoise(range(PARTICLES)).like(start), sigmas[0])
    for sigma, after in zip(sigmas, sigmas[1:]):
        a, b, a_after, b_after = path.a(sigma), path.b(sigma), path.a(after), path.b(after)
        z0 = TWO_MODES["positive"].posterior_mean(x, a, b)
        x = a_after * z0 + b_after * (x - a * z0) / b
    torch.testing.assert_close(ends, x, rtol=1e-8, atol=1e-8)


def test_eta_adds_the_stated_noise_and_no_more():
    # DDIM, eq. 16: sigma = eta sqrt((1 - A_s) / (1 - A_t)) sqrt(1 - A_t / A_s), of the total 1 - A_s at the new level.
    here, z = prior(TWO_MODES), torch.zeros(2, 1, dtype=torch.float64)
    before, after = torch.tensor([[3.0, 2.0], [1.0, 0.5]], dtype=torch.float64)
    past = PreviousStep(before, z, torch.tensor([[0.7], [-1.1]], dtype=torch.float64))
    mixed = Estimated(0.6)(here, z, before, after, SeededNoise([1, 2]), past)
    new = SeededNoise([1, 2]).like(z)
    for i in range(2):
        a_t, a_s = 1 / (1 + before[i] ** 2), 1 / (1 + after[i] ** 2)
        sigma = 0.6 * torch.sqrt((1 - a_s) / (1 - a_t)) * torch.sqrt(1 - a_t / a_s)
        expected = (torch.sqrt(1 - a_s - sigma**2) * past.eps_hat[i] + sigma * new[i]) / torch.sqrt(1 - a_s)
        torch.testing.assert_close(mixed[i], expected, rtol=1e-12, atol=1e-12)
    same = Estimated(0.0)(here, z, before, after, SeededNoise([1, 2]), past)
    assert torch.equal(same, past.eps_hat)


def test_fresh_noise_changes_and_fixed_noise_does_not():
    here, z, t = prior(TWO_MODES), torch.zeros(2, 1, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    noise = SeededNoise([1, 2])
    first = fresh(here, z, t, t, noise, None)
    past = PreviousStep(t, first, first + 1)
    assert not torch.equal(first, fresh(here, z, t, t, noise, past))
    assert torch.equal(first, fixed(here, z, t, t, noise, past))
    assert torch.equal(first, fixed(here, z, t, t, SeededNoise([1, 2]), None))


@BOTH_PATHS
def test_inverted_noise_is_that_from_which_ddim_samples_the_image(path):
    beliefs = {"negative": TARGET, "positive": TARGET}
    here = prior(beliefs, path)
    z = torch.tensor([[1.5], [2.4]], dtype=torch.float64)
    t = torch.tensor([0.4, 0.9], dtype=torch.float64)
    sigma = here.sigma_at(t)
    eps = Inverted(steps=800)(here, z, t, sigma, SeededNoise([0, 0]), None)
    # The flow keeps the standard score of a Gaussian: z_t = a m + sqrt(a^2 S + b^2) (z - m) / sqrt(S).
    a, b = path.a(sigma)[:, None], path.b(sigma)[:, None]
    x = a * 2.0 + (a**2 * 0.25 + b**2).sqrt() * (z - 2.0) / 0.5
    torch.testing.assert_close(eps, (x - a * z) / b, rtol=0, atol=0.02)


def test_inversion_moves_away_from_the_prompt():
    # One step from the image as it is: eps = (1 - s) eps_hat(0) + s eps_hat(y) at the lowest level, s = -7.5.
    here, z, t = prior(BELIEFS), torch.tensor([[0.4]], dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)
    sigma = here.sigma_at(t)
    null, text = (sigma * (z - b.means) / (b.variances + sigma**2) for b in (NULL, TARGET))
    eps = Inverted(steps=1)(here, z, t, sigma, SeededNoise([0]), None)
    torch.testing.assert_close(eps, 8.5 * null - 7.5 * text, rtol=1e-10, atol=0)


@BOTH_PATHS
def test_flowedit_carries_a_point_to_its_counterpart(path):
    # Priors of single points make the ODE d' = (d - (m_tgt - m_src)) / s, which Euler solves exactly: d ends there.
    points = {name: gaussian([m], [1e-12]) for name, m in (("negative", 0.3), ("positive", 2.0), ("source", -1.0))}
    z_ref = torch.tensor([[-1.0], [-0.4]], dtype=torch.float64)
    s = METHODS["flowedit"].loop
    delta = Delta(z_ref, 1.0, 1.0)
    ends = run(
        FlowDelta(delta, lambda _: 1.0), z_ref, path=path, beliefs=points, steps=s.steps, learning_rate=s.learning_rate,
        learning_rate_schedule=s.learning_rate_schedule, time_schedule=s.time_schedule, t_min=s.t_min, t_max=s.t_max,
    )  # fmt: skip
    torch.testing.assert_close(ends, z_ref + 3.0, rtol=0, atol=1e-6)


def test_l2_to_source_pulls_halfway():
    # SDS's k (z - m) against 2 w (z - z_src): equal slopes meet in the middle.
    source = torch.full((1, CELLS), -1.0, dtype=torch.float64)
    pull = L2ToSource(source, slope(TARGET) / 2)
    ends = run(SDS(1.0), torch.zeros(1, CELLS, dtype=torch.float64), regularizers=[pull], **AT_HALF)
    assert abs(ends.mean().item() - 0.5) < 0.01


def test_weights_scale_the_step():
    start = torch.zeros(3, 1, dtype=torch.float64)
    moves = [run(SDS(1.0), start, steps=1, weighting=name, t_min=0.5, t_max=0.5, learning_rate=1.0) for name in WEIGHTS]
    alpha_bar = 1 / (1 + SIGMA**2)
    torch.testing.assert_close(moves[0], moves[1] * (1 - alpha_bar), rtol=1e-6, atol=0)
    torch.testing.assert_close(moves[2], moves[1] * SIGMA, rtol=1e-6, atol=0)


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
    descending = LoopSettings(steps=10, learning_rate=1.0, learning_rate_schedule="flow time", t_min=0.0, t_max=0.7)
    covered = descending.learning_rates(flow, like)
    assert sum(covered) == pytest.approx(flow.sigma_at(torch.tensor(0.7, dtype=torch.float64)).item())
    assert all(rate > 0 for rate in covered)
    halved = LoopSettings(steps=4, learning_rate=2.0, learning_rate_schedule="cosine")
    halves = halved.learning_rates(flow, like)
    assert halves == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)])
    assert [warm_up(x) for x in (0.0, 0.05, 0.1, 0.7)] == pytest.approx([0.0, 0.5, 1.0, 1.0])
    assert cosine(1.0, final=0.03) == pytest.approx(0.03)


def test_items_are_independent_of_their_batch():
    start = torch.tensor([[0.1, 0.2], [0.5, -1.0], [2.0, 0.3]], dtype=torch.float64)
    beliefs = {name: gaussian([1.0, m], [0.5, 0.1]) for name, m in (("negative", 0.0), ("positive", 1.0))}
    settings = {"steps": 20, "optimizer": "adamw", "weighting": "1-alpha_bar"}
    together = run(SDS(7.5), start, beliefs=beliefs, seed=10, **settings)
    for i in range(3):
        alone = run(SDS(7.5), start[i : i + 1], beliefs=beliefs, seed=10 + i, **settings)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-12, atol=1e-12)


def test_mask_keeps_what_it_covers_exactly():
    start = torch.tensor([[0.1, 0.2], [0.5, -1.0]], dtype=torch.float64)
    generator = Latent(start, mask=torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    here = prior({"negative": gaussian([0.0, 0.0], [1.0, 1.0]), "positive": gaussian([2.0, 2.0], [1.0, 1.0])})
    how = LoopSettings(steps=20).plan(here, start)
    for _ in optimize(here, generator, SDS(7.5), plan=how, noise=SeededNoise([0, 1])):
        pass
    assert torch.equal(generator()[:, 1], start[:, 1])
    assert (generator()[:, 0] - start[:, 0]).abs().min() > 0.05


def test_the_kept_part_may_differ_from_the_start():
    start, kept = torch.ones(1, 3, dtype=torch.float64), torch.full((1, 3), -1.0, dtype=torch.float64)
    generator = Latent(start, mask=torch.tensor([[1.0, 0.5, 0.0]], dtype=torch.float64), kept=kept)
    assert generator().tolist() == [[1.0, 0.0, -1.0]]
    assert generator.parameters[0].tolist() == start.tolist()
    pixels = Pixels(start, lambda image: 2 * image, torch.zeros(1, 3, dtype=torch.float64), kept)
    assert pixels().tolist() == [[-2.0, -2.0, -2.0]]


def test_pixels_descend_through_the_encoder_and_stay_in_range():
    matrix = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = torch.full((2, 3, 2, 2), 0.5, dtype=torch.float64)
    generator = Pixels(start, lambda image: image.flatten(1) @ matrix.T)
    wanted = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)

    def towards(prior, sample):
        return Direction(sample.z - wanted, sample.eps)

    here = prior(TWO_MODES)
    how = Plan(1, descent_at_rates("sgd", [0.05]), Uniform(0.1, 0.9), fresh, WEIGHTS["uniform"])
    expected = start - 0.05 * ((generator().detach() - wanted) @ matrix).reshape(start.shape)
    for _ in optimize(here, generator, towards, plan=how, noise=SeededNoise([0, 1])):
        pass
    torch.testing.assert_close(generator.pixels, expected)
    far = Plan(1, descent_at_rates("sgd", [100.0]), Uniform(0.1, 0.9), fresh, WEIGHTS["uniform"])
    for _ in optimize(here, generator, towards, plan=far, noise=SeededNoise([0, 1])):
        pass
    assert set(generator.pixels.flatten().tolist()) <= {0.0, 1.0}


def test_non_finite_gradient_stops_before_the_parameters_move():
    start = torch.zeros(2, 1, dtype=torch.float64)

    def breaks(prior, sample):
        gradient = torch.ones_like(sample.z)
        if sample.progress >= 0.5:
            gradient[1] = float("nan")
        return Direction(gradient, sample.eps)

    generator = Latent(start)
    how = Plan(4, descent_at_rates("sgd", [0.25] * 4), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    with pytest.raises(NonFiniteGradientError, match=r"step 2 at t = \[0\.4") as caught:
        for _ in optimize(prior(TWO_MODES), generator, breaks, plan=how, noise=SeededNoise([0, 1])):
            pass
    assert caught.value.index == 2
    assert generator().tolist() == [[-0.5], [-0.5]]


def test_step_reports_the_norm_of_the_gradient():
    start = torch.zeros(2, 3, dtype=torch.float64)

    def steady(prior, sample):
        return Direction(torch.tensor([[3.0, 0.0, 4.0], [1.0, 0.0, 0.0]], dtype=torch.float64), sample.eps)

    how = Plan(1, descent_at_rates("sgd", [0.5]), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    (step,) = optimize(prior(TWO_MODES), Latent(start), steady, plan=how, noise=SeededNoise([0, 1]))
    assert step.gradient_norm.tolist() == [5.0, 1.0]
    assert torch.equal(step.z, start)


def test_losses_on_the_parameters_are_descended_with_the_gradient():
    """One SGD step by hand: the objective's gradient plus that of a loss that depends on the sample's time."""
    start = torch.tensor([[0.5, -1.0], [2.0, 0.25]], dtype=torch.float64)
    generator = Latent(start)

    def steady(prior, sample):
        return Direction(torch.ones_like(sample.z), sample.eps)

    def cubed(sample):
        return (sample.t[0] * generator().pow(3)).sum()

    how = Plan(1, descent_at_rates("sgd", [0.1]), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    noise = SeededNoise([0, 1])
    (step,) = optimize(prior(TWO_MODES), generator, steady, plan=how, noise=noise, losses=[cubed])
    expected = start - 0.1 * (1 + 3 * step.t[0] * start.square())
    torch.testing.assert_close(generator().detach(), expected)


def test_a_loss_that_is_not_finite_stops_before_the_parameters_move():
    generator = Latent(torch.ones(1, 2, dtype=torch.float64))
    how = Plan(2, descent_at_rates("sgd", [0.1] * 2), Descending(0.0, 0.8), fresh, WEIGHTS["uniform"])
    walk = optimize(
        prior(TWO_MODES),
        generator,
        SDS(1.0),
        plan=how,
        noise=SeededNoise([0]),
        losses=[lambda sample: (generator() * torch.inf).sum()],
    )
    with pytest.raises(NonFiniteGradientError):
        next(walk)
    assert generator().tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "lmc"])  # lmc needs images: test_lmc
def test_every_method_runs_with_the_papers_settings(name):
    method = METHODS[name]
    start = torch.full((2, 1), 0.3, dtype=torch.float64)
    resources = Resources(SeededNoise([5, 6]), start, particles=lambda rank, rate: GaussianParticles(SCALED))
    objective = method.build(method.settings, resources)
    here = prior(BELIEFS)
    how = method.loop.plan(here, start)
    assert how.steps == method.loop.steps
    short = dataclasses.replace(how, steps=12)
    generator = Latent(start)
    for _ in optimize(here, generator, objective, plan=short, noise=SeededNoise([0, 1])):
        pass
    assert generator().isfinite().all() and not torch.equal(generator(), start)


@pytest.mark.parametrize("name", NOISE_POLICIES)
def test_every_noise_policy_runs(name):
    ends = run(SDS(2.0), torch.zeros(2, 1, dtype=torch.float64), steps=5, noise_policy=name)
    assert ends.isfinite().all()


def test_paths_agree_on_distillation():
    start = torch.randn(4, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ends = [run(PromptBridge(2.0), start, path=path, steps=50, learning_rate=0.05) for path in (SCALED, FLOW)]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-9, atol=1e-9)

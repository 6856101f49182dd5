"""FlowAlign, compared with its formula in plain floats, with FlowEdit and with the paper's own steps."""

from __future__ import annotations

import math

import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.generators import Latent
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import METHODS, Resources
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.flow import FlowDelta
from dreamsampler.guidance.distillation.objectives.flowalign import FlowAlign
from support.noise_paths import BOTH_PATHS
from support.oracle import MixtureDenoiser, prior
from support.plain_floats import EDITING, SOURCE, TARGET
from support.tensors import assert_close, normal
from torch import Tensor

S, ZETA = 7.5, 0.01
TIMES = (0.1, 0.5, 0.9)


def random_sample(path: NoisePath) -> tuple[Sample, Tensor]:
    """A latent with its noise for each time, and the reference."""
    z, eps, reference = normal(3, len(TIMES), 4)
    t = torch.tensor(TIMES, dtype=torch.float64)
    return Sample(z, eps, t, prior(EDITING, path).sigma_at(t), 0.0), reference


def clean(distribution: tuple[float, float], x: float, time: float) -> float:
    """E[z0 | (1 - time) z0 + time eps = x] for a Gaussian."""
    (mean, variance), a = distribution, 1 - time
    return mean + a * variance / (a * a * variance + time * time) * (x - a * mean)


def update(z: float, eps: float, reference: float, time: float) -> tuple[float, float]:
    """The paper's velocity difference, and the difference of clean estimates, at a flow time."""
    q = (1 - time) * reference + time * eps
    p = q + (z - reference)
    guided = clean(SOURCE, p, time) + S * (clean(TARGET, p, time) - clean(SOURCE, p, time))
    source = clean(SOURCE, q, time)
    return (p - guided) / time - (q - source) / time, guided - source


@BOTH_PATHS
def test_gradient_in_plain_floats(path: NoisePath):
    sample, reference = random_sample(path)
    direction = FlowAlign(reference, S, ZETA)(prior(EDITING, path), sample)
    for i, sigma in enumerate(sample.sigma.tolist()):
        time = sigma if path is FLOW else sigma / (1 + sigma)
        for j in range(sample.z.shape[1]):
            velocity, distance = update(sample.z[i, j].item(), sample.eps[i, j].item(), reference[i, j].item(), time)
            assert math.isclose(direction.gradient[i, j].item(), velocity + 33 * ZETA * distance, rel_tol=1e-9)


@BOTH_PATHS
def test_without_the_pull_it_is_flowedit_with_the_source_prompt_as_unconditional(path: NoisePath):
    sample, reference = random_sample(path)
    flowedit = FlowDelta(Delta(reference, S, 1.0), lambda _: 1.0)
    expected = flowedit(prior({**EDITING, "negative": EDITING["source"]}, path), sample)
    direction = FlowAlign(reference, S, 0.0)(prior(EDITING, path), sample)
    assert_close(direction.gradient, expected.gradient)
    assert_close(direction.eps_hat, expected.eps_hat)


@BOTH_PATHS
def test_each_item_is_that_of_its_own_run_in_one_call_of_three(path: NoisePath):
    sample, reference = random_sample(path)
    model = prior(EDITING, path)
    together = FlowAlign(reference, S, ZETA)(model, sample).gradient
    assert isinstance(model.denoise, MixtureDenoiser) and model.denoise.batches == [3]
    for i in range(len(TIMES)):
        row = slice(i, i + 1)
        alone = Sample(sample.z[row], sample.eps[row], sample.t[row], sample.sigma[row], 0.0)
        assert_close(together[row], FlowAlign(reference[row], S, ZETA)(model, alone).gradient)


def edited(reference: Tensor, steps: int, zeta: float = ZETA, prompts=EDITING) -> Tensor:
    """The method's own loop on a flow model whose time is the flow time, without a shift."""
    model = Prior(MixtureDenoiser(prompts, FLOW), FLOW, lambda t: t)
    config = METHODS["flowalign"].config().updated({"steps": steps, "source_consistency_weight": zeta})
    noise = SeededNoise(range(len(reference)))
    objective = METHODS["flowalign"].build(config.own, Resources(noise, reference))
    generator = Latent(reference)
    for _ in optimize(model, generator, objective, plan=config.loop.plan(model, reference), noise=noise):
        pass
    return generator().detach()


def test_the_methods_loop_takes_the_papers_33_steps():
    reference = normal(2, 3)
    (eps,) = [SeededNoise(range(2)).like(reference)]
    expected = []
    for start, noise in zip(reference.flatten().tolist(), eps.flatten().tolist(), strict=True):
        z = start
        for step in range(33):
            velocity, distance = update(z, noise, start, 1 - step / 33)
            z += -1 / 33 * velocity - ZETA * distance
        expected.append(z)
    torch.testing.assert_close(edited(reference, 33).flatten(), torch.tensor(expected).double(), rtol=0, atol=2e-5)


def test_the_pull_does_not_depend_on_the_number_of_steps():
    reference = normal(2, 3)
    ends = [edited(reference, steps) for steps in (100, 200, 400, 800)]
    changes = [(fine - coarse).abs().max().item() for coarse, fine in zip(ends, ends[1:])]
    assert all(less < 0.6 * more for more, less in zip(changes, changes[1:])), changes
    assert (ends[-1] - edited(reference, 800, zeta=0.0)).abs().max() > 10 * changes[-1]


def test_a_larger_weight_keeps_more_of_the_source():
    reference = normal(2, 3)
    moved = [(edited(reference, 33, zeta=zeta) - reference).abs().mean().item() for zeta in (0.0, 0.01, 0.03, 0.1)]
    assert all(less < more for more, less in zip(moved, moved[1:])), moved


@BOTH_PATHS
def test_equal_prompts_leave_the_source_as_it_is(path: NoisePath):
    sample, reference = random_sample(path)
    prompts = {name: EDITING["source"] for name in EDITING}
    at_source = Sample(reference, sample.eps, sample.t, sample.sigma, 0.0)
    assert_close(FlowAlign(reference, S, ZETA)(prior(prompts, path), at_source).gradient, torch.zeros_like(reference))

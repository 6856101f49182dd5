"""ChordEdit, compared with its formula in plain floats and with edits whose end is known."""

from __future__ import annotations

import math

import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.distillation.generators import Latent
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import METHODS, Resources
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives.chord import Chord
from support.noise_paths import BOTH_PATHS
from support.oracle import MixtureDenoiser, gaussian, prior
from support.plain_floats import EDITING, SOURCE, TARGET, weights
from support.tensors import assert_close, normal
from torch import Tensor

WINDOW, REFINEMENT = 0.15, 0.3
TIMES = (0.125, 0.5, 0.875)
"""The first is below twice the window. All are exact in float32, as the loop's times."""


def random_sample(path: NoisePath, progress: float = 0.0) -> tuple[Sample, Tensor]:
    """A latent with its noise for each time, and the reference."""
    z, eps, reference = normal(3, len(TIMES), 4)
    t = torch.tensor(TIMES, dtype=torch.float64)
    return Sample(z, eps, t, prior(EDITING, path).sigma_at(t), progress), reference


def clean(distribution: tuple[float, float], x: float, a: float, b: float) -> float:
    """E[z0 | a z0 + b eps = x] for a Gaussian."""
    mean, variance = distribution
    return mean + a * variance / (a * a * variance + b * b) * (x - a * mean)


def difference(path: NoisePath, reference: float, eps: float, t: float) -> float:
    """R: target minus source of the clean estimates at a time."""
    a, b = weights(path, t)
    x = a * reference + b * eps
    return clean(TARGET, x, a, b) - clean(SOURCE, x, a, b)


def chord(path: NoisePath, reference: float, eps: float, t: float) -> float:
    delta = min(WINDOW, t / 2)
    low, high = difference(path, reference, eps, t - delta), difference(path, reference, eps, t)
    return (t * low + delta * high) / (t + delta)


@BOTH_PATHS
def test_first_step_in_plain_floats(path: NoisePath):
    sample, reference = random_sample(path)
    gradient = Chord(reference, 1.5, WINDOW, REFINEMENT)(prior(EDITING, path), sample).gradient
    for i, t in enumerate(TIMES):
        for j in range(sample.z.shape[1]):
            z, eps, ref = (each[i, j].item() for each in (sample.z, sample.eps, reference))
            expected = z - (ref + 1.5 * chord(path, ref, eps, t))
            assert math.isclose(gradient[i, j].item(), expected, rel_tol=1e-9, abs_tol=1e-9)


@BOTH_PATHS
def test_further_steps_in_plain_floats(path: NoisePath):
    sample, reference = random_sample(path, progress=0.5)
    direction = Chord(reference, 1.5, WINDOW, REFINEMENT)(prior(EDITING, path), sample)
    a, b = weights(path, REFINEMENT)
    x = a * sample.z + b * sample.eps
    z0_hat = TARGET[0] + a * TARGET[1] / (a * a * TARGET[1] + b * b) * (x - a * TARGET[0])
    assert_close(direction.gradient, sample.z - z0_hat)
    assert_close(direction.eps_hat, (x - a * z0_hat) / b)


@BOTH_PATHS
def test_each_item_is_that_of_its_own_run(path: NoisePath):
    sample, reference = random_sample(path)
    model = prior(EDITING, path)
    together = Chord(reference, 1.0, WINDOW, REFINEMENT)(model, sample).gradient
    for i in range(len(TIMES)):
        row = slice(i, i + 1)
        alone = Sample(sample.z[row], sample.eps[row], sample.t[row], sample.sigma[row], 0.0)
        assert_close(together[row], Chord(reference[row], 1.0, WINDOW, REFINEMENT)(model, alone).gradient)


def edited(reference: Tensor, path: NoisePath, distributions=EDITING, **settings) -> tuple[Tensor, list[int]]:
    """The result of the method's own loop, and the size of each model call."""
    model, config = prior(distributions, path), METHODS["chord"].config().updated(settings)
    noise = SeededNoise(range(len(reference)))
    objective = METHODS["chord"].build(config.own, Resources(noise, reference))
    generator = Latent(reference)
    for _ in optimize(model, generator, objective, plan=config.loop.plan(model, reference), noise=noise):
        pass
    assert isinstance(model.denoise, MixtureDenoiser)
    return generator().detach(), model.denoise.batches


@BOTH_PATHS
def test_one_step_leads_from_one_image_to_the_other(path: NoisePath):
    points = {name: gaussian([m], [1e-12]) for name, m in (("source", -1.0), ("positive", 2.0))}
    reference = torch.tensor([[-1.0], [-0.4]], dtype=torch.float64)
    made, batches = edited(reference, path, points)
    torch.testing.assert_close(made, reference + 3.0, rtol=0, atol=1e-6)
    assert batches == [4]


@BOTH_PATHS
def test_equal_variances_shift_every_image_by_the_share_that_noise_hides(path: NoisePath):
    # z0_hat = m + k (x - a m) with one k for both prompts: R is (1 - a k) of the shift, whatever the image and noise.
    variance = 0.5
    near = {name: gaussian([m], [variance]) for name, m in (("source", -1.0), ("positive", 2.0))}
    shares = {}
    for t in (0.9, 0.75):
        a, b = weights(path, t)
        shares[t] = b * b / (a * a * variance + b * b)
    share = (0.9 * shares[0.75] + 0.15 * shares[0.9]) / (0.9 + 0.15)
    reference = normal(2, 5)
    made, _ = edited(reference, path, near)
    torch.testing.assert_close(made, reference + 3.0 * share, rtol=0, atol=1e-5)
    assert 0.9 < share < 1


@BOTH_PATHS
def test_the_learning_rate_and_the_guidance_scale_are_the_step_scale(path: NoisePath):
    reference = normal(2, 5)
    whole = edited(reference, path)[0] - reference
    for name in ("learning_rate", "guidance_scale"):
        torch.testing.assert_close(edited(reference, path, **{name: 0.5})[0] - reference, 0.5 * whole)


@BOTH_PATHS
def test_a_second_step_is_the_target_estimate_under_the_same_noise(path: NoisePath):
    reference = normal(2, 5)
    first, (made, batches) = edited(reference, path)[0], edited(reference, path, steps=2)
    a, b = weights(path, REFINEMENT)
    x = a * first + b * SeededNoise(range(2)).like(reference)
    expected = TARGET[0] + a * TARGET[1] / (a * a * TARGET[1] + b * b) * (x - a * TARGET[0])
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
    assert batches == [4, 1]


def test_both_paths_make_the_same_edit():
    reference = normal(2, 5)
    scaled, flow = (edited(reference, path, steps=2)[0] for path in (SCALED, FLOW))
    torch.testing.assert_close(scaled, flow, rtol=1e-5, atol=1e-5)

"""Inversion of clean latents, undone by DDIM sampling, for mixtures in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from dreamsampler.guidance.core.ddim import ddim_sample
from dreamsampler.guidance.core.inversion import InversionStep, ddim_invert, fixed_point_invert
from dreamsampler.guidance.core.path import SCALED, NoisePath
from support.noise_paths import BOTH_PATHS, schedule
from support.oracle import TWO_TEXTS, MixtureDenoiser
from support.tensors import generator, normal
from torch import Tensor

Invert = Callable[..., Iterator[InversionStep]]
half = partial(fixed_point_invert, every=2)
every_way = pytest.mark.parametrize("invert", [ddim_invert, fixed_point_invert, half])
COUNTS = (25, 50, 100, 200)


@BOTH_PATHS
@pytest.mark.parametrize("name", ["negative", "positive"])
@pytest.mark.parametrize(("invert", "order"), [(ddim_invert, 1), (fixed_point_invert, 3), (half, 2.6)])
def test_sampling_undoes_inversion(path: NoisePath, name: str, invert: Invert, order: float):
    denoise = MixtureDenoiser(TWO_TEXTS, path)
    z0, errors = TWO_TEXTS[name].sample(64, generator(2)), []
    for steps in COUNTS:
        sigmas = schedule(path, steps)
        *_, last = invert(denoise, path, z0, sigmas, name)
        errors.append((ddim_sample(denoise, path, last.x, sigmas, name) - z0).square().mean().sqrt().item())
    found = math.log2(errors[0] / errors[-1]) / math.log2(COUNTS[-1] / COUNTS[0])
    print(f"round-trip error at {COUNTS} steps, {path.name} path, {name}: {errors}, order {found}")
    assert order - 0.3 < found < order + 0.3
    assert all(before > 1.6 * after for before, after in zip(errors, errors[1:]))


@BOTH_PATHS
def test_fixed_point_steps_solve_the_step_of_ddim(path: NoisePath):
    # Repeating the iteration at each level until it stops moving gives the exact inverse: one iteration is near it.
    denoise = MixtureDenoiser(TWO_TEXTS, path)
    z0, sigmas = TWO_TEXTS["negative"].sample(64, generator(2)), schedule(path, 100)
    x, exact = z0, []
    for low, high in zip(sigmas.flip(0), sigmas.flip(0)[1:]):
        guess = x
        for _ in range(60):
            (clean,) = denoise(guess, high, ("negative",))
            velocity = (guess - path.a(high) * clean) / path.b(high) - clean
            step = path.b(high) / (path.a(high) + path.b(high)) - path.b(low) / (path.a(low) + path.b(low))
            guess = (path.a(high) + path.b(high)) * (x / (path.a(low) + path.b(low)) + step * velocity)
        x = guess
        exact.append(x)
    found = [step.x for step in fixed_point_invert(denoise, path, z0, sigmas, "negative")]
    naive = [step.x for step in ddim_invert(denoise, path, z0, sigmas, "negative")]
    for one, other, far in zip(found, exact, naive):
        assert (one - other).norm() < 0.02 * (far - other).norm()


@BOTH_PATHS
def test_inversion_steps_report_clean_estimate_and_noise(path: NoisePath):
    denoise = MixtureDenoiser(TWO_TEXTS, path)
    z0 = TWO_TEXTS["negative"].sample(4, generator(2))
    sigmas = schedule(path, 10)
    steps = list(ddim_invert(denoise, path, z0, sigmas))
    torch.testing.assert_close(torch.stack([s.sigma for s in steps]), sigmas[:-1].flip(0))
    for step in steps:
        torch.testing.assert_close(path.noised(step.z0_hat, step.eps_hat, step.sigma), step.x)
    torch.testing.assert_close(steps[0].z0_hat, z0)


@every_way
@BOTH_PATHS
@pytest.mark.parametrize("steps", [1, 2, 7, 10])
def test_passes_every_level(invert: Invert, path: NoisePath, steps: int):
    sigmas = schedule(path, steps)
    found = list(invert(MixtureDenoiser(TWO_TEXTS, path), path, normal(2, 2), sigmas))
    torch.testing.assert_close(torch.stack([step.sigma for step in found]), sigmas[:-1].flip(0))


@every_way
def test_costs_one_call_a_step(invert: Invert):
    calls, sigmas = [], schedule(SCALED, 8)
    denoise = MixtureDenoiser(TWO_TEXTS)

    def counted(*arguments: Any) -> Sequence[Tensor]:
        calls.append(1)
        return denoise(*arguments)

    list(invert(counted, SCALED, normal(2, 2), sigmas))
    assert len(calls) == {ddim_invert: 8, fixed_point_invert: 9, half: 6}[invert]


@every_way
def test_rejects_a_schedule_that_does_not_end_at_zero(invert: Invert):
    with pytest.raises(ValueError, match="must fall to 0"):
        next(invert(MixtureDenoiser(TWO_TEXTS), SCALED, torch.zeros(1, 2), torch.tensor([1.0, 0.5])))

"""FlowEdit's whole run, compared with the paper's Algorithm 1 in plain floats, and the edits' masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.ending import sample_to_the_end
from dreamsampler.guidance.distillation.generators import Latent
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import METHODS, Config, Resources
from support.noise_paths import BOTH_PATHS
from support.oracle import MixtureDenoiser, gaussian, sigma_at
from support.tensors import assert_close, normal
from torch import Tensor

SOURCE, TARGET, NULL = (-1.0, 0.5), (2.0, 0.25), (0.3, 1.5)
"""Mean and variance of the model's Gaussian for each prompt."""
PROMPTS = {
    name: gaussian([mean], [variance])
    for name, (mean, variance) in (("source", SOURCE), ("positive", TARGET), ("negative", NULL))
}


def shifted(t: Tensor) -> Tensor:
    """SD3's clock."""
    return 3 * t / (1 + 2 * t)


def model(path: NoisePath) -> Prior:
    return Prior(MixtureDenoiser(PROMPTS, path), path, shifted if path is FLOW else sigma_at)


def flow_time(path: NoisePath, u: float) -> float:
    """The paper's t_i at u = i / T."""
    u64 = torch.tensor(u, dtype=torch.float64)
    sigma = sigma_at(u64)
    return (shifted(u64) if path is FLOW else sigma / (1 + sigma)).item()


# The paper


def velocity(distribution: tuple[float, float], x: Tensor, t: float, scale: float) -> Tensor:
    """The guided velocity E[N - X | (1 - t) X + t N = x]."""

    def plain(mean: float, variance: float) -> Tensor:
        a = 1 - t
        return (x - (mean + a * variance / (a * a * variance + t * t) * (x - a * mean))) / t

    return plain(*NULL) + scale * (plain(*distribution) - plain(*NULL))


def algorithm_1(
    x_src: Tensor,
    times: list[float],
    n_max: int,
    n_min: int,
    n_avg: int,
    scales: tuple[float, float],
    draw: Callable[[], Tensor],
) -> Tensor:
    """FlowEdit (Kulikov et al., 2025), Algorithm 1: `times` are t_0 to t_T, `scales` those of source and target."""
    z_fe = x_src
    for i in range(n_max, n_min, -1):
        difference = torch.zeros_like(x_src)
        for _ in range(n_avg):
            z_src = (1 - times[i]) * x_src + times[i] * draw()
            z_tar = z_fe + z_src - x_src
            v_tar, v_src = velocity(TARGET, z_tar, times[i], scales[1]), velocity(SOURCE, z_src, times[i], scales[0])
            difference += (v_tar - v_src) / n_avg
        z_fe = z_fe + (times[i - 1] - times[i]) * difference
    if n_min == 0:
        return z_fe
    z_src = (1 - times[n_min]) * x_src + times[n_min] * draw()
    z_tar = z_fe + z_src - x_src
    for i in range(n_min, 0, -1):
        z_tar = z_tar + (times[i - 1] - times[i]) * velocity(TARGET, z_tar, times[i], scales[1])
    return z_tar


# The pack


def ran(
    name: str, prior: Prior, reference: Tensor, mask: Tensor | None = None, **settings: Any
) -> tuple[Tensor, list[int]]:
    """The edit of a reference by a method of the list, and the indices of its steps."""
    method = METHODS[name]
    config: Config = method.config(from_image=True).updated(settings)
    noise = SeededNoise(range(len(reference)))
    objective = method.build(config.own, Resources(noise, reference))
    generator = Latent(reference, mask)
    plan = config.edit.plan(prior, reference)
    steps = [step.index for step in optimize(prior, generator, objective, plan=plan, noise=noise)]
    if config.n_min:
        assert method.ending is not None
        ending = sample_to_the_end(
            prior, generator, method.ending(config.own), reference=reference, noise=noise,
            times=config.ending_times, first=config.edit.steps, steps=config.n_min,
        )  # fmt: skip
        steps += [step.index for step in ending]
    return generator().detach(), steps


SD3, FLUX = (50, 33, (3.5, 13.5)), (28, 24, (1.5, 5.5))
"""T, n_max and the guidance scales of source and target in the paper."""


@BOTH_PATHS
@pytest.mark.parametrize(("n_min", "n_avg"), [(0, 1), (0, 3), (10, 1), (7, 2)])
@pytest.mark.parametrize("paper", [SD3, FLUX], ids=["SD3", "Flux"])
def test_run_is_the_papers_algorithm(paper: tuple[int, int, tuple[float, float]], n_min: int, n_avg: int, path):
    count, n_max, scales = paper
    reference, noise = normal(3, 4), SeededNoise(range(3))
    times = [flow_time(path, i / count) for i in range(count + 1)]
    expected = algorithm_1(reference, times, n_max, n_min, n_avg, scales, lambda: noise.like(reference))
    own = {} if paper is SD3 else {
        "steps": n_max, "t_max": n_max / count, "guidance_scale": scales[1], "source_guidance_scale": scales[0]
    }  # fmt: skip
    if (n_min, n_avg) != (0, 1):
        own |= {"n_min": n_min, "n_avg": n_avg}
    edited, steps = ran("flowedit", model(path), reference, **own)
    torch.testing.assert_close(edited, expected, rtol=0, atol=2e-5)  # the loop's times are float32
    assert steps == list(range(n_max))


@BOTH_PATHS
def test_averaged_step_is_the_mean_of_single_steps(path: NoisePath):
    reference = normal(2, 4)
    for name in ("dds", "pds", "flowedit", "dvrf", "flowalign"):
        # A second step of several draws its noises after those of the first, so compare one step. Its single runs
        # start with the first, second and third noise.
        method = METHODS[name]
        config = method.config().updated({
            "steps": 1, "t_max": 0.625, "optimizer": "sgd", "learning_rate": 0.5, "time_schedule": "descending",
            "learning_rate_schedule": "constant", "n_avg": 3,
        })  # fmt: skip
        objective, moved = method.build(config.own, Resources(SeededNoise([0, 1]), reference)), []
        for skipped, n_avg in ((0, 3), (0, 1), (1, 1), (2, 1)):
            noise, generator = SeededNoise([0, 1]), Latent(reference)
            for _ in range(skipped):
                noise.like(reference)
            plan = config.updated({"n_avg": n_avg}).loop.plan(model(path), reference)
            for _ in optimize(model(path), generator, objective, plan=plan, noise=noise):
                pass
            moved.append(generator().detach() - reference)
        together, *single = moved
        assert_close(together, torch.stack(single).mean(0))
        if name not in ("dds", "pds"):
            assert (single[0] - single[1]).abs().max() > 1e-3


@pytest.mark.parametrize("policy", ["fresh", "fixed", "estimated"])
def test_each_averaged_noise_follows_its_own_policy(policy: str):
    # Two fixed noises are the same two in every step; two estimated ones come from two predictions.
    seen: list[Tensor] = []
    reference, prior = normal(2, 4), model(FLOW)
    config = METHODS["flowedit"].config().updated({"steps": 3, "n_avg": 2, "noise_policy": policy})
    objective = METHODS["flowedit"].build(config.own, Resources(SeededNoise([0, 1]), reference))
    made: list[Tensor] = []

    def watched(prior: Prior, sample: Any) -> Any:
        seen.append(sample.eps)
        made.append((direction := objective(prior, sample)).eps_hat)
        return direction

    plan = config.loop.plan(prior, reference)
    list(optimize(prior, Latent(reference), watched, plan=plan, noise=SeededNoise([0, 1])))
    assert len(seen) == 6 and not torch.equal(seen[0], seen[1])
    for i in range(2, 6):
        expected = {"fixed": seen[i - 2], "estimated": made[i - 2]}.get(policy)
        if expected is None:
            assert all(not torch.equal(seen[i], other) for other in seen[:i])
        else:
            assert torch.equal(seen[i], expected)


@BOTH_PATHS
@pytest.mark.parametrize("name", ["dvrf", "flowalign"])
def test_relatives_end_by_sampling_too(name: str, path: NoisePath):
    # The edit up to n_min is a run of its own, then Euler steps lead to the end.
    reference, n_min, steps = normal(2, 3), 4, 10
    edited, indices = ran(name, model(path), reference, steps=steps, t_max=1.0, n_min=n_min)
    (middle, _), noise = (
        ran(name, model(path), reference, steps=steps - n_min, t_min=n_min / steps),
        SeededNoise([0, 1]),
    )
    for _ in range(steps - n_min if name == "dvrf" else 1):  # the noise of flowalign is fixed
        noise.like(reference)
    times = [flow_time(path, i / steps) for i in range(n_min + 1)]
    x = middle + times[n_min] * (noise.like(reference) - reference)
    for i in range(n_min, 0, -1):
        scale = 16.5 if name == "dvrf" else 7.5
        if name == "dvrf":
            guided = velocity(TARGET, x, times[i], scale)
        else:  # guided away from the source prompt
            unguided, source = velocity(TARGET, x, times[i], 1.0), velocity(SOURCE, x, times[i], 1.0)
            guided = source + scale * (unguided - source)
        x = x + (times[i - 1] - times[i]) * guided
    torch.testing.assert_close(edited, x, rtol=1e-6, atol=2e-5)
    assert indices == list(range(steps))


@pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
def test_shift_is_dds_at_0_and_flowedit_at_1_in_closed_form(path: NoisePath):
    # DVRF, eq. 6: the state is (1 - t) z + t eps + c_t (z - z_ref); c_t 0 is that of DDS, t that of FlowEdit.
    z, reference, t_model = normal(2, 3, seed=1), normal(2, 3), 0.625
    t = flow_time(path, t_model)
    eps = SeededNoise([0, 1]).like(z)
    src = (1 - t) * reference + t * eps
    v_src = velocity(SOURCE, src, t, 6.0)
    for shift, c in ((0.0, 0.0), (0.5, t / 2), (1.0, t)):
        tar = (1 - t) * z + t * eps + c * (z - reference)
        v_tar = velocity(TARGET, tar, t, 16.5)
        expected = v_tar - v_src + (1 - shift) * (z - reference)
        if shift == 0:  # the direction of DDS: the difference of noises, in units of velocity
            noises = [x + (1 - t) * v for x, v in ((tar, v_tar), (src, v_src))]
            assert_close(expected, (noises[0] - noises[1]) / (1 - t))
        config = METHODS["dvrf"].config().updated({
            "shift": shift, "steps": 1, "t_max": t_model, "learning_rate": 1.0, "learning_rate_schedule": "constant"
        })  # fmt: skip
        objective = METHODS["dvrf"].build(config.own, Resources(SeededNoise([0, 1]), reference))
        generator = Latent(z)
        plan = config.loop.plan(model(path), z)
        list(optimize(model(path), generator, objective, plan=plan, noise=SeededNoise([0, 1])))
        assert_close(z - generator().detach(), expected)


# Masks


@BOTH_PATHS
@pytest.mark.parametrize(
    ("name", "n_min"),
    [
        *((name, 0) for name in ("dds", "pds", "flowedit", "dvrf", "flowalign")),
        *((name, 4) for name in ("flowedit", "dvrf", "flowalign")),
    ],
)
def test_mask_weights_every_update(name: str, n_min: int, path: NoisePath):
    # The model of one Gaussian sees each cell alone, so each cell has the run of its own weight.
    reference, mask = normal(2, 1).expand(2, 4).clone(), torch.tensor([1.0, 0.5, 0.25, 0.0], dtype=torch.float64)

    class OneForAllCells(SeededNoise):
        """The same noise in every cell, so that cells can be compared."""

        def like(self, x: Tensor) -> Tensor:
            return super().like(x[:, :1]).expand_as(x).clone()

    def edited(mask: Tensor | None, rate: float = 1.0) -> Tensor:
        method = METHODS[name]
        config = method.config().updated({"steps": 8, **({"n_min": n_min} if n_min else {})})
        config = config.updated({"learning_rate": rate * config.loop.learning_rate})
        noise, generator = OneForAllCells([0, 1]), Latent(reference, mask)
        objective = method.build(config.own, Resources(noise, reference))
        list(optimize(model(path), generator, objective, plan=config.edit.plan(model(path), reference), noise=noise))
        if n_min and method.ending is not None:
            list(sample_to_the_end(
                model(path), generator, method.ending(config.own), reference=reference, noise=noise,
                times=config.ending_times, first=8 - n_min, steps=n_min,
            ))  # fmt: skip
        return generator().detach()

    masked, whole = edited(mask), edited(None)
    assert torch.equal(masked[:, 3], reference[:, 3])
    assert torch.equal(masked[:, 0], whole[:, 0])
    assert (whole - reference).abs().min() > 1e-4
    if not n_min:
        assert_close(masked[:, 1], edited(None, rate=0.5)[:, 0])
        assert_close(masked[:, 2], edited(None, rate=0.25)[:, 0])

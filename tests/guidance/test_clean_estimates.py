"""The clean estimate that each method's gradient leads to: what `pixel_weight` pulls to, and the weighting snr."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.ending import PlainSampling
from dreamsampler.guidance.distillation.generators import Latent
from dreamsampler.guidance.distillation.loop import Plan, descent_at_rates, optimize
from dreamsampler.guidance.distillation.method import METHODS, Resources
from dreamsampler.guidance.distillation.objective import WEIGHTS, Objective, Sample
from dreamsampler.guidance.distillation.objectives.chord import Chord
from dreamsampler.guidance.distillation.objectives.delta import Delta
from dreamsampler.guidance.distillation.objectives.flowalign import FlowAlign
from dreamsampler.guidance.distillation.objectives.lmc import LMC, Patching
from dreamsampler.guidance.distillation.objectives.pds import PDS, POSTERIOR_FORMS, PosteriorForm
from dreamsampler.guidance.distillation.regularizers import beside_data, clean_estimate_weight
from dreamsampler.guidance.distillation.schedules import PreviousStep
from support.field_oracle import field_prior, natural
from support.noise_paths import BOTH_PATHS
from support.oracle import gaussian, prior
from support.tensors import assert_close, normal
from torch import Tensor
from torch.nn import functional as F

NULL, TARGET, SOURCE, PARTICLES = -0.3, 1.0, 0.4, 0.7
"""The only image of each prompt, and of the trained model: a prediction of it is right at every noise level."""
SINGLE = {"negative": NULL, "positive": TARGET, "source": SOURCE}
S, R = 7.5, 3.0
TIMES = (0.15, 0.5, 0.9)


def guided(scale: float, null: float = NULL, target: float = TARGET) -> float:
    return null + scale * (target - null)


def single_images(path: NoisePath) -> Prior:
    return prior({name: gaussian([image] * 3, [0.0] * 3) for name, image in SINGLE.items()}, path)


class Particles:
    """A trained model of one image."""

    def __call__(self, x: Tensor, sigma: Tensor, names: Any) -> list[Tensor]:
        return [torch.full_like(x, PARTICLES)]

    def fit(self, x: Tensor, sigma: Tensor, eps: Tensor) -> None:
        pass


def level(path: NoisePath, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """a and b (B, 1) by the definition of a path."""
    sigma = sigma[:, None]
    return (torch.ones_like(sigma), sigma) if path is SCALED else (1 - sigma, sigma)


def samples(path: NoisePath, progress: float = 0.0) -> tuple[Sample, Tensor]:
    """A latent with its noise for each time, and the reference."""
    z, eps, reference = normal(3, len(TIMES), 3, seed=4)
    t = torch.tensor(TIMES, dtype=torch.float64)
    return Sample(z, eps, t, prior({}, path).sigma_at(t), progress), reference


def seen_by_losses(objective: Objective, model: Prior, step: Sample, *others: Tensor) -> Sample:
    """What a loss gets of one step of the loop at this sample, averaged over its noise and `others`."""
    kept, draws = list[Sample](), iter([step.eps, *others])

    def keep(sample: Sample) -> Tensor:
        kept.append(sample)
        return sample.z.new_zeros(())

    def drawn(
        prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, previous: PreviousStep | None
    ) -> Tensor:
        return next(draws)

    descent, count = descent_at_rates("sgd", [0.0]), 1 + len(others)
    plan = Plan(1, descent, lambda progress, noise: step.t, drawn, WEIGHTS["uniform"], count)
    noise = SeededNoise(range(len(step.z)))
    for _ in optimize(model, Latent(step.z), objective, plan=plan, noise=noise, losses=[keep]):
        pass
    return kept[0]


def built(name: str, reference: Tensor, **settings: Any) -> Objective:
    config = METHODS[name].config().updated({"guidance_scale": S, **settings})
    resources = Resources(
        SeededNoise(range(len(TIMES))),
        reference,
        particles=lambda rank, rate: Particles(),
    )
    return METHODS[name].build(config.own, resources)


BOTH_SCALES = {"source_guidance_scale": R}
CHANGE = guided(S) - guided(R, target=SOURCE)
"""What Delta compares: the difference of the guided images of target and source."""
ESTIMATES: dict[str, tuple[dict[str, Any], Any]] = {
    "sds": ({}, lambda z, ref: torch.full_like(z, guided(S))),
    "dreamsampler": ({}, lambda z, ref: torch.full_like(z, guided(S))),
    "sdi": ({}, lambda z, ref: torch.full_like(z, guided(S))),
    "full bridge": ({"sds_stage": 0.0, "ode_steps": 3}, lambda z, ref: torch.full_like(z, guided(S))),
    "vsd": ({}, lambda z, ref: z + guided(S) - PARTICLES),
    "ism": ({}, lambda z, ref: z + guided(S) - NULL),
    "bridge": ({"sds_stage": 0.0}, lambda z, ref: z + S * (TARGET - SOURCE)),
    "csd": ({"source_prompt_weight": 2.0}, lambda z, ref: z + S * (TARGET - NULL) + 2 * (NULL - SOURCE)),
    "dds": (BOTH_SCALES, lambda z, ref: ref + CHANGE),
    "flowedit": (BOTH_SCALES, lambda z, ref: ref + CHANGE),
    "dvrf": ({**BOTH_SCALES, "shift": 0.3}, lambda z, ref: ref + CHANGE),
    "chord": ({}, lambda z, ref: ref + S * (TARGET - SOURCE)),
    "nfsd": (
        {},
        lambda z, ref: torch.cat([torch.full_like(z[:1], guided(S)), z[1:] + NULL - SOURCE + S * (TARGET - NULL)]),
    ),
}
"""Settings of a method, and its clean estimate from the latent and the reference where prompts have one image."""
ELSEWHERE = {"flowalign", "pds", "lmc"}
"""Methods whose clean estimate also depends on the noise level, or on a network: their tests are below."""


def test_every_method_is_tested():
    assert set(METHODS) == ESTIMATES.keys() | ELSEWHERE


@BOTH_PATHS
@pytest.mark.parametrize("name", ESTIMATES)
def test_where_each_prompt_has_one_image_the_estimate_is_known(name: str, path: NoisePath):
    settings, expected = ESTIMATES[name]
    sample, reference = samples(path)
    seen = seen_by_losses(built(name, reference, **settings), single_images(path), sample)
    torch.testing.assert_close(seen.z0_hat, expected(sample.z, reference), rtol=1e-8, atol=1e-8)


STILL: dict[str, dict[str, Any]] = {
    **{name: ESTIMATES[name][0] for name in ("sds", "dds", "flowedit", "dvrf", "chord", "full bridge")},
    "flowalign": {"source_consistency_weight": 0.02},
    "pds": {"identity_weight": 2.0},
}
"""Methods with a gradient that vanishes at one image."""


@BOTH_PATHS
@pytest.mark.parametrize("name", STILL)
def test_an_image_that_is_its_clean_estimate_stays(name: str, path: NoisePath):
    """Predictions of single images do not depend on the latent, so the gradient is 0 where the estimate is."""
    sample, reference = samples(path)
    objective, model = built(name, reference, **STILL[name]), single_images(path)
    z0_hat = seen_by_losses(objective, model, sample).z0_hat
    assert z0_hat is not None
    here, there = (objective(model, replace(sample, z=z)).gradient for z in (sample.z, z0_hat))
    assert (there.abs() < 1e-8 * here.abs()).all()


@BOTH_PATHS
def test_flowalign_holds_part_of_the_change_back(path: NoisePath):
    """33 zeta of it per unit of flow time."""
    sample, reference = samples(path)
    a, b = level(path, sample.sigma)
    seen = seen_by_losses(FlowAlign(reference, S, 0.02), single_images(path), sample)
    expected = reference + (1 - 33 * 0.02 * b / (a + b)) * S * (TARGET - SOURCE)
    torch.testing.assert_close(seen.z0_hat, expected, rtol=1e-8, atol=1e-8)


@BOTH_PATHS
@pytest.mark.parametrize("posterior", POSTERIOR_FORMS)
def test_pds_lies_between_its_source_and_the_estimate_of_dds(path: NoisePath, posterior: PosteriorForm):
    """The exact posterior has no identity term, so its estimate is that of dds."""
    sample, reference = samples(path)
    delta = Delta(reference, S, R)
    seen = seen_by_losses(PDS(delta, posterior, 2.0), single_images(path), sample)
    assert seen.z0_hat is not None
    share = (seen.z0_hat - reference) / CHANGE
    expected = share[:, :1].expand_as(share)
    torch.testing.assert_close(share, expected, rtol=1e-7, atol=1e-7)
    assert ((share > 0) & (share < 1)).all() if posterior != "exact" else (share - 1).abs().max() < 1e-7


@BOTH_PATHS
def test_pds_pulls_nowhere_at_levels_that_its_clock_does_not_have(path: NoisePath):
    sample, reference = samples(path)
    t = torch.full_like(sample.t, 0.05)
    model = single_images(path)
    quiet = replace(sample, t=t, sigma=model.sigma_at(t))
    seen = seen_by_losses(PDS(Delta(reference, S, R), "official", 2.0), model, quiet)
    torch.testing.assert_close(seen.z0_hat, sample.z)


@BOTH_PATHS
def test_further_steps_of_chord_and_the_ending_of_edits_lead_to_the_target(path: NoisePath):
    sample, reference = samples(path, progress=0.5)
    model = single_images(path)
    for objective, expected in ((Chord(reference, S, 0.15, 0.3), TARGET), (PlainSampling(S), guided(S))):
        z0_hat = sample.z - objective(model, sample).pull_at(path, sample.sigma)
        torch.testing.assert_close(z0_hat, torch.full_like(sample.z, expected), rtol=1e-8, atol=1e-8)


# Gaussian prompts: predictions that depend on the state


GAUSSIANS = {"negative": (-0.3, 1.5), "positive": (1.0, 0.3), "source": (0.4, 0.8)}
"""Mean and variance of each prompt."""


def posterior_mean(name: str, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    mean, variance = GAUSSIANS[name]
    return mean + a * variance / (a * a * variance + b * b) * (x - a * mean)


@BOTH_PATHS
@pytest.mark.parametrize("name", ["flowedit", "dvrf", "nfsd"])
def test_estimates_of_gaussians_in_closed_form(name: str, path: NoisePath):
    sample, reference = samples(path)
    model = prior({key: gaussian([mean] * 3, [var] * 3) for key, (mean, var) in GAUSSIANS.items()}, path)
    seen = seen_by_losses(built(name, reference, **ESTIMATES[name][0]), model, sample)

    a, b = level(path, sample.sigma)
    shift = {"flowedit": 1.0, "dvrf": 0.3}.get(name, 0.0)

    def estimate(key: str, x: Tensor, scale: float) -> Tensor:
        null = posterior_mean("negative", x, a, b)
        return null + scale * (posterior_mean(key, x, a, b) - null)

    x = a * sample.z + b * (sample.eps + shift * (sample.z - reference))
    if name == "nfsd":
        target, bad = estimate("positive", x, S), posterior_mean("source", x, a, b)
        expected = torch.where(sample.t[:, None] < 0.2, target, sample.z + target - bad)
    else:
        expected = reference + estimate("positive", x, S) - estimate("source", a * reference + b * sample.eps, R)
    torch.testing.assert_close(seen.z0_hat, expected, rtol=1e-8, atol=1e-8)


SIDE, OMEGA = 8, 7.5


@BOTH_PATHS
@pytest.mark.parametrize("size", [None, (SIDE, SIDE), (SIDE // 2, SIDE // 2)])
def test_lmc_corrects_the_guided_estimate_by_the_corrective(path: NoisePath, size: tuple[int, int] | None):
    """z + (z0_hat^w(y) - b_hat) / w; of an image shown at half its size, a quarter of that in each of four cells."""
    t = torch.tensor(TIMES, dtype=torch.float64)
    seen_side = SIDE if size is None else size[0]
    null_images = natural(2, seen_side)
    fields = {"negative": null_images, "positive": replace(null_images, means=null_images.means + 0.5)}
    model = field_prior(fields, path)
    z, eps = normal(2, len(TIMES), 2, SIDE, SIDE, seed=3)
    sample = Sample(z, eps, t, model.sigma_at(t), 0.0)
    patching = None if size is None else Patching(size, 1.0, SeededNoise(range(len(TIMES))))
    seen = seen_by_losses(LMC(lambda z, t: 0.5 * z, "none", OMEGA, patching), model, sample)

    half = seen_side < SIDE
    shown, noise = (F.avg_pool2d(z, 2), eps[..., :seen_side, :seen_side]) if half else (z, eps)
    a, b = (each[..., None, None] for each in level(path, sample.sigma))
    x = a * shown + b * noise
    null, target = model.denoise(x, sample.sigma, ("negative", "positive"))
    step = (null + OMEGA * (target - null) - 0.5 * shown) / OMEGA
    expected = z + (F.interpolate(step, scale_factor=2) / 4 if half else step)
    torch.testing.assert_close(seen.z0_hat, expected, rtol=1e-8, atol=1e-8)


# Weightings


@BOTH_PATHS
@pytest.mark.parametrize("name", sorted(ESTIMATES))
def test_snr_and_the_weights_of_restoration_pull_to_the_clean_estimate(name: str, path: NoisePath):
    """z - z0_hat, and the gradient of (1 - gamma) lambda mean |z - z0_hat|^2 (DreamSampler, eq. 21)."""
    settings, estimate = ESTIMATES[name]
    sample, reference = samples(path)
    direction = built(name, reference, **settings)(single_images(path), sample)
    pull = sample.z - estimate(sample.z, reference)
    a, b = level(path, sample.sigma)
    share = b * b / (a * a + b * b)
    for weighting, expected in (
        (WEIGHTS["snr"], pull),
        (beside_data(WEIGHTS["snr"]), share * pull),
        (clean_estimate_weight(2.4, 3), 2 * 2.4 * share / 3 * pull),
    ):
        torch.testing.assert_close(weighting(direction, path, sample.sigma), expected, rtol=1e-8, atol=1e-8)


def test_several_noises_lead_to_the_mean_of_their_estimates():
    sample, reference = samples(SCALED)
    model = prior({key: gaussian([mean] * 3, [var] * 3) for key, (mean, var) in GAUSSIANS.items()})
    objective, other = built("flowedit", reference, **BOTH_SCALES), 2 * sample.eps
    one, two = (seen_by_losses(objective, model, replace(sample, eps=eps)).z0_hat for eps in (sample.eps, other))
    both = seen_by_losses(objective, model, sample, other).z0_hat
    assert one is not None and two is not None and both is not None
    assert_close(both, (one + two) / 2)
    assert not torch.allclose(one, two)

"""LMC-SDS as an objective: its formula, its gradient on blurred images, and large images in patches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.distillation.generators import Latent, Pixels
from dreamsampler.guidance.distillation.loop import optimize
from dreamsampler.guidance.distillation.method import Resources
from dreamsampler.guidance.distillation.objective import Sample
from dreamsampler.guidance.distillation.objectives import METHODS
from dreamsampler.guidance.distillation.objectives.lmc import (
    LMC,
    PATCHES,
    WHOLE,
    LMCSettings,
    Patching,
    View,
    downscaled_view,
    patch_view,
)
from dreamsampler.guidance.distillation.objectives.sds import SDS
from dreamsampler.guidance.networks.corrective.normalization import Statistics, normalize
from dreamsampler.guidance.networks.corrective.spectral import SpectralForm, band_of
from dreamsampler.guidance.networks.corrective.storage import About, ManifoldCorrective
from dreamsampler.guidance.networks.corrective.training import fit_spectral
from dreamsampler.guidance.networks.patches import LatentPatches
from support.field_oracle import Fields, field_prior, frequency, image_of, natural, transform
from torch import Tensor
from torch.nn import functional as F

BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)
SIDE, OMEGA = 8, 7.5
NULL = natural(2, SIDE)
TARGET = Fields(NULL.means + 0.5, 0.3 * NULL.variance)
BELIEFS = {"negative": NULL, "positive": TARGET}


def halved(z: Tensor, t: Tensor) -> Tensor:
    """A simple corrective to compute by hand."""
    return (1 - t[:, None, None, None]) * z + 0.1


def sample(path: NoisePath = SCALED, count: int = 3, seed: int = 0, progress: float = 0.0) -> Sample:
    noise = SeededNoise(range(100 * seed, 100 * seed + count))
    like = torch.zeros(count, 2, SIDE, SIDE, dtype=torch.float64)
    t = torch.linspace(0.2, 0.9, count, dtype=torch.float64)
    return Sample(noise.like(like), noise.like(like), t, field_prior(BELIEFS, path).sigma_at(t), progress)


def seen(fields: Fields, path: NoisePath, at: Sample, eps: Tensor) -> tuple[Tensor, Tensor]:
    """The clean estimate and the noise prediction for one distribution, by definition."""
    sigma = at.sigma[:, None, None, None]
    a, b = (torch.ones_like(sigma), sigma) if path is SCALED else (1 - sigma, sigma)
    z_t = a * at.z + b * eps
    z0_hat = fields.posterior_mean(z_t, a, b)
    return z0_hat, (z_t - a * z0_hat) / b


def same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@BOTH_PATHS
@pytest.mark.parametrize("statistics", ["as printed", "full", "none"])
def test_lmc_is_the_corrected_estimate_plus_the_prompt(path: NoisePath, statistics: Statistics):
    at, prior = sample(path), field_prior(BELIEFS, path)
    (z0_null, null), (_, target) = (seen(belief, path, at, at.eps) for belief in (NULL, TARGET))
    answer = LMC(halved, statistics, OMEGA)(prior, at)
    same(answer.gradient, (normalize(halved(at.z, at.t), z0_null, statistics) - z0_null) / OMEGA + target - null)
    same(answer.eps_hat, null + OMEGA * (target - null))
    assert prior.denoise.calls == [2]  # type: ignore[attr-defined]


@BOTH_PATHS
def test_without_prompt_and_correction_it_is_sds_in_clean_estimates(path: NoisePath):
    at = sample(path)
    prior = field_prior({"negative": NULL, "positive": NULL}, path)
    sds = SDS(1.0)(prior, at).gradient * (prior.path.b(at.sigma) / prior.path.a(at.sigma))[:, None, None, None]
    same(LMC(lambda z, t: z, "none", 2.0)(prior, at).gradient, sds / 2)


def test_the_guidance_scale_divides_the_correction_only():
    at, prior = sample(), field_prior(BELIEFS)
    weak, strong = (LMC(halved, "as printed", w)(prior, at).gradient for w in (2.0, 200.0))
    (_, null), (_, target) = (seen(belief, SCALED, at, at.eps) for belief in (NULL, TARGET))
    same(weak - strong, (weak - (target - null)) * (1 - 2.0 / 200.0))


@BOTH_PATHS
def test_diversity_fixes_only_the_noise_of_the_prompt_term(path: NoisePath):
    prior, stream = field_prior(BELIEFS, path), SeededNoise([5, 6, 7])
    objective = LMC(halved, "as printed", OMEGA, prompt_noise=stream)
    kept = SeededNoise([5, 6, 7]).like(sample().z)
    for seed in (0, 1):
        at = sample(path, seed=seed)
        z0_null, _ = seen(NULL, path, at, at.eps)
        (_, null), (_, target) = (seen(belief, path, at, kept) for belief in (NULL, TARGET))
        lmc = normalize(halved(at.z, at.t), z0_null) - z0_null
        same(objective(prior, at).gradient, lmc / OMEGA + target - null)
    assert prior.denoise.calls == [3, 3]  # type: ignore[attr-defined]


def test_substreams_differ_and_are_reproducible():
    like, noise = torch.zeros(2, 3), SeededNoise([4, 2**64 - 1])
    first = noise.like(like)
    assert torch.equal(noise.substream(0).like(like), first)
    others = [noise.substream(key).like(like) for key in (1, 2)]
    assert torch.equal(noise.substream(1).like(like), others[0])
    assert len({tuple(row.tolist()) for row in torch.cat([first, *others])}) == 6
    assert torch.equal(SeededNoise([4]).substream(1).like(like[:1]), others[0][:1])


def three_kinds() -> Fields:
    """Three kinds of images that are easy to tell apart, each with random detail of similar strength."""
    variance = 4 / (1 + (6 * frequency(16)) ** 2)
    noise = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Fields(image_of(variance.sqrt() * noise), 1.5 * variance[None])


def added_to_blurred(t: float, *all_statistics: Statistics) -> list[list[float]]:
    """The share of its true detail that a step adds to a blurred image, by band, for LMC and for SDS."""
    fields, count, bands = three_kinds(), 400, 8
    prior = field_prior({"negative": fields, "positive": fields})
    natural_ones = fields.sample(1024, torch.Generator().manual_seed(1))
    *_, corrective = fit_spectral(
        SpectralForm(1, bands, 5), prior, LatentPatches(list(natural_ones), (16, 16)), count=512, batch=256, seed=1
    )
    truth, band = transform(natural_ones[:count]), band_of(16, 16, bands)
    blurred = image_of((1 - 0.4 * frequency(16)) * truth)
    noise, times = SeededNoise(range(count)), torch.full((count,), t, dtype=torch.float64)
    at = Sample(blurred, noise.like(blurred), times, prior.sigma_at(times), 0.0)

    def share(step: Tensor) -> list[float]:
        added, there = (transform(step) * truth).mean(0)[0], truth.square().mean(0)[0]
        return [(added[band == k].sum() / there[band == k].sum()).item() for k in range(1, bands + 1)]

    objectives = [*(LMC(corrective, each, 1.0) for each in all_statistics), SDS(0.0)]
    shares = [share(-objective(prior, at).gradient) for objective in objectives]
    for name, found in zip((*all_statistics, "SDS"), shares):
        print(f"t = {t}, {name}:", [f"{each:.3f}" for each in found])
    return shares


TIMES = pytest.mark.parametrize("t", [0.3, 0.5, 0.7])


@TIMES
def test_without_normalization_lmc_sharpens_a_blurred_image_and_sds_blurs_it(t: float):
    """In every frequency band LMC adds to the image's own detail, and SDS removes from it."""
    ours, theirs = added_to_blurred(t, "none")
    assert min(ours) > 0 > max(theirs)


@TIMES
def test_with_normalization_lmc_removes_contrast_and_least_of_it_from_detail(t: float):
    """Coarse bands lose contrast; the finest gains, so detail becomes a larger part of the image."""
    printed, full, _ = added_to_blurred(t, "as printed", "full")
    assert printed == pytest.approx(full, abs=1e-10)  # they differ in brightness alone
    assert max(printed[:3]) < -0.01
    assert printed[-1] > max(0, *printed[:3])


# Patches

LARGE = (20, 13)


def views() -> list[View]:
    like = torch.zeros(3, 2, *LARGE, dtype=torch.float64)
    return [WHOLE, downscaled_view(like, (8, 5)), patch_view(like, (8, 8), SeededNoise([1, 2, 3]))]


@pytest.mark.parametrize("number", range(3), ids=["whole", "downscaled", "patches"])
@pytest.mark.parametrize("frames", [False, True], ids=["images", "one frame"])
def test_views_have_exact_adjoints(number: int, frames: bool):
    view, generator = views()[number], torch.Generator().manual_seed(3)
    shape = (3, 2, *((1,) if frames else ()), *LARGE)
    z = torch.randn(shape, generator=generator, dtype=torch.float64)
    seen_of_it = view.apply(z)
    g = torch.randn(seen_of_it.shape, generator=generator, dtype=torch.float64)
    assert view.adjoint(g).shape == shape
    assert (seen_of_it * g).sum().item() == pytest.approx((z * view.adjoint(g)).sum().item(), rel=1e-12)
    assert view.noise(z).shape == seen_of_it.shape


def test_downscaled_views_average_the_image_but_not_its_noise():
    z = torch.randn(3, 2, *LARGE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    view = views()[1]
    same(view.apply(z), F.adaptive_avg_pool2d(z, (8, 5)))
    eps = torch.randn(50, 2, *LARGE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert view.noise(eps).std().item() == pytest.approx(1, abs=0.03)


def test_patches_depend_on_the_seed_of_their_item():
    numbered = torch.arange(20 * 13, dtype=torch.float64).reshape(1, 1, *LARGE).expand(3, -1, -1, -1)
    corners = [patch_view(numbered, (8, 8), SeededNoise([s, s + 1, s + 2])).apply(numbered)[:, 0, 0, 0] for s in (1, 2)]
    assert torch.equal(corners[0][1:], corners[1][:2]) and len(set(corners[0].tolist())) == 3


def large(progress: float) -> Sample:
    noise = SeededNoise([1, 2])
    z, eps = (noise.like(torch.zeros(2, 2, *LARGE, dtype=torch.float64)) for _ in range(2))
    t = torch.tensor([0.3, 0.6], dtype=torch.float64)
    return Sample(z, eps, t, field_prior(BELIEFS).sigma_at(t), progress)


class Convolved:
    """A translation-invariant denoiser that averages neighbors, for images of any size. Records its calls."""

    def __init__(self) -> None:
        self.sizes: list[list[tuple[int, ...]]] = []

    def __call__(self, x: Tensor, sigma: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        return self.paired([x], sigma, [names])[0]

    def paired(self, xs, sigma: Tensor, names) -> list[list[Tensor]]:
        self.sizes.append([tuple(x.shape[-2:]) for x in xs])
        share = (1 / (1 + sigma.square()))[:, None, None, None]
        text = {"negative": 0.0, "positive": 0.4}
        return [[share * F.avg_pool2d(x, 3, 1, 1) + text[name] for name in each] for x, each in zip(xs, names)]


def test_a_large_image_is_downscaled_first_and_then_cut_into_two_patches_per_call():
    patching, denoise = Patching((8, 8), 0.4, SeededNoise([9, 10])), Convolved()
    prior = Prior(denoise, SCALED, field_prior(BELIEFS).sigma_at)  # type: ignore[arg-type]
    objective = LMC(halved, "as printed", OMEGA, patching)
    for progress, size in ((0.0, [(8, 5)]), (0.39, [(8, 5)]), (0.4, [(8, 8)] * PATCHES)):
        answer = objective(prior, large(progress))
        assert denoise.sizes.pop() == size and not denoise.sizes
        assert answer.gradient.shape == (2, 2, *LARGE)
    assert PATCHES == 2


def test_the_gradient_is_the_sum_of_those_of_the_patches():
    at, prior = large(0.9), Prior(Convolved(), SCALED, field_prior(BELIEFS).sigma_at)  # type: ignore[arg-type]
    answer = LMC(halved, "as printed", OMEGA, Patching((8, 8), 0.4, SeededNoise([9, 10])))(prior, at)
    again = SeededNoise([9, 10])
    expected = torch.zeros_like(at.z)
    for _ in range(2):
        corners = zip(again.uniform().tolist(), again.uniform().tolist())
        for item, (down, right) in enumerate(corners):
            y, x = int(down * 13), int(right * 6)
            cut = tuple([item, slice(None), slice(y, y + 8), slice(x, x + 8)])
            one = Sample(at.z[cut][None], at.eps[cut][None], at.t[[item]], at.sigma[[item]], 0.9)
            expected[cut] += LMC(halved, "as printed", OMEGA)(prior, one).gradient[0]
    same(answer.gradient, expected)
    same(answer.eps_hat, at.eps)


def test_an_image_that_fits_is_never_cut():
    at, prior = sample(), field_prior(BELIEFS)
    plain = LMC(halved, "as printed", OMEGA)(prior, at)
    for progress in (0.0, 0.9):
        cut = LMC(halved, "as printed", OMEGA, Patching((SIDE, SIDE), 0.4, SeededNoise([1, 2, 3])))
        same(cut(prior, replace(at, progress=progress)).gradient, plain.gradient)


def generators() -> dict[str, Callable[[Tensor], Latent | Pixels]]:
    """Generators from a start (B, 3, H, W) in [0, 1]: latents, or pixels with an encoder that halves their size."""
    return {
        "latent": lambda start: Latent(start[:, :2]),
        "pixels": lambda start: Pixels(start.repeat_interleave(2, -1).repeat_interleave(2, -2), _encode),
    }


def _encode(pixels: Tensor) -> Tensor:
    return F.avg_pool2d(2 * pixels - 1, 2)[:, :2]


@pytest.mark.parametrize("kind", ["latent", "pixels"])
def test_all_of_a_large_image_moves_and_items_are_independent(kind: str):
    prior = Prior(Convolved(), SCALED, field_prior(BELIEFS).sigma_at)  # type: ignore[arg-type]
    start = torch.rand(2, 3, *LARGE, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    config = METHODS["lmc"].config().updated({"steps": 12, "learning_rate": 0.01, "optimizer": "sgd"})

    def run(start: Tensor, seeds: list[int]) -> Tensor:
        generator, noise = generators()[kind](start), SeededNoise(seeds)
        corrective = ManifoldCorrective(Halved(), replace(ABOUT, size=(8, 8)))  # type: ignore[arg-type]
        objective = METHODS["lmc"].build(config.own, Resources(noise, corrective=corrective))
        before = generator().detach().clone()
        for _ in optimize(prior, generator, objective, plan=config.loop.plan(prior, start), noise=noise):
            pass
        moved = (generator().detach() - before).abs()
        assert (moved > 0).all()
        return generator().detach()

    together = run(start, [3, 4])
    for i in range(2):
        same(together[i : i + 1], run(start[i : i + 1], [3 + i]))


class Halved(torch.nn.Module):
    """`halved` as a corrective's network."""

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return halved(z, t)


ABOUT = About("SD15", "abc", 2, "scaled", (0.1,), (SIDE, SIDE), "full", 1, 0.1)


# The method


def test_settings_are_those_of_the_paper():
    method = METHODS["lmc"]
    new, edit = method.config(), method.config(from_image=True)
    for loop in (new.loop, edit.loop):
        assert (loop.steps, loop.t_min, loop.t_max) == (500, 0.02, 0.98)
        assert (loop.optimizer, loop.weighting, loop.noise_policy) == ("adam", "uniform", "fresh")
    assert not new.own.diversity and not edit.own.diversity
    assert (new.own.guidance_scale, new.loop.learning_rate, 500 * new.own.whole_image_stage) == (8.0, 0.1, 150)
    assert (edit.own.guidance_scale, edit.loop.learning_rate, 500 * edit.own.whole_image_stage) == (15.0, 0.02, 200)
    assert method.from_zeros and method.needs == {"corrective"}


def test_learning_rates_fall_as_in_the_paper():
    like, prior = torch.zeros(1), field_prior(BELIEFS)
    method = METHODS["lmc"]
    new, edit = (method.config(from_image=from_image).loop.learning_rates(prior, like) for from_image in (False, True))
    assert new[0] == 0.1 and new[150] == pytest.approx(0.1 * (1 + 0.03) / 2)
    assert new[300] == new[499] == pytest.approx(0.003)
    assert edit[0] == 0.02 and edit[250] == pytest.approx(0.018) and edit[499] == pytest.approx(0.016, rel=1e-3)


@pytest.mark.parametrize("diversity", [False, True])
def test_the_method_builds_its_objective(diversity: bool):
    corrective = ManifoldCorrective(Halved(), ABOUT)  # type: ignore[arg-type]
    noise = SeededNoise([1, 2, 3])
    settings = LMCSettings(3.0, whole_image_stage=0.25, diversity=diversity)
    made = METHODS["lmc"].build(settings, Resources(noise, corrective=corrective))
    assert isinstance(made, LMC)
    assert made.statistics == "full" and made.guidance_scale == 3.0
    assert made.patching is not None and made.patching.size == (SIDE, SIDE) and made.patching.whole_share == 0.25
    assert (made.prompt_noise is not None) == diversity
    at, prior = sample(), field_prior(BELIEFS)
    own = LMC(halved, "full", 3.0, prompt_noise=noise.substream(2) if diversity else None)
    same(made(prior, at).gradient, own(prior, at).gradient)


def test_the_method_needs_a_corrective():
    with pytest.raises(ValueError, match="needs a corrective, and there is none"):
        METHODS["lmc"].build(METHODS["lmc"].settings, Resources(SeededNoise([1])))

"""The LMC-SDS objective: its formula, its gradient on blurred images, and patches of large images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import SCALED, NoisePath
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
from support.noise_paths import BOTH_PATHS
from support.tensors import assert_close, generator, normal, uniform
from torch import Tensor
from torch.nn import functional as F

SIDE, OMEGA = 8, 7.5
NULL = natural(2, SIDE)
TARGET = Fields(NULL.means + 0.5, 0.3 * NULL.variance)
FIELDS = {"negative": NULL, "positive": TARGET}


def simple_corrective(z: Tensor, t: Tensor) -> Tensor:
    """A corrective that is easy to compute by hand."""
    return (1 - t[:, None, None, None]) * z + 0.1


def random_sample(path: NoisePath = SCALED, count: int = 3, seed: int = 0, progress: float = 0.0) -> Sample:
    noise = SeededNoise(range(100 * seed, 100 * seed + count))
    like = torch.zeros(count, 2, SIDE, SIDE, dtype=torch.float64)
    t = torch.linspace(0.2, 0.9, count, dtype=torch.float64)
    return Sample(noise.like(like), noise.like(like), t, field_prior(FIELDS, path).sigma_at(t), progress)


def predictions(fields: Fields, path: NoisePath, sample: Sample, eps: Tensor) -> tuple[Tensor, Tensor]:
    """The clean estimate and the noise prediction of one prompt's model, by definition."""
    sigma = sample.sigma[:, None, None, None]
    a, b = (torch.ones_like(sigma), sigma) if path is SCALED else (1 - sigma, sigma)
    z_t = a * sample.z + b * eps
    z0_hat = fields.posterior_mean(z_t, a, b)
    return z0_hat, (z_t - a * z0_hat) / b


@BOTH_PATHS
@pytest.mark.parametrize("statistics", ["as printed", "full", "none"])
def test_gradient_is_the_correction_plus_the_prompt_term(path: NoisePath, statistics: Statistics):
    sample, prior = random_sample(path), field_prior(FIELDS, path)
    (z0_null, null), (_, target) = (predictions(field, path, sample, sample.eps) for field in (NULL, TARGET))
    direction = LMC(simple_corrective, statistics, OMEGA)(prior, sample)
    assert_close(
        direction.gradient,
        (normalize(simple_corrective(sample.z, sample.t), z0_null, statistics) - z0_null) / OMEGA + target - null,
    )
    assert_close(direction.eps_hat, null + OMEGA * (target - null))
    assert prior.denoise.calls == [2]  # type: ignore[attr-defined]


@BOTH_PATHS
def test_without_prompt_and_correction_it_is_sds_on_clean_estimates(path: NoisePath):
    sample = random_sample(path)
    prior = field_prior({"negative": NULL, "positive": NULL}, path)
    sds = (
        SDS(1.0)(prior, sample).gradient
        * (prior.path.b(sample.sigma) / prior.path.a(sample.sigma))[:, None, None, None]
    )
    assert_close(LMC(lambda z, t: z, "none", 2.0)(prior, sample).gradient, sds / 2)


def test_guidance_scale_divides_only_the_correction():
    sample, prior = random_sample(), field_prior(FIELDS)
    weak, strong = (LMC(simple_corrective, "as printed", w)(prior, sample).gradient for w in (2.0, 200.0))
    (_, null), (_, target) = (predictions(field, SCALED, sample, sample.eps) for field in (NULL, TARGET))
    assert_close(weak - strong, (weak - (target - null)) * (1 - 2.0 / 200.0))


@BOTH_PATHS
def test_diversity_fixes_only_the_noise_of_the_prompt_term(path: NoisePath):
    prior, noise = field_prior(FIELDS, path), SeededNoise([5, 6, 7])
    objective = LMC(simple_corrective, "as printed", OMEGA, prompt_noise=noise)
    fixed_noise = SeededNoise([5, 6, 7]).like(random_sample().z)
    for seed in (0, 1):
        sample = random_sample(path, seed=seed)
        z0_null, _ = predictions(NULL, path, sample, sample.eps)
        (_, null), (_, target) = (predictions(field, path, sample, fixed_noise) for field in (NULL, TARGET))
        correction = normalize(simple_corrective(sample.z, sample.t), z0_null) - z0_null
        assert_close(objective(prior, sample).gradient, correction / OMEGA + target - null)
    assert prior.denoise.calls == [3, 3]  # type: ignore[attr-defined]


def test_substreams_differ_and_are_reproducible():
    like, noise = torch.zeros(2, 3), SeededNoise([4, 2**64 - 1])
    first = noise.like(like)
    assert torch.equal(noise.substream(0).like(like), first)
    others = [noise.substream(key).like(like) for key in (1, 2)]
    assert torch.equal(noise.substream(1).like(like), others[0])
    assert len({tuple(row.tolist()) for row in torch.cat([first, *others])}) == 6
    assert torch.equal(SeededNoise([4]).substream(1).like(like[:1]), others[0][:1])


def three_clusters() -> Fields:
    """Three well-separated clusters of images with random detail of similar strength."""
    variance = 4 / (1 + (6 * frequency(16)) ** 2)
    noise = normal(3, 1, 16, 16, seed=0)
    return Fields(image_of(variance.sqrt() * noise), 1.5 * variance[None])


def detail_added_to_blurred(t: float, *all_statistics: Statistics) -> list[list[float]]:
    """The fraction of the true detail that a step adds to a blurred image, by frequency band, for LMC and SDS."""
    fields, count, bands = three_clusters(), 400, 8
    prior = field_prior({"negative": fields, "positive": fields})
    sharp_images = fields.sample(1024, generator(1))
    *_, corrective = fit_spectral(
        SpectralForm(1, bands, 5), prior, LatentPatches(list(sharp_images), (16, 16)), count=2048, batch=256, seed=1
    )
    truth, band = transform(sharp_images[:count]), band_of(16, 16, bands)
    blurred = image_of((1 - 0.4 * frequency(16)) * truth)
    noise, times = SeededNoise(range(count)), torch.full((count,), t, dtype=torch.float64)
    sample = Sample(blurred, noise.like(blurred), times, prior.sigma_at(times), 0.0)

    def share(step: Tensor) -> list[float]:
        added, there = (transform(step) * truth).mean(0)[0], truth.square().mean(0)[0]
        return [(added[band == k].sum() / there[band == k].sum()).item() for k in range(1, bands + 1)]

    objectives = [*(LMC(corrective, each, 1.0) for each in all_statistics), SDS(0.0)]
    shares = [share(-objective(prior, sample).gradient) for objective in objectives]
    for name, found in zip((*all_statistics, "SDS"), shares):
        print(f"t = {t}, {name}:", [f"{each:.3f}" for each in found])
    return shares


TIMES = pytest.mark.parametrize("t", [0.3, 0.5, 0.7])


@TIMES
def test_without_normalization_lmc_sharpens_a_blurred_image_and_sds_blurs_it(t: float):
    """LMC adds to the image's own detail in the finer frequency bands and leaves the coarsest, SDS removes from all."""
    ours, theirs = detail_added_to_blurred(t, "none")
    assert max(theirs) < -0.02
    assert max(map(abs, ours[:2])) < 0.02 < min(ours[3:])


@TIMES
def test_with_normalization_lmc_removes_contrast_but_keeps_detail(t: float):
    """Coarse bands lose contrast and the finest gains, so the image gets relatively more detail."""
    printed, full, _ = detail_added_to_blurred(t, "as printed", "full")
    assert printed == pytest.approx(full, abs=1e-10)  # they differ only in brightness
    assert max(printed[:3]) < -0.01
    assert printed[-1] > max(0, *printed[:3])


# Patches

LARGE = (20, 13)


def views() -> list[View]:
    like = torch.zeros(3, 2, *LARGE, dtype=torch.float64)
    return [WHOLE, downscaled_view(like, (8, 5)), patch_view(like, (8, 8), SeededNoise([1, 2, 3]))]


@pytest.mark.parametrize("number", range(3), ids=["whole image", "downscaled", "patches"])
@pytest.mark.parametrize("frames", [False, True], ids=["images", "one frame"])
def test_views_have_exact_adjoints(number: int, frames: bool):
    view, random = views()[number], generator(3)
    shape = (3, 2, *((1,) if frames else ()), *LARGE)
    z = torch.randn(shape, generator=random, dtype=torch.float64)
    viewed = view.apply(z)
    g = torch.randn(viewed.shape, generator=random, dtype=torch.float64)
    assert view.adjoint(g).shape == shape
    assert (viewed * g).sum().item() == pytest.approx((z * view.adjoint(g)).sum().item(), rel=1e-12)
    assert view.noise(z).shape == viewed.shape


def test_downscaled_views_average_the_image_but_not_its_noise():
    z = normal(3, 2, *LARGE, seed=0)
    view = views()[1]
    assert_close(view.apply(z), F.adaptive_avg_pool2d(z, (8, 5)))
    eps = normal(50, 2, *LARGE, seed=1)
    assert view.noise(eps).std().item() == pytest.approx(1, abs=0.03)


def test_patch_positions_depend_on_the_seed_of_the_item():
    pixel_numbers = torch.arange(20 * 13, dtype=torch.float64).reshape(1, 1, *LARGE).expand(3, -1, -1, -1)
    corners = [
        patch_view(pixel_numbers, (8, 8), SeededNoise([s, s + 1, s + 2])).apply(pixel_numbers)[:, 0, 0, 0]
        for s in (1, 2)
    ]
    assert torch.equal(corners[0][1:], corners[1][:2]) and len(set(corners[0].tolist())) == 3


def large_sample(progress: float) -> Sample:
    noise = SeededNoise([1, 2])
    z, eps = (noise.like(torch.zeros(2, 2, *LARGE, dtype=torch.float64)) for _ in range(2))
    t = torch.tensor([0.3, 0.6], dtype=torch.float64)
    return Sample(z, eps, t, field_prior(FIELDS).sigma_at(t), progress)


class AveragingDenoiser:
    """A translation-invariant denoiser that averages neighbors, for images of any size. Records all sizes."""

    def __init__(self) -> None:
        self.sizes: list[list[tuple[int, ...]]] = []

    def __call__(self, x: Tensor, sigma: Tensor, names: tuple[str, ...]) -> list[Tensor]:
        return self.paired([x], sigma, [names])[0]

    def paired(self, xs, sigma: Tensor, names) -> list[list[Tensor]]:
        self.sizes.append([tuple(x.shape[-2:]) for x in xs])
        share = (1 / (1 + sigma.square()))[:, None, None, None]
        offset = {"negative": 0.0, "positive": 0.4}
        return [[share * F.avg_pool2d(x, 3, 1, 1) + offset[name] for name in each] for x, each in zip(xs, names)]


def test_large_images_are_downscaled_first_then_two_patches_share_a_model_call():
    patches, denoise = Patching((8, 8), 0.4, SeededNoise([9, 10])), AveragingDenoiser()
    prior = Prior(denoise, SCALED, field_prior(FIELDS).sigma_at)  # type: ignore[arg-type]
    objective = LMC(simple_corrective, "as printed", OMEGA, patches)
    for progress, size in ((0.0, [(8, 5)]), (0.39, [(8, 5)]), (0.4, [(8, 8)] * PATCHES)):
        direction = objective(prior, large_sample(progress))
        assert denoise.sizes.pop() == size and not denoise.sizes
        assert direction.gradient.shape == (2, 2, *LARGE)
    assert PATCHES == 2


def test_gradients_of_patches_add_up():
    sample = large_sample(0.9)
    prior = Prior(AveragingDenoiser(), SCALED, field_prior(FIELDS).sigma_at)  # type: ignore[arg-type]
    direction = LMC(simple_corrective, "as printed", OMEGA, Patching((8, 8), 0.4, SeededNoise([9, 10])))(prior, sample)
    positions = SeededNoise([9, 10])
    expected = torch.zeros_like(sample.z)
    for _ in range(2):
        corners = zip(positions.uniform().tolist(), positions.uniform().tolist())
        for item, (down, right) in enumerate(corners):
            y, x = int(down * 13), int(right * 6)
            patch = tuple([item, slice(None), slice(y, y + 8), slice(x, x + 8)])
            patch_sample = Sample(
                sample.z[patch][None], sample.eps[patch][None], sample.t[[item]], sample.sigma[[item]], 0.9
            )
            expected[patch] += LMC(simple_corrective, "as printed", OMEGA)(prior, patch_sample).gradient[0]
    assert_close(direction.gradient, expected)
    assert_close(direction.eps_hat, sample.eps)


def test_images_that_fit_are_not_cut():
    sample, prior = random_sample(), field_prior(FIELDS)
    plain = LMC(simple_corrective, "as printed", OMEGA)(prior, sample)
    for progress in (0.0, 0.9):
        patched = LMC(simple_corrective, "as printed", OMEGA, Patching((SIDE, SIDE), 0.4, SeededNoise([1, 2, 3])))
        assert_close(patched(prior, replace(sample, progress=progress)).gradient, plain.gradient)


def generators() -> dict[str, Callable[[Tensor], Latent | Pixels]]:
    """Generators from a start (B, 3, H, W) in [0, 1]: latents, or pixels with an encoder that halves their size."""
    return {
        "latent": lambda start: Latent(start[:, :2]),
        "pixels": lambda start: Pixels(start.repeat_interleave(2, -1).repeat_interleave(2, -2), _encode),
    }


def _encode(pixels: Tensor) -> Tensor:
    return F.avg_pool2d(2 * pixels - 1, 2)[:, :2]


@pytest.mark.parametrize("kind", ["latent", "pixels"])
def test_every_pixel_of_a_large_image_changes_and_items_are_independent(kind: str):
    prior = Prior(AveragingDenoiser(), SCALED, field_prior(FIELDS).sigma_at)  # type: ignore[arg-type]
    start = uniform(2, 3, *LARGE, seed=4)
    config = METHODS["lmc"].config().updated({"steps": 12, "learning_rate": 0.01, "optimizer": "sgd"})

    def run(start: Tensor, seeds: list[int]) -> Tensor:
        latent, noise = generators()[kind](start), SeededNoise(seeds)
        corrective = ManifoldCorrective(SimpleCorrective(), replace(ABOUT, size=(8, 8)))  # type: ignore[arg-type]
        objective = METHODS["lmc"].build(config.own, Resources(noise, corrective=corrective))
        before = latent().detach().clone()
        for _ in optimize(prior, latent, objective, plan=config.loop.plan(prior, start), noise=noise):
            pass
        change = (latent().detach() - before).abs()
        assert (change > 0).all()
        return latent().detach()

    together = run(start, [3, 4])
    for i in range(2):
        assert_close(together[i : i + 1], run(start[i : i + 1], [3 + i]))


class SimpleCorrective(torch.nn.Module):
    """`simple_corrective` as a network."""

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        return simple_corrective(z, t)


ABOUT = About("SD15", "abc", 2, "scaled", (0.1,), (SIDE, SIDE), "full", 1, 0.1)


# The method


def test_default_settings_are_the_papers():
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
    like, prior = torch.zeros(1), field_prior(FIELDS)
    method = METHODS["lmc"]
    new, edit = (method.config(from_image=from_image).loop.learning_rates(prior, like) for from_image in (False, True))
    assert new[0] == 0.1 and new[150] == pytest.approx(0.1 * (1 + 0.03) / 2)
    assert new[300] == new[499] == pytest.approx(0.003)
    assert edit[0] == 0.02 and edit[250] == pytest.approx(0.018) and edit[499] == pytest.approx(0.016, rel=1e-3)


@pytest.mark.parametrize("diversity", [False, True])
def test_the_method_builds_its_objective(diversity: bool):
    corrective = ManifoldCorrective(SimpleCorrective(), ABOUT)  # type: ignore[arg-type]
    noise = SeededNoise([1, 2, 3])
    settings = LMCSettings(3.0, whole_image_stage=0.25, diversity=diversity)
    built = METHODS["lmc"].build(settings, Resources(noise, corrective=corrective))
    assert isinstance(built, LMC)
    assert built.statistics == "full" and built.guidance_scale == 3.0
    assert built.patching is not None and built.patching.size == (SIDE, SIDE) and built.patching.whole_share == 0.25
    assert (built.prompt_noise is not None) == diversity
    sample, prior = random_sample(), field_prior(FIELDS)
    expected = LMC(simple_corrective, "full", 3.0, prompt_noise=noise.substream(2) if diversity else None)
    assert_close(built(prior, sample).gradient, expected(prior, sample).gradient)


def test_the_method_needs_a_corrective():
    with pytest.raises(ValueError, match="needs a corrective, and there is none"):
        METHODS["lmc"].build(METHODS["lmc"].settings, Resources(SeededNoise([1])))

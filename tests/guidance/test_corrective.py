"""The manifold corrective, compared with its closed form: for Gaussian fields b(z, t) is linear and known."""

from __future__ import annotations

import json

import pytest
import torch
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.prior import Prior
from dreamsampler.guidance.networks.corrective.network import Architecture, CorrectiveNetwork, Head, initial_network
from dreamsampler.guidance.networks.corrective.normalization import STATISTICS, Statistics, loss, normalize
from dreamsampler.guidance.networks.corrective.spectral import SpectralCorrective, SpectralForm, dct, inverse_dct
from dreamsampler.guidance.networks.corrective.storage import About, ManifoldCorrective, build_network, decode
from dreamsampler.guidance.networks.corrective.training import Recipe, Training, denoise_at, fit_spectral
from dreamsampler.guidance.networks.patches import LatentPatches
from dreamsampler.guidance.networks.storage import UnusableFileError
from dreamsampler.guidance.networks.unet import fitting_levels, frequency_code
from support.field_oracle import Fields, field_prior, image_of, natural, transform
from support.network_files import Encoded, with_json, with_metadata, with_value, without_tensor
from support.noise_paths import BOTH_PATHS
from support.tensors import generator, normal
from torch import Tensor, nn

SIDE, CHANNELS = 16, 2


def random_images(count: int, seed: int = 0, fields: Fields | None = None) -> Tensor:
    return (fields or natural()).sample(count, generator(seed))


def exact_corrective(fields: Fields, prior: Prior, z: Tensor, t: Tensor) -> Tensor:
    """b(z, t) = E[z0_hat | z]: each frequency's distance from the mean, times a^2 S / (a^2 S + b^2)."""
    sigma = prior.sigma_at(t)[:, None, None, None]
    kept = fields.gain(prior.path.a(sigma), prior.path.b(sigma))
    return fields.means[0] + image_of(kept * transform(z - fields.means[0]))


def times(t: float, count: int) -> Tensor:
    return torch.full((count,), t, dtype=torch.float64)


def error(actual: Tensor, expected: Tensor) -> float:
    """The relative root mean square error."""
    return ((actual - expected).norm() / expected.norm()).item()


# Normalization


@pytest.mark.parametrize("statistics", ["as printed", "full"])
def test_normalization_matches_equation_10(statistics: Statistics):
    b, z0 = normal(2, 3, 4, 5, 6, seed=0)
    normalized = normalize(3 * b + 2, z0, statistics)
    for i in range(3):
        x, y = (3 * b[i] + 2).numpy(), z0[i].numpy()
        mean = x.mean() if statistics == "as printed" else y.mean()
        expected = torch.from_numpy(y.std() / x.std() * (x - x.mean()) + mean)
        torch.testing.assert_close(normalized[i], expected, rtol=1e-12, atol=1e-12)
    assert loss(3 * b + 2, z0, statistics).item() == pytest.approx((z0 - normalized).square().mean().item(), rel=1e-12)


def test_normalization_removes_contrast_and_brightness():
    b, z0 = random_images(3), random_images(3, seed=1)
    centered = b - b.mean((1, 2, 3), keepdim=True)
    full = normalize(b, z0, "full")
    torch.testing.assert_close(normalize(7 * b - 3, z0, "full"), full, rtol=1e-10, atol=1e-10)
    printed = normalize(b, z0)
    torch.testing.assert_close(normalize(7 * centered + b - centered, z0), printed, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(normalize(b - 3, z0), printed - 3, rtol=1e-10, atol=1e-10)  # it keeps the mean
    assert normalize(b, z0, "none") is b


@pytest.mark.parametrize("statistics", STATISTICS)
def test_normalization_of_a_constant_is_finite(statistics: Statistics):
    flat = torch.ones(1, 2, 4, 4, requires_grad=True)
    error = loss(flat, random_images(1).float()[..., :4, :4], statistics)
    error.backward()
    assert flat.grad is not None and error.isfinite() and flat.grad.isfinite().all()


# The spectral corrective


def test_dct_matches_scipy():
    x = normal(2, 3, 5, 8, seed=1)
    torch.testing.assert_close(dct(x), transform(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(inverse_dct(dct(x)), x, rtol=1e-12, atol=1e-12)


def fit_to_images(
    fields: Fields, prior: Prior, *, bands: int = 12, knots: int = 16, count: int = 256
) -> SpectralCorrective:
    images = LatentPatches(list(random_images(512, seed=3, fields=fields)), tuple(fields.means.shape[-2:]))  # type: ignore[arg-type]
    *_, corrective = fit_spectral(SpectralForm(CHANNELS, bands, knots), prior, images, count=count, batch=128, seed=5)
    return corrective


@BOTH_PATHS
def test_least_squares_recovers_the_blur_of_a_gaussian_denoiser(path):
    fields = natural()
    prior = field_prior({"negative": fields}, path)
    corrective, z = fit_to_images(fields, prior), random_images(64, seed=9)
    errors = {}
    for t in corrective.form.times[[0, 4, 9, 12, 15]].tolist():
        time = times(t, len(z))
        errors[t] = error(corrective(z, time), exact_corrective(fields, prior, z, time))
    print("spectral, relative error by t:", {f"{t:.2f}": f"{e:.4f}" for t, e in errors.items()})
    assert max(errors.values()) < 0.06  # with 12 bands and 256 images
    between = times(sum(corrective.form.times[8:10].tolist()) / 2, len(z))
    assert error(corrective(z, between), exact_corrective(fields, prior, z, between)) < 0.06
    uncorrected = error(z, exact_corrective(fields, prior, z, between))
    assert uncorrected > 0.3  # there is a blur to recover


def test_more_bands_and_images_reduce_the_error():
    fields = natural()
    prior, z, t = field_prior({"negative": fields}), random_images(64, seed=9), times(0.7, 64)
    expected = exact_corrective(fields, prior, z, t)
    coarse, fine = (
        error(fit_to_images(fields, prior, bands=bands, count=count)(z, t), expected)
        for bands, count in ((3, 32), (24, 512))
    )
    print(f"3 bands of 32 images: {coarse:.4f}, 24 of 512: {fine:.4f}")
    assert fine < 0.4 * coarse


def fit_to_pairs(form: SpectralForm, *pairs: tuple[Tensor, Tensor]) -> SpectralCorrective:
    """A corrective fitted to images and clean estimates, one pair per knot."""
    corrective = SpectralCorrective(form).double()
    for knot, pair in enumerate(pairs):
        corrective.fit(knot, *pair)
    return corrective


def test_gains_are_per_channel_and_constant_beyond_the_knots():
    form = SpectralForm(2, bands=1, knots=2, t_min=0.2, t_max=0.6)
    z = random_images(500, seed=4)
    corrective = fit_to_pairs(form, (z, z * torch.tensor([0.5, 2.0])[:, None, None] + 1), (z, 0.25 * z))
    low, middle, high = (corrective(z[:1], times(t, 1)) for t in (0.0, 0.4, 1.0))
    expected = z[:1] * torch.tensor([0.5, 2.0])[:, None, None] + 1
    torch.testing.assert_close(low, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(high, 0.25 * z[:1], rtol=1e-5, atol=1e-5)
    gains = torch.tensor([0.375, 1.125])[:, None, None]
    assert error(middle - middle.mean((2, 3), keepdim=True), gains * (z[:1] - z[:1].mean((2, 3), keepdim=True))) < 1e-2


def test_a_mean_that_never_changes_uses_the_gain_of_the_next_band():
    """What is left of it without the mean is rounding, so least squares would give any gain."""
    image = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(3)).expand(64, -1, -1, -1)
    estimate = 0.7 * image + 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(4))
    corrective = fit_to_pairs(SpectralForm(2, bands=4, knots=2), (image, estimate), (image, estimate))
    assert torch.equal(corrective.gain[..., 0], corrective.gain[..., 1])
    assert (corrective.gain - 0.7).abs().max() < 0.05


def test_empty_bands_use_the_gain_of_the_band_below():
    z = random_images(64)[..., :4, :4]
    corrective = fit_to_pairs(SpectralForm(2, bands=64, knots=2), (z, 0.5 * z), (z, 0.5 * z))
    assert corrective.gain.isfinite().all()
    larger = random_images(1)
    flat = larger - larger.mean((2, 3), keepdim=True)
    assert error(corrective(larger, times(0.5, 1)).diff(dim=-1), 0.5 * flat.diff(dim=-1)) < 1e-5


# The gradient on natural images


@pytest.mark.parametrize("fitted", [False, True], ids=["exact", "fitted"])
def test_expected_gradient_of_a_natural_image_is_zero(fitted: bool):
    """In every band, averaged over the noise. The gradient of SDS, z - z0_hat, is not zero."""
    fields, count, t = natural(), 512 if fitted else 2048, 0.5
    prior = field_prior({"negative": fields})
    z, time = random_images(1, seed=12).expand(count, -1, -1, -1), times(t, count)
    z0_hat = denoise_at(prior, z, time, SeededNoise(range(count)))
    b_hat = exact_corrective(fields, prior, z[:1], time[:1])
    if fitted:
        form = SpectralForm(CHANNELS, bands=24, knots=2, t_min=t, t_max=0.9)
        images = LatentPatches(list(random_images(2048, seed=3)), (SIDE, SIDE))
        *_, corrective = fit_spectral(form, prior, images, count=2048, batch=512, seed=5)
        b_hat = corrective(z[:1], time[:1])
    frequencies = transform(z[:1])

    def scores(gradient: Tensor) -> Tensor:
        """The mean gradient along the image's own frequencies in standard errors, by row of frequencies."""
        each = (transform(gradient) * frequencies).sum((1, 3))
        return each.mean(0) / (each.std(0) / count**0.5)

    lmc, sds = scores(b_hat - z0_hat), scores(z - z0_hat)
    print(f"standard errors from 0: {lmc.abs().max():.1f} here, {sds.abs().max():.0f} with SDS")
    assert lmc.abs().max() < 4
    assert sds.abs().max() > 25


def test_normalization_removes_the_excess_contrast_of_the_clean_estimates():
    fields, count = natural(), 512
    prior = field_prior({"negative": fields})
    z, time = random_images(1, seed=12).expand(count, -1, -1, -1), times(0.6, count)
    z0_hat = denoise_at(prior, z, time, SeededNoise(range(count)))
    b_hat = exact_corrective(fields, prior, z[:1], time[:1])
    mean = (normalize(b_hat.expand_as(z0_hat), z0_hat) - z0_hat).mean(0)
    excess = z0_hat.std((1, 2, 3), correction=0).mean() / b_hat.std(correction=0) - 1
    expected = excess * (b_hat - b_hat.mean())[0]
    assert excess > 0.1
    standard_error = z0_hat.std(0) / count**0.5
    assert ((mean - expected) / standard_error).square().mean().sqrt().item() == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("t, excess", [(0.3, 0.013), (0.5, 0.136), (0.7, 0.354)])
def test_normalization_removes_a_known_fraction_of_contrast(t: float, excess: float, statistics: Statistics):
    """Averaged over the noise: the excess contrast of the clean estimate over b_hat, or none without eq. 10."""
    fields, count = natural(), 512
    prior = field_prior({"negative": fields})
    z, time = random_images(1, seed=12).expand(count, -1, -1, -1), times(t, count)
    z0_hat = denoise_at(prior, z, time, SeededNoise(range(count)))
    b_hat = exact_corrective(fields, prior, z[:1], time[:1])
    gradient = normalize(b_hat.expand_as(z0_hat), z0_hat, statistics) - z0_hat

    a, b = (level(prior.sigma_at(time[:1])[:, None, None, None]) for level in (prior.path.a, prior.path.b))
    noise_kept = (fields.gain(a, b) * b / a).square().mean()
    expected = (1 + noise_kept / b_hat.var(correction=0)).sqrt().item() - 1
    contrast = b_hat - b_hat.mean()
    found = ((gradient.mean(0) * contrast).sum() / contrast.square().sum()).item()
    print(f"t = {t}, {statistics}: {found:.3f} of {expected:.3f}")
    assert expected == pytest.approx(excess, abs=1e-3)
    assert found == pytest.approx(0 if statistics == "none" else expected, abs=0.01)
    brightness = gradient.mean((1, 2, 3)).abs().max()
    assert brightness < 1e-12 if statistics == "full" else brightness > 1e-3


# The network


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def test_network_matches_the_paper():
    network = initial_network(Architecture(3), torch.Generator())
    downwards = [layer.out_channels for layer in convolutions(network.down)]
    upwards = [layer.out_channels for layer in convolutions(network.up)]
    assert downwards == [32, 32, 64, 64, 128, 128, 256, 256, 512, 512]
    assert upwards == [32, 32, 64, 64, 128, 128, 256, 256]  # from the last to the first
    assert convolutions(network)[0].in_channels == 3 + 10
    assert [layer.in_channels for layer in convolutions(network.up)][::2] == [32 + 64, 64 + 128, 128 + 256, 256 + 512]


def test_time_is_encoded_by_frequencies():
    t = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    code = frequency_code(t)
    assert code.shape == (3, 10)
    for k in range(5):
        torch.testing.assert_close(code[:, k], (torch.pi * 2**k * t).sin())
        torch.testing.assert_close(code[:, 5 + k], (torch.pi * 2**k * t).cos())


@pytest.mark.parametrize("channels, height, width", [(1, 5, 7), (4, 12, 12), (16, 9, 30)])
def test_network_accepts_any_channels_and_sizes(channels: int, height: int, width: int):
    network = initial_network(Architecture(channels, width=4, levels=3), generator(0))
    z = torch.randn(2, channels, height, width, generator=generator(1))
    output = network(z, torch.tensor([0.1, 0.9]))
    assert output.shape == z.shape
    assert not torch.equal(output, network(z, torch.tensor([0.9, 0.1])))
    torch.testing.assert_close(output[:1], network(z[:1], torch.tensor([0.1])))


def test_tanh_head_bounds_the_output():
    z, t = 100 * random_images(1).float(), torch.tensor([0.5])
    outputs = [initial_network(Architecture(2, 4, 2, head), generator(0))(z, t) for head in ("linear", "tanh")]
    assert outputs[0].abs().max() > 10 and outputs[1].abs().max() <= 1
    torch.testing.assert_close(outputs[1], outputs[0].tanh())


@pytest.mark.parametrize("side, levels", [(2, 1), (8, 2), (12, 2), (16, 3), (64, 4), (128, 4)])
def test_small_latents_have_fewer_levels(side: int, levels: int):
    assert fitting_levels(side) == levels
    assert fitting_levels(side, most=1) == 1


def test_initialization_keeps_the_variance_and_the_global_random_state():
    before = torch.get_rng_state()
    network = initial_network(Architecture(4), generator(0))
    assert torch.equal(torch.get_rng_state(), before)
    z = torch.randn(4, 4, 32, 32, generator=generator(1))
    assert 0.3 < network(z, torch.rand(4, generator=generator(2))).std().item() < 3


# Training

SMALL = natural(1, 12)
SMALL_PRIOR = field_prior({"negative": SMALL})


def small_images(count: int = 512) -> LatentPatches:
    return LatentPatches(list(random_images(count, fields=SMALL)), (12, 12))


def training(recipe: Recipe, width: int = 4, head: Head = "linear", base: SpectralCorrective | None = None) -> Training:
    random = generator(recipe.seed)
    return Training(initial_network(Architecture(1, width, 1, head), random, base).double(), recipe)


def errors(run: Training, fields: Fields) -> dict[float, float]:
    """The error of the averaged weights at several times."""
    network = build_network(run.network.architecture, run.weights())
    z, prior, result = random_images(64, seed=9, fields=fields), field_prior({"negative": fields}), {}
    for t in (0.3, 0.5, 0.7, 0.9):
        time = times(t, len(z))
        expected = exact_corrective(fields, prior, z, time)
        result[t] = error(normalize(network(z, time), expected), expected)
    return result


def summary(before: dict[float, float], after: dict[float, float]) -> str:
    return "error before and after: " + ", ".join(f"t {t}: {before[t]:.3f} {after[t]:.3f}" for t in after)


def test_network_learns_the_blur_of_a_gaussian_denoiser():
    run = training(Recipe(120, 16, 2e-3, ema_decay=0.95), width=16)
    before = errors(run, SMALL)
    losses = list(run.steps(SMALL_PRIOR, small_images()))
    after = errors(run, SMALL)
    print("network,", summary(before, after))
    assert max(after.values()) < 0.35 < min(before.values())
    assert sum(losses[-40:]) < 0.4 * sum(losses[:40])


def test_residual_network_starts_at_its_spectral_base_and_improves_it():
    """The images vary around a mean image whose layout a spectral filter cannot represent."""
    noise = normal(1, 1, 12, 12, seed=1)
    fields = Fields(SMALL.means + image_of(2 * SMALL.variance.sqrt() * noise), SMALL.variance)
    prior, images = field_prior({"negative": fields}), LatentPatches(list(random_images(512, fields=fields)), (12, 12))
    *_, base = fit_spectral(SpectralForm(1), prior, images, count=128, batch=64, seed=2)
    run = training(Recipe(120, 16, 2e-3, ema_decay=0.95), width=16, head="residual", base=base)
    z, t = random_images(2, fields=fields), times(0.6, 2)
    torch.testing.assert_close(run.network(z, t), base(z, t), rtol=1e-6, atol=1e-6)
    before = errors(run, fields)
    list(run.steps(prior, images))
    after = errors(run, fields)
    print("residual,", summary(before, after))
    assert all(after[t] < 0.75 * before[t] for t in (0.5, 0.7, 0.9)) and after[0.3] < 0.05


def test_resumed_training_continues_exactly():
    recipe, images = Recipe(6, 4, 1e-3, seed=7), small_images(16)
    uninterrupted, first, second = training(recipe), training(recipe), training(recipe)
    losses = list(uninterrupted.steps(SMALL_PRIOR, images))
    steps = first.steps(SMALL_PRIOR, images)
    for _ in range(3):
        next(steps)
    second.restore({name: tensor.clone() for name, tensor in first.state().items()})
    assert list(second.steps(SMALL_PRIOR, images)) == losses[3:] and second.losses == losses
    for name, weight in uninterrupted.weights().items():
        assert torch.equal(weight, second.weights()[name])
    assert list(second.steps(SMALL_PRIOR, images)) == []


def test_training_depends_only_on_the_seed():
    images = small_images(16)
    torch.manual_seed(0)
    first, again, other = (list(training(Recipe(3, 4, seed=s)).steps(SMALL_PRIOR, images)) for s in (1, 1, 2))
    assert first == again != other
    before = torch.get_rng_state()
    list(training(Recipe(1, 4)).steps(SMALL_PRIOR, images))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_averaged():
    run = training(Recipe(3, 4, 1e-2, ema_decay=0.25))
    expected = {name: weight.clone() for name, weight in run.network.state_dict().items()}
    for step, _ in enumerate(run.steps(SMALL_PRIOR, small_images(16))):
        keep = min(0.25, (1 + step) / (10 + step))
        for name, weight in run.network.state_dict().items():
            expected[name] = keep * expected[name] + (1 - keep) * weight
    for name, weight in run.weights().items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-10, atol=1e-12)


def test_learning_rate_decays_every_100_000_steps():
    run = training(Recipe(200_001, 1, 1e-4))
    for done, rate in ((99_999, 1e-4), (100_000, 0.9e-4), (200_000, 0.81e-4)):
        run.losses = [0.0] * done
        next(run.steps(SMALL_PRIOR, small_images(4)))
        assert run._optimizer.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-12)


def test_non_finite_loss_raises_before_the_weights_change():
    run = training(Recipe(5, 2))
    before = run.weights()
    broken = LatentPatches([torch.full((1, 12, 12), torch.nan, dtype=torch.float64)], (12, 12))
    with pytest.raises(FloatingPointError, match="step 0"):
        next(run.steps(SMALL_PRIOR, broken))
    assert all(torch.equal(weight, before[name]) for name, weight in run.weights().items())


def test_patches_are_drawn_from_all_positions_and_image_sizes():
    pixel_numbers = torch.arange(2 * 5 * 9, dtype=torch.float64).reshape(2, 5, 9)
    images = LatentPatches([pixel_numbers, 1000 + pixel_numbers[:, :4, :3]], (4, 3))
    patches = images.draw(SeededNoise(range(300)))
    assert patches.shape == (300, 2, 4, 3)
    corners = {int(corner) for corner in patches[:, 0, 0, 0].tolist()}
    assert corners == {9 * row + column for row in range(2) for column in range(7)} | {1000}
    for patch in patches:
        top = int(patch[0, 0, 0])
        expected = (
            images.latents[1] if top >= 1000 else pixel_numbers[:, top // 9 : top // 9 + 4, top % 9 : top % 9 + 3]
        )
        assert torch.equal(patch, expected)


def test_each_training_step_costs_one_unconditional_model_call():
    prior = field_prior({"negative": SMALL})
    list(training(Recipe(3, 4)).steps(prior, small_images(16)))
    assert prior.denoise.calls == [1, 1, 1]  # type: ignore[attr-defined]


# Storage

ABOUT = About("SD15", "abc", 2, "scaled", (0.1, 0.2), (16, 16), "as printed", 10, 0.5)


def correctives() -> list[ManifoldCorrective]:
    network = initial_network(Architecture(2, 4, 1), generator(0))
    fields = natural()
    return [
        ManifoldCorrective(network.requires_grad_(False), ABOUT),
        ManifoldCorrective(fit_to_images(fields, field_prior({"negative": fields}), knots=3, count=32).float(), ABOUT),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_decode_restores_what_encode_wrote(dtype: torch.dtype):
    z, t = random_images(2).float(), torch.tensor([0.2, 0.8])
    for corrective in correctives():
        tensors, metadata = corrective.encode(dtype)
        assert all(tensor.dtype == dtype for tensor in tensors.values())
        decoded = decode(tensors, metadata)
        assert decoded.about == ABOUT and decoded.kind == corrective.kind
        tolerance = 0 if dtype == torch.float32 else 5e-3
        torch.testing.assert_close(decoded(z, t), corrective(z, t), rtol=tolerance, atol=tolerance)
        assert not any(weight.requires_grad for weight in decoded.network.parameters())


def test_a_copy_shares_no_weights():
    corrective = correctives()[0]
    copied = corrective.to(torch.zeros(1, dtype=torch.float64))
    assert copied(random_images(1), times(0.5, 1)).dtype == torch.float64
    assert next(corrective.network.parameters()).dtype == torch.float32


NETWORK, SPECTRAL = (corrective.encode() for corrective in correctives())
UNREADABLE = "Its description cannot be read: the file is damaged."
WRONG_TENSORS = "Its tensors do not fit the network it describes: the file is damaged."
REFUSED: dict[str, tuple[Encoded, str]] = {
    "empty file": (({}, {}), "It is not a manifold corrective: choose a file that Save Manifold Corrective wrote."),
    "other format": (
        with_metadata(NETWORK, format="LoRA"),
        "It is not a manifold corrective: choose a file that Save Manifold",
    ),
    "later version": (
        with_metadata(NETWORK, version="2"),
        "Its version is 2, and this pack reads version 1: update the pack.",
    ),
    "unknown kind": (with_metadata(NETWORK, kind="transformer"), UNREADABLE),
    "invalid form": (with_metadata(NETWORK, form="{"), UNREADABLE),
    "huge form": (with_metadata(NETWORK, form=json.dumps({"channels": 2, "width": 10**9, "levels": 4})), UNREADABLE),
    "large form": (with_metadata(NETWORK, form=json.dumps({"channels": 2, "width": 1024, "levels": 8})), WRONG_TENSORS),
    "unknown head": (
        with_metadata(NETWORK, form=json.dumps({"channels": 2, "width": 4, "levels": 1, "head": "x"})),
        UNREADABLE,
    ),
    "unknown form": (with_metadata(NETWORK, form=json.dumps({"channels": 2, "depth": 3})), UNREADABLE),
    "time that is not a number": (with_json(SPECTRAL, "form", t_min="a"), UNREADABLE),
    "missing time": (with_json(SPECTRAL, "form", t_max=None), UNREADABLE),
    "NaN time": (with_json(SPECTRAL, "form", t_min=float("nan")), UNREADABLE),
    "infinite time": (with_json(SPECTRAL, "form", t_max=float("inf")), UNREADABLE),
    "equal times": (with_json(SPECTRAL, "form", t_min=0.5, t_max=0.5), UNREADABLE),
    "decreasing times": (with_json(SPECTRAL, "form", t_min=0.98, t_max=0.02), UNREADABLE),
    "one knot": (with_json(SPECTRAL, "form", knots=1), UNREADABLE),
    "unknown statistics": (with_json(NETWORK, "about", statistics="median"), UNREADABLE),
    "empty size": (with_json(NETWORK, "about", size=[0, 4]), UNREADABLE),
    "contradicting channels": (
        with_json(NETWORK, "about", channels=4),
        "Its description contradicts itself: the file is damaged.",
    ),
    "missing tensor": (without_tensor(NETWORK, "last.bias"), WRONG_TENSORS),
    "NaN": (
        with_value(NETWORK, "last.bias", torch.nan),
        "It holds NaN or infinite weights: the file is damaged, or the training failed.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_unusable_files(case: str):
    (tensors, metadata), message = REFUSED[case]
    with pytest.raises(UnusableFileError) as error:
        decode(tensors, metadata)
    assert str(error.value).startswith(message) and str(error.value).endswith(".")


def test_metadata_describes_the_corrective():
    tensors, metadata = correctives()[0].encode()
    assert metadata["format"] == "dreamsampler manifold corrective"
    assert json.loads(metadata["about"])["family"] == "SD15"
    assert json.loads(metadata["form"]) == {"channels": 2, "width": 4, "levels": 1, "head": "linear"}
    assert isinstance(decode(tensors, metadata).network, CorrectiveNetwork)

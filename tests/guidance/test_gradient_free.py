"""Restoration without gradients: decoupled inpainting guidance and few-step proximal points, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from dreamsampler.guidance.core.denoiser import GuidanceOverride
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from dreamsampler.guidance.editing.proximal import ProximalSettings, estimates
from dreamsampler.guidance.restoration.decoupled import LATENT_NOISE, KnownCells, decoupled_restore, known_cells
from dreamsampler.guidance.restoration.few_steps import few_step_restore
from dreamsampler.guidance.restoration.measurement import (
    CONTRAST,
    DECODED_ERROR,
    QUANTIZATION,
    DataConsistency,
    Measurement,
)
from dreamsampler.guidance.restoration.operators import GaussianBlur, Inpainting, SuperResolution
from support.autoencoders import DoublingAutoencoder, ZeroNoise
from support.noise_paths import BOTH_PATHS, schedule
from support.tensors import normal
from torch import Tensor

GUIDED = ProximalSettings(gamma=1.0, gamma_schedule="constant", eta=1.0, renoise="guided")


@dataclass(frozen=True)
class Correlated:
    """Vectors whose neighbors are correlated, N(mean, covariance), with the mean shifted by the target prompt."""

    path: NoisePath
    size: int = 12
    shift: float = 0.0

    @property
    def mean(self) -> Tensor:
        return torch.linspace(-1, 1, self.size, dtype=torch.float64)

    @property
    def covariance(self) -> Tensor:
        places = torch.arange(self.size, dtype=torch.float64)
        return torch.exp(-(places[:, None] - places).abs() / 4)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        a, b = self.path.a(sigma), self.path.b(sigma)
        eye = torch.eye(self.size, dtype=torch.float64)
        gain = a * self.covariance @ torch.linalg.inv(a**2 * self.covariance + b**2 * eye)
        means = [self.mean + (self.shift if name == "positive" else 0.0) for name in names]
        return [mean + (x - a * mean) @ gain.T for mean in means]

    def given(self, y: Tensor, seen: Tensor, deviation: float) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the exact posterior, where `seen` cells are known to be `y`."""
        s = self.covariance
        inner = s[seen][:, seen] + deviation**2 * torch.eye(int(seen.sum()), dtype=torch.float64)
        gain = torch.linalg.solve(inner, s[seen]).T
        return self.mean + gain @ (y[seen] - self.mean[seen]), s - gain @ s[seen]


def half_known(prior: Correlated) -> tuple[Tensor, KnownCells]:
    """Which cells are seen, and what is known of them."""
    seen = torch.arange(prior.size) < prior.size // 2
    y = prior.mean + torch.linalg.cholesky(prior.covariance) @ normal(prior.size, seed=3)
    return seen, KnownCells(
        torch.where(seen, y, 7.0)[None], torch.tensor(LATENT_NOISE, dtype=torch.float64).where(seen, math.inf)
    )


# DING


@BOTH_PATHS
def test_a_decoupled_step_is_its_equation(path: NoisePath):
    prior, count = Correlated(path, shift=0.5), 3
    seen, known = half_known(prior)
    sigma, sigma_next, _ = sigmas = torch.cat([schedule(path, 8)[3:5], torch.zeros(1, dtype=torch.float64)])
    x, region = normal(count, prior.size, seed=1), (~seen).double()
    first, last = decoupled_restore(
        prior, path, x, sigmas, known=known, settings=GUIDED, noise=SeededNoise(range(count)), region=region
    )

    a, b, noise = path.a(sigma_next), path.b(sigma_next), SeededNoise(range(count))
    z_null, z_target = prior(x, sigma, ("negative", "positive"))
    z0 = torch.where(seen, z_null, z_target)
    eps = (x - path.a(sigma) * z0) / path.b(sigma)
    eta = b * (b / (a + b))  # on the flow path the paper's sigma_s (1 - alpha_s)
    if path is FLOW:
        assert eta.item() == pytest.approx((b * (1 - a)).item())
    mean = a * z0 + (b**2 - eta**2).sqrt() * eps
    proxy = mean + eta * noise.like(x)
    eps_proxy = (proxy - a * prior(proxy, sigma_next, ("negative",))[0]) / b
    gamma = eta**2 / (eta**2 + a**2 * LATENT_NOISE**2)
    fresh = noise.like(x)
    informed = (1 - gamma) * mean + gamma * (a * known.latent + b * eps_proxy) + gamma.sqrt() * a * LATENT_NOISE * fresh
    expected = torch.where(seen, informed, mean + eta * fresh)
    torch.testing.assert_close(first.x, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(first.z_bar, z0, rtol=0, atol=1e-12)
    torch.testing.assert_close(last.x, last.z_bar, rtol=0, atol=1e-12)


def test_a_decoupled_step_draws_from_the_product_of_both_gaussians():
    """Mean and deviation of a draw, from the product N(mu, eta^2) N(y; ...) on a grid."""
    count, sigmas = 20_000, torch.tensor([1.0, 0.5], dtype=torch.float64)

    def denoise(x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return [x - sigma * 0.3] * len(names)  # the noise is always 0.3

    known = KnownCells(torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64))
    (step,) = decoupled_restore(
        denoise,
        SCALED,
        torch.full((count, 1), 0.8, dtype=torch.float64),
        sigmas,
        known=known,
        settings=GUIDED,
        noise=SeededNoise(range(count)),
    )
    share = 0.5 / 1.5
    mu, eta = 0.5 + 0.5 * (1 - share**2) ** 0.5 * 0.3, 0.5 * share
    grid = torch.linspace(-1, 2, 30_001, dtype=torch.float64)
    log = -((grid - mu) / eta).square() / 2 - ((grid - 0.5 * 0.3 - 0.4) / 0.2).square() / 2
    weights = log.softmax(0)
    mean = (weights * grid).sum().item()
    deviation = ((weights * grid.square()).sum().item() - mean**2) ** 0.5
    assert step.x.mean().item() == pytest.approx(mean, abs=4 * deviation / count**0.5)
    assert step.x.std().item() == pytest.approx(deviation, rel=0.03)


@BOTH_PATHS
@pytest.mark.parametrize(("steps", "error"), [(25, 0.25), (100, 0.15)])
def test_decoupled_guidance_samples_near_the_exact_posterior(path: NoisePath, steps: int, error: float):
    prior, count = Correlated(path), 512
    seen, known = half_known(prior)
    mean, covariance = prior.given(known.latent[0], seen, LATENT_NOISE)
    noise, sigmas = SeededNoise(range(count)), schedule(path, steps)
    start = noise.like(torch.empty(count, prior.size, dtype=torch.float64)) * path.scale(sigmas[0])
    settings = ProximalSettings(gamma=0.0, eta=1.0)
    *_, last = decoupled_restore(prior, path, start, sigmas, known=known, settings=settings, noise=noise)
    away = (last.x.mean(0) - mean).abs()
    spread = last.x.std(0)[~seen] / covariance.diagonal()[~seen].sqrt()
    print(away, spread)
    assert away[seen].max() < 0.05 and away[~seen].max() < error + 4 / count**0.5
    assert spread.min() > 0.6 and spread.max() < 1.4


def test_decoupled_guidance_is_the_same_on_both_paths():
    results = []
    for path in (SCALED, FLOW):
        prior = Correlated(path)
        _, known = half_known(prior)
        sigmas = schedule(path, 12)
        x = normal(2, prior.size, seed=2) * path.scale(sigmas[0])
        *_, last = decoupled_restore(prior, path, x, sigmas, known=known, settings=GUIDED, noise=SeededNoise([1, 2]))
        results.append(last.x)
    torch.testing.assert_close(*results, rtol=0, atol=1e-6)


def test_known_cells_continue_their_surroundings_into_the_hole():
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:8, 4:8] = 1
    mask[..., 12:, :] = 0.5
    measurement = Measurement(Inpainting(mask), 0.25 * (1 - mask).expand(1, 3, 16, 16), 0.03)
    hole = torch.tensor([0.0, 0.5, 0.75, 1.0])
    known = known_cells(measurement, DoublingAutoencoder(), hole)
    torch.testing.assert_close(known.latent, torch.full((1, 3, 16, 16), 0.5), rtol=0, atol=1e-3)
    expected = [(LATENT_NOISE**2 + 0.03**2 + share**2) ** 0.5 for share in (0.0, 1.0, 3.0)]
    torch.testing.assert_close(known.deviation, torch.tensor([*expected, math.inf]))


# Few steps


@BOTH_PATHS
def test_a_few_step_step_is_its_equation(path: NoisePath):
    prior, eta = Correlated(path, shift=0.5), 0.8
    sigma, sigma_next = sigmas = schedule(path, 8)[3:5]
    x = normal(2, prior.size, seed=1)
    levels: list[Tensor] = []

    def fit(z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
        levels.append(alpha_bar)
        return 0.5 * z0_hat + 1

    settings = ProximalSettings(gamma=0.7, gamma_schedule="constant", eta=eta)
    (step,) = few_step_restore(prior, path, x, sigmas, fit=fit, settings=settings, noise=SeededNoise([4, 5]))
    z_null, z_target = prior(x, sigma, ("negative", "positive"))
    z_bar = 0.5 * (0.3 * z_null + 0.7 * z_target) + 1
    eps = (x - path.a(sigma) * z_bar) / path.b(sigma)
    a, b = path.a(sigma_next), path.b(sigma_next)
    share = eta * b / (a + b)
    expected = a * z_bar + b * ((1 - share**2).sqrt() * eps + share * SeededNoise([4, 5]).like(x))
    torch.testing.assert_close(step.x, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(step.z_bar, z_bar, rtol=0, atol=1e-12)
    assert levels == [path.alpha_bar(sigma)]


@BOTH_PATHS
def test_few_steps_rest_at_a_wiener_solution(path: NoisePath):
    """Its noise covariance is (b / a)^2 (A A^T + lambda)."""
    prior, weight = Correlated(path), 0.1
    sigma = torch.tensor(0.4, dtype=torch.float64)
    a, b, operator, y = path.a(sigma), path.b(sigma), normal(5, prior.size, seed=6), normal(5, seed=7)
    inner = operator @ operator.T + weight * torch.eye(5, dtype=torch.float64)
    s, noise = prior.covariance, (b / a) ** 2 * inner
    gain = s @ operator.T @ torch.linalg.inv(operator @ s @ operator.T + noise)
    wiener = prior.mean + gain @ (y - operator @ prior.mean)

    def fit(z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
        return z0_hat + (torch.linalg.solve(inner, y - operator @ z0_hat[0]) @ operator)

    x = a * fit(wiener[None], a)
    settings = ProximalSettings(gamma=0.0, eta=1.0)
    (step,) = few_step_restore(prior, path, x, sigma.repeat(2), fit=fit, settings=settings, noise=ZeroNoise([0]))
    torch.testing.assert_close(prior(x, sigma, ["negative"])[0], wiener[None], rtol=0, atol=1e-9)
    torch.testing.assert_close(step.x, x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "operator", [SuperResolution(16, 16, 2), GaussianBlur(16, 16, 7, 1.5), Inpainting(torch.ones(1, 1, 16, 16).tril())]
)
@pytest.mark.parametrize("noise_std", [0.0, 0.05])
def test_the_fit_at_a_level_is_the_most_probable_image(operator, noise_std: float):
    """The gradient of |y - A x|^2 / noise^2 + |x - D(z)|^2 (seen / numbers) / error^2 is 0."""
    truth, guess = 0.2 * normal(1, 3, 16, 16, seed=1), 0.2 * normal(1, 3, 16, 16, seed=2)
    measurement = Measurement(operator, operator.forward(truth), noise_std)
    alpha_bar = torch.tensor(0.6, dtype=torch.float64)
    x = (DataConsistency(measurement, DoublingAutoencoder()).fit_at(2 * guess, alpha_bar) / 2).requires_grad_()
    noise, error = max(noise_std, QUANTIZATION) ** 2, DECODED_ERROR**2 + 0.4 * CONTRAST**2
    share = math.prod(operator.measurement_shape) / math.prod(operator.image_shape)
    energy = (operator.forward(x) - measurement.y).square().sum() / noise
    energy = energy + share * (x - guess).square().sum() / error
    (gradient,) = torch.autograd.grad(energy, x)
    assert x.abs().max() < 1  # so that clamping does nothing
    assert gradient.abs().max() < 1e-6 / noise


# Prompt guidance


class Halving:
    """A denoiser with a rule of its own: half of the plain guidance."""

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return [torch.full_like(x, {"negative": 1.0, "positive": 3.0}[name]) for name in names]

    def guided(
        self, x: Tensor, sigma: Tensor, scale: float | Tensor, names: tuple[str, str] = ("negative", "positive")
    ) -> tuple[Tensor, Tensor]:
        null, target = self(x, sigma, names)
        return null, null + 0.5 * scale * (target - null)


def test_guided_estimates_act_in_the_region_and_follow_a_rule_of_their_own():
    x, sigma, region = torch.zeros(1, 3), torch.tensor(1.0), torch.tensor([0.0, 0.5, 1.0])
    patched = Halving()
    assert isinstance(patched, GuidanceOverride)
    null, guided = estimates(patched, x, sigma, 2.0, region)
    assert null.tolist() == [[1.0, 1.0, 1.0]] and guided.tolist() == [[1.0, 2.0, 3.0]]
    null, guided = estimates(patched.__call__, x, sigma, 2.0, region)
    assert null.tolist() == [[1.0, 1.0, 1.0]] and guided.tolist() == [[1.0, 3.0, 5.0]]


def test_batches_equal_singles():
    prior = Correlated(SCALED)
    _, known = half_known(prior)
    sigmas, x = schedule(SCALED, 6), normal(3, prior.size, seed=2)

    def fit(z0_hat: Tensor, alpha_bar: Tensor) -> Tensor:
        return z0_hat + alpha_bar

    def both(rows: slice) -> list[Tensor]:
        seeds = range(3)[rows]
        decoupled = decoupled_restore(
            prior, SCALED, x[rows], sigmas, known=known, settings=GUIDED, noise=SeededNoise(seeds)
        )
        few = few_step_restore(prior, SCALED, x[rows], sigmas, fit=fit, settings=GUIDED, noise=SeededNoise(seeds))
        return [list(walk)[-1].x for walk in (decoupled, few)]

    together = both(slice(0, 3))
    for i in range(3):
        for batch, single in zip(together, both(slice(i, i + 1)), strict=True):
            torch.testing.assert_close(batch[i : i + 1], single, rtol=0, atol=1e-12)


def test_no_gradient_is_taken():
    prior = Correlated(SCALED)
    _, known = half_known(prior)
    sigmas, x = schedule(SCALED, 4), normal(1, prior.size, seed=2).requires_grad_()
    calls = 0

    def denoise(x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        nonlocal calls
        calls += len(names)
        return prior(x, sigma, names)

    with torch.no_grad():
        steps = list(
            decoupled_restore(denoise, SCALED, x, sigmas, known=known, settings=GUIDED, noise=SeededNoise([0]))
        )
    assert len(steps) == len(list(pairwise(sigmas))) == 4 and calls == 4 * 2 + 3


class Lossy:
    """An autoencoder that does not return what it encodes."""

    def encode(self, images: Tensor) -> Tensor:
        return 2 * images + 0.1

    def decode(self, latents: Tensor) -> Tensor:
        return latents / 2 + 0.2


def test_an_estimate_that_agrees_with_the_measurement_stays_through_a_lossy_autoencoder():
    z0_hat, operator = 0.2 * normal(1, 3, 16, 16, seed=1), SuperResolution(16, 16, 2)
    measurement = Measurement(operator, operator.forward(Lossy().decode(z0_hat)))
    fitted = DataConsistency(measurement, Lossy()).fit_at(z0_hat, torch.tensor(0.5))
    torch.testing.assert_close(fitted, z0_hat, rtol=0, atol=1e-9)

"""DreamSampler's proximal edit: theorem 1, steps by hand, and the effect of gamma, masks and noise paths."""

import pytest
import torch
from dreamsampler.guidance.core.inversion import ddim_invert
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED
from dreamsampler.guidance.editing.proximal import KeptRegion, ProximalSettings, proximal_edit, proximal_point
from support.noise_paths import BOTH_PATHS, schedule
from support.oracle import TWO_TEXTS, MixtureDenoiser, levels
from support.tensors import normal


def edit(denoise, path, x, sigmas, settings, kept=None):
    *_, step = proximal_edit(denoise, path, x, sigmas, settings=settings, noise=SeededNoise(range(len(x))), kept=kept)
    return step.x


def source_latents(count: int) -> torch.Tensor:
    return TWO_TEXTS["negative"].sample(count, torch.Generator().manual_seed(3))


def test_theorem_1():
    # DDS step, proximal point and guided Tweedie estimate, each by definition in variance-preserving variables.
    denoise = MixtureDenoiser(TWO_TEXTS)
    gamma = 0.3
    for alpha_bar in torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64):
        sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
        x = 2 * source_latents(16)
        z_t = x * alpha_bar.sqrt()
        z0_null, z0_target = denoise(x, sigma, ("negative", "positive"))
        eps_null, eps_target = ((z_t - alpha_bar.sqrt() * z) / (1 - alpha_bar).sqrt() for z in (z0_null, z0_target))

        dds_step = z0_null - gamma * ((1 - alpha_bar) / alpha_bar).sqrt() * (eps_target - eps_null)
        guided_eps = eps_null + gamma * (eps_target - eps_null)
        tweedie = (z_t - (1 - alpha_bar).sqrt() * guided_eps) / alpha_bar.sqrt()
        proximal = proximal_point(z0_null, z0_target, gamma)
        torch.testing.assert_close(dds_step, tweedie, rtol=0, atol=1e-10)
        torch.testing.assert_close(proximal, tweedie, rtol=0, atol=1e-10)

        z = proximal.clone().requires_grad_()
        objective = (1 - gamma) * (z - z0_null).square().sum() + gamma * (z - z0_target).square().sum()
        (gradient,) = torch.autograd.grad(objective, z)
        assert gradient.abs().max() < 1e-10


@BOTH_PATHS
@pytest.mark.parametrize("renoise", ["guided", "unconditional"])
def test_gamma_zero_reconstructs(path, renoise):
    denoise = MixtureDenoiser(TWO_TEXTS, path)
    z0, errors = source_latents(64), []
    for steps in (100, 400):
        sigmas = schedule(path, steps)
        *_, top = ddim_invert(denoise, path, z0, sigmas)
        result = edit(denoise, path, top.x, sigmas, ProximalSettings(gamma=0, renoise=renoise))
        errors.append((result - z0).square().mean().sqrt().item())
    assert errors[1] < 0.02 and errors[1] < 0.4 * errors[0]


class ConstantDenoiser:
    """A denoiser with constant estimates, for trajectories computed by hand."""

    def __call__(self, x, sigma, names):
        return [torch.full_like(x, {"negative": 1.0, "positive": 3.0}[name]) for name in names]


@pytest.mark.parametrize(
    ("renoise", "expected"),
    [
        # sigma 3 -> 2 -> 1 -> 0, x = 10, z_null = 1, z_target = 3, gamma 0.5 constant: z_bar = 2 throughout.
        # guided: eps = (x - 2) / sigma; x: 2 + 2 * 8/3 = 22/3, 2 + 1 * (16/3)/2 = 14/3, 2.
        ("guided", [22 / 3, 14 / 3, 2]),
        # unconditional: eps = (x - 1) / sigma; x: 2 + 2 * 9/3 = 8, 2 + 1 * 7/2 = 5.5, 2.
        ("unconditional", [8, 5.5, 2]),
    ],
)
def test_three_steps_by_hand(renoise, expected):
    sigmas = torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    settings = ProximalSettings(gamma=0.5, gamma_schedule="constant", renoise=renoise)
    x = torch.full((1, 1), 10.0, dtype=torch.float64)
    steps = proximal_edit(ConstantDenoiser(), SCALED, x, sigmas, settings=settings, noise=SeededNoise([0]))
    states = [step.x.item() for step in steps]
    assert states == pytest.approx(expected, abs=1e-12)


def test_alpha_bar_schedule_by_hand():
    # alpha_bar = 1 / (1 + sigma^2) = 0.1, 0.2, 0.5 at sigma 3, 2, 1; z_bar = 1 + 2 gamma alpha_bar with gamma 1.
    sigmas = torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    settings = ProximalSettings(gamma=1.0)
    x = torch.full((1, 1), 10.0, dtype=torch.float64)
    steps = list(proximal_edit(ConstantDenoiser(), SCALED, x, sigmas, settings=settings, noise=SeededNoise([0])))
    assert [step.z_bar.item() for step in steps] == pytest.approx([1.2, 1.4, 2.0], abs=1e-12)
    # x: 1.2 + 2 * 9/3 = 7.2; 1.4 + 6.2/2 = 4.5; 2.
    assert [step.x.item() for step in steps] == pytest.approx([7.2, 4.5, 2.0], abs=1e-12)


@pytest.mark.parametrize("settings", [ProximalSettings(0.5, "alpha_bar"), ProximalSettings(0.5, "constant", eta=0.7)])
def test_both_paths_have_the_same_clean_estimates(settings):
    # eps- and v-prediction share a path: ComfyUI returns z0_hat for both.
    z0, results = source_latents(8), []
    for path in (SCALED, FLOW):
        sigmas = schedule(path, 20)
        denoise = MixtureDenoiser(TWO_TEXTS, path)
        *inversion, top = ddim_invert(denoise, path, z0, sigmas)
        noise = SeededNoise(range(8))
        sampling = list(proximal_edit(denoise, path, top.x, sigmas, settings=settings, noise=noise))
        results.append(torch.stack([s.z0_hat for s in inversion] + [s.z_bar for s in sampling] + [sampling[-1].x]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


def test_guided_renoising_with_constant_gamma_samples_the_target():
    # With a constant gamma of 1 and guided re-noising, the edit is plain DDIM with the target prompt.
    denoise = MixtureDenoiser(TWO_TEXTS)
    sigmas = levels(100)
    x = sigmas[0] * normal(4000, 2, seed=5)
    settings = ProximalSettings(gamma=1.0, gamma_schedule="constant", renoise="guided")
    z = edit(denoise, SCALED, x, sigmas, settings)
    target = TWO_TEXTS["positive"]
    mean = (target.weights[:, None] * target.means).sum(0)
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=0.05)


def test_outside_the_mask_the_edit_follows_the_inversion_exactly():
    denoise = MixtureDenoiser(TWO_TEXTS)
    z0, sigmas = source_latents(8), levels(20)
    states = [z0, *(s.x for s in ddim_invert(denoise, SCALED, z0, sigmas))][::-1]
    mask = torch.zeros_like(z0)
    mask[:4] = 1
    settings = ProximalSettings(gamma=1.0, gamma_schedule="constant")
    steps = list(
        proximal_edit(
            denoise,
            SCALED,
            states[0],
            sigmas,
            settings=settings,
            noise=SeededNoise(range(8)),
            kept=KeptRegion(mask, states),
        )
    )
    for step, state in zip(steps, states[1:]):
        torch.testing.assert_close(step.x[4:], state[4:], rtol=0, atol=0)
    unmasked = edit(denoise, SCALED, states[0], sigmas, settings)
    torch.testing.assert_close(steps[-1].x[:4], unmasked[:4])
    assert (steps[-1].x[:4] - z0[:4]).abs().max() > 0.1

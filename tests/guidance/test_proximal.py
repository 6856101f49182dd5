"""DreamSampler's proximal edit: its theorem, a step computed by hand, and what gamma, masks and paths do."""

import pytest
import torch
from dreamsampler.guidance.core.ddim import ddim_invert
from dreamsampler.guidance.core.noise import SeededNoise
from dreamsampler.guidance.core.path import FLOW, SCALED
from dreamsampler.guidance.editing.proximal import KeptRegion, ProximalSettings, proximal_edit, proximal_point
from support.oracle import TWO_TEXTS, MixtureDenoiser, levels, matched


def last_state(denoise, path, x, sigmas, settings, kept=None):
    *_, step = proximal_edit(denoise, path, x, sigmas, settings=settings, noise=SeededNoise(range(len(x))), kept=kept)
    return step.x


def sources(count: int) -> torch.Tensor:
    return TWO_TEXTS["negative"].sample(count, torch.Generator().manual_seed(3))


def test_theorem_1_dds_step_proximal_point_and_guided_tweedie_agree():
    # Each side from its own definition, in the paper's variance-preserving variables.
    denoise = MixtureDenoiser(TWO_TEXTS)
    gamma = 0.3
    for alpha_bar in torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64):
        sigma = ((1 - alpha_bar) / alpha_bar).sqrt()
        x = 2 * sources(16)
        z_t = x * alpha_bar.sqrt()
        z0_null, z0_target = denoise(x, sigma, ("negative", "positive"))
        eps_null, eps_target = ((z_t - alpha_bar.sqrt() * z) / (1 - alpha_bar).sqrt() for z in (z0_null, z0_target))

        dds_step = z0_null - gamma * ((1 - alpha_bar) / alpha_bar).sqrt() * (eps_target - eps_null)
        guided_eps = eps_null + gamma * (eps_target - eps_null)
        tweedie = (z_t - (1 - alpha_bar).sqrt() * guided_eps) / alpha_bar.sqrt()
        ours = proximal_point(z0_null, z0_target, gamma)
        torch.testing.assert_close(dds_step, tweedie, rtol=0, atol=1e-10)
        torch.testing.assert_close(ours, tweedie, rtol=0, atol=1e-10)

        z = ours.clone().requires_grad_()
        objective = (1 - gamma) * (z - z0_null).square().sum() + gamma * (z - z0_target).square().sum()
        (gradient,) = torch.autograd.grad(objective, z)
        assert gradient.abs().max() < 1e-10


@pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda p: p.name)
@pytest.mark.parametrize("renoise", ["guided", "unconditional"])
def test_gamma_zero_reconstructs(path, renoise):
    denoise = MixtureDenoiser(TWO_TEXTS, path)
    z0, errors = sources(64), []
    for steps in (100, 400):
        sigmas = levels(steps) if path is SCALED else matched(levels(steps))
        *_, top = ddim_invert(denoise, path, z0, sigmas)
        edited = last_state(denoise, path, top.x, sigmas, ProximalSettings(gamma=0, renoise=renoise))
        errors.append((edited - z0).square().mean().sqrt().item())
    assert errors[1] < 0.02 and errors[1] < 0.4 * errors[0]


class Constant:
    """A denoiser with fixed estimates, so that a trajectory can be computed by hand."""

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
    walk = proximal_edit(Constant(), SCALED, x, sigmas, settings=settings, noise=SeededNoise([0]))
    states = [step.x.item() for step in walk]
    assert states == pytest.approx(expected, abs=1e-12)


def test_alpha_bar_schedule_by_hand():
    # alpha_bar = 1 / (1 + sigma^2) = 0.1, 0.2, 0.5 at sigma 3, 2, 1; z_bar = 1 + 2 gamma alpha_bar with gamma 1.
    sigmas = torch.tensor([3.0, 2.0, 1.0, 0.0], dtype=torch.float64)
    settings = ProximalSettings(gamma=1.0)
    x = torch.full((1, 1), 10.0, dtype=torch.float64)
    walk = list(proximal_edit(Constant(), SCALED, x, sigmas, settings=settings, noise=SeededNoise([0])))
    assert [step.z_bar.item() for step in walk] == pytest.approx([1.2, 1.4, 2.0], abs=1e-12)
    # x: 1.2 + 2 * 9/3 = 7.2; 1.4 + 6.2/2 = 4.5; 2.
    assert [step.x.item() for step in walk] == pytest.approx([7.2, 4.5, 2.0], abs=1e-12)


@pytest.mark.parametrize("settings", [ProximalSettings(0.5, "alpha_bar"), ProximalSettings(0.5, "constant", eta=0.7)])
def test_both_paths_have_the_same_clean_estimates(settings):
    # eps- and v-predicting models share one path: the host returns z0_hat for both.
    z0, sigmas = sources(8), levels(20)
    walks = []
    for path, schedule in ((SCALED, sigmas), (FLOW, matched(sigmas))):
        denoise = MixtureDenoiser(TWO_TEXTS, path)
        *climb, top = ddim_invert(denoise, path, z0, schedule)
        noise = SeededNoise(range(8))
        down = list(proximal_edit(denoise, path, top.x, schedule, settings=settings, noise=noise))
        walks.append(torch.stack([s.z0_hat for s in climb] + [s.z_bar for s in down] + [down[-1].x]))
    torch.testing.assert_close(walks[0], walks[1], rtol=1e-9, atol=1e-9)


def test_guided_renoising_without_schedule_samples_the_target():
    # gamma 1, constant, guided is plain DDIM under the target prompt, so the mixture weights must be sampled.
    denoise = MixtureDenoiser(TWO_TEXTS)
    sigmas = levels(100)
    x = sigmas[0] * torch.randn(4000, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    settings = ProximalSettings(gamma=1.0, gamma_schedule="constant", renoise="guided")
    z = last_state(denoise, SCALED, x, sigmas, settings)
    target = TWO_TEXTS["positive"]
    mean = (target.weights[:, None] * target.means).sum(0)
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=0.05)


def test_mask_keeps_the_source_exactly_and_follows_its_trajectory():
    denoise = MixtureDenoiser(TWO_TEXTS)
    z0, sigmas = sources(8), levels(20)
    states = [z0, *(s.x for s in ddim_invert(denoise, SCALED, z0, sigmas))][::-1]
    mask = torch.zeros_like(z0)
    mask[:4] = 1
    settings = ProximalSettings(gamma=1.0, gamma_schedule="constant")
    walk = list(
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
    for step, state in zip(walk, states[1:]):
        torch.testing.assert_close(step.x[4:], state[4:], rtol=0, atol=0)
    free = last_state(denoise, SCALED, states[0], sigmas, settings)
    torch.testing.assert_close(walk[-1].x[:4], free[:4])
    assert (walk[-1].x[:4] - z0[:4]).abs().max() > 0.1

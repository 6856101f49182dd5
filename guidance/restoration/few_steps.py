"""Any linear measurement in few steps without gradients, after LATINO and FLAIR."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from torch import Tensor

from ..core.ddim import ddim_step, mix_fresh_noise
from ..core.denoiser import Denoiser
from ..core.noise import SeededNoise
from ..core.path import NoisePath
from ..editing.proximal import ProximalSettings, ProximalStep, estimates

LevelFit = Callable[[Tensor, Tensor], Tensor]
"""Maps a clean estimate (B, ...) and its level's alpha_bar to a latent near it that agrees with the measurement."""


def few_step_restore(
    denoise: Denoiser,
    path: NoisePath,
    x: Tensor,
    sigmas: Tensor,
    *,
    fit: LevelFit,
    settings: ProximalSettings,
    noise: SeededNoise,
    region: Tensor | float = 1.0,
) -> Iterator[ProximalStep]:
    """Sample down from `x` by the proximal point of every clean estimate.

    With prompt guidance in z0_hat, an encoder E and a decoder D, a step is

        u     = argmin_u |y - A u|^2 + lambda_t |u - D(z0_hat)|^2
        z_bar = z0_hat + E(u) - E(D(z0_hat))
        x_s   = a_s z_bar + b_s (sqrt(1 - c^2) (x_t - a_t z_bar) / b_t + c fresh),    c = eta t_s

    with the flow time t_s of the next level. As in LATINO (Spagnoletti et al., 2025) the whole estimate becomes the
    proximal point, by a lambda_t that grows as the estimates get better (`DataConsistency.fit_at`), and no gradient
    passes through model or autoencoder; but LATINO encodes u alone, and so repeats the autoencoder's error. As in FLAIR
    (Erbach et al., 2025) the data enters exactly, after the prompt, and the noise that is added again is partly the
    predicted one. Algorithm 4 of DreamSampler, in contrast, moves the share alpha_bar of the way to its fit.

    Args:
        denoise: has the conditionings `NULL` (the unconditional prompt) and `TARGET`.
        x: (B, ...) state at `sigmas[0]`.
        sigmas: (n + 1,) noise levels, falling to 0.
        settings: `renoise` has no effect.
        region: in [0, 1], broadcasts over `x`: 1 where the target prompt acts.

    Yields:
        n steps. Each costs one model call of 2 conditionings and one `fit`.
    """
    for sigma, sigma_next in pairwise(sigmas):
        alpha_bar = path.alpha_bar(sigma)
        _, z0_hat = estimates(denoise, x, sigma, settings.weight(alpha_bar), region)
        z_bar = fit(z0_hat, alpha_bar)
        # z_bar stands for E[z0 | x_t, y], so the noise that goes with it is E[eps | x_t, y] = (x_t - a_t z_bar) / b_t.
        # With a Gaussian prior of covariance S, the mean of steps that stay at one level rests where x = a z_bar. Then
        # x - a z0_hat = b^2 / a S^-1 (z0_hat - mean) by the prior, and z_bar - z0_hat = A^T (A A^T + lambda)^-1
        # (y - A z0_hat) by the fit, so z0_hat is the Wiener solution for noise of (b / a)^2 (A A^T + lambda).
        # It falls to that of y with lambda = (noise of y)^2 (a / b)^2. With the noise of z0_hat in place of that of
        # z_bar it would be 1 - sqrt(1 - c^2) times as large, and blurs would be fitted to the noise of y.
        share = settings.eta * path.flow_time(sigma_next)
        eps_hat = path.eps_hat(x, z_bar, sigma)
        x = ddim_step(path, z_bar, mix_fresh_noise(eps_hat, share, noise), sigma_next)
        yield ProximalStep(x, z_bar)

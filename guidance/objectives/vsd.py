"""Variational score distillation (ProlificDreamer): distil against a model of what the pictures are now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..denoiser import Denoiser, guided
from ..noise import SeededNoise
from ..prior import Prior
from .base import NULL, TARGET, Direction, Sample, eps_hats


class ParticleModel(Denoiser, Protocol):
    """A trainable denoiser of the optimised pictures: the prior with a LoRA, say. It knows the conditioning TARGET."""

    def fit(self, x: Tensor, sigma: Tensor, eps: Tensor) -> None:
        """Take one training step towards finding the noise `eps` in the state `x` at level `sigma` (B,)."""
        ...


@dataclass(frozen=True)
class VSD:
    """Variational score distillation (ProlificDreamer, section 3): `eps_hat^s(y) - eps_hat_phi(y)`.

    `particles` is eps_phi, trained after every step on the pictures as they are now, at times of its own over the whole
    range and with noise of its own, both drawn from `noise`. All pictures of a batch are particles of one distribution.
    One call of 2, one of 1, one training step.
    """

    guidance_scale: float
    particles: ParticleModel
    noise: SeededNoise

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        null, target = eps_hats(prior, sample, NULL, TARGET)
        eps_hat = guided(null, target, self.guidance_scale)
        x = sample.noised(prior.path)
        (z0_particles,) = self.particles(x, sample.sigma, (TARGET,))
        direction = Direction(eps_hat - prior.path.eps_hat(x, z0_particles, sample.sigma), eps_hat)
        self._train(prior, sample.z)
        return direction

    def _train(self, prior: Prior, z: Tensor) -> None:
        eps = self.noise.like(z)
        sigma = prior.sigma_at(0.02 + 0.96 * self.noise.uniform().to(z))
        self.particles.fit(prior.path.noised(z, eps, sigma), sigma, eps)

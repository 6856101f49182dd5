"""Variational score distillation (VSD): distil against a model of the current images."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...core.denoiser import TARGET, TrainableDenoiser
from ...core.noise import SeededNoise
from ...core.prior import Prior
from ..method import Method, Resources, register
from ..objective import Direction, Sample, guided_eps_hat


@dataclass(frozen=True)
class VSD:
    """Variational score distillation (ProlificDreamer, section 3): `eps_hat^s(y) - eps_hat_phi(y)`.

    `particles` is eps_phi, trained after every step on the current images, at times of its own over the whole range and
    with noise of its own, both drawn from `noise`. All items of a batch are particles of one distribution. One model
    call of 2 (1 at scale 1), one of 1, one training step.
    """

    guidance_scale: float
    particles: TrainableDenoiser
    noise: SeededNoise

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        x = sample.noised(prior.path)
        eps_hat = guided_eps_hat(prior, x, sample.sigma, self.guidance_scale)
        (z0_particles,) = self.particles(x, sample.sigma, (TARGET,))
        direction = Direction(eps_hat - prior.path.eps_hat(x, z0_particles, sample.sigma), eps_hat)
        self._train(prior, sample.z)
        return direction

    def _train(self, prior: Prior, z: Tensor) -> None:
        eps = self.noise.like(z)
        sigma = prior.sigma_at(0.02 + 0.96 * self.noise.uniform().to(z))
        self.particles.fit(prior.path.noised(z, eps, sigma), sigma, eps)


@dataclass(frozen=True)
class VSDSettings:
    """ProlificDreamer's guidance scale and learning rate of the LoRA; its rank is that of the authors' code."""

    guidance_scale: float = 7.5
    lora_rank: int = 4
    lora_learning_rate: float = 1e-4


def build(settings: VSDSettings, resources: Resources) -> VSD:
    particles = resources.need("particles")(settings.lora_rank, settings.lora_learning_rate)
    return VSD(settings.guidance_scale, particles, resources.noise)


register(
    Method(
        "vsd",
        build,
        VSDSettings(),
        needs=frozenset({"particles"}),
        without_null={"guidance_scale": 1.0},
        order=4,
    )
)

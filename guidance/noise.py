"""Noise: seeded draws that depend on a batch item alone, and where each step of a distillation takes its noise from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .ddim import ddim_inversion, fresh_share, renoised
from .denoiser import Guided
from .path import per_item
from .prior import Prior

MAX_SEED = 2**64
APART = 0x9E3779B97F4A7C15
"""An odd number without a pattern, so that the seeds of one stream are not those of another's neighbouring items."""


class SeededNoise:
    """A stream of random numbers with one CPU generator per batch item.

    Item i of a batch draws from `seeds[i]` whatever its neighbours are, and the same numbers on every device.
    """

    def __init__(self, seeds: Sequence[int]):
        self._generators = [torch.Generator().manual_seed(seed % MAX_SEED) for seed in seeds]

    def like(self, x: Tensor) -> Tensor:
        """Fresh standard normal noise in the shape, type and device of `x` (B, ...), B being the number of seeds."""
        rows = [torch.randn(x.shape[1:], generator=g, dtype=torch.float32) for g in self._generators]
        return torch.stack(rows).to(x)

    def uniform(self) -> Tensor:
        """One number in [0, 1) for each item: (B,), float32, on the CPU."""
        return torch.cat([torch.rand(1, generator=g) for g in self._generators])

    def apart(self, key: int) -> SeededNoise:
        """Another stream for the same items, from its beginning: always the same for a `key`, and this one's for 0."""
        return SeededNoise([g.initial_seed() + key * APART for g in self._generators])

    def __len__(self) -> int:
        """How many items it draws for."""
        return len(self._generators)


@dataclass(frozen=True)
class Past:
    """The step before: its levels `sigma` (B,), the noise `eps` it put in and the noise `eps_hat` the model saw."""

    sigma: Tensor
    eps: Tensor
    eps_hat: Tensor


class NoisePolicy(Protocol):
    """Where the noise of a distillation step comes from.

    Called with the prior, the clean latent z (B, ...), its times and noise levels (B,), the random numbers and the step
    before, None at the first.
    """

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, past: Past | None
    ) -> Tensor: ...


def fresh(prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, past: Past | None) -> Tensor:
    """A new draw at every step, as score distillation has it (DreamFusion)."""
    return noise.like(z)


def fixed(prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, past: Past | None) -> Tensor:
    """The first step's draw for the whole run: less variance, and pictures that depend on the seed."""
    return noise.like(z) if past is None else past.eps


@dataclass(frozen=True)
class Estimated:
    """The noise the model saw in the step before, with a share of fresh noise (DreamSampler, Algorithm 2).

    `eta` in [0, 1] is 0 for DDIM; 1 adds as much fresh noise as the posterior between the two levels has.
    """

    eta: float = 0.0

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, past: Past | None
    ) -> Tensor:
        if past is None:
            return noise.like(z)
        new = noise.like(z) if self.eta > 0 else None
        share = fresh_share(prior.path, past.sigma, sigma, self.eta)
        return renoised(past.eps_hat, new, per_item(share, z))


@dataclass(frozen=True)
class Inverted:
    """The noise that DDIM inversion finds in the picture itself (SDI: Lukoianov et al., 2024).

    The picture climbs to time t in `steps` DDIM steps under the target text with `guidance_scale`, below 0 in the
    publication: what is not yet there of the text counts as noise. `eta` in [0, 1] is the share of fresh noise mixed
    in.
    """

    steps: int = 10
    guidance_scale: float = -7.5
    eta: float = 0.0

    def __call__(
        self, prior: Prior, z: Tensor, t: Tensor, sigma: Tensor, noise: SeededNoise, past: Past | None
    ) -> Tensor:
        climb = Guided(prior.denoise, self.guidance_scale)
        *_, top = ddim_inversion(climb, prior.path, z, prior.levels_below(t, self.steps), "guided")
        new = noise.like(z) if self.eta > 0 else None
        return renoised(prior.path.eps_hat(top.x, z, sigma), new, z.new_tensor(self.eta))

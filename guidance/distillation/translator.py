"""Training of a translator with the distillation loop (LMC-SDS, section 5.2): its generator and its objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..core.noise import SeededNoise
from ..core.prior import Prior
from ..networks.patches import LatentPatches, without_frame_dim
from ..networks.translation.network import TranslatorNetwork, target_codes
from .objective import Direction, Objective, Sample
from .schedules import cosine

LOWEST_WEIGHT, TRANSITION = 0.1, 0.1
"""The lower weight of a loss, and the fraction of the steps over which the weights change."""


@dataclass(frozen=True)
class Recipe:
    """Training settings of a translator. Width, levels, batch and guidance scale are the paper's.

    The paper takes 200,000 steps at a learning rate of 5e-5. `source_weight` multiplies the squared distance to the
    source in the paper's loss, in which the prompt counts `guidance_scale`.
    """

    method: str = "lmc"
    guidance_scale: float = 15.0
    steps: int = 20_000
    batch: int = 32
    learning_rate: float = 2e-4
    source_weight: float = 1.0
    width: int = 32
    levels: int = 4
    seed: int = 0


class TranslatorGenerator:
    """A `Generator` whose parameters are a network's: its output for new random patches at every step.

    Item i of the batch has target i mod `targets`. `patches` and the network are in the host's scale;
    `to_model_scale` maps such latents (B, ...) to the model's.
    """

    def __init__(
        self,
        network: TranslatorNetwork,
        patches: LatentPatches,
        targets: int,
        noise: SeededNoise,
        to_model_scale: Callable[[Tensor], Tensor],
    ):
        self._network, self._patches, self._noise = network.requires_grad_(), patches, noise
        self._to_model_scale = to_model_scale
        self._codes = target_codes(targets, len(noise)).to(patches.latents[0])
        self.sources = to_model_scale(self._patches.draw(self._noise)).clone()
        """The patches (B, ...) of the current step in model scale; the next step overwrites them."""

    @property
    def parameters(self) -> Sequence[Tensor]:
        return list(self._network.parameters())

    def __call__(self) -> Tensor:
        patches = self._patches.draw(self._noise)
        self.sources.copy_(self._to_model_scale(patches))
        return self._to_model_scale(self._network(without_frame_dim(patches), self._codes).reshape_as(patches))

    def constrain(self) -> None:
        pass


@dataclass(frozen=True)
class EasedObjective:
    """`w (objective) + v source_weight |z - source|^2`, where w rises from 0.1 to 1 and v falls from 1 to 0.1.

    Both change over the first tenth of the steps, by half a cosine (LMC-SDS, appendix A). `sources` (B, ...) are those
    of the `TranslatorGenerator`.
    """

    objective: Objective
    sources: Tensor
    source_weight: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        v = cosine(sample.progress, final=LOWEST_WEIGHT, share=TRANSITION)
        w = 1 + LOWEST_WEIGHT - v
        direction = self.objective(prior, sample)
        pull = 2 * v * self.source_weight * (sample.z - self.sources)
        to_clean = w * direction.pull_at(prior.path, sample.sigma) + pull
        return Direction(w * direction.gradient + pull, direction.eps_hat, to_clean)

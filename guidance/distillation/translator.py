"""A network as what the loop of all distillation methods optimises, and what holds it to its sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..core.noise import SeededNoise
from ..core.prior import Prior
from ..networks.patches import Pictures, as_pictures
from ..networks.translation.network import TranslatorNetwork, places
from .objective import Direction, Objective, Sample
from .schedules import cosine

FAINT, EASED = 0.1, 0.1
"""The weight of what is not yet, or no longer, in force, and the share of the steps over which that changes."""


@dataclass(frozen=True)
class Recipe:
    """How a translator is trained; width, levels, batch and guidance are published.

    Published are 200,000 steps at a rate of 5e-5. `source_weight` is that of the squared distance to the source in the
    units of the published loss, in which the text counts `guidance_scale`.
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


class Translated:
    """A `Generator`: what a network makes of pictures that are drawn anew at every step, some for each target.

    `to_model_scale` maps latents (B, ...) of the host's scale, which the pictures and the network have, to the model's.
    """

    def __init__(
        self,
        network: TranslatorNetwork,
        pictures: Pictures,
        targets: int,
        noise: SeededNoise,
        to_model_scale: Callable[[Tensor], Tensor],
    ):
        self._network, self._pictures, self._noise = network.requires_grad_(), pictures, noise
        self._to_model_scale = to_model_scale
        self._places = places(targets, len(noise)).to(pictures.latents[0])
        self.sources = to_model_scale(self._drawn()).clone()
        """What this step's pictures were, (B, ...) in model scale; overwritten by the next step."""

    @property
    def parameters(self) -> Sequence[Tensor]:
        return list(self._network.parameters())

    def __call__(self) -> Tensor:
        drawn = self._drawn()
        self.sources.copy_(self._to_model_scale(drawn))
        return self._to_model_scale(self._network(as_pictures(drawn), self._places).reshape_as(drawn))

    def constrain(self) -> None:
        pass

    def _drawn(self) -> Tensor:
        return self._pictures.draw(self._noise)


@dataclass(frozen=True)
class Eased:
    """`w (objective) + v source_weight |z - source|^2`, w rising from 0.1 to 1 and v falling from 1 to 0.1.

    They change over the first tenth of the steps, by half a cosine (LMC-SDS, appendix A). `sources` (B, ...) is what
    `Translated` has drawn.
    """

    objective: Objective
    sources: Tensor
    source_weight: float

    def __call__(self, prior: Prior, sample: Sample) -> Direction:
        held = cosine(sample.progress, final=FAINT, share=EASED)
        said = self.objective(prior, sample)
        pull = 2 * held * self.source_weight * (sample.z - self.sources)
        return Direction((1 + FAINT - held) * said.gradient + pull, said.eps_hat)

"""Makes a manifold corrective from pictures and a model (LMC-SDS, section 4 and appendix A).

A triplet is a picture z, a time t and what the model makes of the picture noised to it, `z0_hat`. Triplets are made as
they are needed, each by one evaluation of the model under the empty text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.denoiser import NULL
from ...core.noise import SeededNoise
from ...core.prior import Prior
from ..ema import MovingAverage
from ..patches import Pictures, as_pictures
from .network import CorrectiveNetwork
from .normalisation import Statistics, loss
from .spectral import Bands, SpectralCorrective

DECAY, DECAY_EVERY = 0.9, 100_000
T_MIN, T_MAX = 0.02, 0.98


@torch.no_grad()
def denoised(prior: Prior, z: Tensor, t: Tensor, noise: SeededNoise) -> Tensor:
    """What the model makes of pictures (B, ...) noised to times (B,), under the empty text: `z0_hat` (B, ...)."""
    sigma = prior.sigma_at(t.to(z))
    (z0_hat,) = prior.denoise(prior.path.noised(z, noise.like(z), sigma), sigma, (NULL,))
    return z0_hat.clone()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are published, but for `average`, the decay of the moving average."""

    steps: int = 750_000
    batch: int = 128
    learning_rate: float = 1e-4
    seed: int = 0
    statistics: Statistics = "as printed"
    average: float = 0.999


class Training:
    """A network in training: where it is and how it got there.

    Needs gradients: not inside `torch.inference_mode`. `network` is where it begins, and is what is trained.
    """

    def __init__(self, network: CorrectiveNetwork, recipe: Recipe):
        self.network, self.recipe = network.requires_grad_(), recipe
        self.average = MovingAverage(self.network, recipe.average)
        self.losses: list[float] = []
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)

    @property
    def done(self) -> int:
        """How many steps were taken."""
        return len(self.losses)

    def steps(self, prior: Prior, pictures: Pictures) -> Iterator[float]:
        """Train to the end of the recipe, from wherever it stands; yields each step's loss after it was taken."""
        while self.done < self.recipe.steps:
            yield self._step(prior, pictures)

    def _step(self, prior: Prior, pictures: Pictures) -> float:
        first = self.recipe.seed + self.done * self.recipe.batch
        noise = SeededNoise(range(first, first + self.recipe.batch))
        z, t = pictures.draw(noise), _times(noise)
        z0_hat = denoised(prior, z, t, noise)
        with torch.enable_grad():
            b_hat = self.network(as_pictures(z), t.to(z))
            error = loss(b_hat, as_pictures(z0_hat), self.recipe.statistics)
        if not error.isfinite():
            raise FloatingPointError(f"The loss of step {self.done} is not finite.")
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * DECAY ** (self.done // DECAY_EVERY)
        self._optimizer.zero_grad()
        error.backward()
        self._optimizer.step()
        self.average.follow(self.network, self.done)
        self.losses.append(error.item())
        return self.losses[-1]

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, on the CPU: what the training makes."""
        return self.average.on_cpu()

    def state(self) -> dict[str, Tensor]:
        """All it takes to go on, as named tensors."""
        found = {"losses": torch.tensor(self.losses, dtype=torch.float64)}
        found |= {f"weight {name}": weight.detach() for name, weight in self.network.state_dict().items()}
        found |= {f"average {name}": weight for name, weight in self.average.weights.items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            found |= {f"adam {index} {name}": value for name, value in moments.items()}
        return {name: tensor.contiguous() for name, tensor in found.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on where the training whose `state` it is stood."""
        self.losses = state["losses"].tolist()
        self.network.load_state_dict(_part(state, "weight "))
        for name, value in _part(state, "average ").items():
            self.average.weights[name].copy_(value)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _part(state, "adam ").items():
            index, name = key.split(" ", 1)
            moments.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _times(noise: SeededNoise) -> Tensor:
    """t ~ U(0.02, 0.98) for each item."""
    return T_MIN + (T_MAX - T_MIN) * noise.uniform()


def fit_spectral(
    form: Bands, prior: Prior, pictures: Pictures, *, count: int, batch: int, seed: int
) -> Iterator[SpectralCorrective]:
    """Fit a spectral corrective to `count` pictures at each of its times, `batch` at once.

    Yields it after each time; the one after the last is complete.
    """
    corrective = SpectralCorrective(form)
    for knot, time in enumerate(form.times.tolist()):
        pairs = []
        for start in range(0, count, batch):
            first = seed + knot * count + start
            noise = SeededNoise(range(first, first + min(batch, count - start)))
            z = pictures.draw(noise)
            t = torch.full((len(noise),), time)
            pairs.append((as_pictures(z), as_pictures(denoised(prior, z, t, noise))))
        z, z0_hat = (torch.cat(column) for column in zip(*pairs))
        corrective.to(z).fit(knot, z, z0_hat)
        yield corrective

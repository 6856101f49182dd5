"""Training of a manifold corrective (LMC-SDS, section 4 and appendix A).

It learns from triplets (z, t, z0_hat): a latent, a time, and the model's clean estimate of the latent noised to that
time. Triplets are made during training, each with one model call under the unconditional prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.denoiser import NULL
from ...core.noise import SeededNoise, derived_seed, item_seeds
from ...core.prior import Prior
from ..ema import WeightEMA
from ..patches import LatentPatches, without_frame_dim
from .network import CorrectiveNetwork
from .normalization import Statistics, loss
from .spectral import SpectralCorrective, SpectralForm

DECAY, DECAY_EVERY = 0.9, 100_000
"""The learning rate is multiplied by `DECAY` after every `DECAY_EVERY` steps."""
T_MIN, T_MAX = 0.02, 0.98


@torch.no_grad()
def denoise_at(prior: Prior, z: Tensor, t: Tensor, noise: SeededNoise) -> Tensor:
    """The clean estimate (B, ...) of latents `z` (B, ...) noised to times `t` (B,), under the unconditional prompt.

    Costs one model call.
    """
    sigma = prior.sigma_at(t.to(z))
    (z0_hat,) = prior.denoise(prior.path.noised(z, noise.like(z), sigma), sigma, (NULL,))
    return z0_hat.clone()


@dataclass(frozen=True)
class Recipe:
    """Training settings. The defaults are the paper's, except `ema_decay`: the paper does not average weights."""

    steps: int = 750_000
    batch: int = 128
    learning_rate: float = 1e-4
    seed: int = 0
    statistics: Statistics = "as printed"
    ema_decay: float = 0.999


class UnusableStateError(ValueError):
    """The saved state of a training cannot be continued."""


class Training:
    """The training of a network, which can be interrupted and continued.

    `network` is where it starts; it is changed in place. Needs gradients: do not run it in `torch.inference_mode`.
    """

    def __init__(self, network: CorrectiveNetwork, recipe: Recipe):
        self.network, self.recipe = network.requires_grad_(), recipe
        self.ema = WeightEMA(self.network, recipe.ema_decay)
        self.losses: list[float] = []
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)

    @property
    def steps_taken(self) -> int:
        """The number of steps taken so far."""
        return len(self.losses)

    def steps(self, prior: Prior, patches: LatentPatches) -> Iterator[float]:
        """Take the remaining steps of the recipe; yields the loss of each step after it was taken.

        Raises:
            FloatingPointError: the loss became NaN or infinite; the network is that of the last finite step.
        """
        while self.steps_taken < self.recipe.steps:
            yield self._step(prior, patches)

    def _step(self, prior: Prior, patches: LatentPatches) -> float:
        seed = derived_seed(self.recipe.seed, "step", self.steps_taken)
        noise = SeededNoise(item_seeds(seed, range(self.recipe.batch)))
        z, t = patches.draw(noise), _draw_times(noise)
        z0_hat = denoise_at(prior, z, t, noise)
        with torch.enable_grad():
            b_hat = self.network(without_frame_dim(z), t.to(z))
            error = loss(b_hat, without_frame_dim(z0_hat), self.recipe.statistics)
        if not error.isfinite():
            raise FloatingPointError(f"The loss of step {self.steps_taken} is not finite.")
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * DECAY ** (self.steps_taken // DECAY_EVERY)
        self._optimizer.zero_grad()
        error.backward()
        self._optimizer.step()
        self.ema.update(self.network, self.steps_taken)
        self.losses.append(error.item())
        return self.losses[-1]

    def weights(self) -> dict[str, Tensor]:
        """The averaged weights, on the CPU: the result of the training."""
        return self.ema.on_cpu()

    def state(self) -> dict[str, Tensor]:
        """Everything needed to continue, as named tensors for `restore`."""
        state = {"losses": torch.tensor(self.losses, dtype=torch.float64)}
        state |= {f"weight {name}": weight.detach() for name, weight in self.network.state_dict().items()}
        state |= {f"average {name}": weight for name, weight in self.ema.weights.items()}
        for index, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"adam {index} {name}": value for name, value in moments.items()}
        return {name: tensor.contiguous() for name, tensor in state.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from the `state` of another training of the same recipe.

        Raises:
            UnusableStateError: the state is not that of such a training; nothing was changed.
        """
        if not self._fits(state):
            raise UnusableStateError("The state is that of another training.")
        self.losses = state["losses"].tolist()
        self.network.load_state_dict(_with_prefix(state, "weight "))
        for name, value in _with_prefix(state, "average ").items():
            self.ema.weights[name].copy_(value)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _with_prefix(state, "adam ").items():
            index, name = key.split(" ", 1)
            moments.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})

    def _fits(self, state: dict[str, Tensor]) -> bool:
        """Whether a state has the tensors that training this network leaves, with finite numbers."""
        found = {name: each.shape for name, each in state.items()}
        losses, weights = found.pop("losses", ()), self.network.state_dict()
        expected = {f"{kind} {name}": each.shape for kind in ("weight", "average") for name, each in weights.items()}
        if losses != (0,):
            for index, weight in enumerate(self.network.parameters()):
                moments = {"exp_avg": weight.shape, "exp_avg_sq": weight.shape, "step": torch.Size()}
                expected |= {f"adam {index} {name}": shape for name, shape in moments.items()}
        return len(losses) == 1 and found == expected and all(each.isfinite().all() for each in state.values())


def _with_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with a prefix, under their names without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _draw_times(noise: SeededNoise) -> Tensor:
    """t ~ U(0.02, 0.98) for each item: (B,)."""
    return T_MIN + (T_MAX - T_MIN) * noise.uniform()


def fit_spectral(
    form: SpectralForm, prior: Prior, patches: LatentPatches, *, count: int, batch: int, seed: int
) -> Iterator[SpectralCorrective]:
    """Fit a spectral corrective to `count` patches at each of its times, with model calls of `batch` patches.

    Yields it after each time; it is complete after the last.
    """
    corrective = SpectralCorrective(form)
    for knot, time in enumerate(form.times.tolist()):
        pairs = []
        for start in range(0, count, batch):
            items = range(start, min(start + batch, count))
            noise = SeededNoise(item_seeds(derived_seed(seed, "knot", knot), items))
            z = patches.draw(noise)
            t = torch.full((len(noise),), time)
            pairs.append((without_frame_dim(z), without_frame_dim(denoise_at(prior, z, t, noise))))
        z, z0_hat = (torch.cat(column) for column in zip(*pairs, strict=True))
        corrective.to(z).fit(knot, z, z0_hat)
        yield corrective

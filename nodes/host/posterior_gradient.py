"""How estimates are held to a measurement on the host's model and VAE, by smaller ways where memory is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from ...guidance.restoration.measurement import DataConsistency
from .checkpoints import checkpointed, mutation_allowed
from .denoiser import HostDenoiser
from .gradients import gradients, ordinary_weights
from .oom_fallback import OomFallback
from .sampling import Run
from .vae import HostAutoencoder


class PosteriorGradient:
    """Maps a state (B, ...) and its noise level to the estimate under a named conditioning and DPS's gradient.

    Out of memory, it recomputes blocks in the backward pass instead of keeping them, then goes picture by picture, then
    goes without the gradient, None, and stays so. `notes` is where it tells the user.
    """

    def __init__(
        self, run: Run, autoencoder: HostAutoencoder, consistency: DataConsistency, name: str, notes: list[str]
    ):
        self._run, self._autoencoder, self._consistency, self._name = run, autoencoder, consistency, name
        self._ways: OomFallback[tuple[Tensor, Tensor | None]] = OomFallback(
            [
                ("", self._kept),
                (
                    "Out of memory: gradient steps now keep less and compute it twice, which is slower.",
                    self._recomputed,
                ),
                ("Out of memory: gradient steps now go picture by picture.", self._item_by_item),
                (
                    "Out of memory: gradient steps are left out from now on, and estimates are fitted to the "
                    "measurement instead (consistency only).",
                    self._without,
                ),
            ],
            notes,
        )

    def __call__(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._ways(x, sigma)

    @property
    def possible(self) -> bool:
        """Whether there is memory for it, as far as is known."""
        return self._ways.left > 0

    def _kept(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return self._gradient(self._run.denoiser, self._consistency, x, sigma)

    def _recomputed(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        with self._checkpoints():
            return self._kept(x, sigma)

    @contextmanager
    def _checkpoints(self) -> Iterator[None]:
        """In the VAE and the model; not in a model whose weights change from one text to the next with their LoRAs."""
        networks = [self._autoencoder.network]
        if len({entry.get("hooks") for entry in self._run.denoiser.conds[self._name]}) == 1:
            networks.append(self._run.denoiser.model.diffusion_model)
        with ExitStack() as stack:
            for network in networks:
                stack.enter_context(checkpointed(network))
            yield

    def _item_by_item(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        with self._checkpoints():
            pairs = [self._of_item(i, x, sigma) for i in range(len(x))]
        z0_hats, pulls = zip(*pairs)
        return torch.cat(z0_hats), torch.cat(pulls)

    def _of_item(self, index: int, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        consistency = self._consistency.of_item(index)
        return self._gradient(self._run.denoiser.of_item(index), consistency, x[index : index + 1], sigma)

    def _without(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
        (z0_hat,) = self._run.denoiser(x, sigma, (self._name,))
        return z0_hat, None

    def _gradient(
        self, denoiser: HostDenoiser, consistency: DataConsistency, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Some of the host's networks add in place, hence mutation."""

        def predict(state: Tensor) -> Tensor:
            return denoiser.with_gradients(state, sigma, denoiser.conds[self._name])

        network = denoiser.model.diffusion_model
        with gradients(), mutation_allowed(), ordinary_weights(network):
            return consistency.posterior_gradient(predict, self._run.prior.path, x, sigma)


def data_fit(consistency: DataConsistency, notes: list[str]) -> Callable[[Tensor], Tensor]:
    """What makes of estimates (B, ...) the latents that explain the measurement; out of memory, one after the other."""

    def item_by_item(z0_hats: Tensor) -> Tensor:
        items = enumerate(z0_hats.split(1))
        return torch.cat([consistency.of_item(i).explaining(z0_hat) for i, z0_hat in items])

    note = "Out of memory: estimates are now fitted to the measurement picture by picture."
    return OomFallback([("", consistency.explaining), (note, item_by_item)], notes)

"""The gradient of DPS on the host's model and VAE, by smaller paths where memory is short."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import comfy.model_management
import torch
from torch import Tensor

from ...guidance.measurement import DataConsistency
from .checkpoints import checkpointed, mutation_allowed
from .denoiser import HostDenoiser
from .gradients import gradients, ordinary_weights
from .sampling import Run
from .vae import HostAutoencoder

log = logging.getLogger("dreamsampler")


class PosteriorGradient:
    """Maps a state (B, ...) and its noise level to the estimate under a named conditioning and DPS's gradient.

    Out of memory, it recomputes blocks in the backward pass instead of keeping them, then goes picture by picture, then
    goes without the gradient, and stays so. `notes` is where it tells the user.
    """

    def __init__(
        self, run: Run, autoencoder: HostAutoencoder, consistency: DataConsistency, name: str, notes: list[str]
    ):
        self._run, self._autoencoder, self._consistency, self._name = run, autoencoder, consistency, name
        self._notes = notes
        self._ways = self._all_ways()
        self._way = next(self._ways)[1]

    def __call__(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        try:
            return self._way(x, sigma)
        except comfy.model_management.OOM_EXCEPTION:
            following = next(self._ways, None)
            if following is None:
                raise
            note, self._way = following
        log.warning(note)
        self._notes.append(note)
        comfy.model_management.soft_empty_cache()
        return self(x, sigma)

    def _all_ways(self) -> Iterator[tuple[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]]]:
        yield "", self._kept
        yield "Out of memory: gradient steps now keep less and compute it twice, which is slower.", self._recomputed
        yield "Out of memory: gradient steps now go picture by picture.", self._item_by_item
        yield "Out of memory: gradient steps are left out from now on (consistency only).", self._without

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
        measurement = self._consistency.measurement.of_item(index)
        consistency = replace(self._consistency, measurement=measurement)
        return self._gradient(self._run.denoiser.of_item(index), consistency, x[index : index + 1], sigma)

    def _without(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        (z0_hat,) = self._run.denoiser(x, sigma, (self._name,))
        return z0_hat, torch.zeros_like(x)

    def _gradient(
        self, denoiser: HostDenoiser, consistency: DataConsistency, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Some of the host's networks add in place, hence mutation."""

        def predict(state: Tensor) -> Tensor:
            return denoiser.with_gradients(state, sigma, denoiser.conds[self._name])

        network = denoiser.model.diffusion_model
        with gradients(), mutation_allowed(), ordinary_weights(network):
            return consistency.posterior_gradient(predict, self._run.prior.path, x, sigma)

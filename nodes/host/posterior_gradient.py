"""Data consistency on the host's model and VAE, with out-of-memory fallbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import comfy.model_management
import torch
from torch import Tensor

from ...guidance.restoration.measurement import DataConsistency
from .checkpoints import checkpointed, mutation_allowed
from .denoiser import HostDenoiser
from .gradients import differentiable, explained, gradients, ordinary, plain_attention
from .oom_fallback import OomFallback, is_oom
from .sampling import Run
from .vae import HostAutoencoder

ADVICE = "set consistency to 'consistency only', which needs none."


class PosteriorGradient:
    """Maps a state (B, ...) and its noise level to the estimate under a named conditioning and the DPS gradient.

    When memory runs out it recomputes activations in the backward pass, then processes one image at a time, then gives
    None for the gradient. It never goes back. Each fallback appends a sentence for the user to `notes`.
    """

    def __init__(
        self, run: Run, autoencoder: HostAutoencoder, consistency: DataConsistency, name: str, notes: list[str]
    ):
        self._run, self._autoencoder, self._consistency, self._name = run, autoencoder, consistency, name
        self._fallback: OomFallback[tuple[Tensor, Tensor | None]] = OomFallback(
            [
                ("", self._whole_batch),
                (
                    "Out of memory: gradient steps now recompute activations, which is slower.",
                    self._whole_batch_checkpointed,
                ),
                ("Out of memory: gradient steps now process one image at a time.", self._item_by_item),
                (
                    "Out of memory: switched to consistency only, which fits estimates to the measurement without "
                    "gradient steps.",
                    self._without_gradient,
                ),
            ],
            notes,
        )

    def __call__(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor | None]:
        return self._fallback(x, sigma)

    @property
    def available(self) -> bool:
        """Whether gradients have fitted in memory so far."""
        return self._fallback.left > 0

    def _whole_batch(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return self._gradient(self._run.denoiser, self._consistency, x, sigma)

    def _whole_batch_checkpointed(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        with self._checkpointed():
            return self._whole_batch(x, sigma)

    @contextmanager
    def _checkpointed(self) -> Iterator[None]:
        """Checkpoints the VAE, and the model unless hooks change its weights from one prompt to the next."""
        networks = [self._autoencoder.network]
        if len({entry.get("hooks") for entry in self._run.denoiser.conds[self._name]}) == 1:
            networks.append(self._run.denoiser.model.diffusion_model)
        with ExitStack() as stack:
            for network in networks:
                stack.enter_context(checkpointed(network))
            yield

    def _item_by_item(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        with self._checkpointed():
            pairs = [self._of_item(i, x, sigma) for i in range(len(x))]
        z0_hats, pulls = zip(*pairs, strict=True)
        return torch.cat(z0_hats), torch.cat(pulls)

    def _of_item(self, index: int, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        consistency = self._consistency.of_item(index)
        return self._gradient(self._run.denoiser.of_item(index), consistency, x[index : index + 1], sigma)

    def _without_gradient(self, x: Tensor, sigma: Tensor) -> tuple[Tensor, None]:
        (z0_hat,) = self._run.denoiser(x, sigma, (self._name,))
        return z0_hat, None

    def _gradient(
        self, denoiser: HostDenoiser, consistency: DataConsistency, x: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Some of the host's networks add in place, hence `mutation_allowed`."""

        def predict(state: Tensor) -> Tensor:
            return denoiser.with_gradients(state, sigma, self._name)

        network = denoiser.model.diffusion_model
        with _gradients_through(network):
            return consistency.posterior_gradient(predict, self._run.prior.path, x, sigma)


@contextmanager
def _gradients_through(network: torch.nn.Module) -> Iterator[None]:
    """Within this context, gradients pass through a network of the host, or a ValueError says what to do instead."""
    with explained(ADVICE), gradients(), mutation_allowed(), plain_attention(), differentiable(network):
        yield


def check_gradients(run: Run, name: str) -> None:
    """Raise ValueError, with what to do instead, where gradients cannot pass through the model.

    Costs one model call under a named conditioning, for one image, and its backward pass.
    """
    denoiser, sigma = run.denoiser.of_item(0), run.sigmas[0]
    try:
        with _gradients_through(denoiser.model.diffusion_model):
            x = ordinary(run.latent[:1]).clone().requires_grad_()
            torch.autograd.grad(denoiser.with_gradients(x, sigma, name).sum(), x)
        return
    except Exception as error:
        if not is_oom(error):  # gradient steps may still fit: they know ways that need less memory
            raise
    comfy.model_management.soft_empty_cache()  # not before: the error holds what the failed pass held


def data_fit(consistency: DataConsistency, fit: Callable[..., Tensor], notes: list[str]) -> Callable[..., Tensor]:
    """What makes of estimates (B, ...) the latents that explain the measurement; out of memory, one after the other.

    `fit` is a method of `DataConsistency`, such as `DataConsistency.fit`.
    """

    def item_by_item(z0_hats: Tensor, *level: Tensor) -> Tensor:
        items = enumerate(z0_hats.split(1))
        return torch.cat([fit(consistency.of_item(i), z0_hat, *level) for i, z0_hat in items])

    def together(z0_hats: Tensor, *level: Tensor) -> Tensor:
        return fit(consistency, z0_hats, *level)

    note = "Out of memory: data fitting now processes one image at a time."
    return OomFallback([("", together), (note, item_by_item)], notes)

"""A temporary LoRA on the host's model, trained during a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...guidance.core.denoiser import TARGET
from ...guidance.core.noise import MAX_SEED
from . import patches
from .checkpoints import mutation_allowed
from .gradients import differentiable, explained, gradients, plain_attention
from .sampling import Run

ADVICE = "choose another method than vsd, which trains a LoRA on it."
LOSS_SCALE = 2.0**12
"""Multiplies the loss, so that the gradients of a mean over a latent are not among the smallest numbers of fp16, which
are few. AdamW divides a constant factor out again."""


class LowRank:
    """A forward hook that adds `up down x` to the output of a linear layer (LoRA, eq. 3).

    It works beside the layer, not in its weight, so weights of any storage type are neither copied nor changed.
    """

    def __init__(self, layer: nn.Linear, rank: int, generator: torch.Generator):
        device = layer.weight.device
        down = torch.randn(rank, layer.in_features, generator=generator) / layer.in_features**0.5
        self.down = down.to(device).requires_grad_()
        self.up = torch.zeros(layer.out_features, rank, device=device, requires_grad=True)

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        (x,) = inputs
        down, up = (matrix.to(device=x.device, dtype=x.dtype) for matrix in (self.down, self.up))
        return output + F.linear(F.linear(x, down), up)


class LoraParticles:
    """A run's model with a LoRA on its attention layers, trained as in VSD. The model is unchanged between calls.

    `rank` is the rank of each addition, `learning_rate` that of AdamW, `seed` initializes the weights. `targets` names
    the conditioning of each batch item at the time, where it is not `TARGET` for all. Create it outside inference mode.
    """

    def __init__(
        self,
        run: Run,
        rank: int,
        learning_rate: float,
        seed: int,
        targets: Callable[[], Sequence[str]] | None = None,
    ):
        self._denoiser, self._path, self._targets = run.denoiser, run.prior.path, targets
        _check_uncompiled(run.denoiser.model_options, "vsd")
        self._network: nn.Module = run.denoiser.model.diffusion_model
        generator = torch.Generator().manual_seed(seed % MAX_SEED)
        self._additions = {layer: LowRank(layer, rank, generator) for layer in attention_layers(self._network)}
        weights = [matrix for addition in self._additions.values() for matrix in (addition.down, addition.up)]
        self._optimizer = torch.optim.AdamW(weights, lr=learning_rate)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        with self._applied():
            if self._targets is None:
                return self._denoiser(x, sigma, names)
            found = self._denoiser.paired(x.split(1), sigma[:, None], [[target] for target in self._targets()])
            return [torch.cat([each for (each,) in found])]

    def fit(self, x: Tensor, sigma: Tensor, eps: Tensor) -> None:
        """Take one optimizer step on the mean squared error of the predicted noise."""
        with explained(ADVICE), gradients(), plain_attention(), differentiable(self._network), self._applied():
            with mutation_allowed():  # some of the host's networks add in place
                z0_hat = self._estimate(x, sigma)
            loss = (self._path.eps_hat(x, z0_hat, sigma) - eps).square().mean()
            self._optimizer.zero_grad()
            (LOSS_SCALE * loss).backward()
        self._optimizer.step()

    def _estimate(self, x: Tensor, sigma: Tensor) -> Tensor:
        if self._targets is None:
            return self._denoiser.with_gradients(x, sigma, TARGET)
        return self._denoiser.each_with_gradients(x, sigma, self._targets())

    @contextmanager
    def _applied(self) -> Iterator[None]:
        handles = [layer.register_forward_hook(addition) for layer, addition in self._additions.items()]
        try:
            with patches.uncompiled():
                yield
        finally:
            for handle in handles:
                handle.remove()


def attention_layers(network: nn.Module) -> list[Any]:
    """The linear layers of a network's attention, quantized ones too, found by the names that the host's families use.

    Raises ValueError if there are none.
    """
    for part in ("attn", "attention"):
        layers = [m for name, m in network.named_modules() if part in name and _is_linear(m)]
        if layers:
            return layers
    raise ValueError(
        "The method vsd trains a LoRA on the model's attention layers, and this model has none by the usual names: "
        "choose another method, or a model of another family."
    )


def _is_linear(module: Any) -> bool:
    """Whether it is a linear layer. The host's layers with quantized weights are not of PyTorch's class."""
    sizes = (getattr(module, name, None) for name in ("in_features", "out_features"))
    return all(isinstance(size, int) for size in sizes) and isinstance(getattr(module, "weight", None), Tensor)


def _check_uncompiled(model_options: patches.Options, method: str) -> None:
    """Raise ValueError if Torch Compile is attached to the MODEL, and this PyTorch cannot leave it out for a while."""
    wrappers = model_options.get("transformer_options", {}).get("wrappers", {})
    if patches.set_stance is None and any(by_key.get(patches.COMPILED) for by_key in wrappers.values()):
        raise ValueError(
            f"The method '{method}' trains a LoRA, which a compiled model does not see on PyTorch {torch.__version__}: "
            "remove Torch Compile, choose another method, or update PyTorch to 2.6 or newer."
        )

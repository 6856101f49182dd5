"""What every method asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

NULL, TARGET, SOURCE = "negative", "positive", "source"
"""The conditionings that methods ask for: the unconditional prompt, what is wanted, and what the image shows now."""


class Denoiser(Protocol):
    """A diffusion model with named conditionings, such as "positive" and "negative".

    States are (B, ...); a noise level sigma, above 0, is a scalar or one for each item, (B,).
    """

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        """The posterior mean E[z0 | x, c] (B, ...) under each named conditioning, from one batched call."""
        ...


class PairedDenoiser(Denoiser, Protocol):
    """A denoiser that also looks at several states at once."""

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """The posterior means of several states at the same level, `names[i]` naming the conditionings of `xs[i]`.

        As many names for each state; one batched call wherever the conditionings allow it.
        """
        ...


class TrainableDenoiser(Denoiser, Protocol):
    """A denoiser that is trained while it is used: the model with a LoRA, say. It knows the conditioning TARGET."""

    def fit(self, x: Tensor, sigma: Tensor, eps: Tensor) -> None:
        """Take one training step towards predicting the noise `eps` in the state `x` at level `sigma` (B,)."""
        ...


class Guided:
    """A denoiser with one conditioning, "guided": classifier-free guidance between two of another denoiser's.

    `scale` 0 is the `null` text alone, 1 the `text` alone; a negative one turns away from the text.
    """

    def __init__(self, denoise: Denoiser, scale: float, *, null: str = "negative", text: str = "positive"):
        self._denoise, self._scale, self._names = denoise, scale, (null, text)

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        null, text = self._denoise(x, sigma, self._names)
        return [guided(null, text, self._scale)]


def guided(null: Tensor, text: Tensor, scale: float | Tensor) -> Tensor:
    """Classifier-free guidance (Ho and Salimans, eq. 6), on noises or on clean estimates."""
    return null + scale * (text - null)

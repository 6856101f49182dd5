"""The `Denoiser` protocols that all methods are written against, and classifier-free guidance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

NULL, TARGET, SOURCE = "negative", "positive", "source"
"""Names of the conditionings: the unconditional (negative) prompt, the target prompt and the source prompt."""
GUIDED = "guided"
"""The name of the one conditioning of a `GuidedDenoiser`."""


def numbered(name: str, number: int) -> str:
    """The name of one of several conditionings of a kind, such as the target prompt of a view: "positive 2"."""
    return f"{name} {number}"


class Denoiser(Protocol):
    """A diffusion model with named conditionings, such as `NULL` and `TARGET`.

    States are (B, ...); a noise level sigma is above 0, a scalar or one per item (B,).
    """

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        """The posterior mean E[z0 | x, c] (B, ...) under each named conditioning, from one batched model call."""
        ...


class PairedDenoiser(Denoiser, Protocol):
    """A denoiser that also accepts several states in one call."""

    def paired(self, xs: Sequence[Tensor], sigma: Tensor, names: Sequence[Sequence[str]]) -> list[list[Tensor]]:
        """The posterior means of several states, under the conditionings `names[i]` for `xs[i]`.

        `sigma` holds the levels of all states alike, or of each state: (S, B). Each state has the same number of
        names. One batched model call wherever the conditionings allow it.
        """
        ...


@runtime_checkable
class GuidanceOverride(Protocol):
    """A denoiser that replaces classifier-free guidance by a rule of its own.

    Methods whose equation contains plain guidance use it, so that a host's guidance patches act in them.
    """

    def guided(
        self, x: Tensor, sigma: Tensor, scale: float | Tensor, names: tuple[str, str] = (NULL, TARGET)
    ) -> tuple[Tensor, Tensor]:
        """The posterior mean under the first conditioning and the one guided by `scale` to the second, (B, ...)."""
        ...


class TrainableDenoiser(Denoiser, Protocol):
    """A denoiser that can be trained, such as the model with a LoRA. Its conditioning is `TARGET`."""

    def fit(self, x: Tensor, sigma: Tensor, eps: Tensor) -> None:
        """Take one training step toward predicting the noise `eps` (B, ...) in the state `x` at level `sigma` (B,)."""
        ...


class GuidedDenoiser:
    """Classifier-free guidance as a denoiser with a single conditioning, `GUIDED`.

    `scale` 0 is the unconditional prompt `NULL` alone, 1 is `TARGET` alone, and negative values move away from
    `TARGET`.
    """

    def __init__(self, denoise: Denoiser, scale: float):
        self._denoise, self._scale = denoise, scale

    def __call__(self, x: Tensor, sigma: Tensor, names: Sequence[str]) -> list[Tensor]:
        return [guided_estimate(self._denoise, x, sigma, self._scale)]


def predict_guided(
    denoise: Denoiser, x: Tensor, sigma: Tensor, scale: float | Tensor, names: tuple[str, str] = (NULL, TARGET)
) -> tuple[Tensor, Tensor]:
    """The posterior mean without and with guidance (B, ...), by the denoiser's own rule if it has one.

    One batched model call of 2.
    """
    if isinstance(denoise, GuidanceOverride):
        return denoise.guided(x, sigma, scale, names)
    null, target = denoise(x, sigma, names)
    return null, guide(null, target, scale)


def guided_estimate(
    denoise: Denoiser, x: Tensor, sigma: Tensor, scale: float, names: tuple[str, str] = (NULL, TARGET)
) -> Tensor:
    """The guided posterior mean (B, ...) alone, by the denoiser's own rule if it has one.

    One batched model call of 2, of 1 at scale 1, where plain guidance is the second conditioning by itself.
    """
    if scale == 1 and not isinstance(denoise, GuidanceOverride):
        return denoise(x, sigma, names[1:])[0]
    return predict_guided(denoise, x, sigma, scale, names)[1]


def guide(null: Tensor, target: Tensor, scale: float | Tensor) -> Tensor:
    """Classifier-free guidance (Ho and Salimans, eq. 6) of noise predictions or clean estimates (B, ...)."""
    return null + scale * (target - null)

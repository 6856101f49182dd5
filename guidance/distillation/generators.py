"""What is optimised: parameters theta and the clean latent z0 = g(theta) they make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Generator(Protocol):
    """Differentiable from its parameters to a latent (B, ...) in model scale.

    The items of a batch share no parameter, so that each is optimised as if it were alone.
    """

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The leaves to optimise."""
        ...

    def __call__(self) -> Tensor:
        """The latent g(theta)."""
        ...

    def constrain(self) -> None:
        """Bring the parameters back to where they are allowed, after a step."""
        ...


class Latent:
    """The latent itself.

    `start` (B, ...) is where it begins. Outside `mask`, which broadcasts over it and is 1 where the picture may change,
    it is exactly `kept` (B, ...), which is the start itself if not given.
    """

    def __init__(self, start: Tensor, mask: Tensor | None = None, kept: Tensor | None = None):
        self._kept, self._mask = (start if kept is None else kept).clone(), mask
        self._theta = start.clone().requires_grad_()

    @property
    def parameters(self) -> Sequence[Tensor]:
        return [self._theta]

    def __call__(self) -> Tensor:
        if self._mask is None:
            return self._theta
        return torch.lerp(self._kept, self._theta, self._mask)

    def constrain(self) -> None:
        pass


class Pixels:
    """A picture's pixels, seen through an encoder.

    `start` (B, 3, H, W) is in [0, 1] and the pixels are kept there; `encode` maps them to latents differentiably.
    `mask` (B or 1, 1, H, W) is 1 where the picture may change, outside it is `kept` as for `Latent`.
    """

    def __init__(
        self,
        start: Tensor,
        encode: Callable[[Tensor], Tensor],
        mask: Tensor | None = None,
        kept: Tensor | None = None,
    ):
        self._pixels, self._encode = Latent(start, mask, kept), encode

    @property
    def parameters(self) -> Sequence[Tensor]:
        return self._pixels.parameters

    @property
    def pixels(self) -> Tensor:
        """The picture as it is now."""
        return self._pixels()

    def __call__(self) -> Tensor:
        return self._encode(self.pixels)

    def constrain(self) -> None:
        with torch.no_grad():
            for theta in self.parameters:
                theta.clamp_(0, 1)

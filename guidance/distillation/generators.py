"""Generators g(theta): what is optimized, and the clean latent z0 = g(theta) it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor


class Generator(Protocol):
    """A differentiable map from parameters to a latent (B, ...) in model scale.

    The items of a batch share no parameters, so each is optimized as if it were alone.
    """

    @property
    def parameters(self) -> Sequence[Tensor]:
        """The leaf tensors to optimize."""
        ...

    def __call__(self) -> Tensor:
        """The latent g(theta), (B, ...)."""
        ...

    def constrain(self) -> None:
        """Bring the parameters back into their allowed range, after a step."""
        ...


class Latent:
    """The latent itself as the parameter.

    It starts at `start` (B, ...). `mask` in [0, 1] broadcasts over it: 1 where the image may change; where it is 0 the
    latent is exactly `kept` (B, ...), by default `start`. In between, each update of the latent has the weight `mask`.
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
        return _Masked.apply(self._theta, self._kept, self._mask)

    def constrain(self) -> None:
        pass


class _Masked(torch.autograd.Function):
    """`kept + mask (theta - kept)`, whose gradient reaches theta whole wherever the mask is above 0.

    The mask then weights the update once. The chain rule would weight the gradient, too: half a mask, a quarter of a
    step of plain gradient descent.
    """

    @staticmethod
    def forward(ctx: Any, theta: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return torch.lerp(kept, theta, mask)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (mask,), (gradient,) = ctx.saved_tensors, gradients
        return gradient * (mask > 0), None, None


class Pixels:
    """The pixels of an image as the parameters, mapped to a latent by an encoder.

    `start` (B, 3, H, W) is in [0, 1], and pixels are clamped to that range. `encode` maps them to latents
    differentiably. `mask` (B or 1, 1, H, W) and `kept` (B, 3, H, W) are as for `Latent`.
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
    def images(self) -> Tensor:
        """The current images (B, 3, H, W) in [0, 1]."""
        return self._pixels()

    def __call__(self) -> Tensor:
        return self._encode(self.images)

    def constrain(self) -> None:
        with torch.no_grad():
            for theta in self.parameters:
                theta.clamp_(0, 1)

"""What of b_hat counts: its normalised form (LMC-SDS, eq. 10)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Statistics = Literal["as printed", "full", "none"]
STATISTICS: tuple[Statistics, ...] = get_args(Statistics)


def normalised(b_hat: Tensor, z0_hat: Tensor, statistics: Statistics = "as printed") -> Tensor:
    """`std(z0_hat) / std(b_hat) (b_hat - mean(b_hat)) + mean` (LMC-SDS, eq. 10), for each item of (B, ...).

    The mean is that of `b_hat` "as printed", so that its contrast does not matter, and that of `z0_hat` with "full", so
    that its brightness does not either. "none" leaves `b_hat` as it is.
    """
    if statistics == "none":
        return b_hat
    mean, goal = _mean(b_hat), _mean(b_hat if statistics == "as printed" else z0_hat)
    centred = b_hat - mean
    return (_deviation(z0_hat) / _deviation(b_hat)) * centred + goal


def loss(b_hat: Tensor, z0_hat: Tensor, statistics: Statistics = "as printed") -> Tensor:
    """L_k (LMC-SDS, eq. 10): the squared distance of `z0_hat` (B, ...) from the normalised `b_hat`, as a mean."""
    return (z0_hat - normalised(b_hat, z0_hat, statistics)).square().mean()


def _mean(x: Tensor) -> Tensor:
    return x.mean(tuple(range(1, x.ndim)), keepdim=True)


def _deviation(x: Tensor) -> Tensor:
    """The standard deviation, above 0 even where x is flat."""
    variance = x.var(tuple(range(1, x.ndim)), correction=0, keepdim=True)
    return (variance + torch.finfo(x.dtype).tiny).sqrt()

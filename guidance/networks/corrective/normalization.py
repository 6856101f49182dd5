"""Normalization of b_hat (LMC-SDS, eq. 10)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Statistics = Literal["as printed", "full", "none"]
STATISTICS: tuple[Statistics, ...] = get_args(Statistics)


def normalize(b_hat: Tensor, z0_hat: Tensor, statistics: Statistics = "as printed") -> Tensor:
    """`std(z0_hat) / std(b_hat) (b_hat - mean(b_hat)) + mean` (LMC-SDS, eq. 10), for each item of (B, ...).

    "as printed" adds the mean of `b_hat`, which removes its contrast; "full" adds the mean of `z0_hat`, which removes
    its brightness too; "none" returns `b_hat` unchanged.
    """
    if statistics == "none":
        return b_hat
    mean, new_mean = _mean(b_hat), _mean(b_hat if statistics == "as printed" else z0_hat)
    centered = b_hat - mean
    return (_deviation(z0_hat) / _deviation(b_hat)) * centered + new_mean


def loss(b_hat: Tensor, z0_hat: Tensor, statistics: Statistics = "as printed") -> Tensor:
    """The training loss L_k (LMC-SDS, eq. 10): the mean squared error between `z0_hat` and the normalized `b_hat`."""
    return (z0_hat - normalize(b_hat, z0_hat, statistics)).square().mean()


def _mean(x: Tensor) -> Tensor:
    return x.mean(tuple(range(1, x.ndim)), keepdim=True)


def _deviation(x: Tensor) -> Tensor:
    """The standard deviation of each item, above 0 even for a constant one."""
    variance = x.var(tuple(range(1, x.ndim)), correction=0, keepdim=True)
    return (variance + torch.finfo(x.dtype).tiny).sqrt()

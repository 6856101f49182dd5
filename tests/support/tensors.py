"""Seeded random tensors, and their comparison up to rounding."""

from __future__ import annotations

import torch
from torch import Tensor


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal values."""
    return torch.randn(shape, generator=generator(seed), dtype=dtype)


def uniform(
    *shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Uniform values in [low, high). The float32 values are the rounded float64 values."""
    return (low + (high - low) * torch.rand(shape, generator=generator(seed), dtype=torch.float64)).to(dtype)


def psnr(one: Tensor, other: Tensor) -> float:
    """The peak signal-to-noise ratio of images in [0, 1], in dB."""
    return (-10 * (one - other).square().mean().log10()).item()


def assert_close(actual: Tensor, expected: Tensor) -> None:
    """Equal up to float64 rounding over a few operations."""
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

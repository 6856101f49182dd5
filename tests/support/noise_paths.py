"""Run a test on both noise paths, at the same signal-to-noise ratios."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from dreamsampler.guidance.core.path import FLOW, SCALED, NoisePath
from torch import Tensor

from support.oracle import levels, matched, sigma_at

BOTH_PATHS = pytest.mark.parametrize("path", [SCALED, FLOW], ids=lambda path: path.name)


def schedule(path: NoisePath, steps: int) -> Tensor:
    """Noise levels (steps + 1,) that fall to 0."""
    return levels(steps) if path is SCALED else matched(levels(steps))


def clock(path: NoisePath) -> Callable[[Tensor], Tensor]:
    """Maps times in [0, 1] to noise levels."""
    return sigma_at if path is SCALED else lambda t: matched(sigma_at(t))

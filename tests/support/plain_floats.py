"""What distillation methods compute, in plain floats: Gaussians for the prompts, noise levels and DDIM steps."""

from __future__ import annotations

import math

from dreamsampler.guidance.core.path import SCALED, NoisePath

from support.oracle import gaussian

NULL, SOURCE, TARGET = (0.2, 1.5), (-1.0, 0.5), (2.0, 0.25)
"""Mean and variance of the model's Gaussian for the unconditional, the source and the target prompt."""
GENERATING = {"negative": gaussian(*([x] for x in NULL)), "positive": gaussian(*([x] for x in TARGET))}
EDITING = {"source": gaussian(*([x] for x in SOURCE)), "positive": gaussian(*([x] for x in TARGET))}
"""Without the unconditional prompt: some methods do without."""
Weights = tuple[float, float]
"""a and b at a noise level."""


def weights(path: NoisePath, t: float) -> Weights:
    """a and b at a time of the oracle's clock."""
    sigma = 14 * t * math.expm1(4 * t) / math.expm1(4)
    return (1.0, sigma) if path is SCALED else (1 / (1 + sigma), sigma / (1 + sigma))


def ddim_step(x: float, noise: float, here: Weights, there: Weights) -> float:
    """A DDIM step from the weights (a, b) `here` to those `there`."""
    (a, b), (a_next, b_next) = here, there
    return a_next * (x - b * noise) / a + b_next * noise

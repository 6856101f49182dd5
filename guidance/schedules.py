"""When: the times a distillation visits, and how its learning rate goes.

`progress` runs from 0 at the first step to 1 after the last. Times are in [0, 1], 0 clean and 1 pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from .noise import SeededNoise


class TimeSchedule(Protocol):
    """Times (B,) for one step, drawn from `noise` where they are random."""

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor: ...


@dataclass(frozen=True)
class Uniform:
    """t ~ U(t_min, t_max) at every step (DreamFusion)."""

    t_min: float
    t_max: float

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor:
        return self.t_min + (self.t_max - self.t_min) * noise.uniform()


@dataclass(frozen=True)
class Annealed:
    """t ~ U(t_min, T), where T falls from t_max to t_min: first the layout, then more and more the detail."""

    t_min: float
    t_max: float

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor:
        top = self.t_max - (self.t_max - self.t_min) * progress
        return self.t_min + (top - self.t_min) * noise.uniform()


@dataclass(frozen=True)
class Descending:
    """t falls evenly from t_max, as sampling does, and stops one step above t_min (DreamSampler, Algorithm 2)."""

    t_min: float
    t_max: float

    def __call__(self, progress: float, noise: SeededNoise) -> Tensor:
        return torch.full((len(noise),), self.time(progress))

    def time(self, progress: float) -> float:
        """The one time of a step."""
        return self.t_max - (self.t_max - self.t_min) * progress


TIME_SCHEDULES: dict[str, Callable[[float, float], TimeSchedule]] = {
    "uniform": Uniform,
    "annealed": Annealed,
    "descending": Descending,
}


def constant(progress: float) -> float:
    """The same learning rate throughout."""
    return 1.0


def cosine(progress: float, final: float = 0.0, share: float = 1.0) -> float:
    """Half a cosine from 1 down to `final` over the first `share` of the steps, then constant."""
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress / share)))


def warm_up(progress: float, share: float = 0.1) -> float:
    """Straight up to 1 over the first `share` of the steps, then constant."""
    return min(1.0, progress / share)


LEARNING_RATES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "cosine": cosine,
    "warm-up": warm_up,
    "cosine to 0.03": partial(cosine, final=0.03, share=0.6),
    "cosine to 0.8": partial(cosine, final=0.8),
}
"""The factor on the learning rate by progress. The last two are those of LMC-SDS: for pictures from nothing, which it
optimises at 0.03 of the rate after 300 of 500 steps, and for edits."""

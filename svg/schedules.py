"""Learning rates of a drawing's parameters by progress, which runs from 0 at the first step to 1 after the last.

Rates are for Adam, whose steps are about as long as the rate: pixels for points and widths, shares of [0, 1] for
colours. Published shares of iterations are kept as shares, so they scale with the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.optim import Adam, Optimizer


def constant(progress: float) -> float:
    """The same rate throughout."""
    return 1.0


@dataclass(frozen=True)
class KeepThenDecay:
    """1 over the first `keep` of the steps, then exponentially down to `final`.

    Published are the two ends; that the curve between them is an exponential is ours.
    """

    keep: float
    final: float

    def __call__(self, progress: float) -> float:
        return self.final ** max(0.0, (progress - self.keep) / (1 - self.keep))


@dataclass(frozen=True)
class WarmUpThenCosine:
    """Straight from `first` up to 1 over the share `warm_up` of the steps, then half a cosine down to `final`."""

    first: float
    warm_up: float
    final: float

    def __call__(self, progress: float) -> float:
        if progress < self.warm_up:
            return self.first + (1 - self.first) * progress / self.warm_up
        rest = (progress - self.warm_up) / (1 - self.warm_up) if self.warm_up < 1 else 0.0
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * rest))


@dataclass(frozen=True)
class LearningRates:
    """The largest rate of each kind of parameter, and how they go.

    `schedule` multiplies the rate of the points; with `all_follow` those of the others too. `betas` and `eps` are
    Adam's.
    """

    points: float
    width: float
    color: float
    background: float
    schedule: Callable[[float], float] = constant
    all_follow: bool = False
    betas: tuple[float, float] = (0.9, 0.9)
    eps: float = 1e-6

    def at(self, progress: float) -> dict[str, float]:
        """The rates by name: "points", "width", "color" and "background"."""
        factor = self.schedule(progress)
        other = factor if self.all_follow else 1.0
        return {
            "points": factor * self.points,
            "width": other * self.width,
            "color": other * self.color,
            "background": other * self.background,
        }

    def faster(self, factor: float) -> LearningRates:
        """All rates times a factor."""
        return replace(self.scaled(factor), color=factor * self.color, background=factor * self.background)

    def scaled(self, factor: float) -> LearningRates:
        """The rates on a canvas `factor` times as large: lengths grow, colours do not."""
        return replace(self, points=factor * self.points, width=factor * self.width)

    def adam(self, parameters: Mapping[str, Iterable[Tensor]]) -> Adam:
        """An optimiser of the parameters, by the names that `at` gives; each name is a parameter group.

        Raises ValueError for another name.
        """
        rates = self.at(0.0)
        unknown = ", ".join(sorted(set(parameters) - set(rates)))
        if unknown:
            raise ValueError(f"There is no learning rate for {unknown}; name the parameters {', '.join(rates)}.")
        groups = [{"params": list(tensors), "lr": rates[name], "name": name} for name, tensors in parameters.items()]
        return Adam(groups, betas=self.betas, eps=self.eps)

    def set(self, optimizer: Optimizer, progress: float) -> None:
        """Give the groups of an optimiser that `adam` made the rates of this progress."""
        rates = self.at(progress)
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]]


TRACING = LearningRates(1.0, 0.1, 0.01, 0.01, KeepThenDecay(keep=0.2, final=0.4**2))
"""Fitting a picture as LIVE does, the first stage of VectorFusion in PyTorch-SVGRender: 500 iterations for each group
of paths."""
REFINING = LearningRates(1.0, 0.1, 0.01, 0.01, WarmUpThenCosine(first=0.02, warm_up=0.05, final=0.4))
"""Score distillation of a traced drawing, its second stage: 1000 iterations, of which 50 warm up."""
FROM_SCRATCH = LearningRates(
    0.2, 0.02, 0.2 / 20, 0.2 / 200, WarmUpThenCosine(first=0.1, warm_up=0.5, final=0.25), all_follow=True
)
"""DreamSampler, eq. 21, and VectorFusion, supplement F.3: points 0.02 to 0.2 over 500 of 1000 iterations, then a cosine
to 0.05; fills 20 and the background 200 times less. Neither gives widths a rate; a tenth of the points' is ours."""
PIXEL_ART = LearningRates(1e-4, 1e-4, 1e-4, 1e-4, WarmUpThenCosine(first=0.1, warm_up=1.0, final=1.0), all_follow=True)
"""VectorFusion, supplement F.3: 1e-5 to 1e-4 over 1000 iterations, for the colours of squares that stay in place."""
EDITING = LearningRates(0.8, 0.08, 0.01, 0.01, betas=(0.9, 0.999), eps=1e-8)
"""PDS, which moves points and fills of a given drawing; the rates of widths and of the background are ours."""

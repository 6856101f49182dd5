"""Adam over a drawing's parameters: learning rates by progress, and rows that are added or restarted during a run.

`progress` runs from 0 at the first step to 1 after the last. An Adam step is about as long as the rate: pixels for
points and widths, shares of [0, 1] for colors. The papers' fractions of iterations stay fractions, so they scale with
the number of steps. Paths are rows of parameters: points (N, P, 2), colors (N, 4), widths (N,). What changes an
optimizer's state changes it in place, because that is where a run's state lives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
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

# Rows


def reset_state(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Forget what the optimiser knows of some rows of a parameter, in place: Adam's two moments become 0 there.

    `rows` are indices (K,) or a mask (N,) of the first axis. Adam counts steps by parameter, not by row, and the count
    stays: late in a run its correction of the bias no longer acts, so the first step of a row that is reset is
    (1 - beta1) / sqrt(1 - beta2) of the rate long and not 1: 0.32 with betas (0.9, 0.9), but 3.2 with (0.9, 0.999).

    Does nothing before the first step. Raises ValueError for a parameter that is not the optimiser's.
    """
    _group(optimizer, parameter)
    for value in _moments(optimizer, parameter).values():
        value[rows] = 0


def extended(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> Tensor:
    """A new leaf, the `parameter` (N, ...) followed by `rows` (K, ...), which takes its place in the optimiser.

    Old rows keep their moments, those of new rows start at 0; the count of steps is shared, see `reset_state`. The
    gradient is not carried over. `parameter` itself is left as it is; give the new leaf to all that used it.

    Raises ValueError for a parameter that is not the optimiser's, or rows of another shape.
    """
    group = _group(optimizer, parameter)
    if rows.shape[1:] != parameter.shape[1:]:
        raise ValueError(
            f"Rows of shape {tuple(rows.shape)} do not continue a parameter of shape {tuple(parameter.shape)}; give "
            "all paths the same number of points."
        )
    leaf = torch.cat([parameter.detach(), rows.detach().to(parameter)]).requires_grad_()
    longer = {key: _lengthened(value, len(rows)) for key, value in _moments(optimizer, parameter).items()}
    state = optimizer.state.pop(parameter, None)
    if state:
        optimizer.state[leaf] = {**state, **longer}
    group["params"] = [leaf if other is parameter else other for other in group["params"]]
    return leaf


def _group(optimizer: Optimizer, parameter: Tensor) -> dict:
    """The parameter group a parameter is in."""
    for group in optimizer.param_groups:
        if any(other is parameter for other in group["params"]):
            return group
    raise ValueError("The optimiser does not hold this parameter; give the tensor that it was made or extended with.")


def _moments(optimizer: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """The parts of the optimiser's state that belong to rows: for Adam all but the count of steps."""
    state = optimizer.state.get(parameter, {})
    return {k: value for k, value in state.items() if torch.is_tensor(value) and value.shape == parameter.shape}


def _lengthened(value: Tensor, count: int) -> Tensor:
    return torch.cat([value, value.new_zeros(count, *value.shape[1:])])

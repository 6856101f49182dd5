"""Adam for drawings: learning rates by progress, and rows of its state that are added or reset during a run.

`progress` is 0 at the first step and 1 after the last. The papers' iteration counts are kept as fractions, so schedules
scale with the number of steps. One Adam step is about as long as the learning rate: pixels for points and widths,
fractions of [0, 1] for colors.

Paths are rows of parameters: points (N, ...), colors (N, 4), widths (N,). Adam acts on each entry by itself,

    m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
    step = -rate m / (1 - beta1^k) / (sqrt(v / (1 - beta2^k)) + eps),

so its moments m and v can be edited row by row. Only the step count k is shared by all rows of a parameter. A row with
m = v = 0 is one whose gradient has been 0 so far, and appended or replaced paths start like that. Late in a run both
corrections 1 - beta^k are 1, so the first step of such a row is not one rate long but

    (1 - beta1) / sqrt(1 - beta2) rates:  0.32 with betas (0.9, 0.9),  3.2 with (0.9, 0.999).

torch keys the state by the parameter tensor. A longer parameter is a new tensor, so it takes the old one's place in its
parameter group, and the state moves to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

# Learning rates


def constant(progress: float) -> float:
    """The factor 1 throughout."""
    return 1.0


@dataclass(frozen=True)
class KeepThenDecay:
    """A factor of 1 over the fraction `keep` of the steps, then an exponential decay to `final`.

    LIVE gives both ends; the exponential between them is our choice.
    """

    keep: float
    final: float

    def __call__(self, progress: float) -> float:
        return self.final ** max(0.0, (progress - self.keep) / (1 - self.keep))


@dataclass(frozen=True)
class WarmUpThenCosine:
    """A factor that rises linearly from `first` to 1 over the fraction `warm_up`, then falls as a cosine to `final`."""

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
    """Adam's settings for a drawing: the peak learning rate of each parameter group, and their schedule.

    Attributes:
        points: In pixels.
        width: In pixels.
        color: In fractions of [0, 1].
        background: In fractions of [0, 1].
        schedule: Factor of the rate of points, by progress.
        schedule_all: Whether the schedule applies to all groups; the others are constant without.
        betas: Adam's.
        eps: Adam's.
    """

    points: float
    width: float
    color: float
    background: float
    schedule: Callable[[float], float] = constant
    schedule_all: bool = False
    betas: tuple[float, float] = (0.9, 0.9)
    eps: float = 1e-6

    def at(self, progress: float) -> dict[str, float]:
        """The learning rate of each parameter group, by its name in `drawing.PARAMETER_GROUPS`."""
        factor = self.schedule(progress)
        other = factor if self.schedule_all else 1.0
        return {
            "points": factor * self.points,
            "width": other * self.width,
            "color": other * self.color,
            "background": other * self.background,
        }

    def times(self, factor: float) -> LearningRates:
        """All learning rates multiplied by a factor."""
        return replace(self.scaled(factor), color=factor * self.color, background=factor * self.background)

    def scaled(self, scale: float) -> LearningRates:
        """The learning rates on a canvas `scale` times as large: those of lengths grow, those of colors do not."""
        return replace(self, points=scale * self.points, width=scale * self.width)

    def adam(self, parameters: Mapping[str, Iterable[Tensor]]) -> Adam:
        """An Adam optimizer with one parameter group per name.

        Raises:
            ValueError: A name has no learning rate.
        """
        rates = self.at(0.0)
        unknown = ", ".join(sorted(set(parameters) - set(rates)))
        if unknown:
            raise ValueError(f"There is no learning rate for {unknown}; name the parameters {', '.join(rates)}.")
        groups = [{"params": list(tensors), "lr": rates[name], "name": name} for name, tensors in parameters.items()]
        return Adam(groups, betas=self.betas, eps=self.eps)

    def set(self, optimizer: Optimizer, progress: float) -> None:
        """Set the learning rates of an optimizer that `adam` made."""
        rates = self.at(progress)
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]]


TRACING = LearningRates(1.0, 0.1, 0.01, 0.01, KeepThenDecay(keep=0.2, final=0.4**2))
"""Tracing as in LIVE and the first stage of VectorFusion in PyTorch-SVGRender: 500 iterations per group of paths."""
REFINING = LearningRates(1.0, 0.1, 0.01, 0.01, WarmUpThenCosine(first=0.02, warm_up=0.05, final=0.4))
"""The second stage of VectorFusion in PyTorch-SVGRender: 1000 iterations of SDS on a traced drawing, 50 to warm up."""
FROM_SCRATCH = LearningRates(
    0.2, 0.02, 0.2 / 20, 0.2 / 200, WarmUpThenCosine(first=0.1, warm_up=0.5, final=0.25), schedule_all=True
)
"""DreamSampler, eq. 21, and VectorFusion, supplement F.3. Points: 0.02 to 0.2 over 500 of 1000 iterations, then a
cosine to 0.05; fills 20 times less and the background 200 times less. The papers give no rate for widths; a tenth of
that of points is our choice."""
PIXEL_ART = LearningRates(
    1e-4, 1e-4, 1e-4, 1e-4, WarmUpThenCosine(first=0.1, warm_up=1.0, final=1.0), schedule_all=True
)
"""VectorFusion, supplement F.3: colors of fixed squares, 1e-5 to 1e-4 over 1000 iterations."""
EDITING = LearningRates(0.8, 0.08, 0.01, 0.01, betas=(0.9, 0.999), eps=1e-8)
"""The SVG code of PDS: points and fills of a given drawing. The rates of widths and the background are our choice."""

# Rows of the optimizer's state


def reset_state(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> None:
    """Set Adam's moments of some rows of a parameter to 0, in place.

    The step count is kept; see the module's docstring for the length of the next step. Does nothing before the first
    step.

    Args:
        optimizer: The optimizer.
        parameter: One of its parameters (N, ...).
        rows: Indices (K,) or a mask (N,) of the first axis.

    Raises:
        ValueError: The parameter is not in the optimizer.
    """
    _group(optimizer, parameter)
    for moment in _moments(optimizer, parameter).values():
        moment[rows] = 0


def append_rows(optimizer: Optimizer, parameter: Tensor, rows: Tensor) -> Tensor:
    """Append rows to a parameter: returns a new leaf that replaces it in the optimizer.

    Old rows keep their moments and those of new rows are 0. The gradient is not carried over. `parameter` itself is
    unchanged; use the new leaf in its place everywhere.

    Args:
        optimizer: The optimizer.
        parameter: One of its parameters (N, ...).
        rows: (K, ...).

    Returns:
        The leaf (N + K, ...).

    Raises:
        ValueError: The parameter is not in the optimizer, or the rows have another shape.
    """
    group = _group(optimizer, parameter)
    if rows.shape[1:] != parameter.shape[1:]:
        raise ValueError(
            f"Rows of shape {tuple(rows.shape)} cannot be appended to a parameter of shape {tuple(parameter.shape)}; "
            "give all paths the same number of points."
        )
    leaf = torch.cat([parameter.detach(), rows.detach().to(parameter)]).requires_grad_()
    moments = {key: _with_zero_rows(moment, len(rows)) for key, moment in _moments(optimizer, parameter).items()}
    state = optimizer.state.pop(parameter, None)
    if state:
        optimizer.state[leaf] = {**state, **moments}
    group["params"] = [leaf if other is parameter else other for other in group["params"]]
    return leaf


def _group(optimizer: Optimizer, parameter: Tensor) -> dict:
    """The parameter group that holds a parameter."""
    for group in optimizer.param_groups:
        if any(other is parameter for other in group["params"]):
            return group
    raise ValueError(
        "The optimizer does not hold this parameter; pass the tensor it was made with, or the last one that "
        "append_rows returned."
    )


def _moments(optimizer: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """The parts of the state with one entry per entry of the parameter: all of Adam's but the step count."""
    state = optimizer.state.get(parameter, {})
    return {k: value for k, value in state.items() if torch.is_tensor(value) and value.shape == parameter.shape}


def _with_zero_rows(moment: Tensor, count: int) -> Tensor:
    return torch.cat([moment, moment.new_zeros(count, *moment.shape[1:])])

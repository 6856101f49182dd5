"""What is done to a drawing between the steps of its optimisation: paths die, are born again and are added.

Paths are rows of parameters: points (N, P, 2), colours (N, 3), opacities (N,). What concerns an optimiser changes it in
place, because that is where a run's state lives.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import Optimizer


def polygon_area(points: Tensor) -> Tensor:
    """The area (...,) in square pixels that a closed contour's control polygon (..., P, 2) encloses, without a sign.

    By the shoelace formula, so the lobes of a figure of eight cancel: such a path counts as small.
    """
    # From the first point, because far from the origin the products would drown a small area.
    x, y = (points - points[..., :1, :]).unbind(-1)
    return 0.5 * (x * y.roll(-1, -1) - x.roll(-1, -1) * y).sum(-1).abs()


def dead(opacity: Tensor, area: Tensor, *, min_opacity: float = 0.05, min_area: float = 64.0) -> Tensor:
    """Which paths (N,) are too faint or too small to matter, from opacities (N,) in [0, 1] and areas (N,) in square
    pixels (VectorFusion, section 4.3 and table 2)."""
    return (opacity < min_opacity) | (area < min_area)


@torch.no_grad()
def clamp_colors(*colors: Tensor) -> None:
    """Bring colours and opacities back into [0, 1], in place, as PDS does after each step."""
    for color in colors:
        color.clamp_(0, 1)


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

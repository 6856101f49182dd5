"""Linear degradation operators as matrices."""

from __future__ import annotations

import math

import torch
from dreamsampler.guidance.restoration.operators import Operator
from torch import Tensor


def matrix(operator: Operator) -> Tensor:
    """A as a dense matrix (measured values, image values), from its columns."""
    n = math.prod(operator.image_shape)
    return operator.forward(torch.eye(n, dtype=torch.float64).reshape(n, *operator.image_shape)).flatten(1).mT

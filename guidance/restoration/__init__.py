"""Inverse problems: degradation operators, solvers, and sampling constrained by a measurement."""

from .blending import membrane
from .measurement import Autoencoder, DataConsistency, Measurement
from .operators import OPERATORS, LinearOperator, Operator
from .proximal import DataSteps, fill_with_noise, proximal_restore
from .solvers import Solution, conjugate_gradient

__all__ = [
    "OPERATORS",
    "Autoencoder",
    "DataConsistency",
    "DataSteps",
    "LinearOperator",
    "Measurement",
    "Operator",
    "Solution",
    "conjugate_gradient",
    "fill_with_noise",
    "membrane",
    "proximal_restore",
]

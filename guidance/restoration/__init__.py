"""Inverse problems: degradation operators, solvers, and sampling constrained by a measurement."""

from .blending import membrane
from .decoupled import KnownCells, decoupled_restore, known_cells
from .few_steps import few_step_restore
from .measurement import Autoencoder, DataConsistency, Measurement
from .operators import OPERATORS, LinearOperator, Operator
from .proximal import DataSteps, fill_with_noise, proximal_restore
from .solvers import Solution, conjugate_gradient

__all__ = [
    "OPERATORS",
    "Autoencoder",
    "DataConsistency",
    "DataSteps",
    "KnownCells",
    "LinearOperator",
    "Measurement",
    "Operator",
    "Solution",
    "conjugate_gradient",
    "decoupled_restore",
    "few_step_restore",
    "fill_with_noise",
    "known_cells",
    "membrane",
    "proximal_restore",
]

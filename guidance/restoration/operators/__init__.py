"""Degradation operators, one kind per file. A file added to this folder is picked up (docs/add-an-operator.md)."""

from .base import LinearOperator, Separable
from .blur import GaussianBlur, MotionBlur
from .colorization import Colorization
from .inpainting import Inpainting
from .registry import OPERATORS, OperatorKind, OperatorSettings, Widget
from .super_resolution import SuperResolution

__all__ = [
    "OPERATORS",
    "Colorization",
    "GaussianBlur",
    "Inpainting",
    "LinearOperator",
    "MotionBlur",
    "OperatorKind",
    "OperatorSettings",
    "Separable",
    "SuperResolution",
    "Widget",
]

OPERATORS.discover(__name__)

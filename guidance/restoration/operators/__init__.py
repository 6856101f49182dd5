"""Degradation operators, one kind per file. A file added to this folder is picked up (docs/add-an-operator.md)."""

from .base import LinearOperator, Operator, Separable
from .blur import GaussianBlur, MotionBlur, UnknownGaussianBlur
from .colorization import Colorization
from .inpainting import Inpainting
from .jpeg import JPEG
from .outpainting import Outpainting
from .registry import OPERATORS, OperatorKind, OperatorSettings, Subsampling, Widget
from .super_resolution import SuperResolution

__all__ = [
    "JPEG",
    "OPERATORS",
    "Colorization",
    "GaussianBlur",
    "Inpainting",
    "LinearOperator",
    "MotionBlur",
    "Operator",
    "OperatorKind",
    "OperatorSettings",
    "Outpainting",
    "Separable",
    "Subsampling",
    "SuperResolution",
    "UnknownGaussianBlur",
    "Widget",
]

OPERATORS.discover(__name__)

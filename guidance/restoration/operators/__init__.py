"""Degradation operators, one kind per file. A file added to this folder is picked up (docs/add-an-operator.md)."""

from __future__ import annotations

import importlib
import pkgutil

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
    "discover",
]


def discover() -> None:
    """Import every module of this package, which registers its operators in `OPERATORS`."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


discover()

"""Styles of new drawings, one per file. A file added to this folder is picked up (docs/add-an-svg-style.md)."""

from __future__ import annotations

import importlib
import pkgutil

from .registry import ART_STYLES, ArtStyle, register

__all__ = ["ART_STYLES", "ArtStyle", "discover", "register"]


def discover() -> None:
    """Import every module of this package, which registers its style in `ART_STYLES`."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


discover()

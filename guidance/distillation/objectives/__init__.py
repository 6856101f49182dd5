"""The objectives, one file each. Every file here is imported, and registers its methods."""

from __future__ import annotations

import importlib
import pkgutil

from ..method import REGISTERED, Method

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

METHODS: dict[str, Method] = dict(
    sorted(REGISTERED.items(), key=lambda each: (each[1].order is None, each[1].order, each[0]))
)
"""By name: those of Distillation Sampler's list in its order, then those with a node of their own."""

LISTED: list[str] = [name for name, method in METHODS.items() if method.order is not None]
"""The names in Distillation Sampler's method list."""

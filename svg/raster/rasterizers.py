"""The rasterisers by name."""

from __future__ import annotations

from collections.abc import Callable

from .diffvg import Diffvg
from .rasterizer import Rasterizer, rasterize

RASTERIZERS: dict[str, Callable[[], Rasterizer]] = {
    "auto": lambda: rasterize,
    "torch": lambda: rasterize,
    "pydiffvg": Diffvg,
}
"""Made when they are asked for, because pydiffvg may not be there. `auto` is the built-in one everywhere: it is exact
where pydiffvg samples, draws more, and is faster (`benchmarks/rasterizer.py`)."""


def rasterizer(name: str) -> Rasterizer:
    """A rasteriser by name. Raises ValueError for a name that is none, ImportError where it is not installed."""
    if name not in RASTERIZERS:
        raise ValueError(f"There is no rasteriser '{name}'. Choose one of {', '.join(RASTERIZERS)}.")
    return RASTERIZERS[name]()

"""The choice of rasterizers by name.

`built-in` works everywhere, draws everything a document can hold, and computes exact coverage. `diffvg` needs the
package pydiffvg, samples each pixel, and refuses some drawings; it is there to reproduce results of papers that use it.

    renderer = rasterizer("diffvg")     # ImportError without pydiffvg
    check_supported("diffvg", scenes)   # UnsupportedDrawing before any work starts
    images = renderer(scenes, background)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import diffvg
from .diffvg import Diffvg, UnsupportedDrawing
from .rasterizer import Rasterizer, rasterize
from .scene import Scene

__all__ = ["BUILT_IN", "DIFFVG", "NAMES", "UnsupportedDrawing", "available", "check_supported", "rasterizer"]

BUILT_IN, DIFFVG = "built-in", "diffvg"
_RASTERIZERS: dict[str, Callable[[], Rasterizer]] = {BUILT_IN: lambda: rasterize, DIFFVG: Diffvg}
NAMES = tuple(_RASTERIZERS)
"""All names, whether available here or not; the default is first."""


def available() -> tuple[str, ...]:
    """The names that can be used here; the default is first. pydiffvg is looked up, but not imported."""
    return NAMES if diffvg.installed() else (BUILT_IN,)


def rasterizer(name: str) -> Rasterizer:
    """The rasterizer called `name`.

    Raises:
        ValueError: The name is not one of `NAMES`.
        ImportError: The name is "diffvg", and pydiffvg is not installed or cannot be imported.
    """
    _check_name(name)
    return _RASTERIZERS[name]()


def check_supported(name: str, scenes: Sequence[Scene]) -> None:
    """Check that a rasterizer can draw scenes correctly, without drawing them; pydiffvg need not be installed.

    Raises:
        ValueError: The name is not one of `NAMES`.
        UnsupportedDrawing: The rasterizer cannot draw one of the scenes. It is a ValueError.
    """
    _check_name(name)
    if name == DIFFVG:
        for scene in scenes:
            diffvg.layers(scene)


def _check_name(name: str) -> None:
    if name not in NAMES:
        raise ValueError(f"There is no renderer '{name}'. Choose one of {', '.join(NAMES)}.")

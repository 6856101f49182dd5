"""Loads the checkout as one package under a name of its own, in the way of ComfyUI's `load_custom_node`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "dreamsampler_pack"


def load_pack() -> ModuleType:
    """The pack as `dreamsampler_pack`. The host has a `nodes` too, so the checkout is no place to import from."""
    if NAME in sys.modules:
        return sys.modules[NAME]
    checkout = Path(__file__).resolve().parents[1]
    spec = importlib.util.spec_from_file_location(
        NAME, checkout / "__init__.py", submodule_search_locations=[str(checkout)]
    )
    assert spec and spec.loader
    pack = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = pack
    spec.loader.exec_module(pack)
    return pack


def part(module: str) -> Any:
    """A module of the pack, such as "guidance.path"."""
    return importlib.import_module(f"{load_pack().__name__}.{module}")


def node(module: str, name: str) -> Any:
    """A node's class by its module in `nodes` and its name; needs the host."""
    return getattr(part(f"nodes.{module}"), name)

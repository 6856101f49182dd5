"""Runs benchmarks on another ComfyUI beside the development host: `--comfyui FOLDER`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from tools.devhost import Host, ensure, use

ABOUT_BORROWED = ("DREAMSAMPLER_COMFYUI", "DREAMSAMPLER_PYTHON", "PYTHONPATH", "PYTHONPYCACHEPREFIX")
"""What a process on the development host must not inherit from one on a borrowed ComfyUI."""


def other_host(options: argparse.Namespace, report: Callable[[str], None]) -> Host | None:
    """The ComfyUI that --comfyui and --python name, made ready, or None without these options."""
    if not options.comfyui:
        return None
    use(options)
    return ensure([], report=report)


def environment_of(host: Host) -> dict[str, str]:
    """The environment of a process on a host."""
    if host.is_borrowed:
        return {**os.environ, **host.environment}
    return {name: value for name, value in os.environ.items() if name not in ABOUT_BORROWED}

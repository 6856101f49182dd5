"""Uses a ComfyUI that exists already, with its own interpreter, and changes neither."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .layout import COMFYUI_VARIABLE, PYTHON_VARIABLE, Host, HostError, locate
from .recipe import COMFYUI_NEEDS, name_of, packages

_MISSING = """
import importlib.metadata, json, sys
missing = []
for name in sys.argv[1:]:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        missing.append(name)
print(json.dumps(missing))
"""
"""Prints those of its arguments that are not installed."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --comfyui and --python. Where they are absent, `use` leaves the choice to the environment."""
    group = parser.add_argument_group("another ComfyUI")
    group.add_argument(
        "--comfyui", type=Path, metavar="FOLDER", help="use the ComfyUI in this folder, and write nothing into it"
    )
    group.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="the Python that runs it (default: that of its folder venv or .venv, else the one that runs this command)",
    )


def use(options: argparse.Namespace) -> None:
    """Make `locate` return the host that --comfyui and --python name, here and in processes started from here."""
    if options.python and not options.comfyui:
        raise HostError("--python is the interpreter of another ComfyUI. Name its folder with --comfyui.")
    if options.comfyui:
        os.environ[COMFYUI_VARIABLE] = os.path.abspath(options.comfyui)
        os.environ[PYTHON_VARIABLE] = os.path.abspath(options.python) if options.python else ""
        os.environ[PYTHON_VARIABLE] = str(locate().python)


def check(host: Host, extras: Sequence[str]) -> None:
    """Refuse a folder without ComfyUI, and an interpreter that lacks what ComfyUI or the extras need."""
    if not (host.comfyui / "main.py").is_file() or not (host.comfyui / "comfy").is_dir():
        raise HostError(f"{host.comfyui} is not a ComfyUI. Name the folder that contains ComfyUI's main.py.")
    if not host.python.is_file():
        raise HostError(f"There is no Python {host.python}. Name the one that runs this ComfyUI with --python.")
    if missing := _missing(host.python, COMFYUI_NEEDS):
        requirements = shlex.join(["-r", str(host.comfyui / "requirements.txt")])
        raise HostError(
            f"{host.python} lacks {', '.join(missing)}, which ComfyUI needs. Name the Python that runs this ComfyUI "
            f"with --python, or install its requirements: {host.python} -m pip install {requirements}"
        )
    for extra in extras:
        needed = packages(extra)
        if missing := _missing(host.python, [name_of(package) for package in needed]):
            wanted = shlex.join(package for package in needed if name_of(package) in missing)
            raise HostError(
                f"The {extra} need packages that {host.python} lacks: {', '.join(missing)}. Install them: "
                f"{host.python} -m pip install {wanted}"
            )


def _missing(python: Path, names: Sequence[str]) -> list[str]:
    """Those of the named distributions that the interpreter does not find."""
    command = [str(python), "-c", _MISSING, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise HostError(f"{python} could not be started as a Python: {error}. Check --python.") from error

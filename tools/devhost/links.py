"""Links the checkout into the host: the pack, the reference model's node and its model files."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from .layout import CHECKOUT, COMPANION, PACK, Host, HostError

PACKAGE = "dreamsampler"
CHECKPOINT = "dreamsampler_reference.safetensors"
CORRECTIVE = "dreamsampler_reference_corrective.safetensors"
TRANSLATOR = "dreamsampler_reference_translator.safetensors"


def connect(host: Host, *, report: Callable[[str], None], checkout: Path = CHECKOUT) -> None:
    """Update all links. Files that the checkout lacks are skipped and reported."""
    custom_nodes = host.base_directory / "custom_nodes"
    models = host.base_directory / "models"
    reference = checkout / "tools" / "reference"
    links = {
        custom_nodes / PACK: checkout,
        host.packages / PACKAGE: checkout,
        custom_nodes / COMPANION: reference / "host_node",
        models / "checkpoints" / CHECKPOINT: reference / CHECKPOINT,
        models / "dreamsampler_correctives" / CORRECTIVE: reference / CORRECTIVE,
        models / "dreamsampler_translators" / TRANSLATOR: reference / TRANSLATOR,
    }
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            _link_folder(link, target)
        elif target.is_file():
            _link_file(link, target)
        else:
            _remove(link)
            report(f"Skipped {link.name}: this checkout has no {target.relative_to(checkout)}.")


def _link_folder(link: Path, target: Path) -> None:
    if link.exists() and link.samefile(target):
        return
    _remove(link)
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError as error:
        _make_junction(link, target, error)


def _make_junction(link: Path, target: Path, reason: OSError) -> None:
    """On Windows every user may create a junction, but symbolic links need developer mode."""
    command = ["cmd", "/c", "mklink", "/J", str(link), str(target)]
    if os.name != "nt" or subprocess.call(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) != 0:
        raise HostError(
            f"{link} could not be linked to {target}. Check that you have write access to the folder."
        ) from reason


def _link_file(link: Path, target: Path) -> None:
    """Link the file, or copy it if the system refuses links. A copy is renewed when its size or time differs."""
    if link.exists() and filecmp.cmp(link, target):
        return
    _remove(link)
    try:
        link.symlink_to(target)
    except OSError:
        shutil.copy2(target, link)


def _remove(link: Path) -> None:
    """Remove a link or copy, never the target of a link."""
    if os.name == "nt" and link.is_dir():
        link.rmdir()  # removes only the junction or link; fails for a folder with files in it
    else:
        link.unlink(missing_ok=True)

